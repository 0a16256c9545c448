//! A refusal for want of a credential names what this route takes, and nothing else.

use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const KINDS: [(&str, &str); 3] = [
    ("mtls", "client certificate"),
    ("key", "server key"),
    ("token", "access token"),
];

#[test]
fn a_refusal_names_what_the_route_takes() {
    let echo = Echo::start();
    let requirements = [
        "mtls",
        "key",
        "token",
        "mtls_or_key",
        "mtls_and_key",
        "mtls_or_token",
        "mtls_and_token",
    ];
    let routes = requirements.map(|requirement| {
        format!(
            "      - {{ match: {{ path: /{requirement} }}, require: {requirement}, upstream: api }}"
        )
    });
    let gateway = Gateway::start(&config(&echo.url(), &routes.join("\n")));
    let acme = gateway.enrol("acme");
    let (id, secret) = gateway.key("acme", &[]);
    let token = gateway.stranger().token(&id, &secret);
    for requirement in requirements {
        let path = format!("/{requirement}");
        let check = |what: &str, answer: crate::support::client::Answer| {
            if answer.status == 200 {
                return false;
            }
            if answer.reason() == "kind_not_accepted" {
                let accepted = answer.json()["accept"].to_string();
                for (part, kind) in [("key", "secret_key"), ("token", "app_token")] {
                    let takes = requirement.contains(part);
                    assert_eq!(accepted.contains(kind), takes, "{requirement} with {what}");
                }
                return true;
            }
            let detail = answer.json()["detail"].as_str().unwrap().to_owned();
            for (part, words) in KINDS {
                assert_eq!(
                    detail.contains(words),
                    requirement.contains(part),
                    "{requirement} with {what}: {detail}"
                );
            }
            true
        };
        let (stranger, partner) = (gateway.stranger(), &acme.partner);
        assert!(check("nothing", stranger.get(&path)), "{requirement}");
        let with_key = check("a key", stranger.get_by(&path, &secret));
        assert_eq!(with_key, !matches!(requirement, "key" | "mtls_or_key"));
        let with_token = check("a token", stranger.get_by(&path, &token));
        assert_eq!(
            with_token,
            !matches!(requirement, "token" | "mtls_or_token")
        );
        let with_certificate = check("a certificate", partner.get(&path));
        let enough = matches!(requirement, "mtls" | "mtls_or_key" | "mtls_or_token");
        assert_eq!(with_certificate, !enough, "{requirement}");
    }
}
