//! More of what published systems promise, by our own paths. Each test's name begins with the row that it shows.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::client::{Answer, Partner};
use crate::support::clients::need;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, certificate_alone, config, config_with};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /token }, require: token, upstream: api }
      - { match: { prefix: /events }, require: key, upstream: api, limit: { name: events, per: key, rate: 1000/m } }
      - { match: { prefix: /users }, require: key, upstream: api, limit: { name: users, per: key, rate: 60/m } }
      - { match: { prefix: /slow }, require: key, upstream: api, limit: { name: slow, per: key, rate: 2/s, burst: 2 } }
";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

struct World {
    gateway: Gateway,
    _echo: Echo,
}

fn world_of(change: impl Fn(&str) -> String) -> World {
    let echo = Echo::start();
    let gateway = Gateway::start(&change(&config(&echo.url(), ROUTES)));
    gateway.cli_json(&["app", "create", "acme"]);
    World {
        gateway,
        _echo: echo,
    }
}

fn world() -> World {
    world_of(str::to_owned)
}

impl World {
    fn partner(&self) -> Partner {
        self.gateway.stranger()
    }

    fn recorded(&self, answer: &Answer) -> String {
        let record = self
            .gateway
            .record_of(answer.header("x-request-id").unwrap());
        record["reason"].as_str().unwrap().to_owned()
    }
}

#[test]
fn pb_04_an_app_that_is_set_to_certificates_is_refused_with_the_right_secret() {
    let world = world_of(certificate_alone);
    let (id, secret) = world.gateway.key("acme", &[]);
    assert_eq!(world.partner().exchange(&id, &secret).status, 200);
    let args = [
        "app",
        "set",
        "acme",
        "auth_methods=tls_client_auth",
        "--yes",
    ];
    world.gateway.cli_json(&args);
    let refused = world.partner().exchange(&id, &secret);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"], "invalid_client");
    assert_eq!(refused.reason(), "auth_method_refused");
    assert_eq!(world.recorded(&refused), "auth_method_refused");
    // A stranger learns nothing about the App.
    let (other, wrong) = world.gateway.key("acme", &[]);
    assert_ne!(other, id);
    let guessed = world.partner().exchange(&id, &wrong);
    assert_eq!(guessed.reason(), "credential_invalid");
}

#[test]
fn pb_05_a_secret_of_the_configuration_is_given_by_reference_and_is_nowhere_else() {
    const PEPPER: &str = "pepper-0123456789abcdef0123456789";
    const SEALING: &str = "sealing-0123456789abcdef012345678";
    let echo = Echo::start();
    let more = "keys: { pepper: \"${env:PB_PEPPER}\", sealing_key: \"${env:PB_SEALING}\" }\n";
    let text = config_with(&echo.url(), ROUTES, more);
    let variables = [
        ("PB_PEPPER", Path::new(PEPPER)),
        ("PB_SEALING", Path::new(SEALING)),
    ];
    let gateway = Gateway::start_with(&text, &variables);
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, secret) = gateway.key("acme", &[]);
    gateway.cli_json(&["key", "create", "--app", "acme", "--kind", "signing"]);
    assert_eq!(gateway.stranger().get_by("/key", &secret).status, 200);
    let shown = gateway.cli(&["config", "show"]);
    for secret in [PEPPER, SEALING] {
        assert!(!gateway.log().contains(secret) && !shown.stdout.contains(secret));
        for entry in std::fs::read_dir(gateway.dir()).unwrap() {
            let path = entry.unwrap().path();
            let held = std::fs::read(&path).unwrap_or_default();
            let found = held
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
    // A secret in the file itself is refused, and not repeated.
    let plain = text.replace("${env:PB_PEPPER}", PEPPER);
    let failed = Gateway::try_start_in(tempfile::tempdir().unwrap(), &plain);
    let (_, log, _) = failed.expect_err("a secret in the file");
    assert!(
        log.contains("by reference") && !log.contains(PEPPER),
        "{log}"
    );
}

#[test]
fn pb_10_expired_revoked_unknown_and_wrong_keys_get_the_same_bytes() {
    let world = world();
    let expiring = ["key", "create", "--app", "acme", "--expires", "1s"];
    let expired = world.gateway.cli_json(&expiring);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let expired = (text(&expired["key"]["id"]), text(&expired["secret"]));
    let revoked = world.gateway.key("acme", &[]);
    world
        .gateway
        .cli_json(&["key", "revoke", &revoked.0, "--yes"]);
    let (id, _) = world.gateway.key("acme", &[]);
    let (_, other) = world.gateway.key("acme", &[]);
    let unknown = "key_00000000000000000000000001".to_owned();
    let plain = |answer: Answer| {
        let id = answer.header("x-request-id").unwrap().to_owned();
        let masked = |text: &str| text.replace(&id, "ID");
        let headers = answer
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("date"));
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.clone(), masked(value)))
            .collect();
        (answer.status, headers, masked(&answer.text()))
    };
    eventually("the key expires", || {
        (world.partner().exchange(&expired.0, &expired.1).status == 401).then_some(())
    });
    let mut answers = Vec::new();
    for ((id, secret), recorded) in [
        (expired, "key_expired"),
        (revoked, "key_revoked"),
        ((unknown, other.clone()), "key_unknown"),
        ((id, other), "key_wrong"),
    ] {
        let answer = world.partner().exchange(&id, &secret);
        assert_eq!(world.recorded(&answer), recorded);
        answers.push(plain(answer));
    }
    assert_eq!(answers[0].0, 401);
    assert!(answers[0].2.contains("invalid_client"), "{:?}", answers[0]);
    for answer in &answers[1..] {
        assert_eq!(*answer, answers[0]);
    }
}

