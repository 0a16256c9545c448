//! JWK sets of others (RFC 7517): the public keys by which they sign, each for the algorithms of its kind only.

use aws_lc_rs::signature::{
    self, ED25519, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

use super::hash;
use super::strict_json;
use crate::domain::thumbprint::Thumbprint;
use crate::domain::token_profile::TokenProfile;

/// The largest set: 32 RSA keys of 8192 bits, with their certificates.
pub const SET_BYTES_MAX: usize = 64 * 1024;

/// The most keys of a set. A signature is checked with one key, so that a large set costs no more than its reading.
const KEYS_MAX: usize = 32;

/// The most characters of a key's id.
const KID_CHARS_MAX: usize = 200;

/// Sizes of RSA keys, in bits. Smaller ones are weak, and larger ones make a signature's check a burden.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Members that only a private or a symmetric key has (RFC 7518, 6.2.2, 6.3.2 and 6.4).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

macro_rules! algorithms {
    ($($name:ident = $word:literal,)+) => {
        /// A signature algorithm that signs with a private key (RFC 7518, 3.1; RFC 8037, 3.1).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Algorithm {
            $($name,)+
        }

        impl Algorithm {
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

algorithms! {
    Rs256 = "RS256",
    Rs384 = "RS384",
    Rs512 = "RS512",
    Ps256 = "PS256",
    Ps384 = "PS384",
    Ps512 = "PS512",
    Es256 = "ES256",
    Es384 = "ES384",
    EdDsa = "EdDSA",
}

impl Algorithm {
    /// Those that a profile accepts (FAPI 2.0 Security Profile, 5.4.1).
    pub const fn accepted(profile: TokenProfile) -> &'static [Self] {
        match profile {
            TokenProfile::Standard => Self::ALL,
            TokenProfile::Fapi2 => &[Self::Ps256, Self::Es256, Self::EdDsa],
        }
    }

    /// The algorithm of this name. Names are compared as they stand: `none` in any spelling is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|known| known.as_str() == name)
    }

    const fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::EdDsa => None,
        }
    }
}

/// A set that is refused. The words are for the one who wrote it, and repeat nothing of it but ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeys {
    #[error("a JWK set has at most {} KiB", SET_BYTES_MAX / 1024)]
    TooLarge,
    #[error(
        "a JWK set is a JSON object with a list `keys`, and no member stands twice in an object"
    )]
    Form,
    #[error("a JWK set has at most {KEYS_MAX} keys")]
    TooMany,
    #[error("the JWK set has no key that verifies signatures")]
    Empty,
    #[error("two keys of the JWK set have the kid {0:?}; each needs its own")]
    RepeatedKid(String),
    #[error("each key of a JWK set of several keys needs a kid")]
    NoKid,
    #[error("key {place} of the JWK set {fault}")]
    Key { place: usize, fault: KeyFault },
}

/// A key that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("is not a JSON object with a text `kty`")]
    Form,
    #[error(
        "is private or symmetric: anyone who reads it can sign with it. Make a new key pair and send the public half"
    )]
    Private,
    #[error(
        "has a kid that is not a text of 1 to {KID_CHARS_MAX} characters without control characters"
    )]
    Kid,
    #[error("is of no kind that verifies signatures here: use RSA, P-256, P-384 or Ed25519")]
    Kind,
    #[error("is not for signatures, by its `use` or `key_ops`")]
    Purpose,
    #[error("has an `alg` that is unknown here or does not fit its kind")]
    Algorithm,
    #[error("has a member that is not base64url without padding, or not of the right length")]
    Encoding,
    #[error("is an RSA key of {0} bits; from 2048 to 8192 are accepted")]
    RsaBits(usize),
    #[error("needs the public exponent 65537 (AQAB)")]
    RsaExponent,
    #[error("is no point on its curve")]
    Point,
}

/// The public keys of one party.
#[derive(Debug)]
pub struct KeySet(Vec<Jwk>);

/// One public key.
#[derive(Debug)]
pub struct Jwk {
    kid: Option<String>,
    thumbprint: Thumbprint,
    /// The only algorithm that the key is for, if it says one.
    only: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa(RsaPublicKeyComponents<Vec<u8>>),
    P256(ParsedPublicKey),
    P384(ParsedPublicKey),
    Ed25519(ParsedPublicKey),
}

/// The treatment of keys in a set that do not verify signatures here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// The set was sent to us: each key in it is meant for us, and one that is of no use is a mistake.
    Every,
    /// The set was fetched: its keys are for other readers, too. Keys for other purposes and of other kinds are passed
    /// over; a private key is refused all the same.
    Usable,
}

