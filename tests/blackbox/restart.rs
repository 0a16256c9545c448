//! What was acknowledged is there after the process was killed in the middle of its work, and is enforced.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config, draining};
use crate::support::pki::{self, KeyAndRequest};
use crate::support::process::countersign;
use crate::support::upstream::{Echo, Held};

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";

const TOKEN: &str = "      - { match: { prefix: / }, require: token, upstream: api }";

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

/// A step of a life: each is one commit, or one change of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    AppCreate,
    KeyCreate,
    KeyRotate,
    KeyRevoke,
    CertSign,
    CertRevoke,
    AppSuspend,
    AppResume,
    AdminTokenCreate,
    AdminTokenRevoke,
    TokenKeyRotate,
}

const STEPS: [Step; 11] = [
    Step::AppCreate,
    Step::KeyCreate,
    Step::KeyRotate,
    Step::KeyRevoke,
    Step::CertSign,
    Step::CertRevoke,
    Step::AppSuspend,
    Step::AppResume,
    Step::AdminTokenCreate,
    Step::AdminTokenRevoke,
    Step::TokenKeyRotate,
];

/// An App with all that an operator does to it, one step after another.
struct Life {
    app: String,
    /// The answers to the steps that were acknowledged.
    said: Vec<Value>,
    /// True if the next step was asked for and not acknowledged.
    pending: bool,
}

impl Life {
    fn new(app: String) -> Self {
        Self {
            app,
            said: Vec::new(),
            pending: false,
        }
    }

    fn said(&self, step: Step) -> Option<&Value> {
        let place = STEPS.iter().position(|known| *known == step)?;
        self.said.get(place)
    }

    fn text(&self, step: Step, pointer: &str) -> String {
        let said = self.said(step).unwrap();
        let text = said.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("{pointer} in {said}"))
            .to_owned()
    }

    /// True if the step was acknowledged; `None` if it may have been carried out.
    fn is_done(&self, step: Step) -> Option<bool> {
        let place = STEPS.iter().position(|known| *known == step).unwrap();
        match place.cmp(&self.said.len()) {
            std::cmp::Ordering::Less => Some(true),
            std::cmp::Ordering::Equal if self.pending => None,
            _ => Some(false),
        }
    }

    fn args(&self, step: Step, writer: &Writer) -> Vec<String> {
        let line = match step {
            Step::AppCreate => format!("app create {}", self.app),
            Step::KeyCreate => format!("key create --app {}", self.app),
            Step::KeyRotate => {
                let old = self.text(Step::KeyCreate, "/key/id");
                format!("key rotate {old} --overlap 1h")
            }
            Step::KeyRevoke => {
                format!("key revoke {} --yes", self.text(Step::KeyCreate, "/key/id"))
            }
            Step::CertSign => {
                let app = &self.app;
                // No two Apps have certificates for one key.
                let csr = pki::request(&writer.dir, app).csr;
                let csr = csr.file_name().unwrap().display().to_string();
                format!("cert sign --app {app} --name {app} --csr {csr} -o {app}.pem")
            }
            Step::CertRevoke => {
                let id = self.text(Step::CertSign, "/certificate/id");
                format!("cert revoke {id} --yes")
            }
            Step::AppSuspend => format!("app suspend {}", self.app),
            Step::AppResume => format!("app resume {}", self.app),
            Step::AdminTokenCreate => format!("admin-token create {} --role viewer", self.app),
            Step::AdminTokenRevoke => {
                let id = self.text(Step::AdminTokenCreate, "/token/id");
                format!("admin-token revoke {id} --yes")
            }
            Step::TokenKeyRotate => "token-key rotate".to_owned(),
        };
        line.split(' ').map(str::to_owned).collect()
    }

    /// Takes steps until there are `count`, or the gateway is gone. False if it is.
    fn live(&mut self, count: usize, writer: &Writer) -> bool {
        while let Some(step) = STEPS[..count].get(self.said.len()) {
            let args = self.args(*step, writer);
            self.pending = true;
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let Some(said) = writer.ask(&args) else {
                return false;
            };
            self.pending = false;
            self.said.push(said);
        }
        true
    }
}

