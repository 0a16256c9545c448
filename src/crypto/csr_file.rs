//! The one CSR in a file: PEM or DER, in any encoding that tools save, and nothing confidential.

use rustls::pki_types::PrivateKeyDer;

use super::pem::{self, Section};
use super::pem_fault::{InvalidPem, Wanted, of_label};
use super::x509;
use crate::domain::text;

/// The maximum number of bytes of a CSR: one with an RSA key of 4096 bits has less than 3 KiB.
pub const INPUT_BYTES_MAX: usize = 64 * 1024;

/// A file without a CSR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRequest {
    #[error("the request is larger than 64 KiB")]
    TooLarge,
    /// A private key that was sent to us is no longer known to its owner alone.
    #[error(
        "this contains a private key: it never leaves its machine; make a new key and send only the request"
    )]
    PrivateKey,
    #[error("there are {0} requests here, in lines {1} and {2}; send one")]
    Several(usize, usize, usize),
    #[error("{0}")]
    Pem(#[from] InvalidPem),
}

/// The CSR in DER. Blocks of other kinds beside it are skipped.
pub fn to_der(input: &[u8]) -> Result<Vec<u8>, NoRequest> {
    if input.len() > INPUT_BYTES_MAX {
        return Err(NoRequest::TooLarge);
    }
    if is_der(input) {
        return Ok(input.to_vec());
    }
    let sections = pem::sections(&text::decode(input))?;
    if sections.iter().any(is_private) {
        return Err(NoRequest::PrivateKey);
    }
    let requests: Vec<&Section> = sections.iter().filter(|one| is_request(one)).collect();
    match (&requests[..], sections.first()) {
        ([only], _) => Ok(only.der.to_vec()),
        ([first, second, ..], _) => {
            Err(NoRequest::Several(requests.len(), first.line, second.line))
        }
        ([], Some(other)) => Err(of_label(Wanted::Request, &other.label).into()),
        ([], None) => Err(of_label(Wanted::Request, "").into()),
    }
}

/// The CSR as a text, which is how JSON carries it: DER becomes PEM, everything else is decoded.
pub fn to_text(input: &[u8]) -> String {
    if is_der(input) {
        return pem::encode("CERTIFICATE REQUEST", input);
    }
    text::decode(input).into_owned()
}

/// The kind of bytes that are no CSR in DER, if it can be recognised.
pub fn seems(der: &[u8]) -> Option<String> {
    if PrivateKeyDer::try_from(der).is_ok() {
        return Some(NoRequest::PrivateKey.to_string());
    }
    if x509::read_public_key(der).is_ok() {
        return Some(of_label(Wanted::Request, "CERTIFICATE").to_string());
    }
    None
}

/// True if the bytes begin with a sequence and its length, as DER does. A length of one byte, as short keys and requests
/// have it, may look like a letter, so it has to be the right one.
fn is_der(input: &[u8]) -> bool {
    match input {
        [0x30, length, rest @ ..] => {
            !length.is_ascii_graphic() || usize::from(*length) == rest.len()
        }
        [first] => *first == 0x30,
        _ => false,
    }
}

fn is_private(section: &Section) -> bool {
    section.label.ends_with("PRIVATE KEY")
}

/// The label of a CSR, or an old one that Java's keytool and Windows still write.
fn is_request(section: &Section) -> bool {
    matches!(
        &*section.label,
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("testdata/csr/p256.pem");

    fn utf16(text: &str, mark: bool, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        let mark = mark.then_some(0xfeff);
        let units = mark.into_iter().chain(text.encode_utf16());
        units.flat_map(order).collect()
    }

    #[test]
    fn one_request_is_found_however_the_file_was_saved() {
        let der = pem::sections(SAMPLE).unwrap().remove(0).der.to_vec();
        let latin1 = [b"friendlyName: Z\xfcrich\n".as_slice(), SAMPLE.as_bytes()].concat();
        let beside = pem::encode("CERTIFICATE", b"0\x80") + SAMPLE;
        let new = SAMPLE.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
        for (how, input) in [
            ("DER", der.clone()),
            ("PEM", SAMPLE.into()),
            ("a mark", format!("\u{feff}{SAMPLE}").into()),
            ("Latin-1 before it", latin1),
            ("UTF-16", utf16(SAMPLE, true, u16::to_le_bytes)),
            ("the other UTF-16", utf16(SAMPLE, true, u16::to_be_bytes)),
            (
                "UTF-16 without a mark",
                utf16(SAMPLE, false, u16::to_le_bytes),
            ),
            ("another block beside it", beside.into()),
            ("the old label", new.into()),
        ] {
            assert_eq!(to_der(&input), Ok(der.clone()), "{how}");
            assert_eq!(
                to_der(to_text(&input).as_bytes()),
                Ok(der.clone()),
                "{how}, as text"
            );
        }
    }

    /// Their lengths are letters of ASCII: a request of Ed25519 without a name and attributes has 125 bytes in it.
    #[test]
    fn short_der_is_der() {
        for length in [b'!', b'w', b'}', b'~', 127] {
            let whole = [&[0x30, length][..], &vec![0; length.into()]].concat();
            assert_eq!(to_der(&whole), Ok(whole.clone()), "{length}");
            let longer = [&whole[..], b"x"].concat();
            assert_eq!(to_der(&longer).is_ok(), length == 127, "{length}");
        }
    }

    #[test]
    fn what_is_not_one_request_is_refused_in_words_that_help() {
        let large = "a".repeat(INPUT_BYTES_MAX + 1);
        let with_key = pem::encode("EC PRIVATE KEY", b"x") + SAMPLE;
        for (text, words) in [
            ("", "it is empty"),
            ("hello", "no PEM section"),
            (
                &format!("{SAMPLE}\n{SAMPLE}"),
                "2 requests here, in lines 1 and",
            ),
            (&pem::encode("PRIVATE KEY", b"x"), "contains a private key"),
            (&with_key, "contains a private key"),
            (
                &pem::encode("CERTIFICATE", b"x"),
                "this is a CERTIFICATE, not a CERTIFICATE REQUEST",
            ),
            (&pem::encode("PKCS7", b"x"), "certreq"),
            (&large, "larger than 64 KiB"),
        ] {
            let refusal = to_der(text.as_bytes()).unwrap_err().to_string();
            assert!(refusal.contains(words), "{text:.40}: {refusal}");
        }
    }
}
