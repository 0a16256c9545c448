//! Publishable keys at the token service: a device redeems what the partner's server has got for its user, and nothing
//! else; pages of the key's own origins read the answers.

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /orders }, require: token, scopes: [orders:read], upstream: api }\n";

const SHOP: &str = "https://shop.example";
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";
const TYPE: &str = "urn:countersign:token-type:";

struct Scene {
    gateway: Gateway,
    /// The server's Key.
    server: (String, String),
    /// A publishable Key with an origin.
    device: (String, String),
    _echo: Echo,
}

fn scene() -> Scene {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    Scene {
        server: gateway.key("acme", &["countersign:vouch", "orders:read"]),
        device: publishable(&gateway, &["--scope", "orders:read", "--origin", SHOP]),
        gateway,
        _echo: echo,
    }
}

fn publishable(gateway: &Gateway, more: &[&str]) -> (String, String) {
    let args = ["key", "create", "--app", "acme", "--kind", "publishable"];
    let made = gateway.cli_json(&[&args[..], more].concat());
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

impl Scene {
    fn partner(&self) -> Partner {
        self.gateway.stranger()
    }

    fn auth_token(&self) -> String {
        let (id, secret) = &self.server;
        let form = format!(
            "{EXCHANGE}&client_id={id}&client_secret={secret}&subject_token=alice&subject_token_type={TYPE}user"
        );
        member(&self.ask("/oauth2/token", &[], &form), "access_token")
    }

    /// A form without a secret, from a page of this origin.
    fn ask(&self, path: &str, fields: &[(&str, &str)], form: &str) -> Answer {
        let fields = [&[FORM], fields].concat();
        self.partner().post(path, &fields, form.as_bytes())
    }

    /// The exchange of a new auth token by the publishable Key.
    fn login(&self, client: &str, fields: &[(&str, &str)]) -> Answer {
        let auth = self.auth_token();
        let form =
            format!("{EXCHANGE}&{client}&subject_token={auth}&subject_token_type={TYPE}auth");
        self.ask("/oauth2/token", fields, &form)
    }

    fn alone(&self) -> String {
        format!("client_id={}", self.device.1)
    }
}

fn member(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()[name].as_str().unwrap().to_owned()
}

fn reader(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

fn refused(answer: &Answer, status: u16, reason: &str) {
    let seen = (answer.status, answer.reason());
    assert_eq!(seen, (status, reason.to_owned()), "{}", answer.text());
}

#[test]
fn sp_09_a_page_redeems_an_auth_token_with_a_publishable_key() {
    let scene = scene();
    let (id, text) = &scene.device;
    let origin = [("Origin", SHOP)];
    for client in [
        format!("client_id={text}"),
        format!("client_id={id}&client_secret={text}"),
    ] {
        let login = scene.login(&client, &origin);
        assert_eq!(reader(&login), Some(SHOP));
        let vary = login.header("vary").unwrap_or_default().to_lowercase();
        assert!(vary.contains("origin"), "{vary}");
        let access = member(&login, "access_token");
        assert_eq!(scene.partner().get_by("/orders", &access).status, 200);
        let refresh = member(&login, "refresh_token");
        let form = format!("grant_type=refresh_token&{client}&refresh_token={refresh}");
        let next = scene.ask("/oauth2/token", &origin, &form);
        assert_eq!(reader(&next), Some(SHOP));
        let (access, refresh) = (
            member(&next, "access_token"),
            member(&next, "refresh_token"),
        );
        let form = format!("{client}&token={refresh}");
        let ended = scene.ask("/oauth2/revoke", &origin, &form);
        assert_eq!((ended.status, reader(&ended)), (200, Some(SHOP)));
        assert_eq!(scene.partner().get_by("/orders", &access).status, 401);
    }
    let shown = scene.gateway.cli_json(&["key", "get", id]);
    assert_eq!(shown["last_used_route"], "countersign.revoke");
}

#[test]
fn in_09_a_publishable_key_is_a_client_from_its_own_origins_only() {
    let scene = scene();
    for origin in [
        None,
        Some("null"),
        Some("https://shop.example.evil.test"),
        Some("https://evilshop.example"),
        Some("http://shop.example"),
        Some("https://shop.example:8443"),
    ] {
        let mut fields = vec![("Referer", SHOP)];
        fields.extend(origin.map(|origin| ("Origin", origin)));
        let answer = scene.login(&scene.alone(), &fields);
        refused(&answer, 403, "origin_refused");
        assert_eq!(answer.json()["error"], "unauthorized_client");
        assert_eq!(reader(&answer), None, "{origin:?}");
    }
    let twice = [("Origin", SHOP), ("Origin", SHOP)];
    refused(&scene.login(&scene.alone(), &twice), 403, "origin_refused");
    // A Key without origins has no condition, and no page reads its answers.
    let (_, app) = publishable(&scene.gateway, &["--scope", "orders:read"]);
    for fields in [&[][..], &[("Origin", SHOP)]] {
        let login = scene.login(&format!("client_id={app}"), fields);
        assert_eq!((login.status, reader(&login)), (200, None));
    }
}

#[test]
fn a_page_learns_what_is_wrong_with_its_request() {
    let scene = scene();
    let origin = [("Origin", SHOP)];
    let form = format!(
        "grant_type=refresh_token&{}&refresh_token=rt_x",
        scene.alone()
    );
    let answer = scene.ask("/oauth2/token", &origin, &form);
    assert_eq!(answer.json()["error"], "invalid_grant");
    assert_eq!(reader(&answer), Some(SHOP));
    // No Key lists this page's origin.
    let stranger = scene.ask(
        "/oauth2/token",
        &[("Origin", "https://other.example")],
        &form,
    );
    refused(&stranger, 403, "origin_refused");
    assert_eq!(reader(&stranger), None);
    let unknown = format!("pk_live_{}", "0".repeat(75));
    let form = format!("grant_type=refresh_token&client_id={unknown}&refresh_token=x");
    let answer = scene.ask("/oauth2/token", &origin, &form);
    refused(&answer, 401, "credential_invalid");
}

#[test]
fn pr_02_a_publishable_key_gets_nothing_but_sessions() {
    let scene = scene();
    let (id, text) = &scene.device;
    let origin = [("Origin", SHOP)];
    let client = format!("client_id={id}&client_secret={text}");
    let login = scene.login(&client, &origin);
    let access = member(&login, "access_token");
    for (path, form) in [
        ("/oauth2/token", "grant_type=client_credentials".to_owned()),
        (
            "/oauth2/token",
            format!("{EXCHANGE}&subject_token=bob&subject_token_type={TYPE}user"),
        ),
        (
            "/oauth2/token",
            format!(
                "{EXCHANGE}&subject_token={access}&subject_token_type=urn:ietf:params:oauth:token-type:access_token"
            ),
        ),
        ("/oauth2/introspect", format!("token={access}")),
    ] {
        let answer = scene.ask(path, &origin, &format!("{form}&{client}"));
        refused(&answer, 401, "credential_invalid");
        assert_eq!(answer.json()["error"], "invalid_client");
    }
    // A live App has secure mode: nobody logs in by a user's id alone.
    let form = format!(
        "{EXCHANGE}&{client}&subject_token=bob&subject_token_type={TYPE}user&requested_token_type=urn:ietf:params:oauth:token-type:access_token"
    );
    let answer = scene.ask("/oauth2/token", &origin, &form);
    refused(&answer, 400, "secure_mode_required");
    scene.gateway.cli_json(&["key", "revoke", id, "--yes"]);
    assert_eq!(scene.partner().get_by("/orders", &access).status, 401);
}

#[test]
fn in_08_a_page_asks_before_it_calls_the_token_endpoint() {
    let scene = scene();
    let ask = |path: &str, origin: &str| {
        let fields = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type, dpop"),
        ];
        scene
            .partner()
            .connect()
            .request("OPTIONS", path, &fields, b"")
    };
    for path in ["/oauth2/token", "/oauth2/revoke"] {
        let granted = ask(path, SHOP);
        assert_eq!((granted.status, reader(&granted)), (204, Some(SHOP)));
        let names = granted.header("access-control-allow-headers").unwrap();
        assert_eq!(names, "content-type, dpop");
        for origin in [
            "https://other.example",
            "null",
            "https://shop.example.evil.test",
        ] {
            let refused = ask(path, origin);
            assert_eq!((refused.status, reader(&refused)), (403, None), "{origin}");
        }
    }
    for path in [
        "/oauth2/introspect",
        "/.well-known/countersign/keys/revoke",
        "/orders",
    ] {
        assert_eq!(reader(&ask(path, SHOP)), None, "{path}");
    }
}

#[test]
fn in_07_a_secret_from_a_page_is_refused_at_the_token_endpoint_and_counted() {
    let scene = scene();
    let (id, secret) = &scene.server;
    let own = format!("https://{HOST}");
    let metric = "countersign_token_errors_total";
    let basic = data_encoding::BASE64.encode(format!("{id}:{secret}").as_bytes());
    let basic = format!("Basic {basic}");
    let guess = format!("client_id={id}&client_secret=sk_live_{}", "0".repeat(75));
    let posted = format!("client_id={id}&client_secret={secret}");
    for (path, form) in [
        ("/oauth2/token", "grant_type=client_credentials"),
        ("/oauth2/introspect", "token=x"),
        ("/oauth2/revoke", "token=x"),
    ] {
        for (client, authorization) in [
            (&posted, None),
            (&guess, None),
            (&String::new(), Some(&basic)),
        ] {
            for page in [
                &[("Origin", "https://evil.test")][..],
                &[("Origin", SHOP)],
                &[("Origin", "null")],
                &[("Sec-Fetch-Site", "cross-site")],
                &[("Origin", "https://evil.test"), ("Origin", &own)],
            ] {
                let counted = scene.gateway.count_of(metric, "secret_in_browser");
                let mut fields = page.to_vec();
                fields.extend(authorization.map(|field| ("Authorization", field.as_str())));
                let answer = scene.ask(path, &fields, &format!("{form}&{client}"));
                refused(&answer, 403, "secret_in_browser");
                assert_eq!(answer.json()["error"], "unauthorized_client");
                assert_eq!(reader(&answer), None);
                let now = scene.gateway.count_of(metric, "secret_in_browser");
                assert_eq!(now, counted + 1);
            }
        }
    }
    let form = format!("grant_type=client_credentials&{posted}&scope=orders:read");
    for page in [
        &[][..],
        &[("Origin", &*own)],
        &[("Sec-Fetch-Site", "same-origin")],
    ] {
        let answer = scene.ask("/oauth2/token", page, &form);
        assert_eq!((answer.status, reader(&answer)), (200, None));
    }
}
