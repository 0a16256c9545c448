//! The path and query of a request, byte for byte as they came.

use bytes::Bytes;
use http::uri::{InvalidUri, PathAndQuery};

/// A request target without scheme and authority.
#[derive(Clone, Debug)]
pub enum Target {
    /// A target that the library takes, which is nearly every one.
    Usual(PathAndQuery),
    /// A target that the library would not take, or would change, like quotes and angle brackets in a query.
    Odd(OddTarget),
}

/// The bytes of a target that the library would not take; see [`Target::Odd`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddTarget(Bytes);

impl OddTarget {
    /// Accepts a target that begins with `/` and has no controls and no blanks.
    pub fn new(bytes: Bytes) -> Option<Self> {
        let text = std::str::from_utf8(&bytes).ok()?;
        let whole = text.starts_with('/') && !text.bytes().any(|byte| byte <= b' ' || byte == 0x7f);
        whole.then_some(Self(bytes))
    }

    /// Accepts any text, which is judged later.
    pub fn unjudged(bytes: Bytes) -> Option<Self> {
        let is_text = std::str::from_utf8(&bytes).is_ok();
        is_text.then_some(Self(bytes))
    }

    pub fn as_str(&self) -> &str {
        // It was checked to be UTF-8 when it was made.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The part before the query.
    pub fn path(&self) -> &str {
        let text = self.as_str();
        text.split_once('?').map_or(text, |(path, _)| path)
    }
}

impl Target {
    pub fn as_str(&self) -> &str {
        match self {
            Self::Usual(target) => target.as_str(),
            Self::Odd(target) => target.as_str(),
        }
    }

    /// The target for the library's own use, which is HTTP/2 to an upstream: characters that it would not take are
    /// percent-encoded.
    pub fn encoded(&self) -> Result<PathAndQuery, InvalidUri> {
        match self {
            Self::Usual(target) => Ok(target.clone()),
            Self::Odd(target) => {
                let mut text = String::with_capacity(target.0.len() + 16);
                for letter in target.as_str().chars() {
                    match letter {
                        '"' => text.push_str("%22"),
                        '<' => text.push_str("%3C"),
                        '>' => text.push_str("%3E"),
                        '`' => text.push_str("%60"),
                        letter => text.push(letter),
                    }
                }
                text.parse()
            }
        }
    }
}

impl From<PathAndQuery> for Target {
    fn from(target: PathAndQuery) -> Self {
        Self::Usual(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd(text: &str) -> Option<OddTarget> {
        OddTarget::new(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn what_breaks_no_line_is_kept_as_it_came() {
        let target = odd("/a?x=[\"A\",<b>]").unwrap();
        assert_eq!(target.path(), "/a");
        assert_eq!(target.as_str(), "/a?x=[\"A\",<b>]");
        let encoded = Target::Odd(target).encoded().unwrap();
        assert_eq!(encoded.as_str(), "/a?x=[%22A%22,%3Cb%3E]");
        assert_eq!(odd("/a?b?c=\"").unwrap().path(), "/a");
        assert_eq!(odd("/<").unwrap().path(), "/<");
    }

    #[test]
    fn what_breaks_a_line_is_no_target() {
        for bad in [
            "",
            "a",
            "/a b",
            "/a\r\n",
            "/a\0",
            "/a?\t",
            "/a?\u{7f}",
            "https://x/",
        ] {
            assert_eq!(odd(bad), None, "{bad:?}");
        }
        assert_eq!(OddTarget::new(Bytes::from_static(b"/a?\xff")), None);
    }
}
