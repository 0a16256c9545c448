//! What an operator switches on, upstreams are told: more of the certificate, an assertion, other proxies' headers.

use std::fs;
use std::path::Path;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::Value;

use crate::support::client::Answer;
use crate::support::eventually::eventually;
use crate::support::gateway::{Enrolled, Gateway, HOST, config, config_with};
use crate::support::pki;
use crate::support::process::run;
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /open }, require: none, upstream: api }
      - { name: tokens, match: { prefix: /token }, require: mtls_and_token, upstream: api }
      - { name: either, match: { prefix: /either }, require: mtls_or_key, upstream: api }
      - { name: all, match: { prefix: / }, require: mtls, upstream: api }";

/// A gateway that tells what this section says.
fn telling(echo: &Echo, section: &str) -> Gateway {
    let section = format!("identity_headers: {section}");
    Gateway::start(&config_with(&echo.url(), ROUTES, &section))
}

/// The one value of a field as the upstream saw it.
#[track_caller]
fn seen(answer: &Answer, name: &str) -> Option<String> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    let mut values = fields
        .iter()
        .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
        .map(|pair| pair[1].as_str().unwrap().to_owned());
    let value = values.next();
    assert_eq!(values.next(), None, "{name} was sent twice");
    value
}

/// The same, of a field that must be there.
#[track_caller]
fn value(answer: &Answer, name: &str) -> String {
    seen(answer, name).unwrap_or_else(|| panic!("no {name}: {}", answer.text()))
}

/// What OpenSSL says of a certificate.
fn openssl(gateway: &Gateway, enrolled: &Enrolled, args: &[&str]) -> String {
    let mut all = vec![
        "x509",
        "-noout",
        "-in",
        enrolled.certificate.to_str().unwrap(),
    ];
    all.extend(args);
    let told = run(gateway.dir(), "openssl", &all).ok();
    let (_, value) = told.trim().split_once('=').unwrap();
    value.to_owned()
}

fn pem_bodies(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .map(|rest| {
            let (body, _) = rest.split_once("-----END").unwrap();
            body.replace(['\r', '\n'], "")
        })
        .collect()
}

/// The certificate of a partner in base64.
fn leaf(enrolled: &Enrolled) -> String {
    pem_bodies(&enrolled.certificate).remove(0)
}

fn issuing(gateway: &Gateway) -> String {
    pem_bodies(&gateway.dir().join("authority/issuing.pem")).remove(0)
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// The base64 of the one certificate in a PEM text that went through percent-encoding.
#[track_caller]
fn body_of(encoded: &str) -> String {
    let pem = percent_decoded(encoded);
    let body = pem
        .strip_prefix("-----BEGIN CERTIFICATE-----\n")
        .and_then(|rest| rest.strip_suffix("\n-----END CERTIFICATE-----\n"))
        .unwrap_or_else(|| panic!("{pem}"));
    assert!(body.lines().all(|line| line.len() <= 64), "{pem}");
    body.replace('\n', "")
}

#[test]
fn nothing_of_it_is_told_unless_it_is_switched_on() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let acme = gateway.enrol("acme");
    let told = acme.partner.get("/x").json();
    let names: Vec<_> = told["headers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair[0].as_str().unwrap().to_ascii_lowercase())
        .filter(|name| name.contains("cert") || name.starts_with("x-countersign"))
        .collect();
    assert_eq!(
        names,
        [
            "x-countersign-app-id",
            "x-countersign-app-name",
            "x-countersign-credential-id",
            "x-countersign-auth-method",
            "x-countersign-client-cert-serial",
            "x-countersign-client-cert-sha256",
        ]
    );
}

#[test]
fn facts_about_the_certificate_are_told_in_our_own_headers() {
    let echo = Echo::start();
    let gateway = telling(
        &echo,
        "{ client_cert_not_after: true, client_cert_subject: true, client_cert_sans: true }",
    );
    let acme = gateway.enrol("acme");
    let signed = gateway.cli_json(&["cert", "get", &acme.id]);
    for answer in [acme.partner.get("/x"), acme.partner.get_h2("/x", &[])] {
        assert_eq!(
            value(&answer, "x-countersign-client-cert-not-after"),
            signed["not_after"].as_str().unwrap()
        );
        assert_eq!(
            value(&answer, "x-countersign-client-cert-subject"),
            "CN=acme"
        );
        let app = value(&answer, "x-countersign-app-id");
        assert_eq!(
            value(&answer, "x-countersign-client-cert-sans"),
            format!("URI:countersign:app:{app}")
        );
        assert_eq!(seen(&answer, "x-countersign-subject"), None);
        assert_eq!(seen(&answer, "x-countersign-client-cert-omitted"), None);
    }
}

#[test]
fn the_certificate_and_its_chain_are_those_of_rfc_9440() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ client_cert: true, client_cert_chain: true }");
    let acme = gateway.enrol("acme");
    let mut connection = acme.partner.connect();
    for answer in [
        connection.get("/x"),
        connection.get("/y"),
        acme.partner.get_h2("/x", &[]),
    ] {
        assert_eq!(value(&answer, "client-cert"), format!(":{}:", leaf(&acme)));
        assert_eq!(
            value(&answer, "client-cert-chain"),
            format!(":{}:", issuing(&gateway))
        );
    }
    // A resumed session has its certificate from the ticket.
    let mut again = acme.partner.connect();
    assert_eq!(
        value(&again.get("/x"), "client-cert"),
        format!(":{}:", leaf(&acme))
    );
    assert!(again.resumed());
    // A key alone proves no certificate, whoever shows one beside it.
    let (_, secret) = gateway.key("acme", &[]);
    let answer = gateway
        .stranger()
        .get_with("/either", &[("X-Api-Key", &secret)]);
    assert_eq!(seen(&answer, "client-cert"), None);
    assert_eq!(seen(&answer, "x-countersign-client-cert-omitted"), None);
}