impl KeySet {
    /// Reads a set.
    pub fn parse(text: &[u8], strictness: Strictness) -> Result<Self, InvalidKeys> {
        if text.len() > SET_BYTES_MAX {
            return Err(InvalidKeys::TooLarge);
        }
        let set = strict_json::object(text).ok_or(InvalidKeys::Form)?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or(InvalidKeys::Form)?;
        if keys.len() > KEYS_MAX {
            return Err(InvalidKeys::TooMany);
        }
        let mut found = Vec::with_capacity(keys.len());
        for (place, key) in (1..).zip(keys) {
            match read(key) {
                Ok(key) => found.push(key),
                Err(fault) if strictness == Strictness::Usable && fault != KeyFault::Private => {}
                Err(fault) => return Err(InvalidKeys::Key { place, fault }),
            }
        }
        check_kids(&found)?;
        Ok(Self(found))
    }

    /// The key for a signature by `algorithm`: the one with the `kid`, or the only one of its kind where none is named.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Jwk> {
        let mut fitting = self.0.iter().filter(|key| {
            let named = kid.is_none_or(|kid| key.kid.as_deref() == Some(kid));
            named && key.fits(algorithm)
        });
        let first = fitting.next()?;
        fitting.next().is_none().then_some(first)
    }

    /// True if a key has this `kid`.
    #[cfg(test)]
    pub fn knows(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Jwk {
    /// Reads one public key that verifies signatures.
    pub fn read(key: &Value) -> Result<Self, KeyFault> {
        read(key)
    }

    /// The thumbprint of the key (RFC 7638): the same for every spelling of it.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// True if `signature` over `message` is by this key and `algorithm`.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        match &self.material {
            Material::Rsa(key) => algorithm
                .rsa()
                .is_some_and(|rsa| key.verify(rsa, message, signature).is_ok()),
            Material::P256(key) | Material::P384(key) | Material::Ed25519(key) => {
                key.verify_sig(message, signature).is_ok()
            }
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.only.is_none_or(|only| only == algorithm) && self.material.fits(algorithm)
    }
}

impl Material {
    const fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa(_) => algorithm.rsa().is_some(),
            Self::P256(_) => matches!(algorithm, Algorithm::Es256),
            Self::P384(_) => matches!(algorithm, Algorithm::Es384),
            Self::Ed25519(_) => matches!(algorithm, Algorithm::EdDsa),
        }
    }
}

fn check_kids(keys: &[Jwk]) -> Result<(), InvalidKeys> {
    if keys.is_empty() {
        return Err(InvalidKeys::Empty);
    }
    for (place, key) in keys.iter().enumerate() {
        let Some(kid) = &key.kid else {
            if keys.len() > 1 {
                return Err(InvalidKeys::NoKid);
            }
            continue;
        };
        let mut earlier = keys.iter().take(place);
        if earlier.any(|other| other.kid.as_ref() == Some(kid)) {
            return Err(InvalidKeys::RepeatedKid(kid.clone()));
        }
    }
    Ok(())
}

fn read(key: &Value) -> Result<Jwk, KeyFault> {
    let key = key.as_object().ok_or(KeyFault::Form)?;
    // Before anything else: a secret that has been sent around is one no more, whatever else is wrong with it.
    if PRIVATE.iter().any(|member| key.contains_key(*member)) {
        return Err(KeyFault::Private);
    }
    let kty = key.get("kty").and_then(Value::as_str);
    let kty = kty.ok_or(KeyFault::Form)?;
    if !is_for_signatures(key) {
        return Err(KeyFault::Purpose);
    }
    let material = match (kty, text(key, "crv")) {
        ("RSA", _) => rsa(key)?,
        ("EC", Some("P-256")) => {
            Material::P256(point(key, 32, &signature::ECDSA_P256_SHA256_FIXED)?)
        }
        ("EC", Some("P-384")) => {
            Material::P384(point(key, 48, &signature::ECDSA_P384_SHA384_FIXED)?)
        }
        ("OKP", Some("Ed25519")) => Material::Ed25519(ed25519(key)?),
        _ => return Err(KeyFault::Kind),
    };
    Ok(Jwk {
        kid: kid(key)?,
        thumbprint: thumbprint(key),
        only: only(key, &material)?,
        material,
    })
}

