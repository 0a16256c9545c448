//! From a partner's request to a registered certificate, and the requests that are refused.

use std::fs;

use crate::support::gateway::{Gateway, config};
use crate::support::pki::{self, KeyAndRequest};
use crate::support::process::{run, run_with_input};
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

fn gateway(echo: &Echo) -> Gateway {
    let gateway = Gateway::start(&config(&echo.url(), MTLS));
    gateway.cli_json(&["app", "create", "acme"]);
    gateway
}

#[test]
fn every_accepted_kind_of_key_gets_a_certificate_that_works() {
    let echo = Echo::start();
    let text = config(&echo.url(), MTLS).replace(
        "directory: authority }",
        "directory: authority, profile: { active_max: 9 } }",
    );
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    for (name, args) in [
        (
            "p256",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..],
        ),
        (
            "p384",
            &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
        ),
        (
            "p384-sha256",
            &[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-384",
                "-sha256",
            ],
        ),
        ("ed25519", &["-newkey", "ed25519"]),
        ("rsa2048", &["-newkey", "rsa:2048"]),
        ("rsa3072", &["-newkey", "rsa:3072"]),
    ] {
        let made = pki::request_with(gateway.dir(), name, args);
        let signed = gateway.sign("acme", name, &made);
        assert_eq!(signed.partner.get("/").status, 200, "{name}");
        let verified = run(
            gateway.dir(),
            "openssl",
            &[
                "verify",
                "-purpose",
                "sslclient",
                "-CAfile",
                "ca.pem",
                signed.certificate.to_str().unwrap(),
            ],
        );
        assert_eq!(verified.code, 0, "{name}: {verified:?}");
    }
}

#[test]
fn only_the_key_is_taken_from_a_request() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let made = pki::request_with(
        gateway.dir(),
        "greedy",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-addext",
            "subjectAltName=DNS:api.example.test,email:root@example.test",
        ],
    );
    let signed = gateway.sign("acme", "greedy", &made);
    let text = run(
        gateway.dir(),
        "openssl",
        &[
            "x509",
            "-in",
            signed.certificate.to_str().unwrap(),
            "-noout",
            "-text",
        ],
    )
    .ok();
    for absent in [
        "whatever the partner likes",
        "DNS:api.example.test",
        "root@example.test",
        "CA:TRUE",
        "Server Authentication",
    ] {
        assert!(!text.contains(absent), "{absent}: {text}");
    }
    for present in [
        "CA:FALSE",
        "TLS Web Client Authentication",
        "Digital Signature",
        "Authority Key Identifier",
    ] {
        assert!(text.contains(present), "{present}: {text}");
    }
}

#[test]
fn requests_that_may_not_be_signed_are_refused_with_the_reason() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let dir = gateway.dir();
    let ec = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..];
    let with = |name: &str, args: &[&str]| pki::request_with(dir, name, args).csr;
    let tampered = {
        let der = dir.join("tampered.csr");
        let good = with("good", ec);
        run(
            dir,
            "openssl",
            &[
                "req",
                "-in",
                good.to_str().unwrap(),
                "-outform",
                "DER",
                "-out",
                der.to_str().unwrap(),
            ],
        )
        .ok();
        let mut bytes = fs::read(&der).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&der, bytes).unwrap();
        der
    };
    let written = |name: &str, bytes: &[u8]| {
        fs::write(dir.join(name), bytes).unwrap();
        dir.join(name)
    };
    for (csr, expected) in [
        (
            with(
                "authority",
                &[ec, &["-addext", "basicConstraints=critical,CA:TRUE"]].concat(),
            ),
            "csr_attributes",
        ),
        (
            with(
                "signer",
                &[ec, &["-addext", "keyUsage=keyCertSign"]].concat(),
            ),
            "csr_attributes",
        ),
        (
            with(
                "p521",
                &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
            ),
            "csr_key_type",
        ),
        (with("rsa1024", &["-newkey", "rsa:1024"]), "csr_key_weak"),
        (
            with(
                "exponent",
                &["-newkey", "rsa:2048", "-pkeyopt", "rsa_keygen_pubexp:3"],
            ),
            "csr_key_weak",
        ),
        (
            with("sha1", &["-newkey", "rsa:2048", "-sha1"]),
            "csr_signature",
        ),
        (tampered, "csr_signature"),
        (written("empty", b""), "csr_malformed"),
        (written("words", b"please sign this"), "csr_malformed"),
        (
            written(
                "pem",
                b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            ),
            "csr_malformed",
        ),
        (written("zeros", &[0; 10_000]), "csr_malformed"),
    ] {
        let path = csr.to_str().unwrap();
        let refused = gateway.cli(&[
            "cert", "sign", "--app", "acme", "--name", "x", "--csr", path,
        ]);
        assert_eq!(refused.code, 6, "{path}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{path}: {refused:?}");
    }
    assert_eq!(
        gateway
            .cli_json(&["cert", "list"])
            .as_array()
            .map_or(0, Vec::len),
        0
    );
}

