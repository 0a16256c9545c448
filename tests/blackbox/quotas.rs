//! Quotas, limits of users, boosts, and the older limit fields.

use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config, config_with};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /day }, require: key, upstream: api, limits: [{ name: day, per: key, quota: 5/d }, { name: pace, per: key, rate: 100/s }] }
      - { match: { prefix: /events }, require: key, upstream: api, limit: { name: events, per: key, rate: 1000/m } }
      - { match: { prefix: /users }, require: key, upstream: api, limit: { name: users, per: key, rate: 60/m } }
      - { match: { prefix: /mine }, require: token, upstream: api, limit: { name: mine, per: user, rate: 2/h } }
      - { match: { prefix: /soon }, require: key, upstream: api, limit: { name: soon, per: key, rate: 2/s, burst: 1 } }";

fn number(text: Option<&str>) -> i64 {
    text.unwrap().parse().unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the gateway's times are compared with a real clock"
)]
fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.unwrap().as_secs()).unwrap()
}

#[test]
fn a_daily_quota_ends_at_midnight_and_survives_a_restart() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let mut gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, key) = gateway.key("acme", &[]);
    let (_, other) = gateway.key("acme", &[]);
    for left in [4, 3] {
        let answer = gateway.stranger().get_by("/day", &key);
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = answer.header("ratelimit").unwrap();
        assert!(
            shown.starts_with(&format!("\"day\";r={left};t=")),
            "{shown}"
        );
        let policy = answer.header("ratelimit-policy").unwrap();
        assert_eq!(policy, "\"day\";q=5;w=86400");
    }

    gateway.signal("TERM");
    assert_eq!(gateway.wait(std::time::Duration::from_secs(20)), Some(0));
    let gateway = Gateway::start_in(gateway.kill(), &text);
    let answer = gateway.stranger().get_by("/day", &key);
    assert!(
        answer
            .header("ratelimit")
            .unwrap()
            .starts_with("\"day\";r=2;")
    );

    // A killed process has written what was used some seconds ago.
    let runs = "countersign_job_last_success_timestamp_seconds";
    let before = gateway.count_of(runs, "job=\"quotas\"");
    eventually("the uses are written", || {
        (gateway.count_of(runs, "job=\"quotas\"") > before + 1).then_some(())
    });
    let gateway = Gateway::start_in(gateway.kill(), &text);
    let partner = gateway.stranger();
    for left in [1, 0] {
        let answer = partner.get_by("/day", &key);
        let shown = answer.header("ratelimit").unwrap();
        assert!(shown.starts_with(&format!("\"day\";r={left};")), "{shown}");
    }
    let refused = partner.get_by("/day", &key);
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (429, "rate_limited")
    );
    assert_eq!(refused.json()["limit"], "day");
    assert_eq!(refused.json()["violated-policies"][0], "day");
    let wait = number(refused.header("retry-after"));
    let midnight = (unix_now() / 86_400 + 1) * 86_400;
    let off = unix_now() + wait - midnight;
    assert!((0..=5).contains(&off) || off >= 86_395, "{off}");
    assert_eq!(partner.get_by("/day", &other).status, 200);
}

#[test]
fn pr_15_each_key_has_a_limit_for_each_class_of_routes() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, key) = gateway.key("acme", &[]);
    let (_, other) = gateway.key("acme", &[]);
    let partner = gateway.stranger();
    let bearer = [("Authorization", &*format!("Bearer {key}"))];
    let mut connection = partner.connect();
    let statuses: Vec<u16> = (0..62)
        .map(|_| connection.request("GET", "/users", &bearer, b"").status)
        .collect();
    let granted = statuses.iter().filter(|status| **status == 200).count();
    // One comes back in each second.
    assert!((60..62).contains(&granted), "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(partner.get_by("/users", &other).status, 200);
    assert_eq!(partner.get_by("/events", &key).status, 200);
}

