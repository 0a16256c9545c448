//! Requests for certificates and files of PEM, as tools, editors and mail leave them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::gateway::{Gateway, config};
use crate::support::pki::{self, request_with};
use crate::support::process::{countersign, run};

/// How `csr inspect` judges a file: the verdict, and the detail of a refusal.
fn inspect(dir: &Path, file: &Path) -> (bool, String) {
    let file = file.to_str().unwrap();
    let said = countersign(dir, &["csr", "inspect", file, "--output", "json"]);
    let report: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(said.code == 0, report["verdict"] == "accepted", "{report}");
    let detail = report["detail"].as_str().unwrap_or_default().to_owned();
    (said.code == 0, detail)
}

/// Makes a P-256 key and a request with OpenSSL's own configuration, whose sections these are.
fn request_of(dir: &Path, name: &str, sections: &str) -> PathBuf {
    let file = dir.join(format!("{name}.cnf"));
    fs::write(&file, sections).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let key = dir.join(format!("{name}.key"));
    let csr = dir.join(format!("{name}.csr"));
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut args = vec!["req", "-new", "-nodes", "-config", &file, "-utf8"];
    args.extend(curve);
    args.extend([
        "-keyout",
        key.to_str().unwrap(),
        "-out",
        csr.to_str().unwrap(),
    ]);
    run(dir, "openssl", &args).ok();
    csr
}

#[test]
fn what_of_a_request_is_not_used_refuses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let head = "[req]\nprompt = no\ndistinguished_name = dn\n";
    for (name, sections) in [
        ("t61-password", "attributes = more\nstring_mask = MASK:0x4\n[dn]\nCN = a\n[more]\nchallengePassword = FORMAT:UTF8,p\u{e4}sswd\n".to_owned()),
        ("bmp-password", "attributes = more\nstring_mask = MASK:0x802\n[dn]\nCN = a\n[more]\nchallengePassword = p\u{e4}sswd\n".to_owned()),
        ("bmp-subject", "string_mask = MASK:0x800\n[dn]\nCN = z\u{fc}rich\nO = \u{6771}\u{4eac}\n".to_owned()),
        ("utf8-subject", "string_mask = utf8only\n[dn]\nCN = z\u{fc}rich\n".to_owned()),
        ("unstructured", "attributes = more\n[dn]\nCN = a\n[more]\nunstructuredName = anything\n".to_owned()),
        ("extensions", "req_extensions = ext\n[dn]\nCN = a\n[ext]\nsubjectAltName = DNS:a.test\nnsComment = x\n1.2.3.4 = ASN1:UTF8String:x\n".to_owned()),
        ("odd-extension", "req_extensions = ext\n[dn]\nCN = a\n[ext]\n2.5.29.17 = DER:ff\n2.5.29.37 = DER:0102\n".to_owned()),
    ] {
        let csr = request_of(dir, name, &format!("{head}{sections}"));
        assert_eq!(inspect(dir, &csr), (true, String::new()), "{name}");
    }
    for (name, args) in [
        ("empty-subject", &["-newkey", "ed25519", "-subj", "/"][..]),
        ("sha512", &["-newkey", "rsa:2048", "-sha512"]),
    ] {
        let made = request_with(dir, name, args);
        assert_eq!(inspect(dir, &made.csr), (true, String::new()), "{name}");
    }
}

