//! Identity headers in the making, and those that had to be left out.

use http::{HeaderName, HeaderValue};

/// The field that names the reason for which facts about the certificate are left out.
pub const OMITTED: HeaderName = HeaderName::from_static("x-countersign-client-cert-omitted");

/// The reason why an upstream does not get a field that it should get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omitted {
    /// A value is longer than the operator allows.
    TooLarge,
    /// The certificate is not available: its connection is older than the setting.
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

/// Fields that are being collected.
#[derive(Debug)]
pub struct Fields {
    list: Vec<(HeaderName, HeaderValue)>,
    bytes_max: usize,
    omitted: Option<Omitted>,
}

impl Fields {
    /// Fields without values yet; a value that is made from a certificate may have at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            list: Vec::with_capacity(16),
            bytes_max,
            omitted: None,
        }
    }

    /// Adds a value of ours: letters, digits and a few signs that fields allow. Any other is left out.
    pub fn push(&mut self, name: HeaderName, text: &str) {
        if let Ok(value) = HeaderValue::from_str(text) {
            self.list.push((name, value));
        }
    }

    /// True if a value is short enough; otherwise notes that it is left out.
    pub fn fits(&mut self, name: &HeaderName, text: &str) -> bool {
        let fits = text.len() <= self.bytes_max;
        if !fits {
            let bytes = text.len();
            tracing::debug!(%name, bytes, "a header about a certificate is too large and left out");
            self.omit(Omitted::TooLarge);
        }
        fits
    }

    /// Adds a value that was made from a certificate, unless it is too long; returns true if it was added.
    pub fn push_bounded(&mut self, name: HeaderName, text: &str) -> bool {
        if !self.fits(&name, text) {
            return false;
        }
        // Every value is encoded as visible ASCII; any other must not be sent.
        let Ok(value) = HeaderValue::from_str(text) else {
            self.omit(Omitted::Unavailable);
            return false;
        };
        self.list.push((name, value));
        true
    }

    /// Notes that a field is left out. The first reason is the one that is sent.
    pub fn omit(&mut self, why: Omitted) {
        self.omitted.get_or_insert(why);
    }

    /// The fields, with one more for the reason if some were left out.
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
