//! A permitted request spends allowance: every limit of its route, or none of them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::boost;
use crate::domain::counted::counted;
use crate::domain::identity::Identity;
use crate::domain::limit::{Limit, Moment, Per};
use crate::domain::name::Name;
use crate::domain::permit::Permit;
use crate::domain::route::RouteTable;
use crate::domain::time::Timestamp;

use crate::proxy::counters::local::{BucketKey, Counters, Unit};
use crate::proxy::counters::standing::Strictest;
use crate::proxy::counters::subject::Subject;

/// Takes one request from every limit of the permit's route. `Ok(None)` when the route has none.
///
/// A refusal names the limit that takes longest to come back, and nothing is taken from any.
pub fn spend(
    permit: &Permit,
    routes: &RouteTable,
    address: IpAddr,
    counters: &Counters,
    now: Timestamp,
) -> Result<Option<Strictest>, Strictest> {
    let of_route = permit.route().limits.as_slice();
    let of_key = of_key(permit);
    match (of_route, of_key) {
        ([], []) => return Ok(None),
        ([only], []) => {
            let (raised, at) = (raised(only, permit, now), counters.moment(now));
            let limit = raised.as_ref().unwrap_or(only);
            return take_one(limit, permit, address, counters, at).map(Some);
        }
        _ => {}
    }
    let at = counters.moment(now);
    let keys: Vec<(BucketKey, Arc<Limit>)> = joined(of_route, of_key, routes)
        .map(|limit| {
            let raised = raised(limit, permit, now).unwrap_or_else(|| Arc::clone(limit));
            (key(limit, permit, address), raised)
        })
        .collect();
    if let Some(refused) = longest_wait(&keys, counters, at) {
        return Err(refused);
    }
    take_all(&keys, counters, at)
}

/// The limit as a boost of the caller's App raises it; none for nearly all callers.
fn raised(limit: &Limit, permit: &Permit, now: Timestamp) -> Option<Arc<Limit>> {
    let identity = permit.identity()?;
    let boosts = &identity.app()?.boosts;
    if boosts.is_empty() {
        return None;
    }
    let factor = boost::factor(boosts, limit, identity.key(), now)?;
    Some(Arc::new(limit.raised(factor)))
}

/// The limits of the key itself.
fn of_key(permit: &Permit) -> &[Arc<Limit>] {
    let bearer = permit.identity().and_then(Identity::bearer);
    let rules = bearer.and_then(|bearer| bearer.facts().rules.as_deref());
    rules.map_or(&[], |rules| &rules.limits)
}

/// The name of a limit in metrics. All limits that keys have besides those of a route are one series: there are as many
/// as operators make.
pub fn label<'l>(permit: &Permit, limit: &'l Limit) -> &'l str {
    if has(&permit.route().limits, limit.name()) {
        limit.name().as_str()
    } else {
        OF_KEYS
    }
}

/// A name that no operator can give.
const OF_KEYS: &str = "_key";

/// The limits of a route and of a key. A limit of the key stands in the place of the route's that has the same name, and
/// says nothing on other routes; one whose name no route has counts all requests of the key.
fn joined<'l>(
    of_route: &'l [Arc<Limit>],
    of_key: &'l [Arc<Limit>],
    routes: &'l RouteTable,
) -> impl Iterator<Item = &'l Arc<Limit>> {
    let of_others = move |limit: &&Arc<Limit>| !has(of_key, limit.name());
    let applies =
        move |limit: &&Arc<Limit>| has(of_route, limit.name()) || !routes.has_limit(limit.name());
    let own = of_key.iter().filter(applies);
    of_route.iter().filter(of_others).chain(own)
}

fn has(limits: &[Arc<Limit>], name: &Name) -> bool {
    limits.iter().any(|limit| limit.name() == name)
}

/// Takes from the one limit of most routes, which needs no list.
fn take_one(
    limit: &Arc<Limit>,
    permit: &Permit,
    address: IpAddr,
    counters: &Counters,
    at: Moment,
) -> Result<Strictest, Strictest> {
    let key = key(limit, permit, address);
    let taken = counters.take(&key, limit.meter(), at);
    let strictest = |standing| Strictest::new(Arc::clone(limit), standing);
    taken.map(strictest).map_err(strictest)
}

/// The longest wait of any limit. Nothing is taken before this check, so that a request which one limit refuses never
/// makes another refuse too.
fn longest_wait(
    keys: &[(BucketKey, Arc<Limit>)],
    counters: &Counters,
    at: Moment,
) -> Option<Strictest> {
    keys.iter()
        .map(|(key, limit)| {
            let standing = counters.look(key, limit.meter(), at);
            Strictest::new(Arc::clone(limit), standing)
        })
        .filter(|seen| !seen.standing.retry_after.is_zero())
        .max_by_key(|seen| seen.standing.retry_after)
}

fn take_all(
    keys: &[(BucketKey, Arc<Limit>)],
    counters: &Counters,
    at: Moment,
) -> Result<Option<Strictest>, Strictest> {
    let mut strictest: Option<Strictest> = None;
    for (place, (key, limit)) in keys.iter().enumerate() {
        match counters.take(key, limit.meter(), at) {
            Ok(standing) => {
                if strictest
                    .as_ref()
                    .is_none_or(|found| standing.remaining < found.standing.remaining)
                {
                    strictest = Some(Strictest::new(Arc::clone(limit), standing));
                }
            }
            Err(standing) => {
                for (taken, limit) in keys.iter().take(place) {
                    counters.give_back(taken, limit.meter(), at);
                }
                return Err(Strictest::new(Arc::clone(limit), standing));
            }
        }
    }
    Ok(strictest)
}

