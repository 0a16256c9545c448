//! Keys and admin tokens as texts: generated and hashed. `domain::key_text` has their form.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{hash, random};
use crate::domain::api_key::{DigestKind, Environment, KeyKind, SecretDigest};
use crate::domain::id::{AdminTokenId, ID_CHARS, KeyId, encode};
use crate::domain::key_text::{self, CHECKSUM_CHARS, RANDOM_CHARS, checksum, digit};
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::domain::snapshot::Snapshot;

const ADMIN_PREFIX: &str = "cs_admin_";

/// The hasher of secrets: the store keeps their digests only.
pub struct SecretHasher {
    pepper: Option<hmac::Key>,
}

impl SecretHasher {
    /// A hasher with a pepper makes a stolen store useless for testing guessed secrets; without one, the protection is
    /// the 256 random bits.
    pub fn new(pepper: Option<Secret>) -> Self {
        let key = |text: Secret| hmac::Key::new(hmac::HMAC_SHA256, text.expose().as_bytes());
        Self {
            pepper: pepper.map(key),
        }
    }

    /// The digest of a whole key or token.
    pub fn digest(&self, text: &str) -> SecretDigest {
        match &self.pepper {
            None => SecretDigest(hash::sha256(text.as_bytes())),
            Some(key) => {
                let mut digest = [0_u8; 32];
                digest.copy_from_slice(hmac::sign(key, text.as_bytes()).as_ref());
                SecretDigest(digest)
            }
        }
    }

    /// The key whose text this is: of our form, or one that another system made.
    ///
    /// The key may be revoked or expired. An unknown id takes as long as a known one, so that the time does not reveal
    /// which ids exist.
    pub fn prove(&self, text: &str, snapshot: &Snapshot) -> Result<KeyId, Reason> {
        let id = match parse_key(text) {
            Ok(id) => id,
            Err(malformed) => return self.imported(text, snapshot).ok_or(malformed),
        };
        let entry = snapshot.keys.get(&id);
        let entry = entry.filter(|entry| entry.digest_kind == DigestKind::Own);
        let digest = entry.map_or(SecretDigest([0; 32]), |entry| entry.digest);
        match (self.matches(text, &digest), entry) {
            (_, None) => Err(Reason::KeyUnknown),
            (false, Some(_)) => Err(Reason::KeyWrong),
            (true, Some(_)) => Ok(id),
        }
    }

    /// The key that another system made, if this is its text. It is found by its digest, which nobody can choose.
    pub fn imported(&self, text: &str, snapshot: &Snapshot) -> Option<KeyId> {
        if !snapshot.key_index.has_imported() {
            return None;
        }
        let plain = (
            DigestKind::Sha256,
            SecretDigest(hash::sha256(text.as_bytes())),
        );
        let peppered = self
            .pepper
            .is_some()
            .then(|| (DigestKind::HmacSha256, self.digest(text)));
        let mut digests = std::iter::once(plain).chain(peppered);
        digests.find_map(|(kind, digest)| {
            let id = snapshot.key_index.imported(&digest)?;
            let entry = snapshot.keys.get(&id)?;
            (entry.digest_kind == kind).then_some(id)
        })
    }

    /// True if digests are made under a pepper.
    pub const fn is_peppered(&self) -> bool {
        self.pepper.is_some()
    }

    /// True if `text` is what `digest` was made from; constant time.
    pub fn matches(&self, text: &str, digest: &SecretDigest) -> bool {
        hash::constant_time_eq(&self.digest(text).0, &digest.0)
    }
}

impl std::fmt::Debug for SecretHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretHasher")
            .field("peppered", &self.pepper.is_some())
            .finish()
    }
}

/// A new key for `id`.
pub fn generate_key(id: KeyId, kind: KeyKind, environment: Environment) -> Secret {
    generate(kind.prefix(environment), u128::from(id))
}

/// The id in a key, if its form is a key's. Only the digest shows that it is the right key.
pub fn parse_key(text: &str) -> Result<KeyId, Reason> {
    key_text::parse(text).ok_or(Reason::KeyMalformed)
}

/// A new admin token for `id`.
pub fn generate_admin_token(id: AdminTokenId) -> Secret {
    generate(ADMIN_PREFIX, u128::from(id))
}

