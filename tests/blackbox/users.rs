//! Users of Apps: vouched for by a server, logged in on a device, refreshed, introspected, and ended on open connections.

use serde_json::Value;

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [orders:read], upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange";

struct World {
    gateway: Gateway,
    /// The server of the App, which may vouch and introspect.
    server: (String, String),
    /// What the App's devices have.
    device: (String, String),
    echo: Echo,
}

fn world() -> World {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let own = ["countersign:vouch", "countersign:introspect", "orders:read"];
    let server = gateway.key("acme", &own);
    let device = gateway.key("acme", &[]);
    World {
        gateway,
        server,
        device,
        echo,
    }
}

fn post(partner: &Partner, path: &str, key: &(String, String), form: &str) -> Answer {
    let client = format!("{}:{}", key.0, key.1);
    let client = data_encoding::BASE64.encode(client.as_bytes());
    let fields = [FORM, ("Authorization", &*format!("Basic {client}"))];
    partner.post(path, &fields, form.as_bytes())
}

fn text(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()[name].as_str().unwrap().to_owned()
}

fn error(answer: &Answer) -> (u16, String) {
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, error)
}

impl World {
    fn vouch(&self, user: &str, device: &str) -> Answer {
        let form = format!(
            "{EXCHANGE}&subject_token={user}&subject_token_type=urn:countersign:token-type:user&device_id={device}"
        );
        post(
            &self.gateway.stranger(),
            "/oauth2/token",
            &self.server,
            &form,
        )
    }

    fn login(&self, auth: &str) -> Answer {
        let form = format!(
            "{EXCHANGE}&subject_token={auth}&subject_token_type=urn:countersign:token-type:auth"
        );
        post(
            &self.gateway.stranger(),
            "/oauth2/token",
            &self.device,
            &form,
        )
    }

    fn logged_in(&self, user: &str, device: &str) -> Answer {
        let auth = text(&self.vouch(user, device), "access_token");
        let login = self.login(&auth);
        assert_eq!(login.status, 200, "{login:?}");
        login
    }

    fn refresh(&self, refresh: &str) -> Answer {
        let form = format!("grant_type=refresh_token&refresh_token={refresh}");
        post(
            &self.gateway.stranger(),
            "/oauth2/token",
            &self.device,
            &form,
        )
    }

