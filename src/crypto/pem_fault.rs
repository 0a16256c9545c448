//! Texts that are not the expected PEM: their likely form, and the way to get the expected one.

/// A text that is not PEM, or not the expected PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPem {
    #[error("{0}")]
    Nothing(&'static str),
    #[error(
        "something stands before -----BEGIN in line {0}, which has to begin with it; remove the text before it"
    )]
    Indented(usize),
    #[error(
        "the PEM section {label:?} of line {line} does not end with its own END line; it may be cut off"
    )]
    Unfinished { label: String, line: usize },
    #[error("the PEM section {label:?} has {found:?} in line {line}, which is not base64")]
    Encoding {
        label: String,
        line: usize,
        found: char,
    },
    #[error("the base64 of the PEM section {label:?} of line {line} is cut off, or was changed")]
    Damaged { label: String, line: usize },
    #[error(
        "the private key of line {0} is encrypted with a passphrase, for which a service cannot be asked; \
         decrypt it with `openssl pkey -in FILE -out NEW`, and let only its owner read the new file"
    )]
    Encrypted(usize),
    #[error("this is a {found}, not a {wanted}{cure}")]
    Other {
        wanted: &'static str,
        found: String,
        cure: &'static str,
    },
}

/// The expected content of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Certificate,
    PrivateKey,
    Request,
}

impl Wanted {
    const fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::PrivateKey => "PRIVATE KEY",
            Self::Request => "CERTIFICATE REQUEST",
        }
    }
}

/// The fault of a private key that is encrypted with a passphrase; `None` for any other section.
pub fn of_encryption(label: &str, encrypted: bool, line: usize) -> Option<InvalidPem> {
    let encrypted = encrypted || label == "ENCRYPTED PRIVATE KEY";
    encrypted.then_some(InvalidPem::Encrypted(line))
}

/// The fault of a section with this label.
pub fn of_label(wanted: Wanted, label: &str) -> InvalidPem {
    use Wanted as W;
    let cure = match (wanted, label) {
        (W::Certificate, "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA") => {
            "; `openssl pkcs7 -print_certs -in FILE -out NEW` takes the certificates out of it"
        }
        (W::Certificate, "TRUSTED CERTIFICATE") => {
            "; `openssl x509 -in FILE -out NEW` removes the trust settings that OpenSSL added"
        }
        (W::Certificate, "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") => {
            "; the authority answers a request with the certificate"
        }
        (W::PrivateKey, "OPENSSH PRIVATE KEY") => {
            "; `ssh-keygen -p -m PKCS8 -f FILE` rewrites it in the usual form"
        }
        (W::PrivateKey, "CERTIFICATE") => "; the private key is in another file",
        (W::Request, "CERTIFICATE") => {
            "; `openssl req -new -key client.key -subj /CN=me` makes a request"
        }
        (W::Request, "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA") => {
            "; ask for the PKCS #10 request itself, as `openssl req -new` or `certreq -new` makes it"
        }
        _ => "",
    };
    InvalidPem::Other {
        wanted: wanted.label(),
        found: label.to_owned(),
        cure,
    }
}

/// The fault of a text without a section.
pub fn of_text(text: &str) -> InvalidPem {
    if let Some(place) = text.find("-----BEGIN ") {
        return of_boundary(text, place);
    }
    InvalidPem::Nothing(if text.trim().is_empty() {
        "it is empty"
    } else if let Some(binary) = binary(text) {
        binary
    } else if text.contains("BEGIN ") && text.contains(['-', '\u{2010}', '\u{2013}', '\u{2014}']) {
        "the lines with BEGIN and END lack their five hyphens on each side, as when a word processor has changed \
         them; get the file itself"
    } else if is_bare_base64(text) {
        "this is base64 without its lines -----BEGIN …----- and -----END …-----; put them before and after it, or \
         get the whole file"
    } else if text.starts_with("ssh-") || text.starts_with("ecdsa-sha2-") {
        "this is a public key of OpenSSH, which TLS does not use"
    } else {
        "there is no PEM section (-----BEGIN …-----)"
    })
}

/// The fault of the first boundary in a text.
fn of_boundary(text: &str, place: usize) -> InvalidPem {
    let (before, rest) = text.split_at(place);
    let line = before.rsplit(['\n', '\r']).next().unwrap_or_default();
    let rest = rest.lines().next().unwrap_or_default();
    if text.contains("-----\\n") || text.contains("-----\\r") {
        return InvalidPem::Nothing(
            "its line ends are the two letters \\n instead of line ends, as in JSON or in a variable; \
             `printf '%b' \"$TEXT\"` makes line ends of them",
        );
    }
    if line.trim_start().starts_with('>') {
        return InvalidPem::Nothing(
            "each line begins with \">\", as a mail program quotes; get the file as an attachment, \
             or remove the marks with `sed 's/^[> ]*//' FILE`",
        );
    }
    if !line.trim().is_empty() {
        return InvalidPem::Indented(before.matches('\n').count() + 1);
    }
    if rest.trim_end().matches("-----").count() > 2 || !rest.trim_end().ends_with("-----") {
        return InvalidPem::Nothing(
            "its line ends are lost: -----BEGIN …----- has to stand in a line of its own; get the file itself",
        );
    }
    InvalidPem::Nothing("the line -----BEGIN …----- is not written as it should be")
}