/// The id in an admin token, if its form is an admin token's.
pub fn parse_admin_token(text: &str) -> Option<AdminTokenId> {
    key_text::read(ADMIN_PREFIX, text).map(AdminTokenId::from_bits)
}

fn generate(prefix: &str, id: u128) -> Secret {
    // The capacity is the whole length, so that no half-written copy stays behind.
    let mut text = String::with_capacity(prefix.len() + ID_CHARS + RANDOM_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix);
    text.extend(encode(id).map(char::from));
    push_random(&mut text);
    text.extend(checksum(text.as_bytes()).map(char::from));
    Secret::new(text)
}

/// Appends random characters; bytes from 248 on are skipped, so that each character is equally likely.
fn push_random(text: &mut String) {
    let mut missing = RANDOM_CHARS;
    while missing > 0 {
        let pool = Zeroizing::new(random::bytes::<64>());
        let even = pool.iter().filter(|byte| **byte < 248).take(missing);
        let before = text.len();
        text.extend(even.map(|byte| digit(u32::from(*byte))).map(char::from));
        missing -= text.len() - before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_reads_as_its_id(bits in any::<u128>()) {
            let id = KeyId::from_bits(bits);
            let key = generate_key(id, KeyKind::Publishable, Environment::Test);
            prop_assert_eq!(parse_key(key.expose()), Ok(id));
            let admin = AdminTokenId::from_bits(bits);
            let token = generate_admin_token(admin);
            prop_assert_eq!(parse_admin_token(token.expose()), Some(admin));
            prop_assert_eq!(parse_key(token.expose()), Err(Reason::KeyMalformed));
            prop_assert_eq!(parse_admin_token(key.expose()), None);
        }

        #[test]
        fn one_wrong_character_is_noticed(place in 0_usize..83, to in "[0-9A-Za-z_]") {
            let key = generate_key(KeyId::from_bits(7), KeyKind::Secret, Environment::Live);
            let mut wrong = key.expose().to_owned();
            wrong.replace_range(place..=place, &to);
            if wrong != key.expose() {
                prop_assert_eq!(parse_key(&wrong), Err(Reason::KeyMalformed));
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "(sk_live_|cs_admin_)?\\PC{0,90}") {
            let _ = parse_key(&text);
            let _ = parse_admin_token(&text);
        }
    }

    #[test]
    fn keys_say_their_class_and_have_one_length() {
        let id = KeyId::from_bits(u128::MAX);
        let live = generate_key(id, KeyKind::Secret, Environment::Live);
        assert!(
            live.expose()
                .starts_with("sk_live_7zzzzzzzzzzzzzzzzzzzzzzzzz")
        );
        assert_eq!(live.expose().len(), 83);
        assert_ne!(live, generate_key(id, KeyKind::Secret, Environment::Live));
        let test = generate_key(id, KeyKind::Secret, Environment::Test);
        assert!(test.expose().starts_with("sk_test_"));
    }

    #[test]
    fn what_is_not_a_key_is_malformed() {
        let key = generate_key(KeyId::from_bits(7), KeyKind::Secret, Environment::Live);
        let key = key.expose();
        for bad in [
            "",
            "sk_live_",
            "sk_live_00000000000000000000000007",
            &format!(" {key}"),
            &format!("{key}\n"),
            &key.to_uppercase(),
            &key.replace("sk_live", "sk_prod"),
            &key.replace("sk_live", "sk_test"),
        ] {
            assert_eq!(parse_key(bad), Err(Reason::KeyMalformed), "{bad:?}");
        }
    }

    #[test]
    fn a_pepper_changes_every_digest() {
        let plain = SecretHasher::new(None);
        let peppered = SecretHasher::new(Some(Secret::new("pepper".to_owned())));
        let other = SecretHasher::new(Some(Secret::new("salt".to_owned())));
        let digest = peppered.digest("key");
        assert!(peppered.matches("key", &digest));
        assert!(!peppered.matches("kez", &digest));
        assert!(!plain.matches("key", &digest));
        assert!(!other.matches("key", &digest));
        assert!(plain.matches("key", &plain.digest("key")));
        assert_eq!(format!("{peppered:?}"), "SecretHasher { peppered: true }");
    }
}
