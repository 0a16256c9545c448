//! Public keys that Apps and other issuers publish at a URL: fetched in the background, and kept while their source is away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::discovery;
use super::error::Error;
use super::fetch::Fetch;
use super::publish::Publisher;
use crate::crypto::jwk::{InvalidKeys, KeySet, Strictness};
use crate::domain::app_settings::ClientKeys;
use crate::domain::issuer::{FetchedSets, Source};
use crate::domain::published_sets::PublishedSets;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;

/// The age at which a set is fetched again.
const FRESH: Duration = Duration::from_mins(5);

/// The time between two fetches that signatures with unknown keys ask for.
const ASKED_AGAIN: Duration = Duration::from_mins(1);

/// The pause after the first failure of a source; each further one doubles it.
const PAUSE: Duration = Duration::from_secs(10);

/// The doublings of the pause: up to some ten minutes.
const DOUBLINGS_MAX: u32 = 6;

/// The fetches at once. Each holds a connection and at most 64 KiB.
const AT_ONCE: usize = 8;

/// The sets by their sources. There are as many as Apps with a URL, and other issuers, which operators set.
#[derive(Debug)]
pub struct PublishedKeys {
    client: Arc<dyn Fetch>,
    sources: Mutex<HashMap<Source, State>>,
}

/// The state of one source.
#[derive(Debug)]
struct State {
    /// The last set that could be read.
    text: Option<Arc<str>>,
    asked_at: Timestamp,
    due_at: Timestamp,
    failures: u32,
}

impl Default for State {
    fn default() -> Self {
        let never = Timestamp::from_unix_seconds(0);
        Self {
            text: None,
            asked_at: never,
            due_at: never,
            failures: 0,
        }
    }
}

impl PublishedKeys {
    /// Fetches by `client`.
    pub fn new(client: Arc<dyn Fetch>) -> Self {
        Self {
            client,
            sources: Mutex::default(),
        }
    }

    /// The text of the set of this source, if it was fetched.
    pub fn find(&self, source: &Source) -> Option<Arc<str>> {
        self.sources().get(source)?.text.clone()
    }

    /// Asks for a newer set, since a signature names a key that is not in it. It is fetched in the background, at most
    /// once a minute.
    pub fn miss(&self, source: &Source, now: Timestamp) {
        if let Some(state) = self.sources().get_mut(source)
            && now >= state.asked_at.plus(ASKED_AGAIN)
        {
            state.due_at = state.due_at.min(now);
        }
    }

    /// Fetches one set now, for the operator who names its URL.
    pub async fn try_out(&self, url: Arc<str>, now: Timestamp) -> Result<(), Error> {
        let fetched = read(self.client.fetch(Arc::clone(&url), false).await);
        let fetched = fetched.and_then(with_keys);
        match self
            .keep(&Source::Set(Arc::clone(&url)), fetched, now)
            .err()
        {
            None => Ok(()),
            Some(fault) => Err(Error::invalid(format!("jwks_url: {url}: {fault}"))),
        }
    }

