//! TLS certificates, the authority, tokens and keys.

use std::time::Duration;

use super::findings::{Findings, at};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::config::secret::SecretReference;
use crate::domain::secret::Secret;

/// The maximum lifetime of a token: a token that is verified outside of the gateway cannot be revoked.
const TOKEN_TTL_MAX: Duration = Duration::from_hours(24);

/// The maximum lifetime of an auth token, which is used at once.
const AUTH_TOKEN_TTL_MAX: Duration = Duration::from_hours(1);

/// The maximum lifetime of a session, as of a Key.
const SESSION_TTL_MAX: Duration = Duration::from_hours(24 * 3650);

/// The maximum number of sessions of a user: all of them are read at each login.
const SESSIONS_PER_USER_MAX: u32 = 500;

/// The minimum length of a pepper or a sealing key: a shorter one can be guessed by an attacker who has the store.
const SECRET_CHARS_MIN: usize = 32;

/// The largest body that is held for a signature. Each worker holds a few of them at a time.
const SIGNED_BODY_MAX: u64 = 16 << 20;

pub fn check(config: &Config, findings: &mut Findings) {
    certificates(config, findings);
    profile(config, findings);
    tokens(config, findings);
    keys(config, findings);
    findings.add_if(
        config.signatures.schemes.is_empty(),
        at("signatures.schemes"),
        "name a form of signatures: rfc9421. Only routes with signature in accept take any",
    );
    findings.add_if(
        config.signatures.body_max.get() > SIGNED_BODY_MAX,
        at("signatures.body_max"),
        "a signed body is at most 16MiB: it is held in memory until it is verified",
    );
}

fn keys(config: &Config, findings: &mut Findings) {
    let keys = &config.keys;
    let pepper = keys.pepper.as_ref().and_then(SecretReference::fetched);
    let sealing_key = keys.sealing_key.as_ref();
    let sealing_key = sealing_key.and_then(SecretReference::fetched);
    let is_short = |secret: &Secret| secret.expose().chars().count() < SECRET_CHARS_MIN;
    findings.add_if(
        pepper.is_some_and(is_short),
        at("keys.pepper"),
        "a pepper must have at least 32 characters; openssl rand -hex 32 makes one",
    );
    findings.add_if(
        sealing_key.is_some_and(is_short),
        at("keys.sealing_key"),
        "a sealing key must have at least 32 characters; openssl rand -hex 32 makes one",
    );
    findings.add_if(
        pepper.is_some() && pepper == sealing_key,
        at("keys.sealing_key"),
        "the sealing key must be another secret than keys.pepper",
    );
}

fn certificates(config: &Config, findings: &mut Findings) {
    for (index, certificate) in config.tls.certificates.iter().enumerate() {
        let path = at("tls.certificates").index(index);
        let text = certificate.cert.fetched();
        findings.add_if(
            text.is_some_and(|text| text.contains("PRIVATE KEY-----")),
            path.key("cert"),
            "this file contains a private key; keep the key in a separate file",
        );
    }
}

fn profile(config: &Config, findings: &mut Findings) {
    let profile = &config.authority.profile;
    let path = at("authority.profile");
    findings.add_if(
        profile.lifetime > profile.lifetime_max,
        path.key("lifetime"),
        "lifetime must not be longer than lifetime_max",
    );
    findings.add_if(
        profile.keys.is_empty(),
        path.key("keys"),
        "without a key type, nothing can be signed",
    );
    findings.add_if(
        profile.backdate.get() > Duration::from_hours(24),
        path.key("backdate"),
        "backdate must be at most 1d",
    );
    findings.add_if(
        !(1..=100).contains(&profile.active_max),
        path.key("active_max"),
        "active_max must be from 1 to 100; 2 allow rotation",
    );
}

fn tokens(config: &Config, findings: &mut Findings) {
    let path = at("tokens");
    findings.add_if(
        config.tokens.issuer.as_deref().is_some_and(|issuer| !is_origin(issuer)),
        path.key("issuer"),
        "an issuer is an https origin, like https://api.example.com, without path and trailing slash",
    );
    findings.add_if(
        config.tokens.issuer.is_some() && config.tokens.client_auth.is_empty(),
        path.key("client_auth"),
        "no client can get a token without a method; leave the key out for the two with a secret",
    );
    for (key, ttl) in [
        ("ttl", config.tokens.ttl),
        ("ttl_bound", config.tokens.ttl_bound),
    ] {
        findings.add_if(
            ttl.get() > TOKEN_TTL_MAX || ttl.get() < Duration::from_secs(1),
            path.key(key),
            "the lifetime of a token must be from 1s to 24h",
        );
    }
    fapi2(config, &path, findings);
    sessions(config, &path, findings);
}

/// The longest life of an access token by `fapi2`: a thief of the key has it no longer.
const FAPI2_TTL_MAX: Duration = Duration::from_hours(1);

/// The settings that `tokens.profile: fapi2` does not permit.
fn fapi2(config: &Config, path: &YamlPath, findings: &mut Findings) {
    let tokens = &config.tokens;
    if !tokens.profile.is_fapi2() {
        return;
    }
    let mut methods = tokens.client_auth.iter();
    findings.add_if(
        !tokens.client_auth.is_empty() && !methods.any(|method| tokens.profile.permits(*method)),
        path.key("client_auth"),
        "fapi2 permits private_key_jwt, tls_client_auth and self_signed_tls_client_auth",
    );
    findings.add_if(
        tokens.ttl_bound.get() > FAPI2_TTL_MAX,
        path.key("ttl_bound"),
        "with fapi2, an access token lives for at most 1h",
    );
    let permitted = |name: &String| matches!(&**name, "PS256" | "ES256" | "EdDSA");
    for (name, issuer) in &config.issuers {
        findings.add_if(
            !issuer.algorithms().iter().all(permitted),
            at("issuers").key(name).key("algorithms"),
            "with fapi2, algorithms are PS256, ES256 and EdDSA",
        );
    }
}

/// The settings of users' sessions.
fn sessions(config: &Config, path: &YamlPath, findings: &mut Findings) {
    let tokens = &config.tokens;
    for (key, ttl, max) in [
        ("auth_token_ttl", tokens.auth_token_ttl, AUTH_TOKEN_TTL_MAX),
        ("session_ttl", tokens.session_ttl, SESSION_TTL_MAX),
        ("refresh_ttl", tokens.refresh_ttl, SESSION_TTL_MAX),
    ] {
        findings.add_if(
            ttl.get() > max || ttl.get() < Duration::from_secs(1),
            path.key(key),
            "an auth token lives from 1s to 1h, and a session from 1s to 3650d",
        );
    }
    findings.add_if(
        !(1..=SESSIONS_PER_USER_MAX).contains(&tokens.sessions_per_user),
        path.key("sessions_per_user"),
        "a user has from 1 to 500 sessions",
    );
}

/// True for `https://host` or `https://host:port` and nothing more (RFC 8414, 2).
fn is_origin(issuer: &str) -> bool {
    let Some(rest) = issuer.strip_prefix("https://") else {
        return false;
    };
    let host = crate::domain::request::normal_host(rest);
    let has_path = rest.contains(['/', '?', '#', '@', '\\']);
    !has_path && !rest.ends_with(':') && host.is_some_and(|host| rest.starts_with(&*host))
}
