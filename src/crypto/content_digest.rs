//! Digests of bodies (RFC 9530): read from `Content-Digest`, and computed.

use aws_lc_rs::digest;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::domain::signed_request::{DigestAlgorithm, SignedBody};

/// The digests in a value of `Content-Digest`. Those by other algorithms are passed over; `None` if no other is left.
pub fn read(value: &[u8]) -> Option<SignedBody> {
    let written: Dictionary = Parser::new(value).parse().ok()?;
    let mut digests = Vec::new();
    for algorithm in DigestAlgorithm::ALL {
        match written.get(algorithm.as_str()) {
            None => {}
            Some(ListEntry::Item(item)) => match &item.bare_item {
                BareItem::ByteSequence(octets) => {
                    digests.push((algorithm, octets.clone().into_boxed_slice()));
                }
                _ => return None,
            },
            Some(ListEntry::InnerList(_)) => return None,
        }
    }
    SignedBody::new(digests)
}

/// The digest of a body.
pub fn digest(algorithm: DigestAlgorithm, body: &[u8]) -> Vec<u8> {
    let algorithm = match algorithm {
        DigestAlgorithm::Sha256 => &digest::SHA256,
        DigestAlgorithm::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, body).as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_of_the_standard_are_the_bodys() {
        // RFC 9530, appendix D: the body ends with a line break there.
        let body = b"{\"hello\": \"world\"}\n";
        let sha256 = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        // RFC 9421, appendix B.2.
        let sha512 = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
        assert!(read(sha256.as_bytes()).unwrap().is_of(body, digest));
        let signed = read(sha512.as_bytes()).unwrap();
        assert!(signed.is_of(b"{\"hello\": \"world\"}", digest));
        assert!(!signed.is_of(b"{\"hello\": \"World\"}", digest));
        let both = format!("{sha256}, {sha512}");
        assert!(!read(both.as_bytes()).unwrap().is_of(body, digest));
        let with_others = format!("md5=:AAAA:, {sha512}, unixsum=1");
        assert_eq!(read(with_others.as_bytes()), Some(signed));
    }

    #[test]
    fn what_has_no_strong_digest_is_none() {
        for value in [
            "",
            "md5=:AAAA:",
            "sha-256",
            "sha-256=1",
            "sha-256=(:AAAA:)",
            "sha-256=:A",
            "\u{e9}",
        ] {
            assert_eq!(read(value.as_bytes()), None, "{value:?}");
        }
    }
}