#[test]
fn what_is_too_large_is_left_out_said_and_counted() {
    let echo = Echo::start();
    let gateway = telling(
        &echo,
        "{ client_cert: true, client_cert_chain: true, client_cert_bytes_max: 1KiB, client_cert_subject: true }",
    );
    gateway.cli_json(&["app", "create", "acme"]);
    let large = pki::request_with(gateway.dir(), "large", &["-newkey", "rsa:4096"]);
    let acme = gateway.sign("acme", "large", &large);
    let answer = acme.partner.get("/x");
    assert_eq!(seen(&answer, "client-cert"), None);
    assert_eq!(seen(&answer, "client-cert-chain"), None);
    assert_eq!(
        value(&answer, "x-countersign-client-cert-omitted"),
        "too_large"
    );
    assert_eq!(
        value(&answer, "x-countersign-client-cert-subject"),
        "CN=acme"
    );
    assert_eq!(
        gateway.count("countersign_client_cert_omitted_total{reason=\"too_large\"}"),
        1
    );
    let small = gateway.enrol_again("acme", "small");
    assert_eq!(
        value(&small.partner.get("/x"), "client-cert"),
        format!(":{}:", leaf(&small))
    );
}

#[test]
fn the_preset_nginx_sets_what_nginx_would() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ presets: [nginx] }");
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    let rfc2253 = ["-nameopt", "RFC2253"];
    assert_eq!(value(&answer, "x-ssl-client-verify"), "SUCCESS");
    assert_eq!(body_of(&value(&answer, "x-ssl-client-cert")), leaf(&acme));
    for (name, what) in [
        ("x-ssl-client-s-dn", "-subject"),
        ("x-ssl-client-i-dn", "-issuer"),
    ] {
        let expected = openssl(&gateway, &acme, &[&[what][..], &rfc2253].concat());
        assert_eq!(value(&answer, name), expected);
    }
    assert_eq!(
        value(&answer, "x-ssl-client-serial"),
        openssl(&gateway, &acme, &["-serial"])
    );
    let sha1 = openssl(&gateway, &acme, &["-fingerprint", "-sha1"]);
    assert_eq!(
        value(&answer, "x-ssl-client-fingerprint"),
        sha1.replace(':', "").to_ascii_lowercase()
    );
    for (name, what) in [
        ("x-ssl-client-v-start", "-startdate"),
        ("x-ssl-client-v-end", "-enddate"),
    ] {
        assert_eq!(value(&answer, name), openssl(&gateway, &acme, &[what]));
    }
    let (_, secret) = gateway.key("acme", &[]);
    let by_key = gateway
        .stranger()
        .get_with("/either", &[("X-Api-Key", &secret)]);
    assert_eq!(value(&by_key, "x-ssl-client-verify"), "NONE");
    assert_eq!(seen(&by_key, "x-ssl-client-s-dn"), None);
    let open = acme.partner.get("/open");
    assert_eq!(
        seen(&open, "x-ssl-client-verify"),
        None,
        "an open route tells nothing"
    );
}