/// The state of things after a restart.
struct Listed {
    apps: Value,
    keys: Value,
    certificates: Value,
    admin_tokens: Value,
    token_keys: Value,
}

impl Listed {
    fn by(gateway: &Gateway) -> Self {
        let list = |what: &str| gateway.cli_json(&[what, "list"]);
        Self {
            apps: list("app"),
            keys: list("key"),
            certificates: list("cert"),
            admin_tokens: list("admin-token"),
            token_keys: list("token-key"),
        }
    }

    fn judge_all(&self, lives: &[Life]) {
        for life in lives {
            self.judge(life);
        }
    }

    /// Everything that was acknowledged is there; what was asked for may be, and nothing else is.
    fn judge(&self, life: &Life) {
        let app = &life.app;
        let found = |listed: &Value, field: &str, value: &str| -> Option<String> {
            let mut things = listed.as_array().unwrap().iter();
            let thing = things.find(|thing| thing[field] == value)?;
            let revoked = thing.get("revoked_at").is_some_and(|at| !at.is_null());
            let state = if revoked {
                Some("revoked")
            } else {
                thing["state"].as_str()
            };
            Some(state.unwrap_or("active").to_owned())
        };
        let expect = |what: &str, state: Option<String>, allowed: &[&str]| {
            let state = state.as_deref().unwrap_or("absent");
            assert!(
                allowed.contains(&state),
                "{app}: {what} is {state}, not {allowed:?}"
            );
        };
        let suspended = around(life.is_done(Step::AppSuspend), "active", "suspended");
        let states = match life.is_done(Step::AppResume) {
            Some(false) => match life.is_done(Step::AppCreate) {
                Some(true) => suspended,
                created => around(created, "absent", "active"),
            },
            resumed => around(resumed, "suspended", "active"),
        };
        expect("the App", found(&self.apps, "name", app), &states);
        if life.said(Step::KeyCreate).is_some() {
            let id = life.text(Step::KeyCreate, "/key/id");
            let states = match life.is_done(Step::KeyRevoke) {
                Some(false) => around(life.is_done(Step::KeyRotate), "active", "retiring"),
                revoked => around(revoked, "retiring", "revoked"),
            };
            expect("the first key", found(&self.keys, "id", &id), &states);
        }
        if life.said(Step::KeyRotate).is_some() {
            let id = life.text(Step::KeyRotate, "/key/id");
            expect("the second key", found(&self.keys, "id", &id), &["active"]);
        }
        if life.said(Step::CertSign).is_some() {
            let id = life.text(Step::CertSign, "/certificate/id");
            let states = around(life.is_done(Step::CertRevoke), "active", "revoked");
            expect(
                "the certificate",
                found(&self.certificates, "id", &id),
                &states,
            );
        }
        if life.said(Step::AdminTokenCreate).is_some() {
            let id = life.text(Step::AdminTokenCreate, "/token/id");
            let states = around(life.is_done(Step::AdminTokenRevoke), "active", "revoked");
            expect(
                "the admin token",
                found(&self.admin_tokens, "id", &id),
                &states,
            );
        }
        if let Some(said) = life.said(Step::TokenKeyRotate) {
            let retiring = said["retiring"].as_array().unwrap().iter();
            for key in retiring.chain([&said["token_key"]]) {
                let kid = key["kid"].as_str().unwrap();
                let state = found(&self.token_keys, "kid", kid);
                assert!(
                    state.is_some(),
                    "{kid} of {app} is lost: {}",
                    self.token_keys
                );
            }
        }
    }
}

/// The states that a thing may have around a step.
fn around(done: Option<bool>, before: &'static str, after: &'static str) -> Vec<&'static str> {
    match done {
        Some(false) => vec![before],
        Some(true) => vec![after],
        None => vec![before, after],
    }
}

