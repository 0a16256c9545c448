//! Header fields as they are gathered, and what had to be left out.

use http::{HeaderName, HeaderValue};

/// Says that something about the certificate is not told, and why.
pub const OMITTED: HeaderName = HeaderName::from_static("x-countersign-client-cert-omitted");

/// Why an upstream is not told something that it is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omitted {
    /// A value is longer than the operator allows.
    TooLarge,
    /// The certificate is not at hand: its connection is older than the wish for it.
    Unavailable,
}

impl Omitted {
    pub const ALL: [Self; 2] = [Self::TooLarge, Self::Unavailable];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Fields as they are gathered.
#[derive(Debug)]
pub struct Fields {
    list: Vec<(HeaderName, HeaderValue)>,
    bytes_max: usize,
    omitted: Option<Omitted>,
}

impl Fields {
    /// Values that are made from a certificate have at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            list: Vec::with_capacity(16),
            bytes_max,
            omitted: None,
        }
    }

    /// Adds what is ours: letters, digits and a few signs that fields allow. What would not be is left out.
    pub fn push(&mut self, name: HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.list.push((name, value));
        }
    }

    /// Whether a value may be told; notes it when it is too long.
    pub fn fits(&mut self, name: &HeaderName, text: &str) -> bool {
        let fits = text.len() <= self.bytes_max;
        if !fits {
            let bytes = text.len();
            tracing::debug!(%name, bytes, "a header about a certificate is too large and left out");
            self.omit(Omitted::TooLarge);
        }
        fits
    }

    /// Adds what was made from a certificate, unless it is too long; says whether it was added.
    pub fn push_bounded(&mut self, name: HeaderName, text: &str) -> bool {
        if !self.fits(&name, text) {
            return false;
        }
        // Everything is encoded as visible ASCII; what were not may not be told either.
        let Ok(value) = HeaderValue::from_str(text) else {
            self.omit(Omitted::Unavailable);
            return false;
        };
        self.list.push((name, value));
        true
    }

    /// Notes that something is left out. The first reason is the one that is told.
    pub fn omit(&mut self, why: Omitted) {
        self.omitted.get_or_insert(why);
    }

    /// The fields, with one more that says what was left out.
    pub fn finish(mut self) -> (Vec<(HeaderName, HeaderValue)>, Option<Omitted>) {
        if let Some(why) = self.omitted {
            self.list
                .push((OMITTED, HeaderValue::from_static(why.as_str())));
        }
        (self.list, self.omitted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: HeaderName = HeaderName::from_static("client-cert");

    #[test]
    fn a_value_has_a_bound_and_what_is_over_it_is_told() {
        let mut fields = Fields::new(5);
        assert!(fields.push_bounded(NAME, "12345"));
        assert!(!fields.push_bounded(NAME, "123456"));
        let (list, omitted) = fields.finish();
        assert_eq!(omitted, Some(Omitted::TooLarge));
        assert_eq!(
            list,
            [
                (NAME, HeaderValue::from_static("12345")),
                (OMITTED, HeaderValue::from_static("too_large")),
            ]
        );
    }

    #[test]
    fn no_value_ends_a_line() {
        for text in ["a\r\nb", "a\0", "z\u{fc}rich\n"] {
            let mut fields = Fields::new(100);
            fields.push(NAME, text);
            assert!(!fields.push_bounded(NAME, text), "{text:?}");
            let (list, omitted) = fields.finish();
            assert_eq!((list.len(), omitted), (1, Some(Omitted::Unavailable)));
        }
    }
}