#[test]
fn a_key_of_one_app_is_not_signed_for_another() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    gateway.cli_json(&["app", "create", "zenith"]);
    let made = pki::request(gateway.dir(), "shared");
    gateway.sign("acme", "prod", &made);
    let refused = gateway.cli(&[
        "cert",
        "sign",
        "--app",
        "zenith",
        "--name",
        "prod",
        "--csr",
        made.csr.to_str().unwrap(),
    ]);
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(refused.stderr.contains("csr_key_in_use"), "{refused:?}");
}

#[test]
fn a_compromised_key_is_never_signed_again() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let made = pki::request(gateway.dir(), "leaked");
    let signed = gateway.sign("acme", "prod", &made);
    gateway
        .cli(&[
            "cert",
            "revoke",
            &signed.id,
            "--reason",
            "key-compromise",
            "--yes",
        ])
        .ok();
    let refused = gateway.cli(&[
        "cert",
        "sign",
        "--app",
        "acme",
        "--name",
        "again",
        "--csr",
        made.csr.to_str().unwrap(),
    ]);
    assert!(refused.stderr.contains("csr_key_revoked"), "{refused:?}");
}

#[test]
fn two_certificates_may_be_active_and_a_third_is_refused() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let first = gateway.enrol_again("acme", "one");
    let second = gateway.enrol_again("acme", "two");
    assert_eq!(
        (
            first.partner.get("/").status,
            second.partner.get("/").status
        ),
        (200, 200)
    );
    let made = pki::request(gateway.dir(), "three");
    let args = [
        "cert",
        "sign",
        "--app",
        "acme",
        "--name",
        "three",
        "--csr",
        made.csr.to_str().unwrap(),
    ];
    let refused = gateway.cli(&args);
    assert!(refused.stderr.contains("cert_limit"), "{refused:?}");
    gateway.cli(&["cert", "revoke", &first.id, "--yes"]).ok();
    gateway.cli(&args).ok();
}

#[test]
fn a_certificate_of_the_same_name_succeeds_the_one_before() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let old = gateway.enrol_again("acme", "prod");
    let (certificate, key) = (gateway.dir().join("old.pem"), gateway.dir().join("old.key"));
    fs::rename(&old.certificate, &certificate).unwrap();
    fs::rename(&old.key, &key).unwrap();
    let before = gateway.partner(&certificate, &key);
    let new = gateway.enrol_again("acme", "prod");
    let state = |id: &str| gateway.cli_json(&["cert", "get", id])["state"].clone();
    assert_eq!(
        (state(&old.id), state(&new.id)),
        ("retiring".into(), "active".into())
    );
    assert_eq!(
        (before.get("/").status, new.partner.get("/").status),
        (200, 200)
    );
    let retiring = gateway.cli_json(&["cert", "list", "--app", "acme", "--state", "retiring"]);
    assert_eq!(retiring.as_array().unwrap().len(), 1, "{retiring}");
    // One that retires counts, and so it takes one of the App's places until it is revoked or ends.
    let third = pki::request(gateway.dir(), "third").csr;
    let third = third.to_str().unwrap();
    let sign = [
        "cert", "sign", "--app", "acme", "--name", "third", "--csr", third,
    ];
    assert!(gateway.cli(&sign).stderr.contains("cert_limit"));
    gateway.cli(&["cert", "revoke", &old.id, "--yes"]).ok();
    gateway.cli(&sign).ok();
    assert_eq!(before.get("/").reason(), "cert_revoked");
    assert_eq!(new.partner.get("/").status, 200);
}

