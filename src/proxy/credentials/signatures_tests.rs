use data_encoding::{BASE64, HEXLOWER};
use serde_json::json;

use super::*;
use crate::crypto::jwk::Algorithm;
use crate::crypto::jwk_testing::TestKey;
use crate::domain::id::KeyId;
use crate::domain::rate::Allowance;
use crate::proxy::counters::local::{Buckets, Counters};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const SECRET: KeyId = KeyId::from_bits(2);
const PUBLISHABLE: KeyId = KeyId::from_bits(3);
const UNKNOWN: KeyId = KeyId::from_bits(4);

/// The failed attempts that an address may make.
const ATTEMPTS: u64 = 3;

/// The components of a request without a body.
const ENOUGH: &str = "\"@method\" \"@target-uri\"";

struct Scene {
    pair: TestKey,
    signatures: Signatures,
    failures: FailedAttempts,
    snapshot: Snapshot,
}

/// An App with a P-256 key, a secret key and a publishable key.
fn scene() -> Scene {
    let pair = TestKey::p256();
    let set = json!({"keys": [pair.jwk("k")]}).to_string();
    let mut app = App::sample(1, "acme");
    app.settings.keys = Some(ClientKeys::Inline(set.into()));
    let publishable = KeyEntry {
        kind: KeyKind::Publishable,
        ..KeyEntry::sample(app.id)
    };
    let keys = [
        (SECRET, KeyEntry::sample(app.id)),
        (PUBLISHABLE, publishable),
    ];
    let counters = Rc::new(Counters::new(Arc::new(Buckets::new(64))));
    let hour = 3_600_000_000_000;
    let allowance = Allowance {
        interval: hour,
        window: hour * ATTEMPTS,
    };
    Scene {
        pair,
        signatures: Signatures::new(Shared::none()),
        failures: FailedAttempts::new(counters, allowance),
        snapshot: Snapshot::sample([app], keys),
    }
}

impl Scene {
    fn verify(
        &self,
        id: KeyId,
        components: &str,
        beside_another: bool,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<(), Reason> {
        let created = NOW.unix_seconds();
        let input = format!("a=({components});created={created};keyid=\"{id}\"");
        let message = |signature: &str, run: &mut dyn FnMut(&Message<'_>)| {
            run(&Message {
                method: "GET",
                authority: "a.test",
                target: "/",
                fields: &[
                    ("signature-input", input.as_bytes()),
                    ("signature", signature.as_bytes()),
                ],
            });
        };
        let mut octets = Vec::new();
        message("a=:AAAA:", &mut |message| {
            let found = http_signature::find(message).unwrap().unwrap();
            if let Ok(base) = found.base(message) {
                octets = self.pair.sign(Algorithm::Es256, &base);
            }
        });
        change(&mut octets);
        let about = Circumstances {
            has_body: false,
            beside_another,
            address: HERE,
            failures: &self.failures,
            now: NOW,
        };
        let mut verified = None;
        let signature = format!("a=:{}:", BASE64.encode(&octets));
        message(&signature, &mut |message| {
            verified = self.signatures.verify(message, about, &self.snapshot);
        });
        verified.unwrap().map(|_| ())
    }

    fn plain(&self, id: KeyId, components: &str) -> Result<(), Reason> {
        self.verify(id, components, false, |_| ())
    }
}

/// The other form of a P-256 signature: s becomes n − s.
fn other_form(octets: &mut [u8]) {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order = HEXLOWER.decode(ORDER.as_bytes()).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let digit = i16::from(order[place]) - i16::from(octets[32 + place]) - borrow;
        borrow = i16::from(digit < 0);
        octets[32 + place] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
}

#[test]
fn both_forms_of_a_signature_count_once_together() {
    let scene = scene();
    let mut first = Vec::new();
    let keep = |octets: &mut [u8]| first = octets.to_vec();
    assert_eq!(scene.verify(SECRET, ENOUGH, false, keep), Ok(()));
    other_form(&mut first);
    let again = scene.verify(SECRET, ENOUGH, false, |octets| {
        octets.copy_from_slice(&first);
    });
    assert_eq!(again, Err(Reason::SignatureReplayed));
    // The other form verifies as well: it is refused for its being a replay.
    let fresh = self::scene();
    assert_eq!(fresh.verify(SECRET, ENOUGH, false, other_form), Ok(()));
}

#[test]
fn no_base_is_made_for_a_key_that_may_not_sign() {
    let absent = format!("{ENOUGH} \"x-absent\"");
    for (id, expected) in [
        (PUBLISHABLE, Reason::KindNotAccepted),
        (UNKNOWN, Reason::KeyUnknown),
        (SECRET, Reason::SignatureMalformed),
    ] {
        assert_eq!(scene().plain(id, &absent), Err(expected), "{id}");
    }
}

#[test]
fn an_attempt_without_the_key_counts_in_every_form() {
    let absent = format!("{ENOUGH} \"x-absent\"");
    for (id, components) in [
        (PUBLISHABLE, ENOUGH),
        (UNKNOWN, ENOUGH),
        (SECRET, absent.as_str()),
    ] {
        let scene = scene();
        for _ in 0..ATTEMPTS {
            let refused = scene.plain(id, components).unwrap_err();
            assert_ne!(refused, Reason::AuthRateLimited, "{id}");
        }
        let refused = scene.plain(SECRET, ENOUGH);
        assert_eq!(refused, Err(Reason::AuthRateLimited), "{id}");
    }
}

#[test]
fn a_signature_beside_another_credential_is_refused() {
    let scene = scene();
    let refused = scene.verify(SECRET, ENOUGH, true, |_| ());
    assert_eq!(refused, Err(Reason::SignatureMalformed));
    // What is refused for its form has not been used.
    assert_eq!(scene.plain(SECRET, ENOUGH), Ok(()));
}