#[test]
fn the_preset_xfcc_sets_what_envoy_would() {
    let echo = Echo::start();
    let gateway = telling(
        &echo,
        "{ presets: [xfcc], xfcc_by: \"spiffe://example.test/gateway\" }",
    );
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    let xfcc = value(&answer, "x-forwarded-client-cert");
    let parts: Vec<_> = xfcc.split(';').collect();
    let [by, hash, cert, chain, subject, uri] = parts[..] else {
        panic!("{xfcc}");
    };
    assert_eq!(by, "By=spiffe://example.test/gateway");
    let sha256 = openssl(&gateway, &acme, &["-fingerprint", "-sha256"]);
    let sha256 = sha256.replace(':', "").to_ascii_lowercase();
    assert_eq!(hash, format!("Hash={sha256}"));
    let within = |part: &str, key: &str| {
        let quoted = part.strip_prefix(&format!("{key}=")).unwrap();
        quoted.trim_matches('"').to_owned()
    };
    assert_eq!(body_of(&within(cert, "Cert")), leaf(&acme));
    let chain = percent_decoded(&within(chain, "Chain"));
    assert!(chain.replace('\n', "").contains(&issuing(&gateway)));
    assert_eq!(subject, "Subject=\"CN=acme\"");
    let app = value(&answer, "x-countersign-app-id");
    assert_eq!(uri, format!("URI=countersign:app:{app}"));
}

#[test]
fn the_preset_traefik_sets_what_traefik_would() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ presets: [traefik] }");
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    assert_eq!(value(&answer, "x-forwarded-tls-client-cert"), leaf(&acme));
    let info = value(&answer, "x-forwarded-tls-client-cert-info");
    assert!(!info.contains(['"', ';', ',', '=', ' ']), "{info}");
    let info = percent_decoded(&info.replace('+', " "));
    let app = value(&answer, "x-countersign-app-id");
    let parts: Vec<_> = info.split(';').collect();
    assert_eq!(parts[0], "Subject=\"CN=acme\"");
    assert!(parts[1].starts_with("Issuer=\"CN="), "{info}");
    assert!(parts[2].starts_with("SerialNumber=\""), "{info}");
    let serial = parts[2]
        .trim_start_matches("SerialNumber=")
        .trim_matches('"');
    assert!(serial.bytes().all(|digit| digit.is_ascii_digit()));
    assert!(parts[3].starts_with("NB=\"1") && parts[4].starts_with("NA=\"1"));
    assert_eq!(parts[5], format!("SAN=\"countersign:app:{app}\""));
}

#[test]
fn the_preset_kong_sets_what_kong_would() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ presets: [kong] }");
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    let app = value(&answer, "x-countersign-app-id");
    assert_eq!(value(&answer, "x-consumer-id"), app);
    assert_eq!(value(&answer, "x-consumer-username"), "acme");
    assert_eq!(value(&answer, "x-credential-identifier"), acme.id);
    assert_eq!(body_of(&value(&answer, "x-client-cert")), leaf(&acme));
    assert_eq!(
        value(&answer, "x-client-cert-serial"),
        openssl(&gateway, &acme, &["-serial"])
    );
    assert_eq!(value(&answer, "x-client-cert-subject-dn"), "CN=acme");
    assert_eq!(value(&answer, "x-client-cert-dn"), "CN=acme");
    assert_eq!(
        value(&answer, "x-client-cert-san"),
        format!("countersign:app:{app}")
    );
    let (id, secret) = gateway.key("acme", &["orders:read"]);
    let by_key = gateway
        .stranger()
        .get_with("/either", &[("X-Api-Key", &secret)]);
    assert_eq!(value(&by_key, "x-consumer-username"), "acme");
    assert_eq!(value(&by_key, "x-credential-identifier"), id);
    assert_eq!(value(&by_key, "x-authenticated-scope"), "orders:read");
    assert_eq!(seen(&by_key, "x-client-cert"), None);
}

