//! Signed requests: the part of a verified signature that is still open when the request's head has been judged.

/// An algorithm of a body's digest (RFC 9530, 5). Weaker ones prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    Sha256,
    Sha512,
}

impl DigestAlgorithm {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name in `Content-Digest`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha-256",
            Self::Sha512 => "sha-512",
        }
    }
}

/// The digests of a body that were signed. There is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBody(Box<[(DigestAlgorithm, Box<[u8]>)]>);

impl SignedBody {
    pub fn new(digests: Vec<(DigestAlgorithm, Box<[u8]>)>) -> Option<Self> {
        (!digests.is_empty()).then(|| Self(digests.into()))
    }

    /// True if all digests are those of `body`, as `digest` computes them.
    pub fn is_of(&self, body: &[u8], digest: impl Fn(DigestAlgorithm, &[u8]) -> Vec<u8>) -> bool {
        let mut signed = self.0.iter();
        signed.all(|(algorithm, signed)| digest(*algorithm, body) == **signed)
    }
}

/// A request whose signature has been verified over its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// The digests that the body must have; absent for a request without a body.
    pub body: Option<SignedBody>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digest_has_to_be_the_bodys() {
        let digest = |algorithm: DigestAlgorithm, body: &[u8]| {
            [algorithm.as_str().as_bytes(), body].concat()
        };
        let of = |body: &[u8]| {
            (
                DigestAlgorithm::Sha256,
                digest(DigestAlgorithm::Sha256, body).into(),
            )
        };
        let other = |body: &[u8]| {
            (
                DigestAlgorithm::Sha512,
                digest(DigestAlgorithm::Sha512, body).into(),
            )
        };
        let both = SignedBody::new(vec![of(b"a"), other(b"a")]).unwrap();
        assert!(both.is_of(b"a", digest));
        assert!(!both.is_of(b"b", digest));
        let one_wrong = SignedBody::new(vec![of(b"a"), other(b"b")]).unwrap();
        assert!(!one_wrong.is_of(b"a", digest));
        assert_eq!(SignedBody::new(Vec::new()), None);
    }
}
