//! The certificate that the gateway's own authority signs for its listeners: how long it lives, and whom it names.

use crate::support::gateway::{Gateway, config, config_with};
use crate::support::process::run;
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// What OpenSSL says of the certificate that is shown, with these options.
fn shown(gateway: &Gateway, options: &[&str]) -> String {
    let der = gateway.stranger().connect().shown();
    let path = gateway.dir().join("shown.der");
    std::fs::write(&path, der).unwrap();
    let mut args = vec!["x509", "-inform", "DER", "-noout", "-in"];
    args.push(path.to_str().unwrap());
    args.extend(options);
    // `-checkend` says by its exit code what it says in words.
    run(gateway.dir(), "openssl", &args).stdout
}

#[test]
fn it_lives_no_longer_than_ninety_days() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), OPEN));
    let day = 24 * 60 * 60;
    let ends_within = |seconds: u32| {
        shown(&gateway, &["-checkend", &seconds.to_string()]).contains("will expire")
    };
    assert!(ends_within(90 * day));
    assert!(!ends_within(89 * day));
}

#[test]
fn it_names_the_hosts_and_what_the_operator_lists() {
    let echo = Echo::start();
    let listed = "tls: { own_names: [gate.internal, \"*.gate.internal\", 192.0.2.9] }";
    let gateway = Gateway::start(&config_with(&echo.url(), OPEN, listed));
    let names = shown(&gateway, &["-ext", "subjectAltName"]);
    for name in [
        "DNS:api.example.test",
        "DNS:gate.internal",
        "DNS:*.gate.internal",
        "IP Address:192.0.2.9",
        "DNS:localhost",
        "IP Address:127.0.0.1",
    ] {
        assert!(names.contains(name), "{name} in {names}");
    }
}

#[test]
fn for_any_host_it_names_the_machine() {
    let echo = Echo::start();
    let text = config(&echo.url(), OPEN).replace("  api.example.test:", "  \"*\":");
    let gateway = Gateway::start(&text);
    let partner = gateway.stranger();
    let connection = partner.try_connect("localhost").unwrap();
    std::fs::write(gateway.dir().join("shown.der"), connection.shown()).unwrap();
    let args = [
        "x509",
        "-inform",
        "DER",
        "-noout",
        "-ext",
        "subjectAltName",
        "-in",
        "shown.der",
    ];
    let names = run(gateway.dir(), "openssl", &args).ok();
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let machine = machine.trim().to_lowercase();
    assert!(
        names.contains(&format!("DNS:{machine}")),
        "{machine} in {names}"
    );
    assert!(names.contains("IP Address:127.0.0.1"), "{names}");
}

#[test]
fn a_name_that_no_certificate_can_have_is_refused() {
    let echo = Echo::start();
    for (names, words) in [
        ("[\"*\"]", "* alone is none of them"),
        ("[\"a b\"]", "tls.own_names"),
        ("[UPPER.test]", "lower case"),
    ] {
        let text = config_with(&echo.url(), OPEN, &format!("tls: {{ own_names: {names} }}"));
        let dir = tempfile::tempdir().unwrap();
        let Err((code, log, _)) = Gateway::try_start_in(dir, &text) else {
            panic!("{names} was taken");
        };
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains(words), "{names}: {log}");
    }
}