    fn introspect(&self, token: &str) -> Value {
        let form = format!("token={token}");
        let answer = post(
            &self.gateway.stranger(),
            "/oauth2/introspect",
            &self.server,
            &form,
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()
    }
}

fn call(partner: &Partner, token: &str) -> (u16, String) {
    let answer = partner.get_with("/read", &[("Authorization", &format!("Bearer {token}"))]);
    let reason = match answer.status {
        200 => String::new(),
        _ => answer.reason(),
    };
    (answer.status, reason)
}

#[test]
fn sp_02_a_server_vouches_for_a_user_who_logs_in_and_calls() {
    let world = world();
    let vouched = world.vouch("alice", "phone");
    let told = vouched.json();
    assert_eq!(told["issued_token_type"], "urn:countersign:token-type:auth");
    assert_eq!(
        (&told["token_type"], &told["expires_in"]),
        (&"N_A".into(), &600.into())
    );
    let auth = text(&vouched, "access_token");
    assert!(auth.len() <= 100);
    let partner = world.gateway.stranger();
    assert_eq!(
        call(&partner, &auth),
        (401, "credential_invalid".to_owned())
    );

    let login = world.login(&auth);
    let told = login.json();
    assert_eq!(told["scope"], "orders:read");
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    let answer = partner.get_with("/read", &[("Authorization", &format!("Bearer {access}"))]);
    assert_eq!(answer.status, 200);
    assert!(
        answer.json().to_string().contains("alice"),
        "the upstream learns of the user"
    );
    assert_eq!(
        error(&world.login(&auth)),
        (400, "invalid_grant".to_owned())
    );

    let next = world.refresh(&refresh);
    assert_ne!(text(&next, "refresh_token"), refresh);
    assert_eq!(call(&partner, &text(&next, "access_token")).0, 200);
}

#[test]
fn sp_16_introspection_and_revocation_agree_with_the_walk() {
    let world = world();
    let login = world.logged_in("alice", "phone");
    let (access, refresh) = (text(&login, "access_token"), text(&login, "refresh_token"));
    let told = world.introspect(&access);
    assert_eq!(
        (&told["active"], &told["sub"]),
        (&true.into(), &"alice".into())
    );
    assert_eq!(told["client_id"], world.device.0.as_str());
    assert_eq!(
        (&told["device_id"], &told["token_type"]),
        (&"phone".into(), &"Bearer".into())
    );
    assert!(told["sid"].as_str().unwrap().starts_with("ses_"));
    assert_eq!(world.introspect(&refresh)["token_type"], "refresh_token");
    assert_eq!(
        world.introspect("garbage"),
        serde_json::json!({"active": false})
    );

    let partner = world.gateway.stranger();
    let not_allowed = post(&partner, "/oauth2/introspect", &world.device, "token=x");
    assert_eq!(error(&not_allowed), (400, "unauthorized_client".to_owned()));
    let stranger = ("key_00000000000000000000000007".to_owned(), "x".to_owned());
    let unknown = post(&partner, "/oauth2/introspect", &stranger, "token=x");
    assert_eq!(error(&unknown), (401, "invalid_client".to_owned()));

    let open = world.gateway.stranger();
    assert_eq!(call(&open, &access).0, 200);
    let revoked = post(
        &partner,
        "/oauth2/revoke",
        &world.device,
        &format!("token={access}"),
    );
    assert_eq!((revoked.status, revoked.body.len()), (200, 0));
    assert_eq!(call(&open, &access), (401, "credential_invalid".to_owned()));
    assert_eq!(world.introspect(&access)["active"], false);
    assert_eq!(world.introspect(&refresh)["active"], true);
    let garbage = post(&partner, "/oauth2/revoke", &world.device, "token=garbage");
    assert_eq!(garbage.status, 200);

    let revoked = post(
        &partner,
        "/oauth2/revoke",
        &world.device,
        &format!("token={refresh}"),
    );
    assert_eq!(revoked.status, 200);
    assert_eq!(
        error(&world.refresh(&refresh)),
        (400, "invalid_grant".to_owned())
    );
}

#[test]
fn sp_16_a_new_login_on_a_device_ends_the_older_one_at_once() {
    let world = world();
    let first = text(&world.logged_in("alice", "phone"), "access_token");
    let desk = text(&world.logged_in("alice", "desk"), "access_token");
    let open = world.gateway.stranger();
    assert_eq!(call(&open, &first).0, 200);
    let second = text(&world.logged_in("alice", "phone"), "access_token");
    assert_eq!(call(&open, &first), (401, "credential_invalid".to_owned()));
    for token in [&desk, &second] {
        assert_eq!(call(&open, token).0, 200);
    }
}

#[test]
fn sp_16_an_operator_ends_every_session_of_a_user_and_a_restart_keeps_it_ended() {
    let world = world();
    let phone = world.logged_in("alice", "phone");
    let desk = text(&world.logged_in("alice", "desk"), "access_token");
    let bob = text(&world.logged_in("bob", "phone"), "access_token");
    let listed = world
        .gateway
        .cli_json(&["session", "list", "--app", "acme", "--user", "alice"]);
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let ended = world
        .gateway
        .cli_json(&["user", "revoke", "--app", "acme", "alice", "--yes"]);
    assert_eq!(ended["sessions_ended"], 2);
    assert_eq!(ended["receipt"]["confirmed"], true);
    let access = text(&phone, "access_token");
    let check = |world: &World| {
        let partner = world.gateway.stranger();
        for token in [&access, &desk] {
            assert_eq!(
                call(&partner, token),
                (401, "credential_invalid".to_owned())
            );
        }
        assert_eq!(call(&partner, &bob).0, 200);
        let refused = world.refresh(&text(&phone, "refresh_token"));
        assert_eq!(error(&refused), (400, "invalid_grant".to_owned()));
    };
    check(&world);
    let World {
        gateway,
        server,
        device,
        echo,
    } = world;
    let gateway = Gateway::start_in(gateway.kill(), &config(&echo.url(), ROUTES));
    check(&World {
        gateway,
        server,
        device,
        echo,
    });
}

#[test]
fn a_refresh_token_that_is_used_twice_ends_its_session() {
    let world = world();
    let login = world.logged_in("alice", "phone");
    let refresh = text(&login, "refresh_token");
    let next = world.refresh(&refresh);
    let again = world.refresh(&refresh);
    assert_eq!(
        text(&again, "refresh_token"),
        text(&next, "refresh_token"),
        "a lost answer is given again"
    );
    let third = world.refresh(&text(&next, "refresh_token"));
    let mut stolen = text(&third, "refresh_token");
    // Of the same family, and never its token.
    let last = stolen.pop().unwrap();
    stolen.push(if last == 'A' { 'B' } else { 'A' });
    stolen.replace_range(stolen.len() - 10..stolen.len() - 9, "_");
    assert_eq!(
        error(&world.refresh(&stolen)),
        (400, "invalid_grant".to_owned())
    );
    let partner = world.gateway.stranger();
    let token = text(&third, "access_token");
    assert_eq!(
        call(&partner, &token),
        (401, "credential_invalid".to_owned())
    );
    let reused = "countersign_token_errors_total";
    assert_eq!(world.gateway.count_of(reused, "refresh_reused"), 1);
}
