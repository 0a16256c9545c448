//! Queries of lists: the part, and the filters.

use super::certificate::{Fingerprint, SerialNumber};
use super::credential::CredentialState;
use super::device::DeviceId;
use super::id::AppId;
use super::time::Timestamp;
use super::token::Subject;

/// A part of a list: at most `limit` things, beginning behind `after`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page<Id> {
    /// The last thing of the part before this one; absent for the first part.
    pub after: Option<Id>,
    pub limit: u32,
}

impl<Id> Page<Id> {
    /// The beginning of a list.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }
}

/// The filter for credentials of a kind; every condition that is set must hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    pub app: Option<AppId>,
    /// Those that end before this time and are not revoked; what ended already is the most urgent, and included.
    pub expiring_before: Option<Timestamp>,
    pub state: Option<CredentialState>,
    /// The time of the query by `state`: a credential that expired before it is `expired` and nothing else.
    /// Without it, the registry's state is compared, which knows no clock.
    pub at: Option<Timestamp>,
}

/// The filter for certificates.
pub type CertificateFilter = CredentialFilter;

/// The filter for keys.
pub type KeyFilter = CredentialFilter;

/// The filter for sessions; every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionFilter {
    pub app: Option<AppId>,
    pub user: Option<Subject>,
    pub device: Option<DeviceId>,
    /// The time at which they are live.
    pub live_at: Option<Timestamp>,
}

/// A mark by which a certificate is known besides its id, as other programs show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateMark {
    Fingerprint(Fingerprint),
    Serial(SerialNumber),
}

impl std::str::FromStr for CertificateMark {
    type Err = InvalidCertificateMark;

    /// Reads hexadecimal digits in upper or lower case, with colons or blanks between them or without.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim().trim_start_matches("0x");
        let mut digits: String = text
            .chars()
            .filter(|&mark| mark != ':' && mark != ' ')
            .collect();
        if let Ok(fingerprint) = digits.parse() {
            return Ok(Self::Fingerprint(fingerprint));
        }
        if digits.len() % 2 == 1 {
            digits.insert(0, '0');
        }
        let serial = digits.parse().map(Self::Serial);
        serial.ok().ok_or(InvalidCertificateMark)
    }
}

/// A text that is neither a fingerprint nor a serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a certificate's fingerprint has 64 hexadecimal digits, and its serial number has at most 40"
)]
pub struct InvalidCertificateMark;

/// The filter for audit events; every condition that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub app: Option<AppId>,
    /// The whole action, for example `cert.revoke`.
    pub action: Option<String>,
    /// The whole id of what was changed.
    pub subject: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_other_programs_write_it() {
        let fingerprint = "ab".repeat(32);
        let spaced = ["AB"; 32].join(":");
        for text in [&fingerprint, &spaced] {
            let mark: CertificateMark = text.parse().unwrap();
            let known = fingerprint.parse().unwrap();
            assert_eq!(mark, CertificateMark::Fingerprint(known), "{text}");
        }
        let serial: SerialNumber = "0a1b2c".parse().unwrap();
        for text in [
            "0a1b2c",
            "0A1B2C",
            "0a:1b:2c",
            "A1B2C",
            "0x0a1b2c",
            " 0A 1B 2C ",
        ] {
            assert_eq!(
                text.parse::<CertificateMark>(),
                Ok(CertificateMark::Serial(serial)),
                "{text}"
            );
        }
        for text in ["", "acme", "00", "crt_01", &"ab".repeat(21)] {
            assert_eq!(
                text.parse::<CertificateMark>(),
                Err(InvalidCertificateMark),
                "{text}"
            );
        }
    }
}