    /// Fetches the sets of the snapshot's Apps and issuers that are due, and forgets those that none has any more. Each
    /// new set is published at once: a source that is slow delays no other.
    pub async fn refresh(
        &self,
        snapshot: &Snapshot,
        publisher: &Publisher,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut due = self.due(snapshot, now).into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((source, allow_private)) = due.next()
            {
                let client = Arc::clone(&self.client);
                running.spawn(async move {
                    let fetched = fetch(&*client, &source, allow_private).await;
                    (source, fetched)
                });
            }
            let Some(done) = running.join_next().await else {
                return self.publish(publisher).await;
            };
            if let Ok((source, fetched)) = done
                && self.keep(&source, fetched, now) == Ok(true)
            {
                self.publish(publisher).await?;
            }
        }
    }

    /// Publishes the sets, if others are published.
    async fn publish(&self, publisher: &Publisher) -> Result<(), Error> {
        let sets = self.sets();
        if *publisher.current().published == sets {
            return Ok(());
        }
        publisher.set_published(Arc::new(sets)).await
    }

    /// The sets that were fetched.
    fn sets(&self) -> FetchedSets {
        let sources = self.sources();
        let fetched = sources.iter();
        fetched
            .filter_map(|(source, state)| Some((source.clone(), state.text.clone()?)))
            .collect()
    }

    /// The sources that are due, each with the permission to ask a private address; states are made and forgotten on
    /// the way.
    fn due(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<(Source, bool)> {
        let mut sources = self.sources();
        let mut kept = HashMap::new();
        let mut due = Vec::new();
        for (source, allow_private) in wanted(snapshot) {
            let state = sources.remove(&source).unwrap_or_default();
            if now >= state.due_at && !kept.contains_key(&source) {
                due.push((source.clone(), allow_private));
            }
            kept.entry(source).or_insert(state);
        }
        *sources = kept;
        due
    }

    /// Keeps the result of a fetch. Returns true if the set has changed, or the fault.
    fn keep(
        &self,
        source: &Source,
        fetched: Result<Arc<str>, String>,
        now: Timestamp,
    ) -> Result<bool, String> {
        let (Source::Issuer(url) | Source::Set(url)) = source;
        let mut sources = self.sources();
        let source = sources.entry(source.clone()).or_default();
        source.asked_at = now;
        match fetched {
            Ok(text) => {
                let changed = source.text.as_ref() != Some(&text);
                if changed {
                    info!(%url, "the public keys of a source have changed");
                }
                source.text = Some(text);
                source.failures = 0;
                source.due_at = now.plus(FRESH);
                Ok(changed)
            }
            Err(fault) => {
                if source.failures == 0 {
                    warn!(%url, fault, "public keys cannot be fetched; the last ones stay in use");
                }
                source.due_at = now.plus(PAUSE * (1 << source.failures.min(DOUBLINGS_MAX)));
                source.failures = source.failures.saturating_add(1);
                Err(fault)
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Source, State>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublishedSets for PublishedKeys {
    fn find(&self, url: &str) -> Option<Arc<str>> {
        Self::find(self, &Source::Set(url.into()))
    }

    fn miss(&self, url: &str, now: Timestamp) {
        Self::miss(self, &Source::Set(url.into()), now);
    }
}

/// The sources that a snapshot names, the issuers' first: an App with the same URL takes what was fetched for them.
fn wanted(snapshot: &Snapshot) -> impl Iterator<Item = (Source, bool)> {
    let issuers = snapshot.catalog.issuers.iter();
    let issuers = issuers.filter_map(|issuer| Some((issuer.source()?, issuer.allow_private)));
    let apps = snapshot.apps.iter();
    let apps = apps.filter_map(|(_, app)| match &app.settings.keys {
        Some(ClientKeys::Url(url)) => Some((Source::Set(Arc::clone(url)), false)),
        _ => None,
    });
    issuers.chain(apps)
}

/// Fetches the set of a source.
async fn fetch(
    client: &dyn Fetch,
    source: &Source,
    allow_private: bool,
) -> Result<Arc<str>, String> {
    let url = match source {
        Source::Issuer(issuer) => discovery::url_of_set(client, issuer, allow_private).await?,
        Source::Set(url) => Arc::clone(url),
    };
    read(client.fetch(url, allow_private).await)
}

/// The same set, if it has a key: an App's new URL is of use.
fn with_keys(set: Arc<str>) -> Result<Arc<str>, String> {
    let read = KeySet::parse(set.as_bytes(), Strictness::Usable);
    read.map(|_| set).map_err(|fault| fault.to_string())
}

/// The text of a document that is a JWK set. One that has no key any more is a set too: its owner has withdrawn all of
/// them, and the last ones must not stay in use.
fn read(fetched: Result<Vec<u8>, String>) -> Result<Arc<str>, String> {
    let document = fetched?;
    match KeySet::parse(&document, Strictness::Usable) {
        Ok(_) | Err(InvalidKeys::Empty) => {}
        Err(fault) => return Err(fault.to_string()),
    }
    let text = String::from_utf8(document);
    text.map(Arc::from).map_err(|error| error.to_string())
}

#[cfg(test)]
pub mod testing {
    use std::sync::{Arc, Mutex};

    use crate::control::fetch::{Fetch, Fetching};

    /// A source in memory, which answers every URL alike.
    #[derive(Debug)]
    pub struct OneSource {
        pub answer: Mutex<Result<Vec<u8>, String>>,
        pub asked: Mutex<u32>,
    }

    impl OneSource {
        pub fn of(answer: Result<&str, &str>) -> Arc<Self> {
            let answer = answer.map(|text| text.as_bytes().to_vec());
            Arc::new(Self {
                answer: Mutex::new(answer.map_err(str::to_owned)),
                asked: Mutex::default(),
            })
        }

        pub fn set(&self, answer: Result<&str, &str>) {
            let answer = answer.map(|text| text.as_bytes().to_vec());
            *self.answer.lock().unwrap() = answer.map_err(str::to_owned);
        }
    }

    impl Fetch for OneSource {
        fn fetch(&self, _url: Arc<str>, _allow_private: bool) -> Fetching {
            *self.asked.lock().unwrap() += 1;
            let answer = self.answer.lock().unwrap().clone();
            Box::pin(async move { answer })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::OneSource;
    use super::*;
    use crate::control::testing::{Fixture, catalog_of};
    use crate::crypto::jwk_testing::TestKey;
    use crate::domain::app::App;
    use crate::domain::issuer::ForeignIssuers;
    use crate::domain::shelf::Shelf;

    const URL: &str = "https://acme.example/jwks";
    const NOW: Timestamp = Timestamp::from_unix_seconds(10_000_000);

    fn url() -> Source {
        Source::Set(URL.into())
    }

    async fn refresh(keys: &PublishedKeys, snapshot: &Snapshot, now: Timestamp) {
        let fixture = Fixture::new().await;
        let publisher = fixture.control.publisher();
        keys.refresh(snapshot, publisher, now).await.unwrap();
        assert_eq!(*publisher.current().published, keys.sets());
    }

    async fn snapshot(urls: &[&str]) -> Snapshot {
        let apps = (1..).zip(urls).map(|(number, url)| {
            let mut app = App::sample(number, &format!("app-{number}"));
            app.settings.keys = Some(ClientKeys::Url((*url).into()));
            (app.id, Arc::new(app))
        });
        let apps = Shelf::build(apps);
        let empty = Fixture::new().await.snapshot();
        Snapshot {
            apps,
            catalog: catalog_of(1, ForeignIssuers::default()),
            ..Snapshot::clone(&empty)
        }
    }

    #[tokio::test]
    async fn a_set_is_fetched_again_when_it_is_old_and_kept_while_its_source_is_away() {
        let (first, second) = (TestKey::p256().set(), TestKey::p256().set());
        let source = OneSource::of(Ok(&first));
        let keys = PublishedKeys::new(source.clone());
        let live = snapshot(&[URL, URL]).await;
        let asked = || *source.asked.lock().unwrap();
        assert_eq!(keys.find(&url()), None);
        refresh(&keys, &live, NOW).await;
        assert_eq!((keys.find(&url()).as_deref(), asked()), (Some(&*first), 1));
        refresh(&keys, &live, NOW.plus(FRESH / 2)).await;
        assert_eq!(asked(), 1);
        source.set(Err("away"));
        let mut now = NOW.plus(FRESH);
        refresh(&keys, &live, now).await;
        assert_eq!((keys.find(&url()).as_deref(), asked()), (Some(&*first), 2));
        refresh(&keys, &live, now.plus(PAUSE / 2)).await;
        assert_eq!(asked(), 2, "it pauses");
        for bad in [
            "[]",
            r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
            &" ".repeat(70_000),
        ] {
            source.set(Ok(bad));
            now = now.plus(PAUSE * 200);
            refresh(&keys, &live, now).await;
            assert_eq!(keys.find(&url()).as_deref(), Some(&*first));
        }
        source.set(Ok(&second));
        refresh(&keys, &live, now.plus(PAUSE * 200)).await;
        assert_eq!(keys.find(&url()).as_deref(), Some(&*second));
        let withdrawn = r#"{"keys":[]}"#;
        source.set(Ok(withdrawn));
        let later = now.plus(PAUSE * 200).plus(FRESH);
        refresh(&keys, &live, later).await;
        assert_eq!(
            keys.find(&url()).as_deref(),
            Some(withdrawn),
            "its owner says so"
        );
        refresh(&keys, &snapshot(&[]).await, NOW).await;
        assert_eq!(keys.find(&url()), None, "no App has it any more");
    }

    #[tokio::test]
    async fn an_unknown_key_asks_once_a_minute() {
        let set = TestKey::p256().set();
        let source = OneSource::of(Ok(&set));
        let keys = PublishedKeys::new(source.clone());
        let live = snapshot(&[URL]).await;
        let asked = || *source.asked.lock().unwrap();
        refresh(&keys, &live, NOW).await;
        for second in 1..60 {
            let now = NOW.plus(Duration::from_secs(second));
            keys.miss(&url(), now);
            refresh(&keys, &live, now).await;
        }
        assert_eq!(asked(), 1);
        let now = NOW.plus(ASKED_AGAIN);
        keys.miss(&url(), now);
        refresh(&keys, &live, now).await;
        assert_eq!(asked(), 2);
    }

    #[tokio::test]
    async fn an_operator_learns_why_a_url_is_of_no_use() {
        let source = OneSource::of(Err("no connection"));
        let keys = PublishedKeys::new(source.clone());
        let refused = keys.try_out(URL.into(), NOW).await.unwrap_err();
        assert!(refused.detail.contains("no connection"), "{refused}");
        let set = TestKey::p256().set();
        source.set(Ok(&set));
        keys.try_out(URL.into(), NOW).await.unwrap();
        assert_eq!(keys.find(&url()).as_deref(), Some(&*set));
    }
}
