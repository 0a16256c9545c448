//! Names in certificates as text: subjects in RFC 2253, alternative names with their kind before them.
//!
//! The texts go into headers and logs, so everything but printable ASCII is escaped, as nginx and openssl do.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::Tag;
use x509_parser::extensions::GeneralName;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The attribute types that RFC 2253 (2.3) gives a short name, by their OIDs.
const SHORT_NAMES: [(&str, &str); 10] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A distinguished name as RFC 2253 writes it: the most specific part first.
pub fn to_rfc2253(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter()
        .map(|part| {
            let attributes: Vec<String> = part.iter().map(attribute).collect();
            attributes.join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

/// One attribute of a distinguished name, for example the common name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The attribute's type, as an OID in dots and digits.
    pub oid: String,
    /// The value as the certificate holds it: a writer has to escape it.
    pub value: String,
}

/// The attributes of a distinguished name that are texts, in the certificate's order.
pub fn attributes(name: &X509Name<'_>) -> Vec<Attribute> {
    name.iter_attributes()
        .filter_map(|found| {
            Some(Attribute {
                oid: found.attr_type().to_id_string(),
                value: text(found)?,
            })
        })
        .collect()
}

/// An alternative name, for example `DNS:api.example.com`; `None` for kinds that identify no caller.
pub fn alternative(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(text) => Some(format!("DNS:{}", escape(text))),
        GeneralName::RFC822Name(text) => Some(format!("email:{}", escape(text))),
        GeneralName::URI(text) => Some(format!("URI:{}", escape(text))),
        GeneralName::IPAddress(octets) => address(octets).map(|text| format!("IP:{text}")),
        _ => None,
    }
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
    match (known, text(attribute)) {
        (Some((_, short)), Some(text)) => format!("{short}={}", escape(&text)),
        (Some((_, short)), None) => format!("{short}=#{}", hex(attribute)),
        (None, Some(text)) => format!("{oid}={}", escape(&text)),
        (None, None) => format!("{oid}=#{}", hex(attribute)),
    }
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    if attribute.attr_value().tag() == Tag::BmpString {
        let units = attribute.as_slice().chunks_exact(2);
        let complete = units.remainder().is_empty();
        let units = units.map(|pair| {
            pair.iter()
                .fold(0, |unit, byte| unit << 8 | u16::from(*byte))
        });
        let text = String::from_utf16(&units.collect::<Vec<_>>()).ok();
        return text.filter(|_| complete);
    }
    attribute.as_str().ok().map(str::to_owned)
}

fn hex(attribute: &AttributeTypeAndValue<'_>) -> String {
    data_encoding::HEXLOWER.encode(attribute.as_slice())
}

/// An address of four or sixteen octets.
pub fn address(octets: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).to_string());
    let v6 = <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).to_string());
    v4.or(v6).ok()
}

/// Escapes a text by RFC 2253, 2.4, and everything outside printable ASCII as `\XX`.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let at_an_end = place == 0 || place + 1 == text.len();
        let quoted = b",+\"\\<>;".contains(&byte)
            || (byte == b'#' && place == 0)
            || (byte == b' ' && at_an_end);
        if quoted {
            escaped.push('\\');
            escaped.push(char::from(byte));
        } else if (b' '..=b'~').contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "\\{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_taken_for_structure_is_escaped() {
        for (text, escaped) in [
            ("acme", "acme"),
            ("a b", "a b"),
            (" a ", "\\ a\\ "),
            ("#a#", "\\#a#"),
            ("a,CN=b", "a\\,CN=b"),
            ("a\r\nX: y", "a\\0D\\0AX: y"),
            ("ä\0", "\\C3\\A4\\00"),
        ] {
            assert_eq!(escape(text), escaped, "{text:?}");
        }
    }

    #[test]
    fn addresses_have_four_or_sixteen_octets() {
        assert_eq!(address(&[127, 0, 0, 1]).as_deref(), Some("127.0.0.1"));
        assert_eq!(address(&[0; 16]).as_deref(), Some("::"));
        assert_eq!(address(&[1; 5]), None);
    }
}
