//! PEM (RFC 7468): texts that hold DER. The one reader of certificates, private keys and CSRs in files.

use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::pem_fault::{InvalidPem, Wanted, of_encryption, of_label, of_text};
use crate::domain::secret::Secret;

/// One section of a PEM text.
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// The label between `BEGIN` and the dashes, for example `CERTIFICATE REQUEST`.
    pub label: String,
    /// The line of its `BEGIN`, from 1.
    pub line: usize,
    /// True if its headers say that it is encrypted with a passphrase (RFC 1421).
    pub encrypted: bool,
    pub der: Zeroizing<Vec<u8>>,
}

/// Reads every section of a text; at least one. Lines outside of sections are comments, as `openssl` writes them.
pub fn sections(text: &str) -> Result<Vec<Section>, InvalidPem> {
    let mut lines = lines(text);
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        if let Some(label) = boundary(line, "-----BEGIN ") {
            found.push(section(label, number, &mut lines, text.len())?);
        }
    }
    if found.is_empty() {
        return Err(of_text(text));
    }
    Ok(found)
}

/// Every certificate of a text, in its order; at least one.
pub fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
    let sections = sections(text)?;
    let is_certificate = |section: &&Section| {
        // The second label is an old one, of the same meaning (RFC 7468, 5.1).
        matches!(&*section.label, "CERTIFICATE" | "X509 CERTIFICATE")
    };
    let found = sections.iter().filter(is_certificate);
    let found: Vec<_> = found
        .map(|section| CertificateDer::from(section.der.to_vec()))
        .collect();
    match sections.first() {
        Some(other) if found.is_empty() => Err(of_label(Wanted::Certificate, &other.label)),
        _ => Ok(found),
    }
}

/// The first private key of a text: PKCS #8, SEC 1 or PKCS #1, without a passphrase.
pub fn private_key(text: &Secret) -> Result<PrivateKeyDer<'static>, InvalidPem> {
    let sections = sections(text.expose())?;
    let private = |section: &&Section| section.label.ends_with("PRIVATE KEY");
    // Tools write the parameters of an elliptic curve before its key.
    let section = sections.iter().find(private).or_else(|| sections.first());
    let section = section.ok_or_else(|| of_text(text.expose()))?;
    if let Some(fault) = of_encryption(&section.label, section.encrypted, section.line) {
        return Err(fault);
    }
    let der = || section.der.to_vec();
    match &*section.label {
        "PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs8(der().into())),
        "EC PRIVATE KEY" => Ok(PrivateKeyDer::Sec1(der().into())),
        "RSA PRIVATE KEY" => Ok(PrivateKeyDer::Pkcs1(der().into())),
        other => Err(of_label(Wanted::PrivateKey, other)),
    }
}

/// Lines without the blanks around them, numbered from 1. A file of an old Macintosh ends them with CR alone, and one that
/// was joined from several may have both: a block must not go unseen for its line ends.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    // Files that were joined have a byte order mark in the middle.
    let around = |character: char| character.is_whitespace() || character == '\u{feff}';
    (1..).zip(text.split(end)).flat_map(move |(number, line)| {
        let parts = line.split('\r');
        parts.map(move |part| (number, part.trim_matches(around)))
    })
}

fn section<'t>(
    label: &str,
    begin: usize,
    lines: &mut impl Iterator<Item = (usize, &'t str)>,
    length_max: usize,
) -> Result<Section, InvalidPem> {
    let unfinished = || InvalidPem::Unfinished {
        label: label.to_owned(),
        line: begin,
    };
    let mut encrypted = false;
    // Sized beforehand: a private key passes through here, and a text that grows leaves copies behind.
    let mut body = Zeroizing::new(String::with_capacity(length_max));
    loop {
        let (line, text) = lines.next().ok_or_else(unfinished)?;
        match boundary(text, "-----END ") {
            Some(end) if end == label => break,
            Some(_) => return Err(unfinished()),
            None if text.starts_with("-----BEGIN ") => return Err(unfinished()),
            None if body.is_empty() && text.contains(':') => {
                encrypted |= text.contains("ENCRYPTED");
            }
            None => push(&mut body, text).map_err(|found| InvalidPem::Encoding {
                label: label.to_owned(),
                line,
                found,
            })?,
        }
    }
    let der = BASE64.decode(body.as_bytes()).ok();
    let der = der.ok_or_else(|| InvalidPem::Damaged {
        label: label.to_owned(),
        line: begin,
    })?;
    Ok(Section {
        label: label.to_owned(),
        line: begin,
        encrypted,
        der: Zeroizing::new(der),
    })
}

