//! The queries of requests: known parameters, each at most once.

use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::api::problem::Problem;
use crate::domain::reason::Reason;

/// A query whose type refuses unknown parameters.
#[derive(Debug)]
pub struct Parameters<T>(pub T);

/// Refuses any query.
#[derive(Clone, Copy, Debug)]
pub struct NoQuery;

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        match axum::extract::Query::try_from_uri(&parts.uri) {
            Ok(query) => Ok(Self(query.0)),
            Err(error) => {
                let detail = format!("The query cannot be used: {}.", error.body_text());
                Err(Problem::new(Reason::InputInvalid).detail(detail))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        none(&parts.uri).map(|()| Self)
    }
}

/// Refuses any query: a parameter that is not understood would otherwise be thought to count.
pub fn none(uri: &Uri) -> Result<(), Problem> {
    match uri.query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Problem::new(Reason::InputInvalid).detail("This operation takes no query.")),
    }
}