#[test]
fn the_preset_alb_sets_what_the_load_balancer_would() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ presets: [alb] }");
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    assert_eq!(
        value(&answer, "x-amzn-mtls-clientcert-serial-number"),
        openssl(&gateway, &acme, &["-serial"])
    );
    assert_eq!(value(&answer, "x-amzn-mtls-clientcert-subject"), "CN=acme");
    let issuer = openssl(&gateway, &acme, &["-issuer", "-nameopt", "RFC2253"]);
    assert_eq!(value(&answer, "x-amzn-mtls-clientcert-issuer"), issuer);
    let signed = gateway.cli_json(&["cert", "get", &acme.id]);
    assert_eq!(
        value(&answer, "x-amzn-mtls-clientcert-validity"),
        format!(
            "NotBefore={};NotAfter={}",
            signed["not_before"].as_str().unwrap(),
            signed["not_after"].as_str().unwrap()
        )
    );
    let told = value(&answer, "x-amzn-mtls-clientcert-leaf");
    assert!(!told.contains("%2F") && !told.contains("%2B"), "{told}");
    assert_eq!(body_of(&told), leaf(&acme));
}

/// An upstream that speaks HTTP/2 gets the same fields by another way.
#[test]
fn an_http2_upstream_is_told_the_same() {
    let echo = Echo::start();
    let text = config_with(
        &echo.url(),
        ROUTES,
        "identity_headers: { client_cert: true, presets: [nginx], assertion: { enabled: true, audience: api } }",
    );
    let gateway = Gateway::start(&text.replace("api: { ", "api: { protocol: http2, "));
    let acme = gateway.enrol("acme");
    let answer = acme.partner.get("/x");
    assert_eq!(answer.json()["version"], "HTTP/2.0");
    assert_eq!(value(&answer, "client-cert"), format!(":{}:", leaf(&acme)));
    assert_eq!(value(&answer, "x-ssl-client-verify"), "SUCCESS");
    let claims = verified(&gateway, &value(&answer, "x-countersign-assertion"));
    assert_eq!(claims["aud"], "api");
}

const FORGED: [&str; 37] = [
    "X-Countersign-Subject",
    "X-Countersign-Assertion",
    "X-Countersign-Client-Cert-Not-After",
    "X-Countersign-Client-Cert-Subject",
    "X-Countersign-Client-Cert-Sans",
    "X-Countersign-Client-Cert-Omitted",
    "Client-Cert",
    "Client-Cert-Chain",
    "X-SSL-Client-Verify",
    "X-SSL-Client-Cert",
    "X-SSL-Client-S-DN",
    "X-SSL-Client-I-DN",
    "X-SSL-Client-Serial",
    "X-SSL-Client-Fingerprint",
    "X-SSL-Client-V-Start",
    "X-SSL-Client-V-End",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Tls-Client-Cert",
    "X-Forwarded-Tls-Client-Cert-Info",
    "X-Client-Cert",
    "X-Client-Cert-Serial",
    "X-Client-Cert-Issuer-DN",
    "X-Client-Cert-Subject-DN",
    "X-Client-Cert-Fingerprint",
    "X-Client-Cert-DN",
    "X-Client-Cert-SAN",
    "X-Consumer-ID",
    "X-Consumer-Username",
    "X-Credential-Identifier",
    "X-Authenticated-Scope",
    "X-Authenticated-Userid",
    "X-Amzn-Mtls-Clientcert",
    "X-Amzn-Mtls-Clientcert-Serial-Number",
    "X-Amzn-Mtls-Clientcert-Issuer",
    "X-Amzn-Mtls-Clientcert-Subject",
    "X-Amzn-Mtls-Clientcert-Validity",
    "X-Amzn-Mtls-Clientcert-Leaf",
];

