//! Identity headers: values that are not valid, and routes with anonymous callers.

use std::time::Duration;

use super::findings::{Findings, at};
use crate::config::catalog::{Draft, drafts};
use crate::config::hosts::Host;
use crate::config::identity_headers::{IdentityHeaders, IdentityHeadersHere, Preset};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::domain::policy::Requirement;

/// The minimum: no certificate is smaller.
const BYTES_MIN: u64 = 1 << 10;

/// The maximum that servers accept for one header field.
const BYTES_MAX: u64 = 64 << 10;

/// The minimum: with less, the assertion of a request that waits for its upstream could expire.
const TTL_MIN: Duration = Duration::from_secs(10);

/// The maximum: an assertion cannot be revoked.
const TTL_MAX: Duration = Duration::from_mins(1);

const AUDIENCE_CHARS_MAX: usize = 255;

pub fn check(config: &Config, findings: &mut Findings) {
    let common = &config.identity_headers;
    level(common, &at("identity_headers"), config, findings);
    for (name, host) in &config.hosts {
        let path = at("hosts").key(name).key("identity_headers");
        here(common, &host.identity_headers, &path, config, findings);
        unknown_callers_of(host, &path, findings);
    }
    for draft in drafts(&config.replaceable()) {
        let path = draft.path.key("identity_headers");
        let common = common.with(&draft.host.identity_headers);
        let own = &draft.written.identity_headers;
        here(&common, own, &path, config, findings);
        unknown_callers(&draft, own, path, findings);
        audience(&draft, &common.with(own), findings);
    }
}

/// The check of a host's or route's keys together with the keys that it inherits.
fn here(
    common: &IdentityHeaders,
    own: &IdentityHeadersHere,
    path: &YamlPath,
    config: &Config,
    findings: &mut Findings,
) {
    if own.says_anything() {
        level(&common.with(own), path, config, findings);
    }
}

fn level(headers: &IdentityHeaders, path: &YamlPath, config: &Config, findings: &mut Findings) {
    findings.add_if(
        headers.client_cert_chain && !headers.client_cert,
        path.key("client_cert_chain"),
        "client_cert_chain needs client_cert (RFC 9440): set client_cert too",
    );
    findings.add_if(
        !(BYTES_MIN..=BYTES_MAX).contains(&headers.client_cert_bytes_max.get()),
        path.key("client_cert_bytes_max"),
        "client_cert_bytes_max must be from 1KiB to 64KiB",
    );
    findings.add_if(
        repeats(&headers.presets),
        path.key("presets"),
        "this preset is listed twice",
    );
    let by = headers.xfcc_by.as_deref();
    findings.add_if(
        by.is_some_and(|by| !is_plain(by) || by.contains([',', ';', '=', '"', '\\'])),
        path.key("xfcc_by"),
        "By is a URI of visible ASCII without , ; = \" and \\, like spiffe://example.com/gateway",
    );
    assertion(headers, &path.key("assertion"), config, findings);
}

fn assertion(headers: &IdentityHeaders, path: &YamlPath, config: &Config, findings: &mut Findings) {
    let assertion = &headers.assertion;
    findings.add_if(
        !(TTL_MIN..=TTL_MAX).contains(&assertion.ttl.get()),
        path.key("ttl"),
        "the ttl of an assertion must be from 10s to 1m",
    );
    let audience = assertion.audience.as_deref();
    findings.add_if(
        audience.is_some_and(|audience| !is_plain(audience)),
        path.key("audience"),
        "an audience has 1 to 255 characters of visible ASCII",
    );
    findings.add_if(
        audience.is_some() && audience == config.tokens.issuer.as_deref(),
        path.key("audience"),
        "the issuer is the audience of access tokens; an assertion is for an API, so name that",
    );
    findings.add_if(
        assertion.enabled && config.tokens.issuer.is_none(),
        path.key("enabled"),
        "an assertion is verified with the issuer's keys: set tokens.issuer",
    );
}

/// The check of the audience: a generated route name can change with other routes, and an API must know its audience.
fn audience(draft: &Draft<'_>, headers: &IdentityHeaders, findings: &mut Findings) {
    let assertion = &headers.assertion;
    let open = draft.requirement == Requirement::None;
    findings.add_if(
        assertion.enabled
            && assertion.audience.is_none()
            && draft.written.name.is_none()
            && !open,
        draft.path.clone(),
        "an assertion is for the route's name: give the route a name, or set identity_headers.assertion.audience",
    );
}

/// The check of a route that requires nothing: its callers are anonymous, so identity headers on it are a mistake.
fn unknown_callers(
    draft: &Draft<'_>,
    own: &IdentityHeadersHere,
    path: YamlPath,
    findings: &mut Findings,
) {
    findings.add_if(
        draft.requirement == Requirement::None && own.turns_on(),
        path,
        "this route requires nothing, so its callers may be anonymous: set require, or disable identity headers",
    );
}

/// The same check for a whole host.
fn unknown_callers_of(host: &Host, path: &YamlPath, findings: &mut Findings) {
    let open = host.require == Requirement::None;
    let taken = host.routes.iter().any(|route| route.require.is_none());
    findings.add_if(
        open && taken && host.identity_headers.turns_on(),
        path.clone(),
        "this host requires nothing, so its callers may be anonymous: set require, or disable identity headers",
    );
}

fn repeats(presets: &[Preset]) -> bool {
    let mut seen: Vec<Preset> = Vec::new();
    presets.iter().any(|preset| {
        let again = seen.contains(preset);
        seen.push(*preset);
        again
    })
}

fn is_plain(text: &str) -> bool {
    (1..=AUDIENCE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}
