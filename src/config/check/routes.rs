//! Hosts and routes: what cannot be met, cannot be reached or cannot be told apart.

use std::collections::{BTreeMap, HashMap};

use super::findings::{Findings, at};
use crate::config::catalog::{Draft, RouteFault, drafts};
use crate::config::document::{Node, Value};
use crate::config::hosts::{Accept, Limit, Per};
use crate::config::issuers::OtherIssuer;
use crate::config::parts::Replaceable;
use crate::config::path::YamlPath;
use crate::config::problem::Finding;
use crate::config::root::Config;
use crate::config::tls::ClientAuthMode;
use crate::domain::name::Name;
use crate::domain::policy::{Policy, Requirement};
use crate::domain::route::{HostPattern, Route, RouteTable};
use crate::domain::scope::{Scope, ScopeSet};
use crate::domain::suggest::nearest;

/// More limits on one route are a mistake, and each costs a look-up per request.
const LIMITS_MAX: usize = 8;

pub fn check(config: &Config, written: &Node, findings: &mut Findings) {
    client_auth(config, findings);
    if let Some(scopes) = &config.scopes
        && let Err(fault) = ScopeSet::new(scopes.iter().cloned())
    {
        findings.add(at("scopes"), fault.to_string());
    }
    let config = config.replaceable();
    let drafts = drafts(&config);
    for draft in &drafts {
        faults(draft, findings);
        target(draft, written, findings);
        requirement(draft, &config, findings);
        accepted(draft, config.issuers, findings);
        known_scopes(draft, &config, findings);
        reserved(draft, &config, findings);
        limits(draft, findings);
    }
    names(&drafts, findings);
    shared_limits(&drafts, findings);
    twins(&drafts, findings);
}

fn client_auth(config: &Config, findings: &mut Findings) {
    for (name, host) in &config.hosts {
        let own = host.client_auth.mode.is_some() || host.client_auth.reject.is_some();
        if own && !matches!(name.0, HostPattern::Exact(_)) {
            findings.add(
                at("hosts").key(name).key("client_auth"),
                "only a whole host name can have its own client_auth, because the handshake selects it by SNI; set tls.client_auth",
            );
        }
    }
}

fn faults(draft: &Draft<'_>, findings: &mut Findings) {
    let Err(fault) = &draft.route else {
        return;
    };
    let matches = draft.path.key("match");
    let path = match fault {
        RouteFault::Both | RouteFault::Prefix(_) => matches.key("prefix"),
        RouteFault::Neither => matches,
        RouteFault::Path(_) => matches.key("path"),
        RouteFault::Scopes(_) => draft.path.key("scopes"),
    };
    findings.add(path, fault.to_string());
}

/// The upstream has to be in the document; one that is there and was refused has been told already.
fn target(draft: &Draft<'_>, written: &Node, findings: &mut Findings) {
    let wanted = draft.written.upstream.as_str();
    let known: Vec<&str> = match written.find(&at("upstreams")).map(|node| &node.value) {
        Some(Value::Mapping(entries)) => entries.iter().map(|entry| entry.key.as_str()).collect(),
        _ => Vec::new(),
    };
    if known.contains(&wanted) {
        return;
    }
    let suggestion = match nearest(wanted, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None if known.is_empty() => "upstreams is empty".to_owned(),
        None => format!("known: {}", known.join(", ")),
    };
    let finding = Finding::new(
        draft.path.key("upstream"),
        format!("there is no upstream {wanted}"),
    );
    findings.0.push(finding.suggest(Some(suggestion)));
}

fn requirement(draft: &Draft<'_>, config: &Replaceable<'_>, findings: &mut Findings) {
    let requirement = draft.requirement;
    let word = requirement.as_str();
    // The word may be the host's; the route is where it cannot be met.
    let path = match draft.written.require {
        Some(_) => draft.path.key("require"),
        None => draft.path.clone(),
    };
    let off = config.client_auth(draft.host).mode == ClientAuthMode::Off;
    if off && requirement.as_str().contains("mtls") {
        findings.add(
            path.clone(),
            format!("{word} needs client certificates, but client_auth.mode is off for this host: the gateway never requests one"),
        );
    }
    if requirement.as_str().contains("token") && config.issuer.is_none() {
        findings.add(
            path,
            format!("{word} needs tokens, but none are issued: set tokens.issuer"),
        );
    }
    if !draft.written.scopes.is_empty() && !requirement.looks_at_bearer() {
        findings.add(
            draft.path.key("scopes"),
            format!("scopes come from keys and tokens, which {word} does not use: every caller would be refused"),
        );
    }
}

