//! The encodings that upstreams know from other proxies. None lets a certificate's text end a value, a line or a list.

use std::fmt::Write;

use crate::domain::time::Timestamp;

/// Percent-encodes everything but RFC 3986's unreserved characters and those in `safe`.
pub fn percent(text: &str, safe: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || safe.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The same for a form's query, where a blank is a plus sign.
pub fn query(text: &str) -> String {
    percent(text, b" ").replace(' ', "+")
}

/// The characters of names of hosts, addresses and URIs that separate nothing, in no field that is written here.
pub const SAFE_IN_NAMES: &[u8] = b":/?#[]@!$&'()*+%";

/// A name of RFC 4514, or an alternative name, whose escapes are all written as `\XX`.
///
/// The standard allows both forms of an escape. With this one, a reader may cut the text at each separator without
/// knowing of escapes, and no quotation mark stands in it.
pub fn separable(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        text.push(character);
        if character != '\\' {
            continue;
        }
        match rest.next() {
            Some(digit) if digit.is_ascii_hexdigit() => text.push(digit),
            Some(special) => {
                let _ = write!(text, "{:02X}", u32::from(special));
            }
            None => {}
        }
    }
    text
}

/// Escapes characters that separate or quote in the lists that proxies make of a name's parts, and control characters,
/// as `\XX`. Other letters stay unchanged, so that the result has to be encoded in a field.
pub fn hexpairs(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    for character in raw.chars() {
        if ",;\"\\+".contains(character) || character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(text, "\\{byte:02X}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

/// A time as OpenSSL prints it, and nginx after it: `Sep  5 12:34:56 2026 GMT`.
pub fn openssl_time(at: Timestamp) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = at.unix_seconds();
    let Ok(at) = time::OffsetDateTime::from_unix_timestamp(seconds) else {
        return String::new();
    };
    let month = usize::from(u8::from(at.month())) - 1;
    format!(
        "{} {:2} {:02}:{:02}:{:02} {} GMT",
        MONTHS.get(month).copied().unwrap_or_default(),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.year()
    )
}

/// A number of any length in decimal digits.
pub fn decimal(octets: &[u8]) -> String {
    // Least significant digit first. A serial number has at most 20 octets, so this is short work.
    let mut digits: Vec<u8> = vec![0];
    for octet in octets {
        let mut carry = u32::from(*octet);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or_default();
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or_default());
            carry /= 10;
        }
    }
    let digits = digits.iter().rev();
    digits.map(|digit| char::from(b'0' + digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn percent_encoding_is_that_of_the_proxies() {
        for (text, safe, expected) in [
            ("-----BEGIN C-----\n", &b""[..], "-----BEGIN%20C-----%0A"),
            ("a+b/c=", b"", "a%2Bb%2Fc%3D"),
            ("a+b/c=\n", b"+=/", "a+b/c=%0A"),
            ("\u{fc}\"\r\0", b"", "%C3%BC%22%0D%00"),
            (
                "spiffe://a/b?c,d;e",
                SAFE_IN_NAMES,
                "spiffe://a/b?c%2Cd%3Be",
            ),
        ] {
            assert_eq!(percent(text, safe), expected, "{text:?}");
        }
        assert_eq!(query("a b+c\"=\u{fc}"), "a+b%2Bc%22%3D%C3%BC");
    }

    #[test]
    fn escapes_have_one_form() {
        for (escaped, expected) in [
            ("CN=acme,O=b", "CN=acme,O=b"),
            (r#"O=A\+B\, \"C\""#, r"O=A\2BB\2C \22C\22"),
            (r"CN=a\\", r"CN=a\5C"),
            (r"CN=\ a\ ", r"CN=\20a\20"),
            (r"L=z\C3\BCrich\00", r"L=z\C3\BCrich\00"),
            (r"CN=\#a", r"CN=\23a"),
        ] {
            assert_eq!(separable(escaped), expected, "{escaped}");
        }
    }

    #[test]
    fn what_separates_is_escaped_and_letters_stay() {
        for (raw, expected) in [
            ("acme", "acme"),
            ("Acme, Inc.", r"Acme\2C Inc."),
            ("a\";O=\"b", r"a\22\3BO=\22b"),
            ("a\\\r\n\0", r"a\5C\0D\0A\00"),
            ("z\u{fc}rich", "z\u{fc}rich"),
            ("a\u{85}b", r"a\C2\85b"),
        ] {
            assert_eq!(hexpairs(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn times_are_those_of_openssl() {
        for (at, expected) in [
            ("2026-09-05T12:34:56Z", "Sep  5 12:34:56 2026 GMT"),
            ("2027-12-31T23:59:59Z", "Dec 31 23:59:59 2027 GMT"),
            ("1999-01-01T00:00:00Z", "Jan  1 00:00:00 1999 GMT"),
        ] {
            assert_eq!(openssl_time(at.parse().unwrap()), expected);
        }
    }

    #[test]
    fn numbers_of_any_length_are_read() {
        for (octets, expected) in [
            (&[0][..], "0"),
            (&[10], "10"),
            (&[1, 0], "256"),
            (&[0xff; 8], "18446744073709551615"),
            (&[1, 0, 0, 0, 0, 0, 0, 0, 0], "18446744073709551616"),
        ] {
            assert_eq!(decimal(octets), expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_the_text_it_stays_within_its_value(text in any::<String>()) {
            let plain = |encoded: &str| encoded.bytes().all(|byte| byte.is_ascii_graphic() && !b",;\"\\".contains(&byte));
            prop_assert!(plain(&percent(&text, b"+=/")));
            prop_assert!(plain(&percent(&text, SAFE_IN_NAMES)));
            prop_assert!(plain(&query(&text)));
            let escaped = hexpairs(&text);
            prop_assert!(!escaped.contains([',', ';', '"', '\r', '\n', '\0']));
        }

        #[test]
        fn decimal_digits_are_those_of_the_number(number in any::<u128>()) {
            prop_assert_eq!(decimal(&number.to_be_bytes()), number.to_string());
        }
    }
}
