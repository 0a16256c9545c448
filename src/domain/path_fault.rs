//! A text that is not a path, which no route can allow.

/// The fault of a path, and its byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{} (byte {at})", fault.says())]
pub struct InvalidPath {
    pub fault: PathFault,
    /// Counted from 0.
    pub at: usize,
    /// The number of bytes.
    pub length: usize,
}

/// The rule that a path breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathFault {
    /// A blank or another control character, as it is or encoded.
    Control,
    /// A `%` without two hexadecimal digits.
    Escape,
    Fragment,
    /// A byte outside ASCII that is not percent-encoded.
    NotAscii,
    /// It does not begin with `/`.
    Start,
}

impl PathFault {
    /// The word for it in answers and in the access log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Escape => "escape",
            Self::Fragment => "fragment",
            Self::NotAscii => "not_ascii",
            Self::Start => "start",
        }
    }

    /// The detail for the caller.
    pub const fn says(self) -> &'static str {
        match self {
            Self::Control => "The path holds a blank or a control character",
            Self::Escape => "A '%' of the path is not followed by two hexadecimal digits",
            Self::Fragment => "The request target holds a fragment, which stays with the client",
            Self::NotAscii => "The path holds a byte outside ASCII that is not percent-encoded",
            Self::Start => "The path does not begin with '/'",
        }
    }
}