/// Scopes that the catalogue does not have: no key could get them.
fn known_scopes(draft: &Draft<'_>, config: &Replaceable<'_>, findings: &mut Findings) {
    let Some(known) = config.scopes else {
        return;
    };
    let names = || known.iter().map(Scope::as_str);
    for (index, scope) in draft.written.scopes.iter().enumerate() {
        if known.contains(scope) || scope.is_ours() {
            continue;
        }
        let suggestion = match nearest(scope.as_str(), names()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => "add it to scopes".to_owned(),
        };
        let path = draft.path.key("scopes").index(index);
        let finding = Finding::new(path, format!("there is no scope {scope}"));
        findings.0.push(finding.suggest(Some(suggestion)));
    }
}

/// Lists that no credential fits, and words for credentials that the route never looks at.
fn accepted(draft: &Draft<'_>, issuers: &BTreeMap<Name, OtherIssuer>, findings: &mut Findings) {
    let written = draft.written;
    if written.environments.is_empty() {
        findings.add(
            draft.path.key("environments"),
            "name live, test or both: a route without an environment takes no key and no token",
        );
    }
    let Some(accept) = &written.accept else {
        return;
    };
    let word = draft.requirement.as_str();
    let path = draft.path.key("accept");
    if accept.is_empty() {
        findings.add(path.clone(), "name what the route accepts, or leave it out");
    }
    let policy = Policy {
        accept: written.accepted(),
        ..Policy::new(draft.requirement, ScopeSet::default())
    };
    let usable = policy.usable();
    for (index, accepted) in accept.iter().enumerate() {
        let fault = match accepted {
            Accept::Kind(kind) if usable.has(*kind) => None,
            Accept::Kind(kind) => Some(format!("{word} does not look at a {}", kind.as_str())),
            Accept::Issuer(_) if !draft.requirement.looks_at_token() => {
                Some(format!("{word} does not look at a token"))
            }
            Accept::Issuer(name) if issuers.contains_key(name) => None,
            Accept::Issuer(name) => Some(format!("there is no issuer {name}")),
        };
        if let Some(fault) = fault {
            findings.add(path.index(index), fault);
        }
    }
    findings.add_if(
        usable.iter().next().is_none() && !written.scopes.is_empty() && !accept.is_empty(),
        draft.path.key("scopes"),
        "the tokens of other issuers have no scopes here, and the route accepts nothing else",
    );
}

/// The gateway answers its own endpoints at every host, before all routes.
fn reserved(draft: &Draft<'_>, config: &Replaceable<'_>, findings: &mut Findings) {
    let matches = &draft.written.matches;
    for (key, text) in [("path", &matches.path), ("prefix", &matches.prefix)] {
        let Some(text) = text else {
            continue;
        };
        let plain = text.trim_end_matches('/');
        let mut ours = config.endpoints.iter();
        if ours.any(|endpoint| endpoint.path == plain)
            || plain.starts_with("/.well-known/countersign")
        {
            findings.add(
                draft.path.key("match").key(key),
                "the gateway itself answers this path, on every host",
            );
        }
    }
}

fn each_limit<'d>(draft: &'d Draft<'_>) -> impl Iterator<Item = (YamlPath, &'d Limit)> {
    let one = draft.written.limit.iter();
    let one = one.map(|limit| (draft.path.key("limit"), limit));
    let several = draft.written.limits.iter().enumerate();
    one.chain(several.map(|(index, limit)| (draft.path.key("limits").index(index), limit)))
}

fn limits(draft: &Draft<'_>, findings: &mut Findings) {
    findings.add_if(
        draft.written.limit.is_some() && !draft.written.limits.is_empty(),
        draft.path.key("limit"),
        "a route has either limit or limits, not both",
    );
    findings.add_if(
        draft.written.limits.len() > LIMITS_MAX,
        draft.path.key("limits"),
        "a route has at most 8 limits",
    );
    for (path, limit) in each_limit(draft) {
        measured(&path, limit, findings);
        counted(&path, limit, draft.requirement, findings);
    }
}