#[test]
fn nobody_forges_what_is_told_whether_it_is_switched_on_or_not() {
    let everything = "{ client_cert: true, client_cert_chain: true, client_cert_subject: true, \
         presets: [nginx, xfcc, traefik, kong, alb], assertion: { enabled: true } }";
    for section in ["{}", everything] {
        let echo = Echo::start();
        let gateway = telling(&echo, section);
        let acme = gateway.enrol("acme");
        let forged = FORGED.map(|name| (name, "forged"));
        let twice = [forged, forged].concat();
        let lower: Vec<_> = forged
            .iter()
            .map(|(name, value)| (&*name.to_ascii_lowercase().leak(), *value))
            .collect();
        let named = format!("close, {}", FORGED.join(", "));
        let before = gateway.count("countersign_header_spoof_attempts_total");
        for path in ["/open", "/x"] {
            let partner = &acme.partner;
            for answer in [partner.get_with(path, &twice), partner.get_h2(path, &lower)] {
                assert_eq!(answer.status, 200, "{answer:?}");
                assert!(!answer.text().contains("forged"), "{}", answer.text());
            }
            assert_eq!(
                partner.get_with(path, &[("Connection", &named)]).status,
                400,
                "so many options are no honest client's"
            );
        }
        assert!(gateway.count("countersign_header_spoof_attempts_total") > before);
    }
}

#[test]
fn no_spelling_no_trailer_and_no_connection_option_gets_around_it() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ client_cert: true, presets: [nginx] }");
    let acme = gateway.enrol("acme");
    for name in [
        "X_SSL_Client_Verify",
        "x-ssl_client-verify",
        "X.SSL.Client.Verify",
        "Client_Cert",
        "client~cert",
        "X_Forwarded_Client_Cert",
        "X_Amzn_Mtls_Clientcert_Leaf",
        "X_Consumer_ID",
        "X_Client_Cert",
    ] {
        let answer = acme.partner.get_with("/x", &[(name, "forged")]);
        assert_eq!(answer.status, 200, "{name}");
        assert!(!answer.text().contains("forged"), "{name}: {answer:?}");
    }
    let mut connection = acme.partner.connect();
    connection.send(
        b"POST /x HTTP/1.1\r\nHost: api.example.test\r\nTransfer-Encoding: chunked\r\n\
          Connection: X-SSL-Client-Verify, Client-Cert, x-countersign-app-id\r\n\r\n\
          3\r\nabc\r\n0\r\nX-SSL-Client-Verify: forged\r\nClient-Cert: :Zm9yZ2Vk:\r\nX-Sum: 7\r\n\r\n",
    );
    let answer = connection.answer();
    assert_eq!(value(&answer, "x-ssl-client-verify"), "SUCCESS");
    assert_eq!(value(&answer, "client-cert"), format!(":{}:", leaf(&acme)));
    let told: Value = answer.json();
    assert!(!told["trailers"].to_string().contains("orged"), "{told}");
    assert!(!told.to_string().contains("Zm9yZ2Vk"), "{told}");
}

fn token(gateway: &Gateway, partner: &Enrolled, scopes: &[&str]) -> (String, String) {
    let (id, secret) = gateway.key("acme", scopes);
    let basic = BASE64.encode(format!("{id}:{secret}").as_bytes());
    let answer = partner.partner.post(
        "/oauth2/token",
        &[
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Authorization", &format!("Basic {basic}")),
        ],
        b"grant_type=client_credentials",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    (id, token)
}

/// Verifies an assertion as an upstream would: with the published keys and nothing else of ours. Gives the claims.
#[track_caller]
fn verified(gateway: &Gateway, assertion: &str) -> Value {
    let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).unwrap();
    let json = |part: &str| serde_json::from_slice::<Value>(&decoded(part)).unwrap();
    let [header, body, signature] = assertion.split('.').collect::<Vec<_>>()[..] else {
        panic!("{assertion}");
    };
    let told = json(header);
    assert_eq!(told["typ"], "countersign-assertion+jwt");
    assert_eq!(told["alg"], "ES256");
    let published = gateway.stranger().get("/.well-known/jwks.json").json();
    let key = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["kid"] == told["kid"])
        .unwrap();
    let coordinate = |name: &str| decoded(key[name].as_str().unwrap());
    let point = [vec![4], coordinate("x"), coordinate("y")].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(format!("{header}.{body}").as_bytes(), &decoded(signature))
        .unwrap();
    json(body)
}