#[test]
fn pr_16_a_refused_caller_knows_when_to_come_back() {
    let echo = Echo::start();
    let limits = "limits: { legacy_headers: true }";
    let gateway = Gateway::start(&config_with(&echo.url(), ROUTES, limits));
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, key) = gateway.key("acme", &[]);
    let partner = gateway.stranger();
    let first = partner.get_by("/soon", &key);
    assert_eq!(first.status, 200);
    assert!(first.header("ratelimit").unwrap().contains("r=0"));
    assert_eq!(first.header("x-ratelimit-limit"), Some("2"));
    assert_eq!(first.header("x-ratelimit-remaining"), Some("0"));
    let reset = number(first.header("x-ratelimit-reset"));
    assert!((0..5).contains(&(reset - unix_now())), "{reset}");
    let refused = eventually("a refusal", || {
        let answer = partner.get_by("/soon", &key);
        (answer.status == 429).then_some(answer)
    });
    assert_eq!(refused.header("x-ratelimit-remaining"), Some("0"));
    let reset = number(refused.header("x-ratelimit-reset"));
    let wait = number(refused.header("retry-after"));
    assert_eq!(wait, 1);
    eventually("the reset", || (unix_now() >= reset).then_some(()));
    assert_eq!(partner.get_by("/soon", &key).status, 200);
}

#[test]
fn the_older_fields_are_a_choice_that_a_reload_makes() {
    let echo = Echo::start();
    let text = config(&echo.url(), ROUTES);
    let gateway = Gateway::start(&text);
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, key) = gateway.key("acme", &[]);
    let partner = gateway.stranger();
    let before = partner.get_by("/events", &key);
    assert_eq!(before.header("x-ratelimit-limit"), None);
    gateway.configure(&format!("{text}\nlimits: {{ legacy_headers: true }}\n"));
    gateway.cli(&["reload"]).ok();
    let after = partner.get_by("/events", &key);
    assert_eq!(after.header("x-ratelimit-limit"), Some("1000"));
    assert_eq!(partner.get("/nothing").header("x-ratelimit-limit"), None);
}

#[test]
fn a_key_may_have_a_quota_of_its_own() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let own = [
        "key", "create", "--app", "acme", "--quota", "day=1/d", "--limit", "all=9/m",
    ];
    let made = gateway.cli_json(&own);
    let key = made["secret"].as_str().unwrap();
    let id = made["key"]["id"].as_str().unwrap();
    let partner = gateway.stranger();
    assert_eq!(partner.get_by("/day", key).status, 200);
    assert_eq!(partner.get_by("/day", key).json()["limit"], "day");
    assert_eq!(partner.get_by("/events", key).status, 200);
    let shown = gateway.cli_json(&["key", "get", id]);
    assert_eq!(shown["limits"][0]["rate"], "9/m");
    assert_eq!(shown["limits"][1]["quota"], "1/d");
    let wrong = ["key", "create", "--app", "acme", "--quota", "day=1/w"];
    let said = gateway.cli(&wrong);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("10000/d"), "{}", said.stderr);
}

/// Two users of one App have an allowance each, and so have users of the same name of two Apps.
#[test]
fn each_user_has_its_allowance() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let token_of = |app: &str, user: &str| {
        let key = gateway.key(app, &["countersign:vouch"]);
        let basic = data_encoding::BASE64.encode(format!("{}:{}", key.0, key.1).as_bytes());
        let fields = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", &*format!("Basic {basic}")),
        ];
        let exchange = |kind: &str, subject: &str| {
            let form = format!(
                "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={subject}&subject_token_type=urn:countersign:token-type:{kind}&device_id=d"
            );
            let stranger = gateway.stranger();
            let answer = stranger.post("/oauth2/token", &fields, form.as_bytes());
            assert_eq!(answer.status, 200, "{answer:?}");
            answer.json()["access_token"].as_str().unwrap().to_owned()
        };
        exchange("auth", &exchange("user", user))
    };
    let granted = |token: &str| {
        let field = format!("Bearer {token}");
        let partner = gateway.stranger();
        let each = (0..3).map(|_| partner.get_with("/mine", &[("Authorization", &field)]));
        each.filter(|answer| answer.status == 200).count()
    };
    for app in ["acme", "zenith"] {
        gateway.cli_json(&["app", "create", app]);
        for user in ["alice", "bob"] {
            assert_eq!(granted(&token_of(app, user)), 2, "{app} {user}");
        }
    }
    // A new login gives no new allowance, and an App's own token is counted by its App.
    assert_eq!(granted(&token_of("acme", "alice")), 0);
    let (id, secret) = gateway.key("acme", &[]);
    let own = |_| granted(&gateway.stranger().token(&id, &secret));
    assert_eq!([0, 1].map(own), [2, 0]);
}

