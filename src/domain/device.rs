//! Device ids: the names that Apps give to the devices of their users.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The most characters of a device's id, as those of a user's.
const DEVICE_CHARS_MAX: usize = 100;

/// A device of a user, as the App names it: 1 to 100 characters of visible ASCII.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceId(Arc<str>);

/// A text that is not a [`DeviceId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a device id has 1 to 100 characters of visible ASCII")]
pub struct InvalidDeviceId;

impl DeviceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for DeviceId {
    type Err = InvalidDeviceId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=DEVICE_CHARS_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidDeviceId)
        }
    }
}

impl TryFrom<String> for DeviceId {
    type Error = InvalidDeviceId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<DeviceId> for String {
    fn from(device: DeviceId) -> Self {
        device.0.as_ref().to_owned()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_is_of_visible_ascii_and_short() {
        for good in ["a", "pixel-7:abc/1", &"d".repeat(100)] {
            assert_eq!(good.parse::<DeviceId>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", "ä", &"d".repeat(101)] {
            assert_eq!(bad.parse::<DeviceId>(), Err(InvalidDeviceId), "{bad:?}");
        }
    }
}