#[test]
fn pb_15_tokens_are_minted_and_verified_without_any_network() {
    need("unshare");
    need("ip");
    let dir = tempfile::tempdir().unwrap();
    let text = config("http://127.0.0.1:9", ROUTES)
        .replacen("127.0.0.1:0", "127.0.0.1:8443", 1)
        .replace(&format!("https://{HOST}"), "https://localhost:8443")
        .replace(HOST, "localhost");
    std::fs::write(dir.path().join("c.yaml"), text).unwrap();
    let script = r#"
set -eu
ip link set lo up
countersign() { "$BIN" --config c.yaml "$@"; }
countersign serve >ready 2>log &
serving=$!
trap 'kill $serving' EXIT
for _ in $(seq 200); do grep -q ready: ready && break; sleep 0.05; done
countersign app create acme >/dev/null
countersign key create --app acme --scope countersign:introspect --output json >key.json
id=$(sed -n 's/.*"id": *"\(key_[a-z0-9]*\)".*/\1/p' key.json | head -1)
secret=$(sed -n 's/.*"secret": *"\(sk_[A-Za-z0-9_]*\)".*/\1/p' key.json | head -1)
call() { curl -sS --max-time 5 --cacert authority/root.pem "$@"; }
call -u "$id:$secret" -d grant_type=client_credentials https://localhost:8443/oauth2/token >token.json
token=$(sed -n 's/.*"access_token": *"\([^"]*\)".*/\1/p' token.json)
call -u "$id:$secret" -d "token=$token" https://localhost:8443/oauth2/introspect
echo
call -o /dev/null -w 'upstream %{http_code}\n' -H "Authorization: Bearer $token" https://localhost:8443/token
call -o /dev/null -w 'forged %{http_code}\n' -H "Authorization: Bearer ${token}x" https://localhost:8443/token
call https://localhost:8443/.well-known/jwks.json
call --connect-timeout 1 https://192.0.2.1/ 2>&1 | head -1 || true
"#;
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", script])
        .current_dir(dir.path())
        .env("BIN", env!("CARGO_BIN_EXE_countersign"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert!(output.status.success(), "{output:?}\n{log}");
    assert!(said.contains("\"active\":true"), "{said}\n{log}");
    // The token was good: only the API itself is not there.
    assert!(
        said.contains("upstream 502") && said.contains("forged 401"),
        "{said}"
    );
    assert!(said.contains("\"kid\""), "{said}");
}

#[test]
fn sp_04_a_new_server_key_is_shown_once_and_the_old_one_works_inside_the_grace() {
    let world = world();
    let (id, old) = world.gateway.key("acme", &[]);
    let rotated = world
        .gateway
        .cli_json(&["key", "rotate", &id, "--overlap", "3s"]);
    let new = rotated["secret"].as_str().unwrap();
    let by = |secret: &str| world.partner().get_by("/key", secret).status;
    assert_eq!((by(&old), by(new)), (200, 200));
    let listed = world.gateway.cli(&["key", "list", "--output", "json"]).ok();
    let audited = world
        .gateway
        .cli(&["audit", "list", "--output", "json"])
        .ok();
    for text in [listed, audited, world.gateway.log()] {
        assert!(
            !text.contains(&new[30..]) && !text.contains(&old[30..]),
            "{text}"
        );
    }
    eventually("the grace ends", || (by(&old) == 401).then_some(()));
    assert_eq!(by(new), 200);
}

#[test]
fn sp_05_a_server_key_gets_a_short_auth_token_for_a_user() {
    let world = world();
    let (id, secret) = world.gateway.key("acme", &["countersign:vouch"]);
    let ask = |id: &str, secret: &str, more: &str| {
        let client = data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes());
        let fields = [FORM, ("Authorization", &*format!("Basic {client}"))];
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token_type=urn:countersign:token-type:user{more}"
        );
        world
            .partner()
            .post("/oauth2/token", &fields, form.as_bytes())
    };
    let made = ask(&id, &secret, "&subject_token=u1").json();
    let token = made["access_token"].as_str().unwrap();
    assert!(token.len() <= 100 && !token.contains('.'), "{token}");
    assert_eq!(made["expires_in"], 600);
    assert_eq!(made["issued_token_type"], "urn:countersign:token-type:auth");
    let missing = ask(&id, &secret, "");
    assert_eq!(
        (missing.status, missing.json()["error"].as_str()),
        (400, Some("invalid_request"))
    );
    let (_, other) = world.gateway.key("acme", &["countersign:vouch"]);
    let bad = ask(&id, &other, "&subject_token=u1");
    assert_eq!(
        (bad.status, bad.json()["error"].as_str()),
        (401, Some("invalid_client"))
    );
    // It opens no route by itself.
    assert_eq!(world.partner().get_by("/token", token).status, 401);
}