#[test]
fn a_boost_raises_limits_until_its_end() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for app in ["acme", "zenith"] {
        gateway.cli_json(&["app", "create", app]);
    }
    let (id, key) = gateway.key("acme", &[]);
    let (_, second) = gateway.key("acme", &[]);
    let (_, other) = gateway.key("zenith", &[]);
    let boost = |more: &[&str]| gateway.cli_json(&[&["limit", "boost"][..], more].concat());
    let whole = ["acme", "--factor", "2", "--for", "1h", "--why", "a launch"];
    let made = boost(&whole);
    assert_eq!(made["receipt"]["confirmed"], true);
    let partner = gateway.stranger();
    let policy = |key: &str| {
        let answer = partner.get_by("/day", key);
        answer.header("ratelimit-policy").unwrap().to_owned()
    };
    assert_eq!(policy(&key), "\"day\";q=10;w=86400");
    assert_eq!(policy(&other), "\"day\";q=5;w=86400");
    let of_key = [
        "--key", &id, "--limit", "day", "--factor", "1.5", "--for", "1h",
    ];
    boost(&of_key);
    assert_eq!(
        policy(&key),
        "\"day\";q=10;w=86400",
        "the greater one counts"
    );

    let boosts = gateway.cli_json(&["limit", "list", "--app", "acme"]);
    let listed = boosts.as_array().unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["factor"], &listed[1]["factor"]),
        (&2.0.into(), &1.5.into())
    );
    let first = made["boost"]["id"].as_str().unwrap();
    gateway.cli(&["limit", "end", first]).ok();
    assert_eq!(policy(&key), "\"day\";q=7;w=86400");
    assert_eq!(
        policy(&second),
        "\"day\";q=5;w=86400",
        "the boost was the key's"
    );

    let gateway = {
        let text = config(&echo.url(), ROUTES);
        Gateway::start_in(gateway.kill(), &text)
    };
    let answer = gateway.stranger().get_by("/day", &key);
    assert!(answer.header("ratelimit-policy").unwrap().contains("q=7"));
    for (wrong, words) in [
        (&["acme", "--factor", "1", "--for", "1h"][..], "more than 1"),
        (
            &["acme", "--factor", "2", "--for", "1h", "--limit", "dya"],
            "did you mean day",
        ),
        (
            &["acme", "--factor", "2", "--until", "2020-01-01"],
            "in the future",
        ),
        (&["nobody", "--factor", "2", "--for", "1h"], "nobody"),
        (&["acme", "--factor", "2"], "--until"),
    ] {
        let said = gateway.cli(&[&["limit", "boost"][..], wrong].concat());
        assert_ne!(said.code, 0, "{wrong:?}");
        assert!(said.stderr.contains(words), "{wrong:?}: {}", said.stderr);
    }
    let audit = gateway.cli_json(&["audit", "list"]).to_string();
    assert!(
        audit.contains("boost.add") && audit.contains("a launch"),
        "{audit}"
    );
}

/// A limit that counts others' requests too is raised by no boost.
#[test]
fn no_boost_raises_the_limit_of_a_whole_route() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /all }, require: key, upstream: api, limit: { name: all, per: route, rate: 9/h } }";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    gateway.cli_json(&["app", "create", "acme"]);
    let (_, key) = gateway.key("acme", &[]);
    gateway.cli_json(&["limit", "boost", "acme", "--factor", "2", "--for", "1h"]);
    let answer = gateway.stranger().get_by("/all", &key);
    assert_eq!(
        answer.header("ratelimit-policy"),
        Some("\"all\";q=9;w=3600")
    );
    let named = [
        "limit", "boost", "acme", "--factor", "2", "--for", "1h", "--limit", "all",
    ];
    let said = gateway.cli(&named);
    assert!(said.stderr.contains("per route"), "{}", said.stderr);
}
