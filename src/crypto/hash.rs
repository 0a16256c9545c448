//! Digests, and their comparison in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;

use crate::domain::certificate::Fingerprint;

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut output = [0_u8; 32];
    output.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    output
}

/// SHA-1 of `data`, for the handshake of WebSocket (RFC 6455, 4.2.2). It protects nothing.
pub fn sha1(data: &[u8]) -> [u8; 20] {
    let mut output = [0_u8; 20];
    output.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, data).as_ref());
    output
}

/// The fingerprint of a whole certificate (or of a `SubjectPublicKeyInfo`) in DER.
pub fn fingerprint(der: &[u8]) -> Fingerprint {
    Fingerprint::from_bytes(sha256(der))
}

/// True if both are equal; constant time for texts of one length. Only the lengths show from outside.
pub fn constant_time_eq(one: &[u8], other: &[u8]) -> bool {
    verify_slices_are_equal(one, other).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        assert_eq!(
            fingerprint(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn only_equal_bytes_are_equal() {
        assert!(constant_time_eq(b"abc", b"abc"));
        for (one, other) in [(&b"abc"[..], &b"abd"[..]), (b"abc", b"ab"), (b"", b"a")] {
            assert!(!constant_time_eq(one, other));
        }
    }
}
