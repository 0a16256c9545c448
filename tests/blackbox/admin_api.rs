//! The admin API: over TLS with a token, strict in what it takes, and explicit in what it refuses.

use serde_json::{Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";
const JSON: (&str, &str) = ("Content-Type", "application/json");

struct Admin {
    gateway: Gateway,
    partner: Partner,
    bearer: String,
    _echo: Echo,
}

impl Admin {
    fn new() -> Self {
        let echo = Echo::start();
        let gateway = Gateway::start(&config(&echo.url(), ROUTES));
        let made = gateway.cli_json(&["admin-token", "create", "tests", "--role", "admin"]);
        let bearer = format!("Bearer {}", made["secret"].as_str().unwrap());
        let partner = Partner::new(gateway.admin(), "localhost", &gateway.ca(), None);
        Self {
            gateway,
            partner,
            bearer,
            _echo: echo,
        }
    }

    fn call(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        self.partner.connect().request(
            method,
            &format!("/api/v1{path}"),
            &[("Authorization", &self.bearer), JSON],
            body,
        )
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body.to_string().as_bytes())
    }
}

#[test]
fn nobody_without_a_token_gets_in() {
    let admin = Admin::new();
    for authorization in ["", "Bearer", "Bearer cs_admin_nonsense", "Basic eDp5"] {
        let answer = admin
            .partner
            .get_with("/api/v1/apps", &[("Authorization", authorization)]);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "admin_unauthenticated"),
            "{authorization}"
        );
    }
    assert_eq!(
        admin.gateway.stranger().get("/api/v1/apps").json()["target"],
        "/api/v1/apps",
        "the partners' port has no admin API"
    );
}

#[test]
fn a_role_bounds_what_its_token_does() {
    let admin = Admin::new();
    let made = admin
        .gateway
        .cli_json(&["admin-token", "create", "watcher", "--role", "viewer"]);
    let viewer = format!("Bearer {}", made["secret"].as_str().unwrap());
    let fields = [("Authorization", viewer.as_str()), JSON];
    assert_eq!(admin.partner.get_with("/api/v1/apps", &fields).status, 200);
    let refused = admin
        .partner
        .post("/api/v1/apps", &fields, br#"{"name":"acme"}"#);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (403, "admin_forbidden")
    );
    let id = made["token"]["id"].as_str().unwrap();
    admin
        .gateway
        .cli(&["admin-token", "revoke", id, "--yes"])
        .ok();
    assert_eq!(admin.partner.get_with("/api/v1/apps", &fields).status, 401);
}

#[test]
fn apps_are_made_listed_in_pages_and_found() {
    let admin = Admin::new();
    for n in 0..5 {
        assert_eq!(
            admin
                .post("/apps", &json!({ "name": format!("app-{n}") }))
                .status,
            201
        );
    }
    let first = admin.call("GET", "/apps?limit=2", b"").json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let second = admin
        .call("GET", &format!("/apps?limit=2&after={next}"), b"")
        .json();
    assert_eq!(second["items"][0]["name"], "app-2");
    assert_eq!(
        admin.call("GET", "/apps/app-3", b"").json()["name"],
        "app-3"
    );
    assert_eq!(admin.call("GET", "/apps/nobody", b"").status, 404);
    let twice = admin.post("/apps", &json!({ "name": "app-1" }));
    assert_eq!((twice.status, twice.reason().as_str()), (409, "conflict"));
}