#[test]
fn a_request_is_judged_offline_too() {
    let dir = tempfile::tempdir().unwrap();
    let KeyAndRequest { csr, .. } = pki::request(dir.path(), "partner");
    let report = crate::support::process::countersign(
        dir.path(),
        &["csr", "inspect", csr.to_str().unwrap(), "--output", "json"],
    )
    .json();
    assert_eq!(report["verdict"], "accepted", "{report}");
    assert_eq!(report["judged_by"], "the default profile", "{report}");
    let bytes = fs::read(&csr).unwrap();
    let piped = run_with_input(
        dir.path(),
        env!("CARGO_BIN_EXE_countersign"),
        &["csr", "inspect", "-"],
        &bytes,
    );
    assert!(piped.ok().to_lowercase().contains("p256"));
}

#[test]
fn a_signed_certificate_outlives_neither_the_profile_nor_its_issuer() {
    let echo = Echo::start();
    let gateway = gateway(&echo);
    let made = pki::request(gateway.dir(), "greedy");
    let csr = made.csr.to_str().unwrap();
    let refused = gateway.cli(&[
        "cert",
        "sign",
        "--app",
        "acme",
        "--name",
        "long",
        "--csr",
        csr,
        "--lifetime",
        "3650d",
    ]);
    assert_eq!(refused.code, 6, "{refused:?}");
    let signed = gateway.cli_json(&[
        "cert",
        "sign",
        "--app",
        "acme",
        "--name",
        "short",
        "--csr",
        csr,
        "--lifetime",
        "1d",
    ]);
    let not_after = signed["certificate"]["not_after"].as_str().unwrap();
    fs::write(
        gateway.dir().join("one.pem"),
        signed["pem"].as_str().unwrap(),
    )
    .unwrap();
    let checked = run(
        gateway.dir(),
        "openssl",
        &["x509", "-in", "one.pem", "-noout", "-checkend", "90000"],
    );
    assert_eq!(checked.code, 1, "ends within 25 hours, says {not_after}");
}

#[test]
fn a_request_is_judged_by_the_gateways_own_profile_and_the_report_says_by_which() {
    let echo = Echo::start();
    let narrow = "authority: { directory: authority, profile: { keys: [ed25519] } }";
    let text = config(
        &echo.url(),
        "      - { match: { prefix: / }, require: mtls, upstream: api }",
    );
    let narrowed = text.replace("authority: { directory: authority }", narrow);
    let gateway = Gateway::start(&narrowed);
    let dir = gateway.dir();
    let csr = pki::request(dir, "partner").csr;
    let csr = csr.to_str().unwrap();
    let inspect = |more: &[&str]| {
        let mut args = vec!["csr", "inspect", csr, "--output", "json"];
        args.extend(more);
        let said = crate::support::process::countersign(dir, &args);
        let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        (said.code, report)
    };
    let judged = |report: &serde_json::Value| {
        assert_eq!(
            report["keys_allowed"],
            serde_json::json!(["ed25519"]),
            "{report}"
        );
        assert_eq!(report["reason"], "csr_key_type", "{report}");
        report["judged_by"].as_str().unwrap().to_owned()
    };
    let socket = gateway.socket();
    let (code, report) = inspect(&["--admin-socket", socket.to_str().unwrap()]);
    assert_eq!(code, 6);
    assert!(judged(&report).starts_with("the gateway at "), "{report}");
    let (code, report) = inspect(&["--config", "countersign.yaml"]);
    assert_eq!((code, &*judged(&report)), (6, "countersign.yaml"));
    // Beside the configuration nothing needs to be named: the running gateway is asked.
    let (code, report) = inspect(&[]);
    assert_eq!(code, 6);
    assert!(judged(&report).starts_with("the gateway at "), "{report}");

    // Another profile in the file, and no gateway any more.
    let dir = gateway.kill();
    fs::write(dir.path().join("countersign.yaml"), &text).unwrap();
    let said = crate::support::process::countersign(
        dir.path(),
        &["csr", "inspect", "partner.csr", "--output", "json"],
    );
    let report = said.json();
    assert_eq!(report["judged_by"], "countersign.yaml", "{report}");
    assert_eq!(report["verdict"], "accepted");
    fs::write(dir.path().join("countersign.yaml"), "version: [").unwrap();
    let args = ["csr", "inspect", "partner.csr"];
    let said = crate::support::process::countersign(dir.path(), &args);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stderr.contains("default profile"), "{said:?}");
    let args = [
        "csr",
        "inspect",
        "partner.csr",
        "--config",
        "countersign.yaml",
    ];
    assert_eq!(
        crate::support::process::countersign(dir.path(), &args).code,
        6
    );
}

