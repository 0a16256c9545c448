//! What each route requires: the proofs that open it, and those that do not.

use crate::support::client::Answer;
use crate::support::gateway::{Enrolled, Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /or-key }, require: mtls_or_key, upstream: api }
      - { match: { prefix: /or-token }, require: mtls_or_token, upstream: api }
      - { match: { prefix: /and-key }, require: mtls_and_key, upstream: api }
      - { match: { prefix: /and-token }, require: mtls_and_token, upstream: api }
      - { match: { prefix: /scoped }, require: mtls_or_key, scopes: [orders:read], upstream: api }";

/// A gateway with an App that has everything.
struct World {
    gateway: Gateway,
    acme: Enrolled,
    id: String,
    secret: String,
    echo: Echo,
}

impl World {
    fn new() -> Self {
        let echo = Echo::start();
        let gateway = Gateway::start(&config(&echo.url(), ROUTES));
        let acme = gateway.enrol("acme");
        let (id, secret) = gateway.key("acme", &["orders:read"]);
        Self {
            gateway,
            acme,
            id,
            secret,
            echo,
        }
    }
}

/// How the upstream was told that the caller had proved itself.
#[track_caller]
fn method(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    let method = fields
        .iter()
        .find(|pair| pair[0] == "x-countersign-auth-method");
    method.unwrap()[1].as_str().unwrap().to_owned()
}

#[track_caller]
fn refused(answer: &Answer, status: u16, reason: &str) {
    assert_eq!((answer.status, answer.reason().as_str()), (status, reason));
}

#[test]
fn a_certificate_or_a_key_opens_a_route_that_takes_either() {
    let world = World::new();
    let (partner, stranger) = (&world.acme.partner, world.gateway.stranger());
    assert_eq!(method(&partner.get("/or-key")), "mtls");
    assert_eq!(method(&stranger.get_by("/or-key", &world.secret)), "key");
    assert_eq!(
        method(&partner.get_by("/or-key", &world.secret)),
        "mtls+key"
    );
    let before = world.echo.requests();
    let nothing = stranger.get("/or-key");
    refused(&nothing, 401, "credential_missing");
    assert!(
        nothing
            .header("www-authenticate")
            .unwrap()
            .starts_with("Bearer")
    );
    // What was shown and is wrong is refused, though the other proof would do.
    let wrong = "sk_live_nonsense";
    refused(&partner.get_by("/or-key", wrong), 401, "credential_invalid");
    let token = stranger.token(&world.id, &world.secret);
    refused(
        &stranger.get_by("/or-key", &token),
        403,
        "kind_not_accepted",
    );
    let (gone, gone_secret) = world.gateway.key("acme", &[]);
    world.gateway.cli(&["key", "revoke", &gone, "--yes"]).ok();
    refused(
        &partner.get_by("/or-key", &gone_secret),
        401,
        "credential_invalid",
    );
    world
        .gateway
        .cli(&["cert", "revoke", &world.acme.id, "--yes"])
        .ok();
    refused(
        &partner.get_by("/or-key", &world.secret),
        403,
        "cert_revoked",
    );
    assert_eq!(world.echo.requests(), before);
}

#[test]
fn a_certificate_or_a_token_opens_a_route_that_takes_either() {
    let world = World::new();
    let (partner, stranger) = (&world.acme.partner, world.gateway.stranger());
    let free = stranger.token(&world.id, &world.secret);
    let bound = partner.token(&world.id, &world.secret);
    assert_eq!(method(&partner.get("/or-token")), "mtls");
    assert_eq!(method(&stranger.get_by("/or-token", &free)), "token");
    assert_eq!(method(&partner.get_by("/or-token", &free)), "mtls+token");
    assert_eq!(method(&partner.get_by("/or-token", &bound)), "mtls+token");
    let before = world.echo.requests();
    refused(&stranger.get("/or-token"), 401, "credential_missing");
    refused(
        &stranger.get_by("/or-token", &world.secret),
        403,
        "kind_not_accepted",
    );
    refused(&stranger.get_by("/or-token", &bound), 401, "token_binding");
    refused(
        &partner.get_by("/or-token", &format!("{free}x")),
        401,
        "credential_invalid",
    );
    assert_eq!(world.echo.requests(), before);
}

#[test]
fn a_certificate_alone_has_no_scopes() {
    let world = World::new();
    let partner = &world.acme.partner;
    assert_eq!(
        method(&partner.get_by("/scoped", &world.secret)),
        "mtls+key"
    );
    let (_, other) = world.gateway.key("acme", &["orders:write"]);
    let before = world.echo.requests();
    refused(&partner.get("/scoped"), 403, "scope_missing");
    refused(&partner.get_by("/scoped", &other), 403, "scope_missing");
    assert_eq!(world.echo.requests(), before);
}

#[test]
fn proofs_of_two_apps_are_not_used_together() {
    let world = World::new();
    let zenith = world.gateway.enrol("zenith");
    let (id, secret) = world.gateway.key("zenith", &["orders:read"]);
    let token = world.gateway.stranger().token(&id, &secret);
    for (path, own, other) in [
        ("/and-key", &world.secret, &secret),
        ("/or-key", &world.secret, &secret),
        (
            "/and-token",
            &world.gateway.stranger().token(&world.id, &world.secret),
            &token,
        ),
        (
            "/or-token",
            &world.gateway.stranger().token(&world.id, &world.secret),
            &token,
        ),
    ] {
        let before = world.echo.requests();
        let answer = world.acme.partner.get_by(path, other);
        refused(&answer, 403, "apps_differ");
        let line = world
            .gateway
            .record_of(answer.header("x-request-id").unwrap());
        assert_eq!(line["reason"], "apps_differ", "{line}");
        assert_eq!(world.echo.requests(), before, "{path}");
        assert_eq!(world.acme.partner.get_by(path, own).status, 200, "{path}");
        assert_eq!(zenith.partner.get_by(path, other).status, 200, "{path}");
    }
}
