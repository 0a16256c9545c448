//! Requests for tokens as libraries send them, and secrets as files and shells leave them.

use std::fs;

use serde_json::{Value, json};

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, HOST, certificate_alone, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ROUTES: &str = "      - { match: { prefix: /key }, require: key, upstream: api }";

fn basic(id: &str, secret: &str) -> String {
    let plain = format!("{id}:{secret}");
    format!("Basic {}", data_encoding::BASE64.encode(plain.as_bytes()))
}

fn ask(partner: &Partner, path: &str, authorization: &str, form: &str) -> Answer {
    let fields = [FORM, ("Authorization", authorization)];
    let fields = &fields[..if authorization.is_empty() { 1 } else { 2 }];
    partner.post(path, fields, form.as_bytes())
}

#[test]
fn parameters_that_mean_nothing_here_are_passed_over() {
    let gateway = Gateway::start(&config("http://127.0.0.1:9", ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, secret) = gateway.key("acme", &["a", "b"]);
    let partner = gateway.stranger();
    let grant = "grant_type=client_credentials";
    for (path, more, expected) in [
        ("", "", Ok(())),
        ("?", "", Ok(())),
        ("", "&audience=x&audience=y", Ok(())),
        ("", "&x=1&x=1&x=2&y", Ok(())),
        ("", &format!("&resource=https://{HOST}"), Ok(())),
        (
            "",
            &format!("&resource=https://{HOST}&resource=https://{HOST}/"),
            Ok(()),
        ),
        (
            "",
            &format!("&resource=https://{HOST}&resource=https://other.test"),
            Err("invalid_target"),
        ),
        ("", "&resource=https://other.test", Err("invalid_target")),
        ("", "&scope=a&scope=b", Err("invalid_request")),
        ("", "&grant_type=client_credentials", Err("invalid_request")),
        (
            "",
            "&client_secret=a&client_secret=b",
            Err("invalid_request"),
        ),
        ("?scope=a", "", Err("invalid_request")),
        ("?x", "", Err("invalid_request")),
    ] {
        let path = format!("/oauth2/token{path}");
        let answer = ask(
            &partner,
            &path,
            &basic(&id, &secret),
            &format!("{grant}{more}"),
        );
        let told = answer.json();
        let error = told["error"].as_str();
        assert_eq!(error.map_or(Ok(()), Err), expected, "{path} {more}: {told}");
        assert_eq!(answer.status == 200, expected.is_ok(), "{path} {more}");
        if expected == Err("invalid_target") {
            let words = told["error_description"].as_str().unwrap();
            assert!(words.contains(HOST), "{words}");
        }
    }
}

#[test]
fn a_secret_with_something_around_it_is_told_its_true_cause() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    let (id, good) = gateway.key("acme", &[]);
    let (revoked, old) = gateway.key("acme", &[]);
    gateway.cli(&["key", "revoke", &revoked, "--yes"]).ok();
    let partner = gateway.stranger();
    let grant = "grant_type=client_credentials";
    for (before, after, told) in [
        ("", "\n", "The secret ends in a line end."),
        ("", "\r\n", "The secret ends in a line end."),
        ("", "\r", "The secret ends in a line end."),
        ("", " ", "The secret ends in a blank."),
        (" ", "", "The secret begins with a blank."),
        ("\u{feff}", "", "The secret begins with a byte order mark."),
        ("\"", "\"", "The secret stands in quotes."),
        ("'", "'", "The secret stands in quotes."),
    ] {
        // One that is good, one that was, and one that never was: all are told the same.
        let mut answers = Vec::new();
        for (id, secret) in [(&id, &*good), (&revoked, &old), (&id, "nonsense")] {
            let secret = format!("{before}{secret}{after}");
            let escaped: Vec<_> = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let escaped = escaped.concat();
            let form = format!("{grant}&client_id={id}&client_secret={escaped}");
            for answer in [
                ask(&partner, "/oauth2/token", &basic(id, &secret), grant),
                ask(&partner, "/oauth2/token", "", &form),
            ] {
                let mut body = answer.json();
                body.as_object_mut().unwrap().remove("request_id");
                assert_eq!(answer.status, 401, "{body}");
                answers.push(body);
            }
        }
        let first = &answers[0];
        assert_eq!(first["error"], "invalid_client", "{first}");
        assert_eq!(first["error_description"], told, "{first}");
        assert_eq!(first["reason"], "key_surrounded");
        assert!(answers.iter().all(|body| body == first), "{answers:?}");
    }
    for around in [
        format!("\"{good}\""),
        format!("{good}\\n"),
        format!("\u{feff}{good}"),
    ] {
        let bearer = format!("Bearer {around}");
        for field in [("Authorization", &*bearer), ("X-Api-Key", &around)] {
            let answer = partner.get_with("/key", &[field]);
            assert_eq!((answer.status, &*answer.reason()), (401, "key_surrounded"));
            assert!(!answer.text().contains(&good), "{answer:?}");
        }
    }
    let served = partner.get_with("/key", &[("X-Api-Key", &good)]);
    assert_eq!(served.status, 200);
    assert!(!gateway.log().contains(&good));
}