/// The kind of binary file that a text was decoded from: its characters are its bytes (see
/// [`crate::domain::text::decode`]).
fn binary(text: &str) -> Option<&'static str> {
    const PKCS7: &str = "*\u{86}H\u{86}\u{f7}\r\u{1}\u{7}\u{2}";
    if text.starts_with("\u{fe}\u{ed}\u{fe}\u{ed}") {
        return Some(
            "this is a Java keystore; `keytool -importkeystore -deststoretype PKCS12` and then `openssl pkcs12` \
             take certificate and key out of it",
        );
    }
    let mut characters = text.chars();
    let is_der = characters.next() == Some('0')
        && characters
            .next()
            .is_some_and(|length| !length.is_ascii_graphic());
    if !is_der {
        return None;
    }
    let start: String = text.chars().take(32).collect();
    Some(if start.contains(PKCS7) {
        "this is PKCS #7 in DER; `openssl pkcs7 -inform DER -print_certs -in FILE -out NEW` takes the certificates \
         out of it"
    } else if start.contains("\u{2}\u{1}\u{3}0") {
        "this is PKCS #12 (.p12, .pfx); `openssl pkcs12 -in FILE -nodes -out NEW` takes certificate and key out of it"
    } else {
        "this is DER, and PEM is wanted; `openssl x509 -inform DER -in FILE -out NEW` converts a certificate, \
         `openssl pkey -inform DER -in FILE -out NEW` a private key"
    })
}

fn is_bare_base64(text: &str) -> bool {
    /// A shorter text may be a word that happens to be base64.
    const CHARS_MIN: usize = 64;
    let joined: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=-_".contains(&byte);
    // DER begins with 0x30, which is M and a letter up to f in base64.
    joined.len() >= CHARS_MIN && joined.starts_with('M') && joined.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use crate::crypto::pem::{certificates, encode, private_key, sections};
    use crate::domain::secret::Secret;
    use crate::domain::text::decode;

    const DER: &[u8] =
        b"0\x03\x02\x01\x07 a value of some length, so that it takes more than a line";

    #[test]
    fn what_a_text_seems_to_be_is_named_with_the_cure() {
        let plain = encode("CERTIFICATE", DER);
        let body: String = plain
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        for (text, words) in [
            (String::new(), "it is empty"),
            (" \r\n".to_owned(), "it is empty"),
            ("hello".to_owned(), "no PEM section"),
            (body, "base64 without its lines"),
            (
                plain.replace('\n', "\n> ").replacen('-', "> -", 1),
                "quotes",
            ),
            (plain.replace('\n', "\\n"), "two letters \\n"),
            (plain.replace('\n', "\\r\\n"), "two letters \\n"),
            (plain.replace('\n', " "), "line ends are lost"),
            (plain.replace('\n', ""), "line ends are lost"),
            (format!("x\ncert: {plain}"), "before -----BEGIN in line 2"),
            (plain.replace("-----", "\u{2014}-"), "five hyphens"),
            (plain.replace("-----", "----"), "five hyphens"),
            ("ssh-ed25519 AAAA".to_owned(), "OpenSSH"),
        ] {
            let refusal = sections(&text).unwrap_err().to_string();
            assert!(refusal.contains(words), "{text:?}: {refusal}");
        }
    }

    #[test]
    fn binary_files_are_named_with_the_cure() {
        for (bytes, words) in [
            (&b"\xfe\xed\xfe\xed\0\0\0\x02"[..], "Java keystore"),
            (b"0\x82\x02\x33\x02\x01\x03\x30\x82\xff", "PKCS #12"),
            (
                b"0\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0",
                "PKCS #7",
            ),
            (b"0\x82\x02\x33\x30\x82\x01\xff", "this is DER"),
        ] {
            let refusal = certificates(&decode(bytes)).unwrap_err().to_string();
            assert!(refusal.contains(words), "{bytes:?}: {refusal}");
        }
    }

    #[test]
    fn another_kind_of_section_is_named_with_the_cure() {
        for (label, words) in [
            ("PKCS7", "openssl pkcs7"),
            ("TRUSTED CERTIFICATE", "openssl x509"),
            ("NEW CERTIFICATE REQUEST", "answers a request"),
            ("PRIVATE KEY", "this is a PRIVATE KEY, not a CERTIFICATE"),
        ] {
            let refusal = certificates(&encode(label, DER)).unwrap_err().to_string();
            assert!(refusal.contains(words), "{label}: {refusal}");
        }
        let old = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMAAA\n-----END EC PRIVATE KEY-----\n";
        for (text, words) in [
            (
                encode("ENCRYPTED PRIVATE KEY", DER),
                "encrypted with a passphrase",
            ),
            (old.to_owned(), "encrypted with a passphrase"),
            (encode("OPENSSH PRIVATE KEY", DER), "ssh-keygen"),
            (encode("CERTIFICATE", DER), "in another file"),
            (
                encode("PUBLIC KEY", DER),
                "this is a PUBLIC KEY, not a PRIVATE KEY",
            ),
        ] {
            let refusal = private_key(&Secret::new(text)).unwrap_err().to_string();
            assert!(refusal.contains(words), "{refusal}");
        }
    }
}
