//! The vectors of RFC 9421, appendix B, and what is refused before a signature is verified.

use data_encoding::BASE64;

use super::*;
use crate::crypto::jwk::Strictness;
use crate::crypto::signing_key::SigningTexts;
use crate::domain::secret::Secret;

const CREATED: Timestamp = Timestamp::from_unix_seconds(1_618_884_473);

/// The request of appendix B.2 with these two fields.
fn with<T>(input: &str, signature: &str, run: impl FnOnce(&Message<'_>) -> T) -> T {
    run(&Message {
        method: "POST",
        authority: "example.com",
        target: "/foo?param=Value&Pet=dog",
        fields: &[
            ("date", b"Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", b"application/json"),
            ("content-length", b"18"),
            ("signature-input", input.as_bytes()),
            ("signature", signature.as_bytes()),
        ],
    })
}

/// The signer of the vectors, whose names are not ours.
fn of_the_standard(keyid: &str) -> Option<Signer> {
    let key = KeyId::from_bits(1);
    keyid
        .starts_with("test-")
        .then_some(Signer { key, kid: None })
}

#[test]
fn b_2_5_a_request_signed_by_hmac() {
    let input = "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"";
    let signature = "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:";
    let secret =
        "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    with(input, signature, |message| {
        let found = find_by(message, of_the_standard).unwrap().unwrap();
        let base = found.base(message).unwrap();
        let key = aws_lc_rs::hmac::Key::new(
            aws_lc_rs::hmac::HMAC_SHA256,
            &BASE64.decode(secret.as_bytes()).unwrap(),
        );
        aws_lc_rs::hmac::verify(&key, &base, &found.octets).unwrap();
    });
}

#[test]
fn b_2_6_a_request_signed_by_ed25519() {
    let input = "sig-b26=(\"date\" \"@method\" \"@path\" \"@authority\" \"content-type\" \"content-length\");created=1618884473;keyid=\"test-key-ed25519\"";
    let signature = "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:";
    let set = "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs\"}]}";
    let set = KeySet::parse(set.as_bytes(), Strictness::Every).unwrap();
    with(input, signature, |message| {
        let found = find_by(message, of_the_standard).unwrap().unwrap();
        let base = found.base(message).unwrap();
        assert!(found.names_one_of(&set));
        assert!(found.is_by_one_of(&set, &base));
        let mut changed = base;
        changed[0] ^= 1;
        assert!(!found.is_by_one_of(&set, &changed));
    });
}

#[test]
fn the_text_of_a_key_signs() {
    let id = KeyId::from_bits(7);
    let texts = SigningTexts::new(&Secret::new("a sealing key".to_owned())).unwrap();
    let sealed = texts
        .seal(id, &Secret::new("sg_live_7".to_owned()))
        .unwrap();
    let input = format!("a=(\"@method\");created=1618884473;keyid=\"{id}\"");
    with(&input, "a=:AAAA:", |message| {
        let found = find(message).unwrap().unwrap();
        let base = found.base(message).unwrap();
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"sg_live_7");
        let tag = aws_lc_rs::hmac::sign(&key, &base);
        assert_eq!(texts.verifies(id, &sealed, &base, tag.as_ref()), Ok(true));
    });
}

#[test]
fn the_signature_by_a_key_of_ours_is_found_among_others() {
    let id = KeyId::from_bits(7);
    let ours = format!("(\"@method\");created=1618884473;keyid=\"{id}/k1\"");
    let other = "(\"@method\");created=1;keyid=\"other\"";
    let found = |input: &str, signature: &str| with(input, signature, find);
    let both = format!("a={other}, b={ours}");
    let signature = found(&both, "a=:AAAA:, b=:BBBB:").unwrap().unwrap();
    assert_eq!(signature.by.key, id);
    assert_eq!(signature.by.kid.as_deref(), Some("k1"));
    assert_eq!(signature.octets, [4, 16, 65]);
    assert!(found(&format!("a={other}"), "a=:AAAA:").unwrap().is_none());
    let without = Message {
        method: "GET",
        authority: "a.test",
        target: "/",
        fields: &[],
    };
    assert!(find(&without).unwrap().is_none());
    // Nobody looks at more than a few.
    let many: Vec<String> = (0..SIGNATURES_MAX)
        .map(|n| format!("a{n}={other}"))
        .collect();
    assert!(
        found(&format!("{}, b={ours}", many.join(", ")), "b=:BBBB:")
            .unwrap()
            .is_none()
    );
}

