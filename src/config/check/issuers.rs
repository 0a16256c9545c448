//! Other issuers: whose tokens they are, by which keys they verify, and which header fields their claims have.

use std::collections::BTreeMap;

use super::findings::{Findings, at};
use crate::config::issuers::{IssuerApp, IssuerKeys, OtherIssuer};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::domain::app_settings::is_https_url;
use crate::domain::issuer::{ALGORITHMS, HS256};

/// The most issuers: each of their sets is fetched every 5 minutes.
const ISSUERS_MAX: usize = 32;

/// The most claims of one issuer that upstreams get: an API takes a head of some 8 KiB.
const CLAIMS_MAX: usize = 16;

/// The most bytes of a set that is given in a file: as many as of one that is fetched.
const SET_BYTES_MAX: usize = 64 * 1024;

/// The fewest bytes of a secret (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;

/// The beginnings of fields by which other proxies tell who calls; some upstreams get them from the presets.
const PRESETS: [&str; 8] = [
    "x-amzn-",
    "x-anonymous-",
    "x-authenticated-",
    "x-client-",
    "x-consumer-",
    "x-credential-",
    "x-ssl-",
    "ssl-",
];

pub fn check(config: &Config, findings: &mut Findings) {
    findings.add_if(
        config.issuers.len() > ISSUERS_MAX,
        at("issuers"),
        "there are at most 32 other issuers",
    );
    let ours = config.tokens.issuer.as_deref();
    for (name, issuer) in &config.issuers {
        let path = at("issuers").key(name);
        let others = config.issuers.iter().filter(|(other, _)| *other < name);
        let repeated = others
            .map(|(_, other)| &other.issuer)
            .any(|other| *other == issuer.issuer);
        findings.add_if(
            issuer.issuer.is_empty() || Some(issuer.issuer.as_str()) == ours || repeated,
            path.key("issuer"),
            "the issuer is the iss of another issuer's tokens; each stands once, and it is not this gateway",
        );
        findings.add_if(
            issuer.audiences.is_empty() || issuer.audiences.iter().any(String::is_empty),
            path.key("audiences"),
            "name the audiences of its tokens: a token for another service must not count here",
        );
        findings.add_if(
            issuer.subject.is_empty(),
            path.key("subject"),
            "the subject is the name of a claim, for example sub",
        );
        if let IssuerApp::Mapped(mapped) = &issuer.app {
            findings.add_if(
                mapped.claim.is_empty() || mapped.map.is_empty(),
                path.key("app"),
                "name a claim, and the App of each of its values",
            );
        }
        keys(issuer, &path, findings);
        algorithms(issuer, &path, findings);
        claims(issuer, config, &path, findings);
    }
}

fn keys(issuer: &OtherIssuer, path: &YamlPath, findings: &mut Findings) {
    let IssuerKeys {
        jwks_url,
        jwks,
        secret,
    } = &issuer.keys;
    let given = [jwks_url.is_some(), jwks.is_some(), secret.is_some()];
    let path_of_keys = path.key("keys");
    findings.add_if(
        given.into_iter().filter(|given| *given).count() > 1,
        path_of_keys.clone(),
        "an issuer has one of jwks_url, jwks and secret",
    );
    findings.add_if(
        jwks_url.as_ref().is_some_and(|url| !is_https_url(url)),
        path_of_keys.key("jwks_url"),
        "a jwks_url is an https URL without user and fragment",
    );
    findings.add_if(
        given == [false; 3] && (!is_https_url(&issuer.issuer) || issuer.issuer.contains('?')),
        path.key("issuer"),
        "without keys, the issuer is an https URL: its metadata name them",
    );
    let text = jwks.as_ref().and_then(|file| file.0.fetched());
    findings.add_if(
        text.is_some_and(|text| text.len() > SET_BYTES_MAX),
        path_of_keys.key("jwks"),
        "a JWK set has at most 64 KiB",
    );
    let secret = secret.as_ref().and_then(|secret| secret.fetched());
    findings.add_if(
        secret.is_some_and(|secret| secret.expose().len() < SECRET_BYTES_MIN),
        path_of_keys.key("secret"),
        "the secret of HS256 has 32 or more bytes: a shorter one can be guessed from any token",
    );
}

fn algorithms(issuer: &OtherIssuer, path: &YamlPath, findings: &mut Findings) {
    let named = issuer.algorithms();
    let path = path.key("algorithms");
    let known = |name: &String| ALGORITHMS.contains(&name.as_str());
    findings.add_if(
        named.is_empty() || !named.iter().all(known),
        path.clone(),
        "algorithms are RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA and HS256",
    );
    let by_secret = named.iter().any(|name| name == HS256);
    findings.add_if(
        by_secret != issuer.keys.secret.is_some() || by_secret && named.len() > 1,
        path,
        "HS256 needs a secret, and a secret is for HS256 alone: a public key must never count as one",
    );
}

fn claims(issuer: &OtherIssuer, config: &Config, path: &YamlPath, findings: &mut Findings) {
    let path = path.key("claims");
    findings.add_if(
        issuer.claims.len() > CLAIMS_MAX,
        path.clone(),
        "an issuer has at most 16 claims for upstreams",
    );
    let caller_id = &config.listeners.partners.http.caller_request_id;
    let mut seen = BTreeMap::new();
    for (claim, header) in &issuer.claims {
        let name = header.0.as_str();
        findings.add_if(claim.is_empty(), path.clone(), "a claim has a name");
        findings.add_if(
            PRESETS.iter().any(|begins| name.starts_with(begins))
                || caller_id.as_ref() == Some(header),
            path.key(claim),
            "this field tells of something else; choose a name like X-User-Role",
        );
        if let Some(other) = seen.insert(name, claim) {
            findings.add(
                path.key(claim),
                format!("the claim {other} has this field already"),
            );
        }
    }
}
