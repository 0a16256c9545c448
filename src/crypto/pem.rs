//! PEM (RFC 7468): texts in which DER travels.

use data_encoding::BASE64;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::domain::secret::Secret;

/// One section of a PEM text.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// What stands between `BEGIN` and the dashes, for example `CERTIFICATE REQUEST`.
    pub label: String,
    pub der: Vec<u8>,
}

/// A text that is not PEM, or not the PEM that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    #[error("there is no PEM section (-----BEGIN …-----)")]
    Empty,
    #[error("the PEM section {0:?} does not end with its own END line")]
    Unfinished(String),
    #[error("the PEM section {0:?} is not base64")]
    Encoding(String),
    #[error("the PEM text cannot be read")]
    Unreadable,
}

/// Reads every section of a text. Lines outside of sections are comments, as `openssl` writes them.
pub fn sections(text: &str) -> Result<Vec<Section>, InvalidPem> {
    let mut lines = text.lines().map(str::trim);
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = boundary(line, "-----BEGIN ") else {
            continue;
        };
        let mut body = String::new();
        loop {
            let line = lines
                .next()
                .ok_or_else(|| InvalidPem::Unfinished(label.to_owned()))?;
            match boundary(line, "-----END ") {
                Some(end) if end == label => break,
                Some(_) => return Err(InvalidPem::Unfinished(label.to_owned())),
                None => body.push_str(line),
            }
        }
        let der = BASE64
            .decode(body.as_bytes())
            .ok()
            .ok_or_else(|| InvalidPem::Encoding(label.to_owned()))?;
        found.push(Section {
            label: label.to_owned(),
            der,
        });
    }
    if found.is_empty() {
        return Err(InvalidPem::Empty);
    }
    Ok(found)
}

/// The label of a boundary line; short, so that errors which repeat it are.
fn boundary<'t>(line: &'t str, start: &str) -> Option<&'t str> {
    const LABEL_CHARS_MAX: usize = 40;
    line.strip_prefix(start)?
        .strip_suffix("-----")
        .filter(|label| label.len() <= LABEL_CHARS_MAX)
}

/// Every certificate of a text, in its order; at least one.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .ok()
        .ok_or(InvalidPem::Unreadable)?;
    if found.is_empty() {
        return Err(InvalidPem::Empty);
    }
    Ok(found)
}

/// The private key of a text: PKCS #8, SEC 1 or PKCS #1, without a passphrase.
pub fn private_key(text: &Secret) -> Result<PrivateKeyDer<'static>, InvalidPem> {
    PrivateKeyDer::from_pem_slice(text.expose().as_bytes())
        .ok()
        .ok_or(InvalidPem::Empty)
}

/// Writes one section.
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = Zeroizing::new(BASE64.encode(der));
    // Sized beforehand: a private key passes through here, and a text that grows leaves copies behind.
    let mut text = String::with_capacity(body.len() + body.len() / 64 + 2 * label.len() + 40);
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for (place, character) in body.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_reads_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &der);
            let section = Section { label: "CERTIFICATE".to_owned(), der };
            prop_assert_eq!(sections(&text), Ok(vec![section]));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "(-----(BEGIN|END) [A-Z ]{0,8}-----\n?|\\PC{0,20}\n?){0,8}") {
            let _ = sections(&text);
        }
    }

    #[test]
    fn broken_sections_are_refused() {
        for (text, expected) in [
            ("", InvalidPem::Empty),
            ("hello", InvalidPem::Empty),
            (
                "-----BEGIN A-----\nAAAA",
                InvalidPem::Unfinished("A".to_owned()),
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----END B-----",
                InvalidPem::Unfinished("A".to_owned()),
            ),
            (
                "-----BEGIN A-----\nA?AA\n-----END A-----",
                InvalidPem::Encoding("A".to_owned()),
            ),
        ] {
            assert_eq!(sections(text), Err(expected), "{text:?}");
        }
    }
}
