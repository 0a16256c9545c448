//! Credentials of the API's own reach it; ours never do.

use data_encoding::BASE64;

use super::seen;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }
      - { match: { prefix: /either }, require: mtls_or_key, upstream: api }
      - { match: { prefix: /keep }, require: mtls, keep_credential: true, upstream: api }
      - { match: { prefix: /open }, require: none, upstream: api }
      - { match: { prefix: / }, require: mtls, upstream: api }";

#[test]
fn what_is_for_the_api_passes_where_the_gateway_asks_for_something_else() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let (_, secret) = gateway.key("acme", &[]);
    for value in [
        "Basic dXNlcjpwYXNz",
        "Bearer opaque-of-the-api",
        "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2Vsc2V3aGVyZS50ZXN0In0.c2ln",
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/s3/aws4_request",
    ] {
        for path in ["/v1", "/open"] {
            let fields = [("Authorization", value), ("X-Api-Key", "of-the-api")];
            for answer in [
                acme.partner.get_with(path, &fields),
                acme.partner.get_h2(
                    path,
                    &[("authorization", value), ("x-api-key", "of-the-api")],
                ),
            ] {
                assert_eq!(answer.status, 200, "{value}");
                assert_eq!(seen(&answer, "authorization"), [value]);
                assert_eq!(seen(&answer, "x-api-key"), ["of-the-api"]);
            }
        }
    }
    // The key proves who calls, and the other scheme is for the API.
    let both = [
        ("X-Api-Key", secret.as_str()),
        ("Authorization", "Basic dXNlcjpwYXNz"),
    ];
    let answer = gateway.stranger().get_with("/key", &both);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(seen(&answer, "authorization"), ["Basic dXNlcjpwYXNz"]);
    assert!(!answer.text().contains(&secret));
}

#[test]
fn what_is_ours_reaches_no_upstream_in_any_form() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let token = gateway.stranger().token(&id, &secret);
    let basic = BASE64.encode(format!("{id}:{secret}").as_bytes());
    let values = [
        format!("Bearer {secret}"),
        format!("bearer  {secret}"),
        secret.clone(),
        format!("Token token=\"{secret}\""),
        format!("Basic {basic}"),
        format!("Bearer {token}"),
        format!("DPoP {token}"),
        token.clone(),
    ];
    for value in &values {
        for path in ["/v1", "/open"] {
            for name in ["Authorization", "X-Api-Key"] {
                let answer = acme.partner.get_with(path, &[(name, value)]);
                assert_eq!(answer.status, 200, "{name}: {value}");
                assert_eq!(seen(&answer, name), [""; 0], "{name}: {value}");
                for text in [&secret, &token, &basic] {
                    assert!(!answer.text().contains(text.as_str()), "{name}: {value}");
                }
            }
        }
    }
    let twice = [
        ("Authorization", "Basic dXNlcjpwYXNz"),
        ("Authorization", values[0].as_str()),
    ];
    let answer = acme.partner.get_with("/v1", &twice);
    assert_eq!(seen(&answer, "authorization"), ["Basic dXNlcjpwYXNz"]);
    let kept = acme
        .partner
        .get_with("/keep", &[("Authorization", &values[0])]);
    assert_eq!(seen(&kept, "authorization"), [values[0].as_str()]);
}

/// What was verified is taken off where it was, and what is not valid is refused as before.
#[test]
fn a_bearer_that_is_looked_at_goes_no_further() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let (_, secret) = gateway.key("acme", &[]);
    let bearer = format!("Bearer {secret}");
    for path in ["/key", "/either"] {
        let answer = acme.partner.get_with(path, &[("Authorization", &bearer)]);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(seen(&answer, "authorization"), [""; 0], "{path}");
        let foreign = [("Authorization", "Bearer opaque-of-the-api")];
        assert_eq!(acme.partner.get_with(path, &foreign).status, 401, "{path}");
    }
}
