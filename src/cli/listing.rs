//! Lists, fetched page by page.

use std::fmt::Write as _;

use clap::Args;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::exit::Failure;
use super::output::{self, Column, Format};
use super::plain::plain;

/// The maximum number of items that the admin API returns at once.
const PAGE_MAX: u32 = 200;

/// The part of a list to show.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// The maximum number of items to show.
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: u32,

    /// Start after the item with this id.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
}

/// The fetched part of a list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) items: Vec<Value>,
    /// The cursor of the next part.
    next: Option<String>,
}

impl Extent {
    /// Fetches pages through `call` until there are `limit` items or no more exist.
    pub(super) async fn fetch<C>(
        &self,
        path: &str,
        query: &Query,
        mut call: C,
    ) -> Result<Listed, Failure>
    where
        C: AsyncFnMut(String) -> Result<Value, Failure>,
    {
        let mut items = Vec::new();
        let mut after = self.after.clone();
        let mut missing = self.limit;
        loop {
            let mut page = query.clone();
            page.add("limit", Some(&missing.min(PAGE_MAX).to_string()));
            page.add("after", after.as_deref());
            let mut answer = call(page.on(path)).await?;
            let found = match answer.get_mut("items").map(Value::take) {
                Some(Value::Array(found)) => found,
                _ => Vec::new(),
            };
            let next = answer
                .get("next")
                .and_then(Value::as_str)
                .map(str::to_owned);
            missing = missing.saturating_sub(u32::try_from(found.len()).unwrap_or(u32::MAX));
            // A page without items would be asked for again without end.
            let done = next.is_none() || missing == 0 || found.is_empty() || next == after;
            items.extend(found);
            after = next;
            if done {
                return Ok(Listed { items, next: after });
            }
        }
    }
}

impl Listed {
    /// Prints the items, with a note if there are more.
    pub(super) fn print(&self, format: Format, columns: &[Column]) -> Result<(), Failure> {
        output::print(&output::list(format, &self.items, columns))?;
        if let Some(next) = &self.next {
            let next = plain(next);
            output::remark(&format!(
                "There are more items: raise --limit, or continue with --after {next}"
            ));
        }
        Ok(())
    }
}

/// The query of a URL, with every value encoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// Adds one parameter, unless it is absent.
    pub(super) fn add(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            let mark = if self.0.is_empty() { '?' } else { '&' };
            let _ = write!(self.0, "{mark}{name}={}", encoded(value));
        }
    }

    #[must_use]
    pub(super) fn with(mut self, name: &str, value: Option<&str>) -> Self {
        self.add(name, value);
        self
    }

    fn on(&self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

/// A path below a collection; the id is encoded as one segment.
pub(super) fn path(collection: &str, id: &str, rest: &str) -> String {
    format!("{collection}/{}{rest}", encoded(id))
}

/// Everything but the unreserved characters of RFC 3986.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

fn encoded(text: &str) -> String {
    let safe = utf8_percent_encode(text, UNSAFE).to_string();
    // A segment of dots would climb out of its collection.
    match safe.as_str() {
        "." => "%2E".to_owned(),
        ".." => "%2E%2E".to_owned(),
        _ => safe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A collection of `size` items, served in pages as the admin API does.
    async fn fetch(size: u32, limit: u32) -> (Listed, Vec<String>) {
        let mut asked = Vec::new();
        let extent = Extent { limit, after: None };
        let query = Query::default().with("app", Some("acme"));
        let answer = extent
            .fetch("/things", &query, async |path: String| {
                let parameter = |name: &str| {
                    let (_, rest) = path.split_once(&format!("{name}="))?;
                    rest.split('&').next()?.parse::<u32>().ok()
                };
                let after = parameter("after").unwrap_or(0);
                let end = (after + parameter("limit").unwrap()).min(size);
                let items: Vec<u32> = (after + 1..=end).collect();
                let next = (end < size).then(|| end.to_string());
                asked.push(path);
                Ok(json!({"items": items, "next": next}))
            })
            .await
            .unwrap();
        (answer, asked)
    }

    #[tokio::test]
    async fn pages_are_fetched_until_there_is_enough() {
        let (listed, asked) = fetch(450, 420).await;
        assert_eq!(listed.items.len(), 420);
        assert_eq!(listed.next.as_deref(), Some("420"));
        assert_eq!(
            asked,
            [
                "/things?app=acme&limit=200",
                "/things?app=acme&limit=200&after=200",
                "/things?app=acme&limit=20&after=400"
            ]
        );
    }

    #[tokio::test]
    async fn a_short_list_ends_where_it_ends() {
        for (size, limit) in [(0, 10), (3, 10), (10, 10), (100, 500)] {
            let (listed, asked) = fetch(size, limit).await;
            assert_eq!(listed.items.len(), size as usize);
            assert_eq!(listed.next, None);
            assert_eq!(asked.len(), 1, "{size} of {limit}");
        }
    }

    #[tokio::test]
    async fn a_gateway_that_repeats_itself_does_not_hold_the_command() {
        let extent = Extent {
            limit: 1000,
            after: None,
        };
        let mut calls = 0;
        let stuck = async |_: String| {
            calls += 1;
            Ok(json!({"items": [], "next": "same"}))
        };
        extent.fetch("/x", &Query::default(), stuck).await.unwrap();
        assert_eq!(calls, 1);
    }

    #[test]
    fn what_was_typed_stays_one_value() {
        assert_eq!(
            path("/apps", "a/../b?c#d", "/revoke"),
            "/apps/a%2F..%2Fb%3Fc%23d/revoke"
        );
        assert_eq!(path("/apps", "..", ""), "/apps/%2E%2E");
        let query = Query::default().with("a", Some("x&b=ü")).with("c", None);
        assert_eq!(query.on("/l"), "/l?a=x%26b%3D%C3%BC");
    }
}