#[test]
fn an_assertion_assures_an_upstream_of_who_calls() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ assertion: { enabled: true } }");
    let acme = gateway.enrol("acme");
    let (key, token) = token(&gateway, &acme, &["orders:read"]);
    let bearer = format!("Bearer {token}");
    let answer = acme
        .partner
        .get_with("/token", &[("Authorization", &bearer)]);
    let claims = verified(&gateway, &value(&answer, "x-countersign-assertion"));
    let app = value(&answer, "x-countersign-app-id");
    let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(claims["iss"], format!("https://{HOST}"));
    assert_eq!(claims["aud"], "tokens", "the route's name");
    assert_eq!(claims["sub"], app.as_str());
    assert_eq!(claims["app"], app.as_str());
    assert_eq!(claims["app_name"], "acme");
    assert_eq!(claims["credential"], key.as_str());
    assert_eq!(claims["auth_method"], "mtls+token");
    assert_eq!(claims["scope"], "orders:read");
    assert!((1..=60).contains(&life), "{life}");
    let thumbprint = HEXLOWER
        .decode(value(&answer, "x-countersign-client-cert-sha256").as_bytes())
        .unwrap();
    assert_eq!(
        claims["cnf"]["x5t#S256"],
        BASE64URL_NOPAD.encode(&thumbprint).as_str()
    );
    let by_certificate = acme.partner.get("/x");
    let claims = verified(&gateway, &value(&by_certificate, "x-countersign-assertion"));
    assert_eq!(
        (&claims["aud"], &claims["auth_method"]),
        (&"all".into(), &"mtls".into())
    );
    assert_eq!(claims.get("scope"), None);
    assert_eq!(
        seen(&acme.partner.get("/open"), "x-countersign-assertion"),
        None
    );
}

#[test]
fn an_assertion_opens_nothing_at_the_gate() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ assertion: { enabled: true } }");
    let acme = gateway.enrol("acme");
    let assertion = value(&acme.partner.get("/x"), "x-countersign-assertion");
    let reached = echo.requests();
    let bearer = format!("Bearer {assertion}");
    let answer = acme
        .partner
        .get_with("/token", &[("Authorization", &bearer)]);
    assert_eq!(
        (answer.status, answer.reason().as_str()),
        (401, "credential_invalid")
    );
    eventually("the refusal is counted by its own reason", || {
        let counted = gateway.count("countersign_refusals_total{reason=\"token_malformed\"}");
        (counted == 1).then_some(())
    });
    assert_eq!(echo.requests(), reached);
    assert!(!gateway.log().contains(&assertion));
}

/// Only signing is saved: who has lost its credential is refused while its assertion would still verify.
#[test]
fn a_revoked_caller_is_refused_however_fresh_its_assertion() {
    let echo = Echo::start();
    let gateway = telling(&echo, "{ assertion: { enabled: true } }");
    let acme = gateway.enrol("acme");
    let mut connection = acme.partner.connect();
    let first = value(&connection.get("/x"), "x-countersign-assertion");
    let second = value(&connection.get("/x"), "x-countersign-assertion");
    if first != second {
        // It was renewed between the two; the next one lives.
        assert_eq!(
            second,
            value(&connection.get("/x"), "x-countersign-assertion")
        );
    }
    let reached = echo.requests();
    gateway
        .cli(&[
            "cert",
            "revoke",
            &acme.id,
            "--reason",
            "superseded",
            "--yes",
        ])
        .ok();
    let refused = acme.partner.get("/x");
    assert_eq!(refused.reason(), "cert_revoked");
    assert_eq!(echo.requests(), reached);
}

