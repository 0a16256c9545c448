//! Lists in parts: each answer names where the next part begins.

use std::str::FromStr;

use serde::Serialize;
use utoipa::ToSchema;

use super::span::Span;
use super::state::AdminState;
use crate::api::problem::Problem;
use crate::domain::credential::CredentialState;
use crate::domain::id::AppId;
use crate::domain::listing::{CredentialFilter, Page};
use crate::domain::reason::Reason;

/// The default number of items in a part.
const LIMIT: u32 = 50;

/// The maximum number of items in a part.
const LIMIT_MAX: u32 = 200;

/// One part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    pub items: Vec<T>,
    /// Pass it as `after` to get the next part; null when this is the last.
    pub next: Option<String>,
}

/// The part of a list that a query asks for. Asks the store for one thing more, to learn whether there is a next part.
pub fn page<Id>(after: Option<Id>, limit: Option<u32>) -> Result<Page<Id>, Problem> {
    let limit = limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("`limit` must be a number from 1 to {LIMIT_MAX}.");
        return Err(Problem::new(Reason::InputInvalid).detail(detail));
    }
    Ok(Page {
        after,
        limit: limit + 1,
    })
}

/// Reads an id from a path. One that cannot be an id names nothing.
pub fn id<Id: FromStr>(kind: &str, text: &str) -> Result<Id, Problem> {
    let missing = || Problem::new(Reason::NotFound).detail(format!("This {kind} does not exist."));
    text.parse().ok().ok_or_else(missing)
}

/// The id of the App that a query names by id or name.
pub async fn app_id(state: &AdminState, app: Option<&str>) -> Result<Option<AppId>, Problem> {
    match app {
        Some(app) => Ok(Some(state.control.app(app).await?.id)),
        None => Ok(None),
    }
}

/// The filter for credentials in a query.
pub async fn filter(
    state: &AdminState,
    app: Option<&str>,
    in_state: Option<CredentialState>,
    expiring: Option<Span>,
) -> Result<CredentialFilter, Problem> {
    let now = state.clock.now();
    Ok(CredentialFilter {
        app: app_id(state, app).await?,
        expiring_before: expiring.map(|span| now.plus(span.0)),
        state: in_state,
        at: Some(now),
    })
}

impl<T> List<T> {
    /// Makes views of what the store found for `page`; `id` tells what the next part comes after.
    pub fn of<F, Id: ToString>(
        page: &Page<Id>,
        mut found: Vec<F>,
        id: impl Fn(&F) -> Id,
        view: impl Fn(F) -> T,
    ) -> Self {
        let asked = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let more = found.len() >= asked;
        if more {
            found.truncate(asked.saturating_sub(1));
        }
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| id(last).to_string());
        Self {
            items: found.into_iter().map(view).collect(),
            next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_where_it_goes_on() {
        let part = |found: &[u32]| {
            let page = page::<u32>(None, Some(2)).unwrap();
            let list = List::of(&page, found.to_vec(), |id| *id, |id| id);
            (list.items, list.next)
        };
        assert_eq!(part(&[]), (vec![], None));
        assert_eq!(part(&[1, 2]), (vec![1, 2], None));
        assert_eq!(part(&[1, 2, 3]), (vec![1, 2], Some("2".to_owned())));
    }

    #[test]
    fn a_part_has_a_largest_size() {
        assert!(page::<u32>(None, Some(0)).is_err());
        assert!(page::<u32>(None, Some(201)).is_err());
        assert_eq!(page::<u32>(None, None).unwrap().limit, 51);
    }
}