#[test]
fn what_is_refused_of_a_request_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let ca = ["-addext", "basicConstraints=CA:TRUE"];
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let explicit = ["-pkeyopt", "ec_param_enc:explicit"];
    for (name, args, words) in [
        ("weak", vec!["-newkey", "rsa:1024"], "1024 bits is weak"),
        (
            "sha1",
            [&curve[..], &["-sha1"]].concat(),
            "ecdsa-with-SHA1, at byte",
        ),
        (
            "ca",
            [&curve[..], &ca].concat(),
            "certificate authority, at byte",
        ),
        (
            "explicit",
            [&curve[..], &explicit].concat(),
            "has to name its curve",
        ),
    ] {
        let made = request_with(dir, name, &args);
        let (accepted, detail) = inspect(dir, &made.csr);
        assert!(
            !accepted && detail.contains(words) && detail.contains("byte"),
            "{name}: {detail}"
        );
    }
    let made = request_with(dir, "good", &curve);
    let der = dir.join("good.der");
    let args = [
        "req",
        "-in",
        made.csr.to_str().unwrap(),
        "-outform",
        "DER",
        "-out",
        "good.der",
    ];
    run(dir, "openssl", &args).ok();
    let good = fs::read(&der).unwrap();
    let last = good.len() - 1;
    let mut changed = good.clone();
    changed[last] ^= 1;
    let longer = [&good[..], &[0]].concat();
    let indefinite = [&[0x30, 0x80], &good[3..], &[0, 0]].concat();
    for (what, bytes, words) in [
        (
            "a changed signature",
            changed,
            "the signature, at byte".to_owned(),
        ),
        (
            "a byte behind",
            longer,
            format!("at byte {}, has bytes after its end", last + 1),
        ),
        (
            "BER",
            indefinite,
            "the request, at byte 0, has no definite length".to_owned(),
        ),
        (
            "half of it",
            good[..last / 2].to_vec(),
            "the request, at byte 0, is longer".to_owned(),
        ),
    ] {
        let file = dir.join("bad.der");
        fs::write(&file, bytes).unwrap();
        let (accepted, detail) = inspect(dir, &file);
        assert!(!accepted && detail.contains(&words), "{what}: {detail}");
    }
}

/// A text as an editor on Windows saves it.
fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(order).collect()
}

#[test]
fn a_request_is_signed_however_its_file_was_saved() {
    let routes = "      - { match: { prefix: / }, upstream: api }";
    let gateway = Gateway::start(&config("http://127.0.0.1:9", routes));
    gateway.cli_json(&["app", "create", "acme"]);
    let made = pki::request(gateway.dir(), "acme");
    let text = fs::read_to_string(&made.csr).unwrap();
    let latin1 = [b"friendlyName: Z\xfcrich\n".as_slice(), text.as_bytes()].concat();
    for (how, bytes) in [
        ("a byte order mark", format!("\u{feff}{text}").into_bytes()),
        ("Latin-1 before it", latin1),
        ("UTF-16", utf16(&text, u16::to_le_bytes)),
        ("the other UTF-16", utf16(&text, u16::to_be_bytes)),
        ("CRLF", text.replace('\n', "\r\n").into_bytes()),
        ("CR", text.replace('\n', "\r").into_bytes()),
        (
            "blanks behind lines",
            text.replace('\n', "  \n").into_bytes(),
        ),
        ("no line end", text.trim_end().as_bytes().to_vec()),
        (
            "keytool's label",
            text.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
                .into_bytes(),
        ),
    ] {
        let file = gateway.dir().join("saved.csr");
        fs::write(&file, bytes).unwrap();
        let args = ["cert", "sign", "--app", "acme", "--csr", "saved.csr"];
        let signed = gateway.cli_json(&args);
        let id = signed["certificate"]["id"].as_str().unwrap();
        gateway.cli(&["cert", "revoke", id, "--yes"]).ok();
        assert!(
            signed["chain_pem"].as_str().unwrap().contains("BEGIN"),
            "{how}"
        );
    }
}

#[test]
fn a_file_that_is_no_request_is_named_with_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let made = pki::request(dir, "acme");
    let text = fs::read_to_string(&made.csr).unwrap();
    let key = fs::read_to_string(&made.key).unwrap();
    let bare: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let quoted: Vec<_> = text.lines().map(|line| format!("> {line}\n")).collect();
    let quoted = quoted.concat();
    for (bytes, words) in [
        (bare, "base64 without its lines"),
        (quoted, "as a mail program quotes"),
        (text.replace('\n', "\\n"), "two letters \\n"),
        (text.replace('\n', " "), "line ends are lost"),
        (
            text.replace("CERTIFICATE REQUEST", "PKCS7"),
            "this is a PKCS7, not a CERTIFICATE REQUEST",
        ),
        (
            text.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            "makes a request",
        ),
        (format!("{text}{text}"), "2 requests here"),
        (format!("{key}{text}"), "contains a private key"),
        (text.replacen("MI", "M?", 1), "which is not base64"),
        (String::new(), "it is empty"),
    ] {
        let file = dir.join("odd.csr");
        fs::write(&file, bytes).unwrap();
        let (accepted, detail) = inspect(dir, &file);
        assert!(!accepted && detail.contains(words), "{words}: {detail}");
    }
}
