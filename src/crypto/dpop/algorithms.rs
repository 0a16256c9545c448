//! The algorithms that sign proofs.

use crate::crypto::jwk::Algorithm;
use crate::domain::token_profile::TokenProfile;

/// A choice of algorithms: their names for clients, and each with what it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Algorithms {
    /// The names with a blank between them, as a challenge lists them.
    pub text: &'static str,
    named: &'static [(&'static str, Algorithm)],
}

impl Algorithms {
    /// Those of new clients. RSA with PKCS #1 v1.5 is not among them: a client that makes a key for this chooses better.
    const USUAL: Self = Self {
        text: "ES256 ES384 PS256 PS384 PS512 EdDSA Ed25519",
        named: &[
            ("ES256", Algorithm::Es256),
            ("ES384", Algorithm::Es384),
            ("PS256", Algorithm::Ps256),
            ("PS384", Algorithm::Ps384),
            ("PS512", Algorithm::Ps512),
            ("EdDSA", Algorithm::EdDsa),
            // The same by its newer name (RFC 9864, 2.2).
            ("Ed25519", Algorithm::EdDsa),
        ],
    };

    const FAPI2: Self = Self {
        text: "ES256 PS256 EdDSA Ed25519",
        named: &[
            ("ES256", Algorithm::Es256),
            ("PS256", Algorithm::Ps256),
            ("EdDSA", Algorithm::EdDsa),
            ("Ed25519", Algorithm::EdDsa),
        ],
    };

    /// Those that a profile accepts.
    pub const fn of(profile: TokenProfile) -> Self {
        match profile {
            TokenProfile::Standard => Self::USUAL,
            TokenProfile::Fapi2 => Self::FAPI2,
        }
    }

    /// The algorithm of this name.
    pub fn find(&self, name: &str) -> Option<Algorithm> {
        let mut named = self.named.iter();
        named
            .find(|(known, _)| *known == name)
            .map(|(_, algorithm)| *algorithm)
    }

    /// The names, for the metadata.
    pub fn names(&self) -> Vec<&'static str> {
        self.named.iter().map(|(name, _)| *name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for profile in TokenProfile::ALL {
            let known = Algorithms::of(profile);
            assert_eq!(known.names().join(" "), known.text);
            for name in known.names() {
                let algorithm = known.find(name).unwrap();
                assert!(Algorithm::accepted(profile).contains(&algorithm), "{name}");
            }
            for other in ["none", "None", "HS256", "RS256", "es256", "", "ES256 "] {
                assert_eq!(known.find(other), None, "{other}");
            }
        }
    }
}
