//! Access tokens in the form that their App wants: a signed JWT that everyone can read, or the same under a cipher.
//!
//! An opaque token is `cs_access_` and the base64url of a nonce (12 octets), the encrypted JWT and a tag (16), by
//! AES-256-GCM-SIV (RFC 8452), which a repeated nonce does not break. Only the gateway reads it, and it reads it without
//! a look-up. The JWT in it is signed and judged as every other, so that a rotation of the token key, expiry, binding and
//! revocation are the same for both.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::jwt;
use super::random;
use crate::domain::app_settings::AccessTokenFormat;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::time::Timestamp;
use crate::domain::token::{Claims, VerificationKey};

const PREFIX: &str = "cs_access_";

/// The most characters of an opaque token: the longest JWT fits, a third longer than it was.
const CHARS_MAX: usize = 11 * 1024;

/// Names the use of the key: what it has encrypted for another one does not open here.
const USE: &[u8] = b"countersign access token 1";

/// The reader of access tokens in either form, and the maker of opaque ones.
pub struct AccessTokens(RandomizedNonceKey);

/// A key of opaque tokens that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key of opaque tokens is 43 characters of base64url")]
pub struct InvalidAccessKey;

impl AccessTokens {
    /// A new key, as its file has it.
    pub fn generate() -> Secret {
        let key = Zeroizing::new(random::bytes::<32>());
        Secret::new(BASE64URL_NOPAD.encode(&*key))
    }