/// The gateway is killed right after each kind of change is acknowledged, among other operators whose changes are
/// under way, stored with it or waiting.
#[test]
fn a_kill_after_any_kind_of_change_loses_nothing_that_was_acknowledged() {
    let echo = Echo::start();
    let many = "directory: authority, profile: { active_max: 100 } }";
    let text = config(&echo.url(), ROUTES).replace("directory: authority }", many);
    let mut dir = tempfile::tempdir().unwrap();
    let mut lives: Vec<Life> = Vec::new();
    let mut beside = 0;
    for count in 1..=STEPS.len() {
        let gateway = Gateway::start_in(dir, &text);
        let listed = Listed::by(&gateway);
        listed.judge_all(&lives);
        let writer = || Writer {
            dir: gateway.dir().to_owned(),
            socket: gateway.socket(),
            round: count,
            csr: PathBuf::new(),
            done: Arc::default(),
        };
        let others = [0, 1].map(|other| {
            let writer = writer();
            std::thread::spawn(move || live_on(count, other, &writer))
        });
        let mut first = Life::new(format!("life-{count}"));
        assert!(first.live(count, &writer()), "{:?}", first.said);
        dir = gateway.kill();
        lives = others
            .into_iter()
            .flat_map(|other| other.join().unwrap())
            .collect();
        beside += lives.iter().map(|life| life.said.len()).sum::<usize>();
        lives.push(first);
    }
    assert!(beside > STEPS.len(), "{beside} changes beside");
    let gateway = Gateway::start_in(dir, &text);
    let listed = Listed::by(&gateway);
    listed.judge_all(&lives);
}

/// Lives of other operators, without changes of the token key, of which there can be few, until the gateway is gone.
fn live_on(round: usize, other: usize, writer: &Writer) -> Vec<Life> {
    let mut lives = Vec::new();
    for number in 0..100 {
        let mut life = Life::new(format!("other-{round}-{other}-{number}"));
        let goes_on = life.live(STEPS.len() - 1, writer);
        lives.push(life);
        if !goes_on {
            break;
        }
    }
    lives
}

/// A rotation of the token key writes the earlier keys first, and the new key last. Tokens of the old one are valid
/// before, between and after.
#[test]
fn a_kill_between_the_files_of_a_rotation_ends_no_token() {
    let echo = Echo::start();
    let text = config(&echo.url(), TOKEN);
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &[]);
    let before = gateway.stranger().token(&id, &secret);
    let old = fs::read(gateway.dir().join("token.key")).unwrap();
    gateway.cli_json(&["token-key", "rotate"]);
    let after = gateway.stranger().token(&id, &secret);
    let dir = gateway.kill();
    let gateway = Gateway::start_in(dir, &text);
    for token in [&before, &after] {
        assert_eq!(gateway.stranger().get_by("/", token).status, 200);
    }
    let dir = gateway.kill();
    // As it is when the new key was not written any more, and no token was signed by it.
    fs::write(dir.path().join("token.key"), old).unwrap();
    let gateway = Gateway::start_in(dir, &text);
    assert_eq!(gateway.stranger().get_by("/", &before).status, 200);
    assert_eq!(gateway.stranger().get_by("/", &after).status, 401);
    let next = gateway.stranger().token(&id, &secret);
    assert_eq!(gateway.stranger().get_by("/", &next).status, 200);
    let listed = gateway.cli_json(&["token-key", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
}

#[test]
fn a_kill_during_a_drain_loses_nothing_that_was_acknowledged() {
    let held = Held::start();
    let text = draining(&config(held.url(), TOKEN), "delay: 1ms, timeout: 60s");
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &[]);
    let token = gateway.stranger().token(&id, &secret);
    let mut running = gateway.stranger().connect();
    running.send(
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n\r\n")
            .as_bytes(),
    );
    held.wait_for(1);
    gateway.cli(&["drain"]).ok();
    gateway.wait_until_closed();
    let (other, _) = gateway.key("acme", &[]);
    gateway.cli(&["key", "revoke", &id, "--yes"]).ok();
    let dir = gateway.kill();
    held.answer();
    let gateway = Gateway::start_in(dir, &text);
    assert_eq!(
        gateway.ops_get("/readyz").0,
        200,
        "the drain has ended with it"
    );
    let keys = gateway.cli_json(&["key", "list"]);
    assert_eq!(
        (&*state(&keys, &id), &*state(&keys, &other)),
        ("revoked", "active")
    );
    assert_eq!(gateway.stranger().get_by("/", &token).status, 401);
    let drains = gateway.cli_json(&["audit", "list", "--action", "gateway.drain"]);
    assert_eq!(drains.as_array().unwrap().len(), 1, "{drains}");
}