/// The bucket of a limit. A caller without a key or a user is counted by its App, and one without an App by its address,
/// so that no request escapes a limit by proving less.
fn key(limit: &Limit, permit: &Permit, address: IpAddr) -> BucketKey {
    let identity = permit.identity();
    let app = || {
        identity
            .and_then(Identity::app)
            .map(|app| Subject::App(app.id))
    };
    let known = match limit.per() {
        Per::App => app(),
        Per::Key => identity
            .and_then(Identity::key)
            .map(Subject::Key)
            .or_else(app),
        Per::User => identity.and_then(user).or_else(app),
        Per::Address => None,
        Per::Route => Some(Subject::Route(Arc::clone(&permit.route().name))),
    };
    BucketKey {
        limit: Some(limit.name().clone()),
        subject: known.unwrap_or_else(|| Subject::Address(counted(address))),
        unit: Unit::from(limit.meter()),
    }
}

/// The user of a token. Two Apps may give different users the same name.
fn user(identity: &Identity) -> Option<Subject> {
    let (app, user) = (identity.app()?, identity.subject()?);
    Some(Subject::User(app.id, user.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::identity::{Caller, Evidence};
    use crate::domain::policy::{Policy, Requirement};
    use crate::domain::rate::Rate;
    use crate::domain::route::{HostPattern, PathPattern, Route, Target};
    use crate::domain::scope::ScopeSet;
    use crate::domain::upstream::Upstream;
    use crate::proxy::counters::local::Buckets;

    fn limit(name: &str, per: Per, count: u32, burst: u32) -> Arc<Limit> {
        let rate = Rate {
            count,
            period: Duration::from_hours(1),
            burst,
        };
        Arc::new(Limit::new(name.parse().unwrap(), per, rate))
    }

    fn permit(limits: Vec<Arc<Limit>>) -> Permit {
        let upstream = Arc::new(Upstream::sample("orders"));
        let route = Arc::new(Route {
            name: "orders".into(),
            host: HostPattern::Any,
            path: PathPattern::prefix("/").unwrap(),
            methods: Vec::new(),
            policy: Policy::new(Requirement::None, ScopeSet::default()),
            limits,
            target: Target::Upstream(upstream.name.clone()),
            body_max: None,
            body_times: crate::domain::pace::BodyTimes::default(),
            ambiguous_paths: crate::domain::oddity::Oddities::NONE,
            keep_credential: false,
            identity_headers: Arc::default(),
            upgrades: crate::domain::upgrades::Upgrades::default(),
            header_names: crate::domain::header_names::HeaderNames::default(),
        });
        let caller = Caller {
            certificate: Evidence::Absent,
            bearer: Evidence::Absent,
        };
        let upstreams = std::iter::once((upstream.name.clone(), upstream)).collect();
        Permit::decide(&caller, &route, &upstreams).unwrap()
    }

    fn counters() -> Counters {
        Counters::new(Arc::new(Buckets::new(1024)))
    }

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[test]
    fn a_route_without_limits_spends_nothing() {
        assert!(
            spend(
                &permit(Vec::new()),
                &RouteTable::default(),
                HERE,
                &counters(),
                NOW
            )
            .unwrap()
            .is_none()
        );
    }

    #[test]
    fn the_limit_with_least_left_is_the_one_that_is_told() {
        let permit = permit(vec![
            limit("wide", Per::Route, 1000, 100),
            limit("narrow", Per::Address, 1000, 3),
        ]);
        let strictest = spend(&permit, &RouteTable::default(), HERE, &counters(), NOW)
            .unwrap()
            .unwrap();
        assert_eq!(strictest.limit.name().as_str(), "narrow");
        assert_eq!(strictest.standing.remaining, 2);
    }

    #[test]
    fn a_refused_request_charges_no_limit() {
        let counters = counters();
        let permit = permit(vec![
            limit("wide", Per::Route, 1, 5),
            limit("narrow", Per::Address, 1, 1),
        ]);
        assert!(spend(&permit, &RouteTable::default(), HERE, &counters, NOW).is_ok());
        for _ in 0..10 {
            let refused = spend(&permit, &RouteTable::default(), HERE, &counters, NOW).unwrap_err();
            assert_eq!(refused.limit.name().as_str(), "narrow");
        }
        // Four of five are left in the wide limit, for others.
        let strictest = spend(&permit, &RouteTable::default(), THERE, &counters, NOW)
            .unwrap()
            .unwrap();
        assert_eq!(strictest.limit.name().as_str(), "narrow");
        let wide = BucketKey {
            limit: Some("wide".parse().unwrap()),
            subject: Subject::Route("orders".into()),
            unit: Unit::Rate,
        };
        let standing = counters.look(&wide, permit.route().limits[0].meter(), counters.pace());
        assert_eq!(standing.remaining, 3);
    }

    #[test]
    fn of_several_used_up_limits_the_longest_wait_is_told() {
        let counters = counters();
        let permit = permit(vec![
            limit("short", Per::Route, 3600, 1),
            limit("long", Per::Address, 1, 1),
        ]);
        assert!(spend(&permit, &RouteTable::default(), HERE, &counters, NOW).is_ok());
        let refused = spend(&permit, &RouteTable::default(), HERE, &counters, NOW).unwrap_err();
        assert_eq!(refused.limit.name().as_str(), "long");
        assert!(refused.standing.retry_after > Duration::from_mins(59));
    }
}
