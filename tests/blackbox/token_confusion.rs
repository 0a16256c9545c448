//! Every kind of token in place of every other: each is refused where it is not meant, with its reason in the access log
//! and an answer that says no more than that of any other wrong token. And what counts once counts once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use crate::support::client::{Answer, Partner};
use crate::support::dpop::{Prover, call};
use crate::support::gateway::{Gateway, HOST, config_with};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }
      - { match: { prefix: /key }, require: key, scopes: [orders:read], upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const BEARER: &str =
    "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
const OF_USER: &str = "subject_token_type=urn:countersign:token-type:user";
const OF_AUTH: &str = "subject_token_type=urn:countersign:token-type:auth";
const OF_ACCESS: &str = "subject_token_type=urn:ietf:params:oauth:token-type:access_token";
const OF_OTHERS: &str = "subject_token_type=urn:ietf:params:oauth:token-type:jwt";

struct World {
    gateway: Gateway,
    key: (String, String),
    /// The private key of the App.
    signer: Prover,
    /// The key that tokens are bound to.
    prover: Prover,
    callers: AtomicU8,
    echo: Echo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Access,
    Opaque,
    Auth,
    Refresh,
    Assertion,
    Proof,
    Key,
    Identity,
}

const KINDS: [Kind; 8] = [
    Kind::Access,
    Kind::Opaque,
    Kind::Auth,
    Kind::Refresh,
    Kind::Assertion,
    Kind::Proof,
    Kind::Key,
    Kind::Identity,
];

fn url(path: &str) -> String {
    format!("https://{HOST}{path}")
}

fn world() -> World {
    let echo = Echo::start();
    let more = "identity_headers: { assertion: { enabled: true, audience: api } }";
    let text = config_with(&echo.url(), ROUTES, more)
        .replace("tokens: {", "tokens: { dpop_nonces: false,");
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let signer = Prover::new();
    let file = gateway.dir().join("acme.jwks.json");
    std::fs::write(&file, signer.jwks()).unwrap();
    let setting = format!("jwks={}", file.display());
    gateway.cli_json(&["app", "set", "acme", &setting]);
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    let key = gateway.key("acme", &own);
    World {
        gateway,
        key,
        signer,
        prover: Prover::new(),
        callers: AtomicU8::new(1),
        echo,
    }
}

impl World {
    /// A caller with an address of its own, so that no attempt slows another one down.
    fn caller(&self) -> Partner {
        let number = self.callers.fetch_add(1, Ordering::Relaxed);
        let address = Ipv4Addr::new(127, 0, 1, number);
        self.gateway.stranger().from(IpAddr::V4(address))
    }

    fn ask_by(&self, partner: &Partner, path: &str, form: &str, proof: Option<&str>) -> Answer {
        let client = format!("{}:{}", self.key.0, self.key.1);
        let client = data_encoding::BASE64.encode(client.as_bytes());
        let authorization = format!("Basic {client}");
        let mut fields = vec![FORM, ("Authorization", &*authorization)];
        fields.extend(proof.map(|proof| ("DPoP", proof)));
        partner.post(path, &fields, form.as_bytes())
    }

    fn ask(&self, form: &str) -> Answer {
        self.ask_by(&self.caller(), "/oauth2/token", form, None)
    }

    fn login(&self) -> Answer {
        let auth = self.make(Kind::Auth);
        self.ask(&format!("{EXCHANGE}&subject_token={auth}&{OF_AUTH}"))
    }

    fn format(&self, format: &str) {
        let setting = format!("access_token_format={format}");
        self.gateway.cli_json(&["app", "set", "acme", &setting]);
    }

    /// A token of this kind that is valid.
    fn make(&self, kind: Kind) -> String {
        let own = "grant_type=client_credentials";
        match kind {
            Kind::Access => member(&self.ask(own), "access_token"),
            Kind::Opaque => {
                self.format("opaque");
                let token = member(&self.ask(own), "access_token");
                self.format("jwt");
                token
            }
            Kind::Auth => {
                let form = format!("{EXCHANGE}&subject_token=alice&{OF_USER}");
                member(&self.ask(&form), "access_token")
            }
            Kind::Refresh => member(&self.login(), "refresh_token"),
            Kind::Assertion => self
                .signer
                .assertion(&self.key.0, &format!("https://{HOST}")),
            Kind::Proof => self.prover.prove("POST", &url("/oauth2/token"), None),
            Kind::Key => self.key.1.clone(),
            Kind::Identity => {
                let token = self.make(Kind::Access);
                let seen = self.caller().get_by("/read", &token).json();
                let text = seen.to_string();
                let at = text.to_lowercase().find("x-countersign-assertion").unwrap();
                let jwt = text[at..].split('"').find(|part| part.starts_with("eyJ"));
                jwt.unwrap_or_else(|| panic!("{text}")).to_owned()
            }
        }
    }

    /// The refusal of a request, as its sender and as the operator see it.
    #[track_caller]
    fn refused(&self, answer: &Answer, what: &str) -> (String, String) {
        assert!(
            matches!(answer.status, 400 | 401 | 403),
            "{what}: {answer:?}"
        );
        let id = answer.header("x-request-id").unwrap();
        let inside = self.gateway.record_of(id)["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        (answer.reason(), inside)
    }
}

#[track_caller]
fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

/// The reasons outside that say nothing of a wrong token but that it is wrong.
const INDISTINCT: [&str; 2] = ["credential_invalid", "grant_invalid"];

#[test]
fn no_other_token_opens_a_route() {
    let world = world();
    for kind in KINDS {
        let shown = world.make(kind);
        let bearer = world.caller().get_by("/read", &shown);
        if matches!(kind, Kind::Access | Kind::Opaque) {
            assert_eq!(bearer.status, 200, "{kind:?}");
        } else {
            let (outside, inside) = world.refused(&bearer, &format!("{kind:?} as Bearer"));
            let expected = if kind == Kind::Key {
                // It is valid, and of a kind that the route does not take.
                outside == "credential_missing" || outside == "kind_not_accepted"
            } else {
                outside == "credential_invalid" && inside.starts_with("token_")
            };
            assert!(expected, "{kind:?}: {outside} {inside}");
        }
        let proof = world.prover.prove("GET", &url("/read"), Some(&shown));
        let by_proof = call(&world.caller(), "/read", &shown, &proof);
        let (outside, inside) = world.refused(&by_proof, &format!("{kind:?} as DPoP"));
        let unbound = matches!(kind, Kind::Access | Kind::Opaque);
        let expected = if unbound {
            "token_binding"
        } else {
            "credential_invalid"
        };
        assert_eq!(outside, expected, "{kind:?}: {inside}");
        let as_key = world.caller().get_with("/key", &[("X-Api-Key", &shown)]);
        if kind == Kind::Key {
            assert_eq!(as_key.status, 200);
        } else {
            let (outside, inside) = world.refused(&as_key, &format!("{kind:?} as a key"));
            assert_eq!(
                (&*outside, &*inside),
                ("credential_invalid", "key_malformed"),
                "{kind:?}"
            );
        }
    }
}

#[test]
fn no_other_token_is_a_proof() {
    let world = world();
    let endpoint = url("/oauth2/token");
    let own = "grant_type=client_credentials";
    let proof = world.prover.prove("POST", &endpoint, None);
    let bound = world.ask_by(&world.caller(), "/oauth2/token", own, Some(&proof));
    let token = member(&bound, "access_token");
    for kind in KINDS {
        if kind == Kind::Proof {
            continue;
        }
        let shown = world.make(kind);
        let (outside, inside) = world.refused(
            &call(&world.caller(), "/read", &token, &shown),
            &format!("{kind:?} as a proof"),
        );
        assert_eq!(
            (&*outside, &*inside),
            ("dpop_proof_invalid", "dpop_proof_invalid")
        );
        let asked = world.ask_by(&world.caller(), "/oauth2/token", own, Some(&shown));
        assert_eq!(asked.json()["error"], "invalid_dpop_proof", "{kind:?}");
    }
    // A proof of the token endpoint is none for a call.
    let (outside, _) = world.refused(
        &call(&world.caller(), "/read", &token, &world.make(Kind::Proof)),
        "a proof of another request",
    );
    assert_eq!(outside, "dpop_proof_mismatch");
}

/// A grant's name, its form with a token, and the kinds that it takes.
type Grant = (&'static str, fn(&str) -> String, &'static [Kind]);

#[test]
fn no_other_token_is_a_grant() {
    let world = world();
    let grants: [Grant; 5] = [
        (
            "auth",
            |shown| format!("{EXCHANGE}&subject_token={shown}&{OF_AUTH}"),
            &[Kind::Auth],
        ),
        (
            "access",
            |shown| format!("{EXCHANGE}&subject_token={shown}&{OF_ACCESS}"),
            &[Kind::Access, Kind::Opaque],
        ),
        (
            "others",
            |shown| format!("{EXCHANGE}&subject_token={shown}&{OF_OTHERS}"),
            &[],
        ),
        (
            "refresh",
            |shown| format!("grant_type=refresh_token&refresh_token={shown}"),
            &[Kind::Refresh],
        ),
        (
            "jwt-bearer",
            |shown| {
                format!("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion={shown}")
            },
            // Its subject is the client, which is no user.
            &[],
        ),
    ];
    for (name, form, taken) in grants {
        for kind in KINDS {
            if taken.contains(&kind) {
                continue;
            }
            let answer = world.ask(&form(&world.make(kind)));
            let what = format!("{kind:?} as {name}");
            let (outside, inside) = world.refused(&answer, &what);
            let of_client = name == "jwt-bearer" && kind == Kind::Assertion;
            let expected = if of_client {
                "input_invalid"
            } else {
                "grant_invalid"
            };
            assert_eq!(outside, expected, "{what}: {inside}");
            assert!(!inside.is_empty(), "{what}");
        }
    }
}

#[test]
fn no_other_token_authenticates_a_client() {
    let world = world();
    for kind in KINDS {
        let shown = world.make(kind);
        let own = "grant_type=client_credentials";
        let (id, _) = &world.key;
        let by_secret = format!("{own}&client_id={id}&client_secret={shown}");
        let by_signature = format!("{own}&client_assertion={shown}&{BEARER}");
        for (name, form, right) in [
            ("secret", by_secret, Kind::Key),
            ("assertion", by_signature, Kind::Assertion),
        ] {
            let answer = world
                .caller()
                .post("/oauth2/token", &[FORM], form.as_bytes());
            if kind == right {
                assert_eq!(answer.status, 200, "{kind:?}");
                continue;
            }
            let what = format!("{kind:?} as {name}");
            let (outside, inside) = world.refused(&answer, &what);
            assert_eq!(answer.json()["error"], "invalid_client", "{what}");
            assert_eq!(outside, "credential_invalid", "{what}: {inside}");
            assert!(!INDISTINCT.contains(&&*inside), "{what}: {inside}");
        }
    }
}

#[test]
fn what_is_no_token_of_ours_is_not_active_and_revokes_nothing() {
    let world = world();
    for kind in [Kind::Assertion, Kind::Proof, Kind::Key, Kind::Identity] {
        let form = format!("token={}", world.make(kind));
        let about = world.ask_by(&world.caller(), "/oauth2/introspect", &form, None);
        assert_eq!(
            about.json(),
            serde_json::json!({"active": false}),
            "{kind:?}"
        );
        let revoked = world.ask_by(&world.caller(), "/oauth2/revoke", &form, None);
        assert_eq!(revoked.status, 200, "{kind:?}");
    }
    let token = world.make(Kind::Access);
    assert_eq!(
        world.caller().get_by("/read", &token).status,
        200,
        "the Key is alive"
    );
}

/// The answers of 50 callers that do the same at once, each from an address of its own.
fn at_once(world: &World, ask: impl Fn(&Partner) -> Answer + Sync) -> Vec<Answer> {
    let callers: Vec<Partner> = (0..50).map(|_| world.caller()).collect();
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for caller in &callers {
            threads.push(scope.spawn(|| ask(caller)));
        }
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect()
    })
}

