//! PEM: what was written is read, whatever its lines end with.

use crate::crypto::pem::{self, Section};
use crate::domain::secret::Secret;

/// Reads `bytes` as PEM; true when there is a section.
pub fn check(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return false;
    };
    // These have parsers of their own, which must bear anything as well.
    let certificates = pem::certificates(text);
    let _ = pem::private_key(&Secret::new(text.to_owned()));
    let Ok(sections) = pem::sections(text) else {
        return false;
    };
    assert!(!sections.is_empty());
    if let Ok(certificates) = certificates {
        assert!(!certificates.is_empty());
    }
    let mut written = String::new();
    for Section { label, der } in &sections {
        assert!(text.contains(&**label), "a label that nobody wrote");
        assert!(der.len() <= text.len(), "more than was written");
        written.push_str(&pem::encode(label, der));
    }
    assert_eq!(pem::sections(&written).as_ref(), Ok(&sections));
    let windows = written.replace('\n', "\r\n");
    assert_eq!(pem::sections(&windows).as_ref(), Ok(&sections));
    let explained = format!("Bag Attributes\n    friendlyName: acme\n{written}\nthe end\n");
    assert_eq!(pem::sections(&explained).as_ref(), Ok(&sections));
    true
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_pem_texts_keeps_its_properties() {
        super::super::corpus::holds("pem", super::check);
    }
}