/// The thumbprint of a key whose members have been read: each is base64url in its one spelling, and needs no escapes.
fn thumbprint(key: &Map<String, Value>) -> Thumbprint {
    let member = |name| text(key, name).unwrap_or_default();
    let canonical = match member("kty") {
        "RSA" => format!(
            r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#,
            member("e"),
            member("n")
        ),
        "EC" => format!(
            r#"{{"crv":"{}","kty":"EC","x":"{}","y":"{}"}}"#,
            member("crv"),
            member("x"),
            member("y")
        ),
        kty => format!(
            r#"{{"crv":"{}","kty":"{kty}","x":"{}"}}"#,
            member("crv"),
            member("x")
        ),
    };
    Thumbprint::from_bytes(hash::sha256(canonical.as_bytes()))
}

/// True if the key's purpose, where it says one, is to verify signatures (RFC 7517, 4.2 and 4.3).
fn is_for_signatures(key: &Map<String, Value>) -> bool {
    let used = key.get("use").is_none_or(|used| used == "sig");
    let verifies = |operations: &Value| {
        let operations = operations.as_array();
        operations.is_some_and(|all| all.iter().any(|operation| operation == "verify"))
    };
    used && key.get("key_ops").is_none_or(verifies)
}

fn kid(key: &Map<String, Value>) -> Result<Option<String>, KeyFault> {
    let Some(kid) = key.get("kid") else {
        return Ok(None);
    };
    let kid = kid.as_str().ok_or(KeyFault::Kid)?;
    let fits = (1..=KID_CHARS_MAX).contains(&kid.chars().count());
    if fits && !kid.chars().any(char::is_control) {
        Ok(Some(kid.to_owned()))
    } else {
        Err(KeyFault::Kid)
    }
}

fn only(key: &Map<String, Value>, material: &Material) -> Result<Option<Algorithm>, KeyFault> {
    let Some(named) = key.get("alg") else {
        return Ok(None);
    };
    let algorithm = named.as_str().and_then(Algorithm::named);
    let algorithm = algorithm.filter(|algorithm| material.fits(*algorithm));
    algorithm.map(Some).ok_or(KeyFault::Algorithm)
}

fn rsa(key: &Map<String, Value>) -> Result<Material, KeyFault> {
    let (n, e) = (octets(key, "n")?, octets(key, "e")?);
    // Leading zeros are no part of a number (RFC 7518, 6.3.1.1): a key has one spelling.
    let Some(first) = n.first().filter(|first| **first != 0) else {
        return Err(KeyFault::Encoding);
    };
    let bits = n.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(0);
    if !RSA_BITS.contains(&bits) {
        return Err(KeyFault::RsaBits(bits));
    }
    if e != [1, 0, 1] {
        return Err(KeyFault::RsaExponent);
    }
    let key = RsaPublicKeyComponents { n, e };
    key.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        .ok()
        .ok_or(KeyFault::Encoding)?;
    Ok(Material::Rsa(key))
}

fn point(
    key: &Map<String, Value>,
    length: usize,
    algorithm: &'static dyn VerificationAlgorithm,
) -> Result<ParsedPublicKey, KeyFault> {
    let (x, y) = (octets(key, "x")?, octets(key, "y")?);
    if x.len() != length || y.len() != length {
        return Err(KeyFault::Encoding);
    }
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    ParsedPublicKey::new(algorithm, point)
        .ok()
        .ok_or(KeyFault::Point)
}

fn ed25519(key: &Map<String, Value>) -> Result<ParsedPublicKey, KeyFault> {
    let x = octets(key, "x")?;
    if x.len() != 32 {
        return Err(KeyFault::Encoding);
    }
    ParsedPublicKey::new(&ED25519, x)
        .ok()
        .ok_or(KeyFault::Point)
}

fn octets(key: &Map<String, Value>, member: &str) -> Result<Vec<u8>, KeyFault> {
    let text = text(key, member).ok_or(KeyFault::Encoding)?;
    let octets = BASE64URL_NOPAD.decode(text.as_bytes());
    octets.ok().ok_or(KeyFault::Encoding)
}