#[test]
fn an_admin_token_with_something_around_it_is_told_so() {
    let gateway = Gateway::start(&config("http://127.0.0.1:9", ROUTES));
    let made = gateway.cli_json(&["admin-token", "create", "ci", "--role", "viewer"]);
    let secret = made["secret"].as_str().unwrap();
    let ca = gateway.ca();
    let url = format!("https://{}/api/v1/apps", gateway.admin());
    for (token, told) in [
        (format!("'{secret}'"), Some("The secret stands in quotes.")),
        (
            format!(" {secret}"),
            Some("The secret begins with a blank."),
        ),
        (
            format!("\u{feff}{secret}"),
            Some("The secret begins with a byte order mark."),
        ),
        (secret.to_owned(), None),
        (format!("{secret}x"), None),
    ] {
        let field = format!("Authorization: Bearer {token}");
        let args = ["-s", "--cacert", ca.to_str().unwrap(), "-H", &field, &url];
        let body = run(gateway.dir(), "curl", &args).json();
        assert_eq!(
            body["detail"].as_str().filter(|_| told.is_some()),
            told,
            "{body}"
        );
    }
}

fn methods(partner: &Partner) -> Value {
    let metadata = partner
        .get("/.well-known/oauth-authorization-server")
        .json();
    metadata["token_endpoint_auth_methods_supported"].clone()
}

#[test]
fn a_certificate_alone_gets_a_token_by_choice_only() {
    let text = config("http://127.0.0.1:9", ROUTES);
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &["orders:read"]);
    let form = format!("grant_type=client_credentials&client_id={id}");
    let alone = || ask(&acme.partner, "/oauth2/token", "", &form);

    let refused = alone();
    let told = refused.json();
    assert_eq!(
        (refused.status, &told["error"]),
        (401, &json!("invalid_client"))
    );
    let words = told["error_description"].as_str().unwrap();
    assert!(
        words.contains("tls_client_auth") && words.contains("secret"),
        "{words}"
    );
    let names = json!([
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt"
    ]);
    assert_eq!(methods(&acme.partner), names);
    // The certificate still binds what the secret gets.
    let both = ask(&acme.partner, "/oauth2/token", &basic(&id, &secret), &form);
    assert_eq!(both.json()["expires_in"], 3600);

    gateway.configure(&certificate_alone(&text));
    gateway.cli(&["reload"]).ok();
    assert_eq!(alone().status, 200);
    assert_eq!(methods(&acme.partner).as_array().unwrap().len(), 3);

    // A method that is left out is refused before anything of the client is looked at.
    let one = text.replace("tokens: {", "tokens: { client_auth: [client_secret_basic],");
    fs::write(gateway.dir().join("countersign.yaml"), one).unwrap();
    gateway.cli(&["reload"]).ok();
    let post = ask(
        &acme.partner,
        "/oauth2/token",
        "",
        &format!("{form}&client_secret={secret}"),
    );
    let told = post.json();
    assert_eq!(
        (post.status, &told["error"]),
        (401, &json!("invalid_client"))
    );
    assert!(
        told["error_description"]
            .as_str()
            .unwrap()
            .contains("client_secret_post"),
        "{told}"
    );
    let basic = ask(&acme.partner, "/oauth2/token", &basic(&id, &secret), &form);
    assert_eq!(basic.status, 200);
}