#[test]
fn bodies_and_queries_are_strict() {
    let admin = Admin::new();
    for (body, expected) in [
        (&b"{\"name\":\"acme\",\"nmae\":1}"[..], 422),
        (b"{\"name\":\"Not A Name\"}", 422),
        (b"{\"name\":7}", 422),
        (b"{\"name\":", 400),
        (b"[]", 422),
        (b"\xff\xfe", 400),
        (b"{\"name\":\"a\",\"name\":\"b\"}", 422),
    ] {
        let answer = admin.call("POST", "/apps", body);
        let reason = if expected == 400 {
            "request_malformed"
        } else {
            "input_invalid"
        };
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (expected, reason),
            "{shown}"
        );
    }
    let huge = vec![b' '; 1_000_000];
    assert_eq!(admin.call("POST", "/apps", &huge).status, 413);
    let deep = format!("{}1{}", "[".repeat(50_000), "]".repeat(50_000));
    assert!((400..=422).contains(&admin.call("POST", "/apps", deep.as_bytes()).status));
    for query in ["?limit=x", "?limit=0", "?after=nonsense", "?unknown=1"] {
        let answer = admin.call("GET", &format!("/apps{query}"), b"");
        assert!((400..=422).contains(&answer.status), "{query}: {answer:?}");
    }
    let plain = admin.partner.connect().request(
        "POST",
        "/api/v1/apps",
        &[
            ("Authorization", &admin.bearer),
            ("Content-Type", "text/plain"),
        ],
        b"{\"name\":\"acme\"}",
    );
    assert_eq!(plain.status, 415);
    assert_eq!(admin.call("GET", "/nothing", b"").reason(), "route_unknown");
    assert_eq!(admin.call("DELETE", "/apps", b"").status, 405);
    assert_eq!(
        admin.call("GET", "/apps", b"").json()["items"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
}

#[test]
fn every_change_leaves_one_event_and_no_secret() {
    let admin = Admin::new();
    admin.post("/apps", &json!({ "name": "acme" }));
    let key = admin
        .post(
            "/keys",
            &json!({ "app": "acme", "scopes": ["orders:read"] }),
        )
        .json();
    let secret = key["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("sk_live_"));
    let id = key["key"]["id"].as_str().unwrap().to_owned();
    admin.post(
        &format!("/keys/{id}/revoke"),
        &json!({ "reason": "superseded" }),
    );
    let events = admin.call("GET", "/audit", b"");
    assert!(!events.text().contains(&secret));
    let actions: Vec<String> = events.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        actions
            .iter()
            .take(3)
            .map(String::as_str)
            .collect::<Vec<_>>(),
        ["key.revoke", "key.create", "app.create"]
    );
    let shown = admin.call("GET", &format!("/keys/{id}"), b"").text();
    assert!(
        !shown.contains("\"secret\":") && !shown.contains("digest"),
        "{shown}"
    );
}

#[test]
fn the_description_of_the_api_is_served() {
    let admin = Admin::new();
    let document = admin.call("GET", "/openapi.json", b"").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."));
    for path in [
        "/api/v1/apps",
        "/api/v1/certificates",
        "/api/v1/keys",
        "/api/v1/audit",
        "/api/v1/reload",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
}

#[test]
fn the_socket_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let admin = Admin::new();
    let mode = std::fs::metadata(admin.gateway.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    let url = "http://localhost/api/v1/status";
    let status = run(
        admin.gateway.dir(),
        "curl",
        &[
            "-sS",
            "--unix-socket",
            admin.gateway.socket().to_str().unwrap(),
            url,
        ],
    )
    .json();
    assert_eq!(status["ready"], true);
}

#[test]
fn the_command_line_speaks_tls_with_a_token_too() {
    let admin = Admin::new();
    let secret = admin.bearer.trim_start_matches("Bearer ");
    std::fs::write(admin.gateway.dir().join("token"), secret).unwrap();
    let url = format!("https://localhost:{}", admin.gateway.admin().port());
    let remote = [
        "--admin-url",
        &url,
        "--admin-ca",
        "ca.pem",
        "--admin-token-file",
        "token",
    ];
    let call = |args: &[&str]| {
        crate::support::process::countersign(admin.gateway.dir(), &[args, &remote[..]].concat())
    };
    call(&["app", "create", "acme"]).ok();
    assert!(call(&["app", "list"]).ok().contains("acme"));
    std::fs::write(admin.gateway.dir().join("token"), "cs_admin_wrong").unwrap();
    assert_eq!(call(&["app", "list"]).code, 4);
    let nowhere = [
        "app",
        "list",
        "--admin-url",
        "https://localhost:1",
        "--admin-ca",
        "ca.pem",
        "--admin-token-file",
        "token",
    ];
    assert_eq!(
        crate::support::process::countersign(admin.gateway.dir(), &nowhere).code,
        7
    );
}

/// Whoever gets past the file's mode is asked the kernel who he is.
#[test]
fn another_user_of_the_machine_is_turned_away_from_the_socket() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("SKIPPED: only root can act as another user");
        return;
    }
    let admin = Admin::new();
    let (dir, socket) = (admin.gateway.dir(), admin.gateway.socket());
    let socket = dir.join(socket);
    fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let ask = |user: u32| {
        let body = "{\"name\":\"intruder\"}";
        let mut curl = std::process::Command::new("curl");
        curl.args(["-sS", "--max-time", "10", "-w", "%{http_code}"])
            .args(["-H", "Content-Type: application/json", "-d", body])
            .args(["--unix-socket", socket.to_str().unwrap()])
            .arg("http://localhost/api/v1/apps")
            .current_dir("/");
        if user != 0 {
            curl.uid(user).gid(user);
        }
        let said = curl.output().unwrap();
        String::from_utf8_lossy(&said.stdout).into_owned()
    };
    assert_eq!(ask(NOBODY), "000", "the connection ends without an answer");
    assert_eq!(admin.gateway.cli_json(&["app", "list"]), json!([]));
    let log = admin.gateway.log();
    assert!(
        log.contains("refused at the admin socket") && log.contains("65534"),
        "{log}"
    );
    assert!(ask(0).ends_with("201"));
}