fn text<'k>(key: &'k Map<String, Value>, member: &str) -> Option<&'k str> {
    key.get(member).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::jwk_testing::TestKey;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(keys: &Value, strictness: Strictness) -> Result<usize, InvalidKeys> {
        let set = json!({"keys": keys}).to_string();
        KeySet::parse(set.as_bytes(), strictness).map(|set| set.len())
    }

    fn fault(key: &Value) -> Option<KeyFault> {
        match parse(&json!([key]), Strictness::Every) {
            Err(InvalidKeys::Key { place: 1, fault }) => Some(fault),
            Ok(1) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_key_verifies_by_its_own_algorithms_and_no_other() {
        let keys = TestKey::one_of_each();
        for key in &keys {
            let set = KeySet::parse(key.set().as_bytes(), Strictness::Every).unwrap();
            for algorithm in Algorithm::ALL.iter().copied() {
                let found = set.find(Some("k"), algorithm);
                assert_eq!(found.is_some(), key.algorithms().contains(&algorithm));
                let Some(found) = found else { continue };
                let signature = key.sign(algorithm, b"message");
                assert!(
                    found.verifies(algorithm, b"message", &signature),
                    "{algorithm:?}"
                );
                assert!(!found.verifies(algorithm, b"massage", &signature));
                assert!(!found.verifies(algorithm, b"message", &signature[1..]));
                assert!(!found.verifies(algorithm, b"message", &[]));
                let other = |other: &&Algorithm| **other != algorithm;
                for other in Algorithm::ALL.iter().filter(other) {
                    assert!(!found.verifies(*other, b"message", &signature), "{other:?}");
                }
            }
        }
    }

    #[test]
    fn the_algorithms_are_those_that_a_configuration_may_name() {
        let mut names: Vec<_> = Algorithm::ALL.iter().map(|each| each.as_str()).collect();
        names.push(crate::domain::issuer::HS256);
        assert_eq!(names, crate::domain::issuer::ALGORITHMS);
    }

    #[test]
    fn a_key_is_found_by_its_id_or_as_the_only_one() {
        let [rsa, p256, ..] = TestKey::one_of_each();
        let both = json!({"keys": [rsa.jwk("a"), p256.jwk("b")]}).to_string();
        let set = KeySet::parse(both.as_bytes(), Strictness::Every).unwrap();
        assert!(set.find(Some("b"), Algorithm::Es256).is_some());
        assert!(
            set.find(Some("a"), Algorithm::Es256).is_none(),
            "another kind"
        );
        assert!(set.find(Some("c"), Algorithm::Es256).is_none());
        assert!(
            set.find(None, Algorithm::Es256).is_some(),
            "the only one of its kind"
        );
        assert!(set.knows("a") && !set.knows("c"));
        let two = json!({"keys": [p256.jwk("a"), TestKey::p256().jwk("b")]}).to_string();
        let set = KeySet::parse(two.as_bytes(), Strictness::Every).unwrap();
        assert!(set.find(None, Algorithm::Es256).is_none(), "two of a kind");
    }

    #[test]
    fn what_can_sign_is_refused_wherever_it_comes_from() {
        let [rsa, p256, ..] = TestKey::one_of_each();
        for key in [&rsa, &p256] {
            for member in PRIVATE {
                let mut jwk = key.jwk("k");
                jwk[member] = json!("AQAB");
                for strictness in [Strictness::Every, Strictness::Usable] {
                    let refused = parse(&json!([jwk, p256.jwk("b")]), strictness).unwrap_err();
                    let fault = KeyFault::Private;
                    assert_eq!(refused, InvalidKeys::Key { place: 1, fault }, "{member}");
                }
            }
        }
        let symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"});
        assert_eq!(fault(&symmetric), Some(KeyFault::Private));
    }

    #[test]
    fn a_key_that_is_of_no_use_is_named_by_its_fault() {
        let [rsa, p256, p384, ed25519] = TestKey::one_of_each();
        let with = |key: &TestKey, member: &str, value: Value| {
            let mut jwk = key.jwk("k");
            jwk[member] = value;
            fault(&jwk)
        };
        let small = BASE64URL_NOPAD.encode(&[0xff; 128]);
        let large = BASE64URL_NOPAD.encode(&[0xff; 1025]);
        let zero = BASE64URL_NOPAD.encode(&[0; 257]);
        for (key, member, value, expected) in [
            (&rsa, "n", json!(small), KeyFault::RsaBits(1024)),
            (&rsa, "n", json!(large), KeyFault::RsaBits(8200)),
            (&rsa, "n", json!(zero), KeyFault::Encoding),
            (&rsa, "n", json!(null), KeyFault::Encoding),
            (&rsa, "e", json!("Aw"), KeyFault::RsaExponent),
            (&rsa, "e", json!("AQAB="), KeyFault::Encoding),
            (&rsa, "alg", json!("ES256"), KeyFault::Algorithm),
            (&rsa, "alg", json!("HS256"), KeyFault::Algorithm),
            (&rsa, "alg", json!("none"), KeyFault::Algorithm),
            (&rsa, "use", json!("enc"), KeyFault::Purpose),
            (&rsa, "key_ops", json!(["encrypt"]), KeyFault::Purpose),
            (&rsa, "key_ops", json!("verify"), KeyFault::Purpose),
            (&rsa, "kty", json!("oct"), KeyFault::Kind),
            (&rsa, "kty", json!(1), KeyFault::Form),
            (&rsa, "kid", json!(1), KeyFault::Kid),
            (&rsa, "kid", json!(""), KeyFault::Kid),
            (&rsa, "kid", json!("a\nb"), KeyFault::Kid),
            (&rsa, "kid", json!("a".repeat(201)), KeyFault::Kid),
            (&p256, "x", json!(small), KeyFault::Encoding),
            (
                &p256,
                "y",
                json!(BASE64URL_NOPAD.encode(&[1; 32])),
                KeyFault::Point,
            ),
            (&p256, "crv", json!("P-384"), KeyFault::Encoding),
            (&p256, "crv", json!("P-521"), KeyFault::Kind),
            (&p256, "crv", json!("secp256k1"), KeyFault::Kind),
            (&p256, "alg", json!("ES384"), KeyFault::Algorithm),
            (
                &p384,
                "y",
                json!(BASE64URL_NOPAD.encode(&[0; 48])),
                KeyFault::Point,
            ),
            (&ed25519, "x", json!("AQAB"), KeyFault::Encoding),
            (&ed25519, "crv", json!("X25519"), KeyFault::Kind),
        ] {
            assert_eq!(
                with(key, member, value.clone()),
                Some(expected),
                "{member} {value}"
            );
        }
        assert_eq!(with(&rsa, "alg", json!("PS512")), None);
        assert_eq!(with(&rsa, "x5c", json!("AA==")), None);
        assert_eq!(fault(&json!("a text")), Some(KeyFault::Form));
    }

    #[test]
    fn a_fetched_set_is_used_as_far_as_it_can_be() {
        let [rsa, p256, ..] = TestKey::one_of_each();
        let mut encrypts = rsa.jwk("e");
        encrypts["use"] = json!("enc");
        let odd = [
            json!({"kty": "new"}),
            json!("text"),
            json!({"kty": "RSA"}),
            encrypts,
        ];
        let mut keys = odd.to_vec();
        keys.push(p256.jwk("k"));
        assert_eq!(parse(&json!(keys), Strictness::Usable), Ok(1));
        assert!(parse(&json!(keys), Strictness::Every).is_err());
        assert_eq!(
            parse(&json!(odd), Strictness::Usable),
            Err(InvalidKeys::Empty)
        );
    }

    #[test]
    fn a_set_has_bounds_and_each_key_its_id() {
        let [rsa, p256, ..] = TestKey::one_of_each();
        let strict = |keys: Value| parse(&keys, Strictness::Every);
        let twice = strict(json!([rsa.jwk("k"), p256.jwk("k")]));
        assert_eq!(twice, Err(InvalidKeys::RepeatedKid("k".to_owned())));
        let mut nameless = p256.jwk("k");
        nameless.as_object_mut().unwrap().remove("kid");
        assert_eq!(strict(json!([nameless])), Ok(1));
        assert_eq!(
            strict(json!([nameless, rsa.jwk("k")])),
            Err(InvalidKeys::NoKid)
        );
        let many: Vec<Value> = (0..33)
            .map(|number| p256.jwk(&number.to_string()))
            .collect();
        assert_eq!(strict(json!(many)), Err(InvalidKeys::TooMany));
        assert_eq!(strict(json!(many[1..])), Ok(32));
        assert_eq!(strict(json!([])), Err(InvalidKeys::Empty));
        assert_eq!(strict(json!({})), Err(InvalidKeys::Form));
        let large = " ".repeat(10 << 20);
        for (text, expected) in [
            (&*large, InvalidKeys::TooLarge),
            ("[]", InvalidKeys::Form),
            ("", InvalidKeys::Form),
            (r#"{"keys": [], "keys": []}"#, InvalidKeys::Form),
            (
                r#"{"keys": [{"kty": "RSA", "kty": "EC"}]}"#,
                InvalidKeys::Form,
            ),
        ] {
            let refused = KeySet::parse(text.as_bytes(), Strictness::Usable);
            assert_eq!(refused.unwrap_err(), expected);
        }
    }

    proptest! {
        #[test]
        fn no_set_is_read_that_holds_a_secret(
            text in r#"\{"keys":\[\{"kty":"(RSA|EC|OKP|oct)"(,"(d|k|n|e|x|y|crv|kid)":"[A-Za-z0-9_-]{0,50}"){0,6}\}\]\}"#
        ) {
            for strictness in [Strictness::Every, Strictness::Usable] {
                let read = KeySet::parse(text.as_bytes(), strictness);
                prop_assert!(read.is_err() || !text.contains(r#""d":"#) && !text.contains(r#""k":"#));
            }
        }
    }
}