/// Makes another issuing key and certificate below the gateway's root, as docs/operate/authority.md says.
fn next_issuing(directory: &std::path::Path) {
    let usage = "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n";
    fs::write(directory.join("next.ext"), usage).unwrap();
    for line in [
        "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out next.key",
        "req -new -key next.key -subj /CN=Next -out next.csr",
        "x509 -req -in next.csr -CA root.pem -CAkey root.key -set_serial 7 -days 1826 -extfile next.ext -out next.pem",
    ] {
        let args: Vec<_> = line.split(' ').collect();
        run(directory, "openssl", &args).ok();
    }
}

#[test]
fn the_issuing_authority_is_replaced_by_a_reload_and_no_partner_notices() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: / }, require: mtls, upstream: api }";
    let text = config(&echo.url(), routes);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let mut kept = acme.partner.connect();
    assert_eq!(kept.get("/").status, 200);
    let authority = gateway.dir().join("authority");
    let replaced = fs::read_to_string(authority.join("issuing.pem")).unwrap();
    next_issuing(&authority);
    fs::rename(authority.join("next.key"), authority.join("issuing.key")).unwrap();
    fs::rename(authority.join("next.pem"), authority.join("issuing.pem")).unwrap();

    let refused = gateway.cli(&["reload"]);
    assert_eq!(refused.code, 6, "{refused:?}");
    assert!(refused.stderr.contains("retired.pem"), "{refused:?}");
    assert_eq!(acme.partner.get("/").status, 200);
    let still = gateway.enrol_again("acme", "still");
    assert!(
        fs::read_to_string(&still.certificate)
            .unwrap()
            .contains(replaced.trim())
    );

    fs::write(authority.join("retired.pem"), &replaced).unwrap();
    gateway.cli(&["reload"]).ok();
    assert_eq!(kept.get("/").status, 200, "the open connection goes on");
    assert_eq!(acme.partner.get("/").status, 200);
    let leaf = gateway.dir().join("leaf.pem");
    run(
        gateway.dir(),
        "openssl",
        &[
            "x509",
            "-in",
            acme.certificate.to_str().unwrap(),
            "-out",
            "leaf.pem",
        ],
    )
    .ok();
    assert_eq!(gateway.partner(&leaf, &acme.key).get("/").status, 200);
    let issuing = fs::read_to_string(authority.join("issuing.pem")).unwrap();
    gateway.cli_json(&["app", "create", "zenith"]);
    let zenith = gateway.enrol_again("zenith", "prod");
    assert!(
        fs::read_to_string(&zenith.certificate)
            .unwrap()
            .contains(issuing.trim())
    );
    assert_eq!(zenith.partner.get("/").status, 200);
    let offered = gateway
        .stranger()
        .get("/.well-known/countersign/ca.pem")
        .text();
    assert!(offered.contains(issuing.trim()));
    let audit = gateway.cli_json(&["audit", "list", "--action", "authority.replace"]);
    assert_eq!(audit.as_array().unwrap().len(), 1, "{audit}");

    // What is no authority at all changes nothing either.
    let key = fs::read(authority.join("issuing.key")).unwrap();
    fs::write(authority.join("issuing.key"), "nonsense").unwrap();
    assert_eq!(gateway.cli(&["reload"]).code, 6);
    assert_eq!(zenith.partner.get("/").status, 200);
    fs::write(authority.join("issuing.key"), key).unwrap();
    let restarted = Gateway::start_in(gateway.kill(), &text);
    for (chain, key) in [(&leaf, &acme.key), (&zenith.certificate, &zenith.key)] {
        let chain = restarted.dir().join(chain.file_name().unwrap());
        let key = restarted.dir().join(key.file_name().unwrap());
        assert_eq!(restarted.partner(&chain, &key).get("/").status, 200);
    }
}
