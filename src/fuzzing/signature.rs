//! Signatures of requests: what is covered has one reading, and nothing that is covered can change unnoticed.

use crate::crypto::content_digest;
use crate::crypto::http_signature;
use crate::crypto::signature_base::Message;
use crate::domain::reason::Reason;

/// Reads the lines as target, `Signature-Input`, `Signature`, `Content-Digest` and the value of another field; true when
/// that is a signature by a key of ours with a base.
pub fn check(bytes: &[u8]) -> bool {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut line = || lines.next().unwrap_or_default();
    let (target, input, signature) = (line(), line(), line());
    let (digest, other) = (line(), line());
    let Ok(target) = std::str::from_utf8(target) else {
        return false;
    };
    let fields = [
        ("signature-input", input),
        ("signature", signature),
        ("content-digest", digest),
        ("x-other", other),
        ("x-other", b"second"),
    ];
    let message = Message {
        method: "POST",
        authority: "api.example.com",
        target,
        fields: &fields,
    };
    let _ = content_digest::read(digest);
    let Ok(Some(found)) = http_signature::find(&message) else {
        return false;
    };
    let Ok(base) = found.base(&message) else {
        return false;
    };
    assert_eq!(found.base(&message).as_ref(), Ok(&base), "one reading");
    assert_notices(&message, &found, &base);
    true
}

/// What counts as covered is in the base: a change of it changes the base.
fn assert_notices(message: &Message<'_>, found: &http_signature::Signature, base: &[u8]) {
    let differs = |changed: &Message<'_>| match found.base(changed) {
        Ok(other) => assert_ne!(other, base),
        Err(reason) => assert_eq!(reason, Reason::SignatureMalformed),
    };
    if found.covers(message, false).is_ok() {
        let target = format!("{}x", message.target);
        for changed in [
            Message {
                method: "PUT",
                ..*message
            },
            Message {
                authority: "other.example.com",
                ..*message
            },
            Message {
                target: &target,
                ..*message
            },
        ] {
            differs(&changed);
        }
    }
    if found.has("content-digest") {
        let mut fields = message.fields.to_vec();
        fields[2].1 = b"sha-256=:AAAA:, sha-256=:BBBB:";
        differs(&Message {
            fields: &fields,
            ..*message
        });
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_signatures_keeps_its_properties() {
        super::super::corpus::holds("signature", super::check);
    }
}
