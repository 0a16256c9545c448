//! What was acknowledged is there after the process was killed in the middle of its work, and is enforced.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config};
use crate::support::pki::{self, KeyAndRequest};
use crate::support::process::countersign;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";

/// What is known of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revoked {
    Yes,
    No,
    /// It was asked for, and the gateway was killed before it answered.
    Perhaps,
}

/// What the gateway has acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// Ids and secrets.
    keys: Vec<(String, String, Revoked)>,
    /// Ids and files.
    certificates: Vec<(String, PathBuf, Revoked)>,
}

/// Works until the gateway is gone.
struct Writer {
    dir: PathBuf,
    socket: PathBuf,
    round: usize,
    csr: PathBuf,
    done: Arc<AtomicUsize>,
}

impl Writer {
    fn ask(&self, args: &[&str]) -> Option<Value> {
        let socket = self.socket.to_str().unwrap();
        let common = ["--output", "json", "--admin-socket", socket];
        let said = countersign(&self.dir, &[args, &common].concat());
        (said.code == 0).then(|| serde_json::from_str(&said.stdout).unwrap())
    }

    /// Revokes every other thing.
    fn revoke(&self, n: usize, kind: &str, id: &str) -> Revoked {
        if n.is_multiple_of(2) {
            return Revoked::No;
        }
        match self.ask(&[kind, "revoke", id, "--yes"]) {
            Some(_) => Revoked::Yes,
            None => Revoked::Perhaps,
        }
    }

    fn work(&self) -> Acknowledged {
        let mut all = Acknowledged::default();
        for n in 0..200 {
            let Some(key) = self.ask(&["key", "create", "--app", "acme"]) else {
                break;
            };
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (id, secret) = (text(&key["key"]["id"]), text(&key["secret"]));
            let revoked = self.revoke(n, "key", &id);
            all.keys.push((id, secret, revoked));
            let (name, out) = (format!("c{}-{n}", self.round), self.out(n));
            let (csr, file) = (self.csr.to_str().unwrap(), out.to_str().unwrap());
            let sign = [
                "cert", "sign", "--app", "acme", "--name", &name, "--csr", csr, "-o", file,
            ];
            let Some(signed) = self.ask(&sign) else {
                break;
            };
            let id = text(&signed["certificate"]["id"]);
            let revoked = self.revoke(n, "cert", &id);
            all.certificates.push((id, out, revoked));
            self.done.fetch_add(1, Ordering::SeqCst);
        }
        all
    }

    fn out(&self, n: usize) -> PathBuf {
        self.dir.join(format!("{}-{n}.pem", self.round))
    }
}

#[test]
fn killing_it_loses_no_certificate_no_key_and_no_revocation() {
    let echo = Echo::start();
    let many = "directory: authority, profile: { active_max: 100 } }";
    let text = config(&echo.url(), ROUTES).replace("directory: authority }", many);
    let mut dir = tempfile::tempdir().unwrap();
    let KeyAndRequest { key, csr } = pki::request(dir.path(), "acme");
    let mut all = Acknowledged::default();
    for round in 0..3 {
        let gateway = Gateway::start_in(dir, &text);
        if round == 0 {
            gateway.cli_json(&["app", "create", "acme"]);
        }
        let done = Arc::new(AtomicUsize::new(0));
        let writer = Writer {
            dir: gateway.dir().to_owned(),
            socket: gateway.socket(),
            round,
            csr: csr.clone(),
            done: Arc::clone(&done),
        };
        let working = std::thread::spawn(move || writer.work());
        eventually("some of it is done", || {
            (done.load(Ordering::SeqCst) >= 3).then_some(())
        });
        dir = gateway.kill();
        let acknowledged = working.join().unwrap();
        assert!(acknowledged.keys.len() < 200, "killed in the middle");
        all.keys.extend(acknowledged.keys);
        all.certificates.extend(acknowledged.certificates);
    }
    let gateway = Gateway::start_in(dir, &text);
    let stranger = gateway.stranger();
    let keys = gateway.cli_json(&["key", "list"]);
    for (id, secret, revoked) in &all.keys {
        let (state, status) = (state(&keys, id), stranger.get_by("/key", secret).status);
        judge(id, *revoked, &state, status == 200);
    }
    let certificates = gateway.cli_json(&["cert", "list"]);
    for (id, file, revoked) in &all.certificates {
        let answer = gateway.partner(file, &key).get("/");
        let refused = (answer.status, answer.reason());
        assert!(
            answer.status == 200 || refused == (403, "cert_revoked".to_owned()),
            "{answer:?}"
        );
        judge(
            id,
            *revoked,
            &state(&certificates, id),
            answer.status == 200,
        );
    }
    each_change_has_one_event(&gateway, &keys, &certificates);
}

fn state(listed: &Value, id: &str) -> String {
    let mut things = listed.as_array().unwrap().iter();
    let thing = things.find(|thing| thing["id"] == id);
    let thing = thing.unwrap_or_else(|| panic!("{id} is lost"));
    thing["state"].as_str().unwrap().to_owned()
}

fn judge(id: &str, revoked: Revoked, state: &str, counts: bool) {
    assert_eq!(counts, state == "active", "{id} is {state}");
    match revoked {
        Revoked::Yes => assert_eq!(state, "revoked", "{id}"),
        Revoked::No => assert_eq!(state, "active", "{id}"),
        Revoked::Perhaps => assert!(["active", "revoked"].contains(&state), "{id}: {state}"),
    }
}

fn each_change_has_one_event(gateway: &Gateway, keys: &Value, certificates: &Value) {
    let revoked = |listed: &Value| {
        let things = listed.as_array().unwrap().iter();
        things.filter(|thing| thing["state"] == "revoked").count()
    };
    let count = |listed: &Value| listed.as_array().unwrap().len();
    for (action, expected) in [
        ("key.create", count(keys)),
        ("key.revoke", revoked(keys)),
        ("cert.sign", count(certificates)),
        ("cert.revoke", revoked(certificates)),
    ] {
        let events = gateway.cli_json(&["audit", "list", "--action", action]);
        assert_eq!(count(&events), expected, "{action}");
    }
}
