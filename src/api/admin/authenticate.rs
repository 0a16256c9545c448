//! The caller of the admin API and its role: the bearer of an admin token, or a local user over the unix socket.

use axum::Extension;
use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};

use super::state::AdminState;
use crate::api::listen::Peer;
use crate::api::problem::Problem;
use crate::domain::admin::{Actor, Role};
use crate::domain::reason::Reason;
use crate::domain::stray::stray;
use crate::net::log_limit::LogLimit;

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"countersign-admin\"");

/// The caller.
#[derive(Clone, Debug)]
pub struct Asker {
    pub actor: Actor,
    pub role: Role,
}

/// Lets only those through who have proved themselves; stands before every route, also before those that do not exist.
pub async fn authenticate(
    State(state): State<AdminState>,
    peer: Option<Extension<Peer>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Some(Extension(peer)) = peer else {
        return Problem::new(Reason::Internal)
            .because("the listener did not say who is at the other end")
            .into_response();
    };
    match ask(&state, peer, request.headers()).await {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}

async fn ask(state: &AdminState, peer: Peer, fields: &HeaderMap) -> Result<Asker, Problem> {
    let address = match peer {
        Peer::Local { uid } => {
            return Ok(Asker {
                actor: Actor::Local { uid },
                role: Role::Admin,
            });
        }
        Peer::Remote(address) => address,
    };
    // Who shows no token guesses none: refusing costs nothing, so it is neither counted nor written down.
    let Some(text) = bearer(fields) else {
        return Err(unauthenticated());
    };
    // It was not copied as it is, so it is no guess either. Nothing of it is looked at.
    if let Some(around) = stray(text) {
        return Err(unauthenticated().detail(around));
    }
    let wait = state.failures.wait(address);
    let _turn = match wait {
        Some(_) => Some(state.failures.turn().await),
        None => None,
    };
    if let Some(token) = state.control.authenticate_admin(text).await? {
        return Ok(Asker {
            role: token.role,
            actor: Actor::Token {
                id: token.id,
                name: token.name,
            },
        });
    }
    if let Some(wait) = wait {
        return Err(Problem::new(Reason::AuthRateLimited).retry_after(wait));
    }
    state.failures.count(address);
    if let Some(suppressed) = WRONG_TOKEN.permit() {
        tracing::warn!(%address, suppressed, "the admin API was called with an admin token that is not valid");
    }
    Err(unauthenticated())
}

fn unauthenticated() -> Problem {
    Problem::new(Reason::AdminUnauthenticated).challenge(CHALLENGE)
}

/// Each address is limited already, and there may be many of them.
static WRONG_TOKEN: LogLimit = LogLimit::new();

/// The one bearer token of a request; two fields prove nothing.
fn bearer(fields: &HeaderMap) -> Option<&str> {
    let mut all = fields.get_all(AUTHORIZATION).iter();
    let (only, None) = (all.next()?, all.next()) else {
        return None;
    };
    // Also what is not ASCII: a byte order mark is told of.
    let text = std::str::from_utf8(only.as_bytes()).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Actor);

        impl From<$name> for Actor {
            fn from(level: $name) -> Self {
                level.0
            }
        }

        impl<S: Sync> FromRequestParts<S> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
                at_least(Role::$name, parts).map(Self)
            }
        }
    )*};
}

levels! {
    /// A caller that may read everything that is not secret.
    Viewer;
    /// A caller that may change Apps and their credentials.
    Operator;
    /// A caller that may do everything.
    Admin;
}

fn at_least(role: Role, parts: &Parts) -> Result<Actor, Problem> {
    let asker = parts.extensions.get::<Asker>();
    let asker = asker.ok_or_else(unauthenticated)?;
    if asker.role >= role {
        return Ok(asker.actor.clone());
    }
    tracing::warn!(actor = %asker.actor, has = ?asker.role, needs = ?role, "an operator's role does not allow the operation");
    Err(Problem::new(Reason::AdminForbidden).detail(format!(
        "This operation needs the role {}; your role is {}.",
        name(role),
        name(asker.role)
    )))
}

/// The role as it is written.
pub const fn name(role: Role) -> &'static str {
    match role {
        Role::Viewer => "viewer",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_token_is_read_and_nothing_else() {
        let read = |values: &[&'static str]| {
            let mut fields = HeaderMap::new();
            for value in values {
                fields.append(AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&fields).map(str::to_owned)
        };
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer abc"]).as_deref(), Some("abc"));
        for none in [&[][..], &["abc"], &["Basic abc"], &["Bearer a", "Bearer b"]] {
            assert_eq!(read(none), None, "{none:?}");
        }
    }
}