#[test]
fn in_03_the_two_parts_of_a_credential_belong_together() {
    let world = world();
    let (one, two) = (
        world.gateway.key("acme", &[]),
        world.gateway.key("acme", &[]),
    );
    assert_eq!(world.partner().exchange(&one.0, &two.1).status, 401);
    let token = world.partner().token(&one.0, &one.1);
    let bearer = format!("Bearer {token}");
    let with = |key: &str| {
        let fields = [("Authorization", bearer.as_str()), ("X-Api-Key", key)];
        world.partner().get_with("/token", &fields)
    };
    assert_eq!(world.partner().get_by("/token", &token).status, 200);
    // A token beside the key of another client is two credentials, of which the API might take the other one.
    let refused = with(&two.1);
    assert_eq!(refused.status, 401);
    assert_eq!(world.recorded(&refused), "key_malformed");
    let pair = data_encoding::BASE64.encode(format!("{}:{}", one.0, two.1).as_bytes());
    let mixed = [("Authorization", &*format!("Basic {pair}"))];
    assert_eq!(world.partner().get_with("/key", &mixed).status, 401);
}

#[test]
fn in_04_a_secret_is_never_shown_again() {
    let world = world();
    let (id, secret) = world.gateway.key("acme", &[]);
    let random = &secret[34..];
    let get = world
        .gateway
        .cli(&["key", "get", &id, "--output", "json"])
        .ok();
    let list = world.gateway.cli(&["key", "list", "--output", "json"]).ok();
    let audit = world
        .gateway
        .cli(&["audit", "list", "--output", "json"])
        .ok();
    let access = serde_json::to_string(&world.gateway.access_log()).unwrap();
    for text in [get, list, audit, access, world.gateway.log()] {
        assert!(!text.contains(random), "{text}");
    }
    for file in std::fs::read_dir(world.gateway.dir()).unwrap() {
        let path = file.unwrap().path();
        let held = std::fs::read(&path).unwrap_or_default();
        let found = held
            .windows(random.len())
            .any(|part| part == random.as_bytes());
        assert!(!found, "{}", path.display());
    }
}

#[test]
fn pr_15_each_key_has_its_own_allowance_for_each_class_of_routes() {
    let world = world();
    let (one, two) = (
        world.gateway.key("acme", &[]).1,
        world.gateway.key("acme", &[]).1,
    );
    let bearer = format!("Bearer {one}");
    let fields = [("Authorization", bearer.as_str())];
    let begun = Instant::now();
    let mut connection = world.partner().connect();
    let statuses: Vec<u16> = (0..61)
        .map(|_| connection.request("GET", "/users", &fields, b"").status)
        .collect();
    // An allowance fills up again, by one a second here.
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let granted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!((granted, statuses.last()), (60, Some(&429)));
    assert_eq!(
        world.partner().get_by("/events", &one).status,
        200,
        "another class"
    );
    assert_eq!(
        world.partner().get_by("/users", &two).status,
        200,
        "another key"
    );
}

#[test]
fn pr_16_a_refusal_says_when_to_come_back_and_that_is_true() {
    let world = world();
    let (_, secret) = world.gateway.key("acme", &[]);
    let by = || world.partner().get_by("/slow", &secret);
    let first = by();
    assert_eq!(first.status, 200);
    assert!(
        first.header("ratelimit").unwrap().contains("slow"),
        "{first:?}"
    );
    assert!(
        first.header("ratelimit-policy").unwrap().contains("q=2"),
        "{first:?}"
    );
    let refused = (0..20).map(|_| by()).find(|answer| answer.status == 429);
    let refused = refused.expect("an allowance that is used up");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert_eq!((refused.reason().as_str(), wait), ("rate_limited", 1));
    #[expect(clippy::disallowed_methods, reason = "what is tested is this time")]
    std::thread::sleep(Duration::from_secs(wait));
    assert_eq!(by().status, 200);
}