fn passed(answers: &[Answer]) -> usize {
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[test]
fn of_fifty_who_use_an_auth_token_at_once_one_logs_in() {
    let world = world();
    let form = format!(
        "{EXCHANGE}&subject_token={}&{OF_AUTH}",
        world.make(Kind::Auth)
    );
    let answers = at_once(&world, |caller| {
        world.ask_by(caller, "/oauth2/token", &form, None)
    });
    assert_eq!(passed(&answers), 1);
}

#[test]
fn of_fifty_who_use_an_assertion_at_once_one_is_authenticated() {
    let world = world();
    let assertion = world.make(Kind::Assertion);
    let form = format!("grant_type=client_credentials&client_assertion={assertion}&{BEARER}");
    let answers = at_once(&world, |caller| {
        caller.post("/oauth2/token", &[FORM], form.as_bytes())
    });
    assert_eq!(passed(&answers), 1);
}

#[test]
fn of_fifty_who_use_a_proof_at_once_one_gets_a_token() {
    let world = world();
    let proof = world.make(Kind::Proof);
    let answers = at_once(&world, |caller| {
        let form = "grant_type=client_credentials";
        world.ask_by(caller, "/oauth2/token", form, Some(&proof))
    });
    assert_eq!(passed(&answers), 1);
    assert_eq!(world.echo.requests(), 0);
}

#[test]
fn of_fifty_who_use_a_refresh_token_at_once_one_wins_and_the_session_ends() {
    let world = world();
    let session = world.login();
    let refresh = member(&session, "refresh_token");
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let answers = at_once(&world, |caller| {
        world.ask_by(caller, "/oauth2/token", &form, None)
    });
    assert_eq!(passed(&answers), 1);
    // All the others are thieves or the robbed: the session is over for everybody.
    let ended = world
        .caller()
        .get_by("/read", &member(&session, "access_token"));
    assert_eq!(ended.reason(), "credential_invalid");
    let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
    let ended = world
        .caller()
        .get_by("/read", &member(winner, "access_token"));
    assert_eq!(ended.reason(), "credential_invalid");
}