#[test]
fn what_cannot_be_read_is_malformed() {
    let id = KeyId::from_bits(7);
    let ours = |more: &str| format!("a=(\"@method\");created=1618884473;keyid=\"{id}\"{more}");
    for (input, signature) in [
        (ours(""), "b=:AAAA:"),
        (ours(""), "a=1"),
        (ours(""), "a=(:AAAA:)"),
        (ours(""), "a=:A"),
        (ours(";alg=\"rsa-pss-sha512\""), "a=:AAAA:"),
        (ours(";alg=hmac-sha256"), "a=:AAAA:"),
        (ours(";expires=\"1\""), "a=:AAAA:"),
        (ours(";nonce=1"), "a=:AAAA:"),
        (ours(&format!(";nonce=\"{}\"", "n".repeat(257))), "a=:AAAA:"),
        (ours(";created=@1618884473"), "a=:AAAA:"),
        (format!("a=(\"@method\");keyid=\"{id}\""), "a=:AAAA:"),
        (
            format!("{}, b=();created=1;keyid=\"{id}\"", ours("")),
            "a=:AAAA:",
        ),
        ("a=(".to_owned(), "a=:AAAA:"),
    ] {
        let refused = with(&input, signature, find).map(|_| ());
        assert_eq!(
            refused,
            Err(Reason::SignatureMalformed),
            "{input} {signature}"
        );
    }
}

#[test]
fn a_signature_covers_the_method_the_target_and_the_body() {
    let covers = |components: &str, has_body: bool, target: &str| {
        let id = KeyId::from_bits(7);
        let input = format!("a=({components});created=1618884473;keyid=\"{id}\"");
        with(&input, "a=:AAAA:", |message| {
            let message = Message { target, ..*message };
            let signature = find(&message).unwrap().unwrap();
            signature.covers(&message, has_body).is_ok()
        })
    };
    let parts = "\"@method\" \"@authority\" \"@path\"";
    for (components, has_body, target, expected) in [
        ("\"@method\" \"@target-uri\"", false, "/?a", true),
        ("\"@method\" \"@target-uri\"", true, "/?a", false),
        (
            "\"@method\" \"@target-uri\" \"content-digest\"",
            true,
            "/?a",
            true,
        ),
        (
            "\"@method\" \"@target-uri\" \"content-digest\";key=\"sha-256\"",
            true,
            "/",
            false,
        ),
        (
            "\"@method\" \"@target-uri\" \"content-digest\";bs",
            true,
            "/",
            false,
        ),
        ("\"@target-uri\" \"content-digest\"", true, "/", false),
        (&format!("{parts} \"@query\""), false, "/?a", true),
        (parts, false, "/?a", false),
        (parts, false, "/?", false),
        (parts, false, "/", true),
        ("\"@method\" \"@path\" \"@query\"", false, "/", false),
        ("\"@method\" \"@authority\" \"@query\"", false, "/", false),
        ("", false, "/", false),
    ] {
        assert_eq!(
            covers(components, has_body, target),
            expected,
            "{components} {target}"
        );
    }
}

#[test]
fn a_signature_counts_for_a_minute() {
    let id = KeyId::from_bits(7);
    let judged = |more: &str, now: Timestamp| {
        let input = format!("a=();created=1618884473;keyid=\"{id}\"{more}");
        with(&input, "a=:AAAA:", |message| {
            find(message).unwrap().unwrap().is_recent(now)
        })
    };
    let second = Duration::from_secs(1);
    for (more, now, recent) in [
        ("", CREATED, true),
        ("", CREATED.plus(WINDOW), true),
        ("", CREATED.minus(WINDOW), true),
        ("", CREATED.plus(WINDOW + second), false),
        ("", CREATED.minus(WINDOW + second), false),
        (";expires=1618884480", CREATED.plus(second * 7), true),
        (";expires=1618884480", CREATED.plus(second * 8), false),
        (";expires=1", CREATED, false),
    ] {
        let expected = if recent {
            Ok(())
        } else {
            Err(Reason::SignatureTooOld)
        };
        assert_eq!(judged(more, now), expected, "{more} {now:?}");
    }
}
