//! Handshakes that come to nothing: the alert leads to the true cause, the log says whose certificate it was, and a
//! load balancer's port check is no failure.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use serde_json::Value;
use socket2::SockRef;

use crate::support::client::Partner;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config_with};
use crate::support::pki::{self, KeyAndRequest, Stranger};
use crate::support::process::run;
use crate::support::upstream::Echo;

const MTLS: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

fn start(echo: &Echo, reject: &str) -> Gateway {
    let more = format!("log: {{ format: json }}\ntls: {{ client_auth: {{ reject: {reject} }} }}");
    Gateway::start(&config_with(&echo.url(), MTLS, &more))
}

/// The alert that ends the handshake of a client with this certificate, in rustls's words.
fn alert(gateway: &Gateway, certificate: &Path, key: &Path) -> String {
    let ca = gateway.ca();
    let partner = Partner::showing(gateway.partners(), HOST, &ca, certificate, Some(key));
    let mut connection = match partner.try_connect(HOST) {
        Ok(connection) => connection,
        Err(error) => return error.to_string(),
    };
    let mut byte = [0];
    match connection.read(&mut byte) {
        Ok(_) => "no alert".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A certificate that signs itself, as `openssl req -x509` makes it with these arguments.
fn self_signed(dir: &Path, name: &str, args: &[&str]) -> KeyAndRequest {
    let (key, out) = (format!("{name}.key"), format!("{name}.pem"));
    let mut all = vec![
        "req",
        "-x509",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=self-signed",
        "-keyout",
        &key,
        "-out",
        &out,
    ];
    all.extend(args);
    run(dir, "openssl", &all).ok();
    KeyAndRequest {
        key: dir.join(key),
        csr: dir.join(out),
    }
}

/// A stranger's certificate that ended yesterday, for what `extensions` say.
fn ended(dir: &Path, stranger: &str, made: &KeyAndRequest, extensions: &str) -> PathBuf {
    let (out, ext) = (dir.join("ended.pem"), dir.join("ended.ext"));
    std::fs::write(&ext, extensions).unwrap();
    let (authority, key) = (format!("{stranger}.pem"), format!("{stranger}.key"));
    let args = [
        "x509",
        "-req",
        "-in",
        made.csr.to_str().unwrap(),
        "-CA",
        &authority,
        "-CAkey",
        &key,
        "-CAcreateserial",
        "-days",
        "-1",
        "-extfile",
        ext.to_str().unwrap(),
        "-out",
        out.to_str().unwrap(),
    ];
    run(dir, "openssl", &args).ok();
    out
}

#[test]
fn a_strangers_certificate_gets_unknown_ca_whatever_it_says_of_itself() {
    let echo = Echo::start();
    for reject in ["explain", "alert"] {
        let gateway = start(&echo, reject);
        let dir = gateway.dir();
        let stranger = Stranger::new(dir, "elsewhere", "/CN=Elsewhere");
        let made = pki::request(dir, "intruder");
        let plain = self_signed(dir, "plain", &["-days", "30"]);
        let for_clients = [
            "-days",
            "30",
            "-addext",
            "extendedKeyUsage=clientAuth",
            "-addext",
            "keyUsage=critical,digitalSignature",
        ];
        let client = self_signed(dir, "client", &for_clients);
        for (what, made) in [("openssl req -x509", plain), ("for clients", client)] {
            let told = alert(&gateway, &made.csr, &made.key);
            assert!(told.contains("UnknownCA"), "{reject}, {what}: {told}");
        }
        for extensions in [
            "extendedKeyUsage=clientAuth",
            "extendedKeyUsage=serverAuth",
            "basicConstraints=critical,CA:TRUE\nextendedKeyUsage=clientAuth",
        ] {
            let foreign = stranger.sign(&made, extensions);
            let told = alert(&gateway, &foreign, &made.key);
            assert!(told.contains("UnknownCA"), "{reject}, {extensions}: {told}");
            let foreign = ended(dir, "elsewhere", &made, extensions);
            let told = alert(&gateway, &foreign, &made.key);
            assert!(told.contains("UnknownCA"), "{reject}, ended: {told}");
        }
        eventually("all are counted as untrusted", || {
            (gateway.handshakes_refused("cert_untrusted") == 8).then_some(())
        });
        // One of ours for another use is still told that.
        let own = Stranger::at(&dir.join("authority"), "issuing");
        let ours = own.sign(&made, "extendedKeyUsage=serverAuth");
        let told = alert(&gateway, &ours, &made.key);
        assert!(told.contains("UnsupportedCertificate"), "{told}");
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_chain_over_an_intermediate_that_may_not_sign_certificates_is_refused_in_the_handshake() {
    let echo = Echo::start();
    let gateway = start(&echo, "explain");
    let authority = gateway.dir().join("authority");
    let root = Stranger::at(&authority, "root");
    let issuing = Stranger::at(&authority, "issuing");
    for (number, (what, above, extensions, expected)) in [
        (
            "an authority like any other",
            &root,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign,cRLSign",
            "no alert",
        ),
        (
            "no keyCertSign",
            &root,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,digitalSignature",
            "UnknownCA",
        ),
        (
            "cRLSign alone",
            &root,
            "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,cRLSign",
            "UnknownCA",
        ),
        (
            "CA:FALSE",
            &root,
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,keyCertSign",
            "UnknownCA",
        ),
        (
            "below an authority of path length 0",
            &issuing,
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign",
            "UnknownCA",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("between-{number}");
        let made = pki::request_with(
            &authority,
            &name,
            &[
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-subj",
                "/CN=Between",
            ],
        );
        let between = above.sign(&made, extensions);
        std::fs::copy(&between, authority.join(format!("{name}.pem"))).unwrap();
        let leaf = pki::request(&authority, &format!("leaf-{number}"));
        let signed = Stranger::at(&authority, &name).sign(
            &leaf,
            "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth",
        );
        let chain = gateway.dir().join(format!("chain-{number}.pem"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        std::fs::write(&chain, read(&signed) + &read(&between)).unwrap();
        if expected == "no alert" {
            // The registry does not know it, and that is said in an answer.
            let answer = gateway.partner(&chain, &leaf.key).get("/");
            assert_eq!(answer.reason(), "cert_unregistered", "{what}");
        } else {
            let told = alert(&gateway, &chain, &leaf.key);
            assert!(told.contains(expected), "{what}: {told}");
        }
    }
    assert_eq!(echo.requests(), 0);
}

fn refusals(gateway: &Gateway) -> Vec<Value> {
    let log = gateway.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    lines
        .filter(|line: &Value| line["message"] == "connection refused")
        .collect()
}

#[test]
fn the_log_names_the_certificate_of_a_refused_handshake() {
    let echo = Echo::start();
    let gateway = start(&echo, "alert");
    let acme = gateway.enrol("acme");
    gateway.cli(&["cert", "revoke", &acme.id, "--yes"]).ok();
    let stranger = Stranger::new(gateway.dir(), "elsewhere", "/O=Elsewhere/CN=Root");
    let long = format!("/CN=in\u{1b}[31mtruder/O={}", "x".repeat(60));
    let made = pki::request_with(
        gateway.dir(),
        "intruder",
        &[
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            &long,
        ],
    );
    let foreign = stranger.sign(&made, "extendedKeyUsage=clientAuth");
    alert(&gateway, &foreign, &made.key);
    alert(&gateway, &acme.certificate, &acme.key);
    let mut plain = TcpStream::connect(gateway.partners()).unwrap();
    plain.write_all(b"\x16\x03\x01\x00\x05hello").unwrap();
    drop(plain);
    let lines = eventually("three lines", || {
        let lines = refusals(&gateway);
        (lines.len() >= 3).then_some(lines)
    });
    let of = |reason: &str| {
        let found = lines.iter().find(|line| line["reason"] == reason);
        found.unwrap_or_else(|| panic!("{reason} in {lines:#?}"))
    };
    let text = |line: &Value, key: &str| line[key].as_str().unwrap_or_default().to_owned();
    for line in &lines {
        assert_eq!(line["address"], "127.0.0.1", "{line}");
    }
    let untrusted = of("cert_untrusted");
    assert_eq!(untrusted["sni"], HOST);
    assert!(
        text(untrusted, "cause").contains("UnknownIssuer"),
        "{untrusted}"
    );
    assert!(text(untrusted, "subject").contains("truder"), "{untrusted}");
    assert!(text(untrusted, "subject").is_ascii());
    assert!(
        !text(untrusted, "subject").contains('\u{1b}'),
        "{untrusted}"
    );
    assert!(text(untrusted, "issuer").contains("CN=Root"), "{untrusted}");
    assert!(
        text(untrusted, "not_after").starts_with("20"),
        "{untrusted}"
    );
    let revoked = of("cert_revoked");
    assert!(text(revoked, "cause").contains("Revoked"), "{revoked}");
    assert_eq!(text(revoked, "serial"), acme.serial);
    let args = ["x509", "-noout", "-fingerprint", "-sha256", "-in"];
    let mut args = args.to_vec();
    args.push(acme.certificate.to_str().unwrap());
    let fingerprint = run(gateway.dir(), "openssl", &args).ok();
    let fingerprint = fingerprint.trim().rsplit('=').next().unwrap().to_owned();
    assert_eq!(
        text(revoked, "fingerprint").to_uppercase().replace(':', ""),
        fingerprint.replace(':', "")
    );
    // Nothing of another handshake's certificate sticks to one that showed none.
    let failed = lines.iter().filter(|line| line["subject"].is_null());
    assert_eq!(failed.count(), 1, "{lines:#?}");
}

#[test]
fn a_flood_of_refusals_costs_a_few_lines_and_hides_no_other_kind() {
    let echo = Echo::start();
    let gateway = start(&echo, "explain");
    let foreign = self_signed(gateway.dir(), "foreign", &["-days", "30"]);
    for _ in 0..100 {
        alert(&gateway, &foreign.csr, &foreign.key);
    }
    eventually("all are counted", || {
        (gateway.handshakes_refused("cert_untrusted") == 100).then_some(())
    });
    let mut other = TcpStream::connect(gateway.partners()).unwrap();
    other.write_all(b"nothing that is TLS").unwrap();
    drop(other);
    let lines = eventually("the other kind", || {
        let lines = refusals(&gateway);
        let other = lines.iter().any(|line| line["reason"] != "cert_untrusted");
        other.then_some(lines)
    });
    let flood = lines
        .iter()
        .filter(|line| line["reason"] == "cert_untrusted");
    assert!((10..20).contains(&flood.count()), "{lines:#?}");
}

/// What a port check does after it has connected.
type Ending = fn(&TcpStream);

fn probes() -> [(&'static str, Ending); 3] {
    [
        ("closes", |_| {}),
        ("shuts down", |stream| {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }),
        ("resets", |stream| {
            let linger = Some(std::time::Duration::ZERO);
            SockRef::from(stream).set_linger(linger).unwrap();
        }),
    ]
}

#[test]
fn a_load_balancers_port_check_is_a_probe_and_no_failure() {
    let echo = Echo::start();
    let gateway = start(&echo, "explain");
    let probed = || gateway.count_of("countersign_tls_handshakes_total", "result=\"probe\"");
    let failed = || gateway.count_of("countersign_tls_handshakes_total", "result=\"failed\"");
    for (number, (what, end)) in (1..).zip(probes()) {
        let stream = TcpStream::connect(gateway.partners()).unwrap();
        end(&stream);
        drop(stream);
        eventually(what, || (probed() == number).then_some(()));
    }
    assert_eq!(failed(), 0);
    assert_eq!(gateway.count("countersign_refusals_total"), 0);
    assert_eq!(refusals(&gateway), Vec::<Value>::new());
    // One byte is the beginning of a handshake that failed.
    let mut stream = TcpStream::connect(gateway.partners()).unwrap();
    stream.write_all(b"\x16").unwrap();
    drop(stream);
    eventually("it is a failure", || (failed() == 1).then_some(()));
    assert_eq!(probed(), 3);
}

/// No alert counts probes, so nothing that says a word may pass for one.
#[test]
fn nothing_that_says_a_word_hides_as_a_probe() {
    let echo = Echo::start();
    let gateway = start(&echo, "explain");
    let all = || gateway.count("countersign_tls_handshakes_total");
    let probed = || gateway.count_of("countersign_tls_handshakes_total", "result=\"probe\"");
    for sent in [
        &b"\x16"[..],
        b"\x16\x03\x01\0\x05",
        b"\x16\x03\x01\0\x05\x01\0\0\x01\0",
        b"\0",
        b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
        b"SSH-2.0-x\r\n",
    ] {
        for leave in [true, false] {
            let before = all();
            let mut stream = TcpStream::connect(gateway.partners()).unwrap();
            stream.write_all(sent).unwrap();
            if leave {
                drop(stream);
            } else {
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                let _ = stream.read_to_end(&mut Vec::new());
            }
            eventually("it is counted", || (all() > before).then_some(()));
            assert_eq!(probed(), 0, "{}", sent.escape_ascii());
        }
    }
    assert_eq!(echo.requests(), 0);
}

#[test]
fn a_port_check_behind_the_proxy_protocol_is_a_probe_too() {
    let echo = Echo::start();
    let text = config_with(&echo.url(), MTLS, "").replacen(
        "\"127.0.0.1:0\" }",
        "\"127.0.0.1:0\", proxy_protocol: { trusted: [127.0.0.0/8] } }",
        1,
    );
    let gateway = Gateway::start(&text);
    let probed = || gateway.count_of("countersign_tls_handshakes_total", "result=\"probe\"");
    let failed = || gateway.count_of("countersign_tls_handshakes_total", "result=\"failed\"");
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (number, sent) in (1..).zip([&b""[..], b"PROXY UNKNOWN\r\n", local]) {
        let mut stream = TcpStream::connect(gateway.partners()).unwrap();
        stream.write_all(sent).unwrap();
        drop(stream);
        eventually("a probe", || (probed() == number).then_some(()));
    }
    assert_eq!(failed(), 0);
    let mut stream = TcpStream::connect(gateway.partners()).unwrap();
    stream.write_all(b"PROXY TC").unwrap();
    drop(stream);
    eventually("half a header is a failure", || {
        (failed() == 1).then_some(())
    });
}
