//! Server keys and admin tokens as texts: generated, parsed, hashed.
//!
//! Form: `sk_live_` + 26 characters of the id + 43 random characters of base 62 (256 bits) + 6 of checksum. The
//! checksum distinguishes typing errors from guesses without a look-up, and lets secret scanners recognise a key.

use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{hash, random};
use crate::domain::api_key::{Environment, SecretDigest};
use crate::domain::id::{AdminTokenId, ID_CHARS, KeyId, decode, encode};
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// 43 characters of base 62 hold 256 bits.
const SECRET_CHARS: usize = 43;

/// 6 characters of base 62 hold 32 bits.
const CHECKSUM_CHARS: usize = 6;

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

/// A new server key for `id`.
pub fn generate_key(id: KeyId, environment: Environment) -> Secret {
    generate(key_prefix(environment), u128::from(id))
}

/// The id in a server key, if its form is a key's. Only the digest shows that it is the right key.
pub fn parse_key(text: &str) -> Result<KeyId, Reason> {
    [Environment::Live, Environment::Test]
        .into_iter()
        .find_map(|environment| parse(key_prefix(environment), text))
        .map(KeyId::from_bits)
        .ok_or(Reason::KeyMalformed)
}

/// A new admin token for `id`.
pub fn generate_admin_token(id: AdminTokenId) -> Secret {
    generate(ADMIN_PREFIX, u128::from(id))
}

/// The id in an admin token, if its form is an admin token's.
pub fn parse_admin_token(text: &str) -> Option<AdminTokenId> {
    parse(ADMIN_PREFIX, text).map(AdminTokenId::from_bits)
}

const fn key_prefix(environment: Environment) -> &'static str {
    match environment {
        Environment::Live => "sk_live_",
        Environment::Test => "sk_test_",
    }
}

fn generate(prefix: &str, id: u128) -> Secret {
    // The capacity is the whole length, so that no half-written copy stays behind.
    let mut text = String::with_capacity(prefix.len() + ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS);
    text.push_str(prefix);
    text.extend(encode(id).map(char::from));
    push_random(&mut text);
    text.extend(checksum(text.as_bytes()).map(char::from));
    Secret::new(text)
}

/// Appends random characters; bytes from 248 on are skipped, so that each character is equally likely.
fn push_random(text: &mut String) {
    let mut missing = SECRET_CHARS;
    while missing > 0 {
        let pool = Zeroizing::new(random::bytes::<64>());
        let even = pool.iter().filter(|byte| **byte < 248).take(missing);
        let before = text.len();
        text.extend(even.map(|byte| digit(u32::from(*byte))).map(char::from));
        missing -= text.len() - before;
    }
}

fn parse(prefix: &str, text: &str) -> Option<u128> {
    let rest = text.strip_prefix(prefix)?;
    if rest.len() != ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS {
        return None;
    }
    let id = decode(rest.get(..ID_CHARS)?)?;
    let (covered, check) = text.split_at_checked(text.len() - CHECKSUM_CHARS)?;
    let secret = rest.get(ID_CHARS..ID_CHARS + SECRET_CHARS)?;
    let spelled = secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (spelled && check.as_bytes() == checksum(covered.as_bytes())).then_some(id)
}

fn checksum(covered: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32(covered);
    let mut text = [b'0'; CHECKSUM_CHARS];
    for place in text.iter_mut().rev() {
        *place = digit(rest);
        rest /= 62;
    }
    text
}

fn digit(value: u32) -> u8 {
    let place = usize::try_from(value % 62).unwrap_or(0);
    BASE62.get(place).copied().unwrap_or(b'0')
}

/// CRC-32 as in gzip and PNG (ISO 3309), bit by bit: 77 bytes a key do not need a table.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_reads_as_its_id(bits in any::<u128>()) {
            let id = KeyId::from_bits(bits);
            let key = generate_key(id, Environment::Test);
            prop_assert_eq!(parse_key(key.expose()), Ok(id));
            let admin = AdminTokenId::from_bits(bits);
            let token = generate_admin_token(admin);
            prop_assert_eq!(parse_admin_token(token.expose()), Some(admin));
            prop_assert_eq!(parse_key(token.expose()), Err(Reason::KeyMalformed));
            prop_assert_eq!(parse_admin_token(key.expose()), None);
        }

        #[test]
        fn one_wrong_character_is_noticed(place in 0_usize..83, to in "[0-9A-Za-z_]") {
            let key = generate_key(KeyId::from_bits(7), Environment::Live);
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
        let live = generate_key(id, Environment::Live);
        assert!(
            live.expose()
                .starts_with("sk_live_7zzzzzzzzzzzzzzzzzzzzzzzzz")
        );
        assert_eq!(live.expose().len(), 83);
        assert_ne!(live, generate_key(id, Environment::Live));
        let test = generate_key(id, Environment::Test);
        assert!(test.expose().starts_with("sk_test_"));
    }

    #[test]
    fn what_is_not_a_key_is_malformed() {
        let key = generate_key(KeyId::from_bits(7), Environment::Live);
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
    fn the_checksum_is_the_usual_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
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
