//! What upstreams are told of callers: values that would not do, and callers that nobody knows.

use std::time::Duration;

use super::findings::{Findings, at};
use crate::config::catalog::{Draft, drafts};
use crate::config::hosts::Host;
use crate::config::identity_headers::{IdentityHeaders, IdentityHeadersHere, Preset};
use crate::config::path::YamlPath;
use crate::config::root::Config;
use crate::domain::policy::Requirement;

/// No certificate fits into less.
const BYTES_MIN: u64 = 1 << 10;

/// What the widest servers take for one header field.
const BYTES_MAX: u64 = 64 << 10;

/// Under this, a request that waits for its upstream arrives too late.
const TTL_MIN: Duration = Duration::from_secs(10);

/// An assertion cannot be taken back.
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
    for draft in drafts(config) {
        let path = draft.path.key("identity_headers");
        let common = common.with(&draft.host.identity_headers);
        let own = &draft.written.identity_headers;
        here(&common, own, &path, config, findings);
        unknown_callers(&draft, own, path, findings);
        audience(&draft, &common.with(own), findings);
    }
}

/// What a host or route says is checked together with what it leaves as it is.
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
        "Client-Cert-Chain goes with Client-Cert only (RFC 9440): set client_cert too",
    );
    findings.add_if(
        !(BYTES_MIN..=BYTES_MAX).contains(&headers.client_cert_bytes_max.get()),
        path.key("client_cert_bytes_max"),
        "a value that is made from a certificate has from 1KiB to 64KiB",
    );
    findings.add_if(
        repeats(&headers.presets),
        path.key("presets"),
        "each preset is named once",
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
        "an assertion counts from 10s to 1m",
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

/// A name that is made of host and path changes when its neighbours do, and an API has to know its own.
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

/// A route that requires nothing lets in who is nobody, so there is nothing to tell of them.
fn unknown_callers(
    draft: &Draft<'_>,
    own: &IdentityHeadersHere,
    path: YamlPath,
    findings: &mut Findings,
) {
    findings.add_if(
        draft.requirement == Requirement::None && own.turns_on(),
        path,
        "this route requires nothing, so its callers may be nobody: require something, or leave identity headers off",
    );
}

/// The same where a whole host says both.
fn unknown_callers_of(host: &Host, path: &YamlPath, findings: &mut Findings) {
    let open = host.require == Requirement::None;
    let taken = host.routes.iter().any(|route| route.require.is_none());
    findings.add_if(
        open && taken && host.identity_headers.turns_on(),
        path.clone(),
        "this host requires nothing, so its callers may be nobody: require something, or leave identity headers off",
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