/// The measure of a limit: a rate or a quota.
fn measured(path: &YamlPath, limit: &Limit, findings: &mut Findings) {
    findings.add_if(
        limit.burst == Some(0),
        path.key("burst"),
        "with a burst of 0, no request is allowed; the least is 1",
    );
    findings.add_if(
        limit.rate.is_some() && limit.quota.is_some(),
        path.key("quota"),
        "a limit has either a rate or a quota, not both; write two limits",
    );
    findings.add_if(
        limit.rate.is_none() && limit.quota.is_none(),
        path.clone(),
        "a limit has a rate (100/s) or a quota (10000/d)",
    );
    findings.add_if(
        limit.burst.is_some() && limit.rate.is_none(),
        path.key("burst"),
        "a quota has no burst: all of it may come at once",
    );
}

/// The subject of a limit: the route has to know it.
fn counted(path: &YamlPath, limit: &Limit, requirement: Requirement, findings: &mut Findings) {
    let word = requirement.as_str();
    if limit.per == Per::Key && !requirement.looks_at_bearer() {
        findings.add(
            path.key("per"),
            format!("{word} uses no key, so a limit per key has nothing to count; count per app"),
        );
    }
    if limit.per == Per::User && !requirement.looks_at_bearer() {
        findings.add(
            path.key("per"),
            format!(
                "{word} uses no token, so a limit per user has nothing to count; count per app"
            ),
        );
    }
    if limit.per == Per::App && requirement == Requirement::None {
        findings.add(
            path.key("per"),
            "none identifies no App, so a limit per app has nothing to count; count per address",
        );
    }
}

fn names(drafts: &[Draft<'_>], findings: &mut Findings) {
    let mut seen: HashMap<&Name, &YamlPath> = HashMap::new();
    for draft in drafts {
        let Some(name) = &draft.written.name else {
            continue;
        };
        if name.as_str().starts_with("countersign.") {
            findings.add(
                draft.path.key("name"),
                "names that begin with countersign. are the gateway's own",
            );
        }
        match seen.get(name) {
            Some(first) => findings.add(
                draft.path.key("name"),
                format!("{first} has this name already"),
            ),
            None => {
                seen.insert(name, &draft.path);
            }
        }
    }
}

/// Routes that name the same limit share it, so they have to say the same of it.
fn shared_limits(drafts: &[Draft<'_>], findings: &mut Findings) {
    let mut seen: HashMap<&Name, (YamlPath, &Limit)> = HashMap::new();
    for (path, limit) in drafts.iter().flat_map(each_limit) {
        let Some(name) = &limit.name else {
            continue;
        };
        match seen.get(name) {
            Some((first, known)) if *known != limit => findings.add(
                path,
                format!("{first} defines the limit {name} differently; routes with the same limit name share the limit"),
            ),
            Some(_) => {}
            None => {
                seen.insert(name, (path, limit));
            }
        }
    }
}

/// Routes that no request can tell apart; each clash is taken out and the rest asked again.
fn twins(drafts: &[Draft<'_>], findings: &mut Findings) {
    let mut routes: Vec<(&YamlPath, &Route)> = drafts
        .iter()
        .filter_map(|draft| draft.route.as_ref().ok().map(|route| (&draft.path, route)))
        .collect();
    for _ in 0..crate::config::decode::FINDINGS_MAX {
        let table = RouteTable::new(routes.iter().map(|(_, route)| (*route).clone()).collect());
        let Err(ambiguity) = table else {
            return;
        };
        let place = |name: &str| {
            let found = routes.iter().position(|(_, route)| &*route.name == name);
            found.and_then(|index| routes.get(index).map(|(path, _)| (index, *path)))
        };
        let (Some((_, first)), Some((index, second))) =
            (place(&ambiguity.first), place(&ambiguity.second))
        else {
            return;
        };
        findings.add(
            second.key("match"),
            format!("this matches the same requests as {first}"),
        );
        routes.remove(index);
    }
}