    /// Loads a key.
    pub fn load(key: &Secret) -> Result<Self, InvalidAccessKey> {
        let key = BASE64URL_NOPAD.decode(key.expose().trim_ascii().as_bytes());
        let key = Zeroizing::new(key.ok().ok_or(InvalidAccessKey)?);
        let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &key);
        key.map(Self).ok().ok_or(InvalidAccessKey)
    }

    /// A reader with a key of its own, for tests.
    #[cfg(test)]
    pub fn sample() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::load(&Self::generate()).unwrap())
    }

    /// A signed token in this form.
    pub fn form(&self, token: String, format: AccessTokenFormat) -> Secret {
        match format {
            AccessTokenFormat::Jwt => Secret::new(token),
            AccessTokenFormat::Opaque => self.conceal(token),
        }
    }

    /// Parses a token in either form, as [`jwt::verify`] does.
    pub fn verify(
        &self,
        token: &str,
        keys: &[VerificationKey],
        issuer: &str,
        now: Timestamp,
    ) -> Result<Claims, Reason> {
        match token.strip_prefix(PREFIX) {
            Some(concealed) => jwt::verify(&self.reveal(concealed)?, keys, issuer, now),
            None => jwt::verify(token, keys, issuer, now),
        }
    }

    fn conceal(&self, token: String) -> Secret {
        let mut text = token.into_bytes();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(USE), &mut text)
            .expect("a text of a few thousand octets can be encrypted");
        let mut opaque = PREFIX.to_owned();
        BASE64URL_NOPAD.encode_append(&[nonce.as_ref().as_slice(), &text].concat(), &mut opaque);
        Secret::new(opaque)
    }

    /// The JWT in an opaque token that this gateway has made.
    fn reveal(&self, concealed: &str) -> Result<String, Reason> {
        if concealed.len() > CHARS_MAX {
            return Err(Reason::TokenMalformed);
        }
        let octets = BASE64URL_NOPAD.decode(concealed.as_bytes());
        let octets = octets.ok().ok_or(Reason::TokenMalformed)?;
        let split = octets.split_first_chunk::<NONCE_LEN>();
        let (nonce, text) = split.ok_or(Reason::TokenMalformed)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(USE), &mut text);
        // The tag is what a signature is for a JWT: nobody but the gateway makes one.
        let opened = opened.ok().ok_or(Reason::TokenSignature)?.to_vec();
        String::from_utf8(opened).ok().ok_or(Reason::TokenMalformed)
    }
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessTokens")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::crypto::jwt::TokenSigner;
    use crate::domain::id::{AppId, KeyId, TokenId};
    use crate::domain::scope::ScopeSet;

    const ISSUER: &str = "https://api.example.com";
    const NOW: Timestamp = Timestamp::from_unix_seconds(1_764_000_000);

    fn claims() -> Claims {
        Claims {
            issuer: ISSUER.to_owned(),
            audience: ISSUER.to_owned(),
            id: TokenId::from_bits(1),
            app: AppId::from_bits(2),
            key: KeyId::from_bits(3),
            subject: Some("alice".parse().unwrap()),
            scopes: "orders:read".parse().unwrap(),
            issued_at: NOW,
            expires_at: NOW.plus(Duration::from_mins(15)),
            certificate: None,
            proof_key: None,
            session: None,
        }
    }

    fn signer() -> TokenSigner {
        TokenSigner::load(&TokenSigner::generate()).unwrap()
    }

    #[test]
    fn an_opaque_token_says_nothing_and_is_read_as_its_jwt() {
        let (tokens, signer) = (AccessTokens::sample(), signer());
        let keys = [signer.verification_key()];
        let make = |format| tokens.form(signer.sign(&claims()), format);
        let opaque = make(AccessTokenFormat::Opaque);
        let text = opaque.expose();
        assert!(text.starts_with(PREFIX) && !text.contains('.'));
        assert_ne!(opaque, make(AccessTokenFormat::Opaque));
        let plain = make(AccessTokenFormat::Jwt);
        assert_eq!(plain.expose().split('.').count(), 3);
        for token in [text, plain.expose()] {
            let verify = |keys, now| tokens.verify(token, keys, ISSUER, now);
            assert_eq!(verify(&keys, NOW), Ok(claims()));
            let end = claims().expires_at;
            assert_eq!(verify(&keys, end), Err(Reason::TokenExpired));
            assert_eq!(verify(&[], NOW), Err(Reason::TokenSignature));
        }
    }

    #[test]
    fn no_character_of_an_opaque_token_can_be_changed() {
        let (tokens, signer) = (AccessTokens::sample(), signer());
        let keys = [signer.verification_key()];
        let verify = |text: &str| tokens.verify(text, &keys, ISSUER, NOW);
        let opaque = tokens.form(signer.sign(&claims()), AccessTokenFormat::Opaque);
        let text = opaque.expose();
        for at in (PREFIX.len()..text.len()).step_by(7) {
            let mut changed = text.to_owned();
            let other = if text.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            changed.replace_range(at..=at, other);
            assert!(verify(&changed).is_err(), "at {at}");
        }
        for odd in ["=", "A", " ", "."] {
            assert!(verify(&format!("{text}{odd}")).is_err(), "{odd:?}");
        }
        for short in [PREFIX, "cs_access_AAAA", "cs_access_****"] {
            assert!(verify(short).is_err(), "{short}");
        }
        let long = format!("{PREFIX}{}", "A".repeat(CHARS_MAX + 1));
        assert_eq!(verify(&long), Err(Reason::TokenMalformed));
        let stranger = AccessTokens::sample();
        let foreign = stranger.verify(text, &keys, ISSUER, NOW);
        assert_eq!(foreign, Err(Reason::TokenSignature));
    }

    #[test]
    fn the_longest_scope_set_still_fits() {
        let (tokens, signer) = (AccessTokens::sample(), signer());
        let scopes = (0..64).map(|n| format!("{n:02}{}", "s".repeat(62)).parse().unwrap());
        let claims = Claims {
            scopes: ScopeSet::new(scopes).unwrap(),
            ..claims()
        };
        let opaque = tokens.form(signer.sign(&claims), AccessTokenFormat::Opaque);
        let keys = [signer.verification_key()];
        assert_eq!(
            tokens.verify(opaque.expose(), &keys, ISSUER, NOW),
            Ok(claims)
        );
    }

    #[test]
    fn a_key_has_its_form_and_is_never_printed() {
        let key = AccessTokens::generate();
        assert!(AccessTokens::load(&Secret::new(format!("{}\n", key.expose()))).is_ok());
        for bad in ["", "short", "****", &"A".repeat(44)] {
            let loaded = AccessTokens::load(&Secret::new(bad.to_owned()));
            assert_eq!(loaded.err(), Some(InvalidAccessKey), "{bad}");
        }
        assert_eq!(format!("{:?}", AccessTokens::sample()), "AccessTokens");
    }
}
