//! The fields that reach an upstream: none that asserts an identity, none that is for one hop, and all others as they
//! came.

use http::{HeaderName, HeaderValue};

use crate::proxy::codec::field_list::FieldList;
use crate::proxy::fields::headers::{Credentials, Keep, clean, clean_trailers};

/// How names begin by which upstreams learn who calls, with every other character folded to a hyphen.
const NEVER: &[&str] = &[
    "x-countersign",
    "client-cert",
    "x-client-cert",
    "x-forwarded-client-cert",
    "x-forwarded-tls-client",
    "x-ssl-",
    "ssl-client",
    "remote-user",
    "x-remote-user",
    "x-real-ip",
    "x-original-",
    "x-rewrite-url",
    "x-amzn-mtls",
    "x-consumer",
];

/// What is for one connection.
const ONE_HOP: &[&str] = &[
    "connection",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "transfer-encoding",
    "upgrade",
];

/// Reads what follows the first byte, which says what the route keeps, as lines of fields; true when they may pass.
pub fn check(bytes: &[u8]) -> bool {
    let Some((order, lines)) = bytes.split_first() else {
        return false;
    };
    let keep = Keep {
        credentials: if order & 1 == 1 {
            Credentials::All
        } else {
            Credentials::Foreign {
                looked_at: order & 4 == 0,
                issuer: "https://api.example.com",
            }
        },
        forwarding: order & 2 == 2,
        told: None,
    };
    let before = fields(lines);
    assert_trailers(&before);
    let mut after = before.clone();
    let Ok(spoofed) = clean(&mut after, keep) else {
        return false;
    };
    for (name, value) in after.iter() {
        assert_may_pass(name, value, keep);
        assert!(before.contains(name), "{name} is new");
    }
    assert!(after.len() + spoofed.len() <= before.len());
    assert_the_rest_stays(&before, &after);
    let mut again = after.clone();
    assert_eq!(clean(&mut again, keep).ok(), Some(Vec::new()));
    assert_eq!(again, after, "cleaned again, it is another");
    true
}

fn fields(lines: &[u8]) -> FieldList {
    let mut fields = FieldList::new();
    for line in lines.split(|byte| *byte == b'\n').take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

fn folded(name: &HeaderName) -> String {
    let fold = |letter: char| match letter {
        'a'..='z' | '0'..='9' => letter,
        _ => '-',
    };
    name.as_str().chars().map(fold).collect()
}

fn asserts_identity(name: &HeaderName) -> bool {
    let folded = folded(name);
    NEVER.iter().any(|beginning| folded.starts_with(beginning))
}

fn assert_may_pass(name: &HeaderName, value: &HeaderValue, keep: Keep<'_>) {
    assert!(!asserts_identity(name), "{name} asserts an identity");
    assert!(!ONE_HOP.contains(&name.as_str()), "{name} is for one hop");
    match name.as_str() {
        "te" => assert_eq!(value, "trailers"),
        "authorization" | "x-api-key" => assert!(!is_ours_to_keep(value, keep)),
        "forwarded" | "x-forwarded-for" | "x-forwarded-host" => assert!(keep.forwarding),
        _ => {}
    }
}

/// A key of ours by its form, which no upstream is to see unless its route says so.
fn is_ours_to_keep(value: &HeaderValue, keep: Keep<'_>) -> bool {
    let foreign = matches!(keep.credentials, Credentials::Foreign { .. });
    let text = String::from_utf8_lossy(value.as_bytes());
    let ours = [
        "sk_live_",
        "sk_test_",
        "pk_live_",
        "pk_test_",
        "sg_live_",
        "sg_test_",
        "cs_admin_",
    ];
    foreign && ours.iter().any(|beginning| text.contains(beginning))
}

/// Fields that mean nothing to anybody stay, in their order and byte for byte, unless `Connection` names them.
fn assert_the_rest_stays(before: &FieldList, after: &FieldList) {
    let listed: Vec<_> = before
        .get_all(&http::header::CONNECTION)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|option| option.trim().to_ascii_lowercase())
        .collect();
    let neutral = |fields: &FieldList, listed: &[String]| -> Vec<_> {
        let neutral = |name: &HeaderName| {
            let plain = !name
                .as_str()
                .contains(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
            plain && (name.as_str().starts_with("z-") || name.as_str().starts_with("accept"))
        };
        fields
            .iter()
            .filter(|(name, _)| {
                neutral(name) && !listed.iter().any(|listed| listed == name.as_str())
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    assert_eq!(neutral(before, &listed), neutral(after, &[]));
}

fn assert_trailers(fields: &FieldList) {
    let mut trailers = http::HeaderMap::from(fields.clone());
    clean_trailers(&mut trailers, None);
    for name in trailers.keys() {
        assert!(!asserts_identity(name), "{name} asserts an identity");
        assert!(!ONE_HOP.contains(&name.as_str()), "{name} is for one hop");
        let frames = ["content-length", "authorization", "cookie", "te", "trailer"];
        assert!(!frames.contains(&name.as_str()), "{name} comes too late");
        assert!(!name.as_str().contains('_'), "{name} is read as another");
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_header_fields_keeps_its_properties() {
        super::super::corpus::holds("header_policy", super::check);
    }
}
