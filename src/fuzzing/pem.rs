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
    for Section { label, der, .. } in &sections {
        assert!(text.contains(&**label), "a label that nobody wrote");
        assert!(der.len() <= text.len(), "more than was written");
        written.push_str(&pem::encode(label, der));
    }
    assert_eq!(contents(&written), contents(text));
    let windows = written.replace('\n', "\r\n");
    assert_eq!(contents(&windows), contents(text));
    let explained = format!("Bag Attributes\n    friendlyName: acme\n{written}\nthe end\n");
    assert_eq!(contents(&explained), contents(text));
    true
}

/// The labels and bytes of a text's sections.
fn contents(text: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let sections = pem::sections(text).ok()?;
    let content = |section: Section| (section.label, section.der.to_vec());
    Some(sections.into_iter().map(content).collect())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_pem_texts_keeps_its_properties() {
        super::super::corpus::holds("pem", super::check);
    }
}