#[test]
fn hosts_and_routes_tell_otherwise_than_the_rest() {
    let echo = Echo::start();
    let routes = "      - { name: plain, match: { prefix: /plain }, require: mtls, upstream: api, \
         identity_headers: { presets: [], client_cert: false } }
      - { name: named, match: { prefix: /named }, require: mtls, upstream: api, \
         identity_headers: { assertion: { enabled: true, audience: \"https://orders.internal\", ttl: 30s } } }
      - { match: { prefix: / }, require: mtls, upstream: api }
    identity_headers: { presets: [alb] }";
    let text = config_with(
        &echo.url(),
        routes,
        "identity_headers: { client_cert: true, presets: [nginx] }",
    );
    let gateway = Gateway::start(&text);
    let acme = gateway.enrol("acme");
    let mut connection = acme.partner.connect();
    let told = |answer: &Answer| {
        [
            "client-cert",
            "x-ssl-client-verify",
            "x-amzn-mtls-clientcert-subject",
            "x-countersign-assertion",
        ]
        .map(|name| seen(answer, name).is_some())
    };
    for _ in 0..2 {
        assert_eq!(told(&connection.get("/x")), [true, false, true, false]);
        assert_eq!(told(&connection.get("/plain")), [false; 4]);
        let named = connection.get("/named");
        assert_eq!(told(&named), [true, false, true, true]);
        let claims = verified(&gateway, &value(&named, "x-countersign-assertion"));
        assert_eq!(claims["aud"], "https://orders.internal");
        let life = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
        assert_eq!(life, 30);
    }
}

#[test]
fn a_reload_switches_it_on_and_off() {
    let echo = Echo::start();
    let off = config(&echo.url(), ROUTES);
    let on = config_with(
        &echo.url(),
        ROUTES,
        "identity_headers: { client_cert: true, client_cert_subject: true }",
    );
    let gateway = Gateway::start(&off);
    let acme = gateway.enrol("acme");
    let mut kept = acme.partner.connect();
    assert_eq!(seen(&kept.get("/x"), "client-cert"), None);
    gateway.configure(&on);
    gateway.cli(&["reload"]).ok();
    // What every connection knows is told at once. The certificate itself was not kept: that is said, and the
    // connection ends, so that the next one has it.
    let answer = kept.get("/x");
    assert_eq!(
        value(&answer, "x-countersign-client-cert-subject"),
        "CN=acme"
    );
    assert_eq!(seen(&answer, "client-cert"), None);
    assert_eq!(
        value(&answer, "x-countersign-client-cert-omitted"),
        "unavailable"
    );
    assert!(kept.is_closed_within(std::time::Duration::from_secs(10)));
    assert_eq!(
        gateway.count("countersign_client_cert_omitted_total{reason=\"unavailable\"}"),
        1
    );
    let mut fresh = acme.partner.connect();
    assert_eq!(
        value(&fresh.get("/x"), "client-cert"),
        format!(":{}:", leaf(&acme))
    );
    gateway.configure(&off);
    gateway.cli(&["reload"]).ok();
    eventually("the header is gone", || {
        seen(&fresh.get("/x"), "client-cert")
            .is_none()
            .then_some(())
    });
}

#[test]
fn wishes_that_cannot_be_met_are_refused_with_the_word_that_was_meant() {
    let echo = Echo::start();
    let refused = |section: &str, routes: &str| {
        let text = config_with(&echo.url(), routes, section);
        let dir = tempfile::tempdir().unwrap();
        match Gateway::try_start_in(dir, &text) {
            Ok(_) => panic!("started: {section}"),
            Err((code, log, _)) => {
                assert_eq!(code, Some(78), "{log}");
                log
            }
        }
    };
    let log = refused("identity_headers: { presets: [ngnix] }", ROUTES);
    assert!(log.contains("identity_headers.presets[0]"), "{log}");
    assert!(log.contains("did you mean nginx?"), "{log}");
    let open = "      - { match: { prefix: / }, require: none, upstream: api, identity_headers: { presets: [nginx] } }";
    let log = refused("", open);
    assert!(log.contains("requires nothing"), "{log}");
    let log = refused("identity_headers: { client_cert_chain: true }", ROUTES);
    assert!(log.contains("RFC 9440"), "{log}");
}