/// Appends a line of base64; returns the first character that is not base64.
fn push(body: &mut String, line: &str) -> Result<(), char> {
    for character in line.chars().filter(|character| !character.is_whitespace()) {
        if !character.is_ascii_alphanumeric() && !matches!(character, '+' | '/' | '=') {
            return Err(character);
        }
        body.push(character);
    }
    Ok(())
}

/// The label of a boundary line; bounded, because errors repeat it.
fn boundary<'t>(line: &'t str, start: &str) -> Option<&'t str> {
    const LABEL_CHARS_MAX: usize = 40;
    line.strip_prefix(start)?
        .strip_suffix("-----")
        .filter(|label| label.len() <= LABEL_CHARS_MAX && !label.contains("-----"))
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

    const DER: &[u8] =
        b"0\x03\x02\x01\x07 a value of some length, so that it takes more than a line";

    proptest! {
        #[test]
        fn what_was_written_reads_back(der in proptest::collection::vec(any::<u8>(), 0..300)) {
            let text = encode("CERTIFICATE", &der);
            let section = Section {
                label: "CERTIFICATE".to_owned(),
                line: 1,
                encrypted: false,
                der: Zeroizing::new(der),
            };
            prop_assert_eq!(sections(&text), Ok(vec![section]));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "([> ]{0,2}-----(BEGIN|END) [A-Z ]{0,8}-----\r?\n?|\\PC{0,20}\n?){0,8}") {
            let _ = (certificates(&text), private_key(&Secret::new(text.clone())), sections(&text));
        }
    }

    /// Each case is the output of some tool or transport.
    #[test]
    fn a_section_is_found_in_whatever_surrounds_it() {
        let plain = encode("CERTIFICATE", DER);
        let bag = "Bag Attributes\n    friendlyName: Z\u{fc}rich\n    localKeyID: 54 69\nsubject=CN = a\n\n";
        for (how, text) in [
            ("LF", plain.clone()),
            ("CRLF", plain.replace('\n', "\r\n")),
            ("CR", plain.replace('\n', "\r")),
            ("CR CR LF", plain.replace('\n', "\r\r\n")),
            ("blanks behind", plain.replace('\n', " \t\n")),
            ("blanks before", plain.replace('\n', "\n  ")),
            ("no final line end", plain.trim_end().to_owned()),
            ("blank lines", plain.replace('\n', "\n\n")),
            ("bag attributes", format!("{bag}{plain}")),
            ("a mark", format!("\u{feff}{plain}")),
            (
                "an old label",
                plain.replace("CERTIFICATE", "X509 CERTIFICATE"),
            ),
            (
                "text behind",
                format!("{plain}\nRegards, the partner\n-- \n"),
            ),
            (
                "another block",
                format!("{}{plain}", encode("EC PARAMETERS", b"\x06\x00")),
            ),
        ] {
            let found = certificates(&text);
            assert_eq!(found, Ok(vec![CertificateDer::from(DER.to_vec())]), "{how}");
        }
        for second in [
            plain.clone(),
            plain.replace('\n', "\r"),
            plain.replace('\n', "\r\n"),
        ] {
            for joined in [
                format!("{plain}\u{feff}{second}"),
                format!("{second}{plain}"),
            ] {
                assert_eq!(certificates(&joined).unwrap().len(), 2, "{joined:?}");
            }
        }
    }

    #[test]
    fn a_private_key_is_taken_from_among_other_blocks() {
        for label in ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY"] {
            let others = encode("EC PARAMETERS", b"\x06\x00") + &encode("CERTIFICATE", DER);
            let text = format!("Bag Attributes\n{others}Key Attributes: <No Attributes>\n");
            let text = text + &encode(label, DER);
            let key = private_key(&Secret::new(text)).unwrap();
            assert_eq!(key.secret_der(), DER, "{label}");
        }
    }

    #[test]
    fn broken_sections_are_refused_with_their_place() {
        let section = |label: &str, line| (label.to_owned(), line);
        let unfinished = |(label, line)| InvalidPem::Unfinished { label, line };
        for (text, expected) in [
            ("-----BEGIN A-----\nAAAA", unfinished(section("A", 1))),
            (
                "\n-----BEGIN A-----\nAAAA\n-----END B-----",
                unfinished(section("A", 2)),
            ),
            (
                "-----BEGIN A-----\nAAAA\n-----BEGIN A-----\nAAAA\n-----END A-----",
                unfinished(section("A", 1)),
            ),
            (
                "-----BEGIN A-----\nAAAA\nA?AA\n-----END A-----",
                InvalidPem::Encoding {
                    label: "A".to_owned(),
                    line: 3,
                    found: '?',
                },
            ),
            (
                "-----BEGIN A-----\nAAA\n-----END A-----",
                InvalidPem::Damaged {
                    label: "A".to_owned(),
                    line: 1,
                },
            ),
        ] {
            assert_eq!(sections(text), Err(expected), "{text:?}");
        }
    }
}
