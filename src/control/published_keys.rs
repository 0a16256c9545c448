//! Public keys that Apps and other issuers publish at a URL: fetched in the background, and kept while their source is away.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::{info, warn};

use super::error::Error;
use crate::crypto::jwk::{KeySet, Strictness};
use crate::domain::app_settings::ClientKeys;
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

/// A fetch that is under way: the document, or the fault in words for the operator.
pub type Fetching = Pin<Box<dyn Future<Output = Result<Vec<u8>, String>> + Send>>;

/// A client that fetches JWK sets.
pub trait Fetch: Send + Sync + Debug {
    fn fetch(&self, url: Arc<str>) -> Fetching;
}

/// The sets by their URLs. There are as many as Apps with a URL, which operators set.
#[derive(Debug)]
pub struct PublishedKeys {
    client: Arc<dyn Fetch>,
    /// The URLs that the configuration names.
    always: Vec<Arc<str>>,
    sources: Mutex<HashMap<Arc<str>, Source>>,
}

/// One source.
#[derive(Debug)]
struct Source {
    /// The last set that could be read.
    text: Option<Arc<str>>,
    asked_at: Timestamp,
    due_at: Timestamp,
    failures: u32,
}

impl Default for Source {
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
    /// Fetches by `client` the sets of Apps, and those at the URLs `always`.
    pub fn new(client: Arc<dyn Fetch>, always: Vec<Arc<str>>) -> Self {
        Self {
            client,
            always,
            sources: Mutex::default(),
        }
    }

    /// The text of the set at this URL, if it was fetched.
    pub fn find(&self, url: &str) -> Option<Arc<str>> {
        self.sources().get(url)?.text.clone()
    }

    /// Asks for a newer set, since a signature names a key that is not in it. It is fetched in the background, at most
    /// once a minute.
    pub fn miss(&self, url: &str, now: Timestamp) {
        if let Some(source) = self.sources().get_mut(url)
            && now >= source.asked_at.plus(ASKED_AGAIN)
        {
            source.due_at = source.due_at.min(now);
        }
    }

    /// Fetches one set now, for the operator who names its URL.
    pub async fn try_out(&self, url: Arc<str>, now: Timestamp) -> Result<(), Error> {
        let fetched = read(self.client.fetch(Arc::clone(&url)).await);
        match self.keep(&url, fetched, now) {
            None => Ok(()),
            Some(fault) => Err(Error::invalid(format!("jwks_url: {url}: {fault}"))),
        }
    }

    /// Fetches the sets of the snapshot's Apps that are due, and forgets those that no App has any more.
    pub async fn refresh(&self, snapshot: &Snapshot, now: Timestamp) {
        let mut due = self.due(snapshot, now).into_iter();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some(url) = due.next()
            {
                let fetching = self.client.fetch(Arc::clone(&url));
                running.spawn(async move { (url, read(fetching.await)) });
            }
            let Some(done) = running.join_next().await else {
                return;
            };
            if let Ok((url, fetched)) = done {
                self.keep(&url, fetched, now);
            }
        }
    }

    /// The URLs that are due; sources are made and forgotten on the way.
    fn due(&self, snapshot: &Snapshot, now: Timestamp) -> Vec<Arc<str>> {
        let apps = snapshot.apps.iter();
        let urls = apps.filter_map(|(_, app)| match &app.settings.keys {
            Some(ClientKeys::Url(url)) => Some(Arc::clone(url)),
            _ => None,
        });
        let mut sources = self.sources();
        let mut kept = HashMap::new();
        let mut due = Vec::new();
        for url in urls.chain(self.always.iter().cloned()) {
            let source = sources.remove(&url).unwrap_or_default();
            if now >= source.due_at && !kept.contains_key(&url) {
                due.push(Arc::clone(&url));
            }
            kept.entry(url).or_insert(source);
        }
        *sources = kept;
        due
    }

    /// Keeps the result of a fetch; the fault, if there is one.
    fn keep(
        &self,
        url: &Arc<str>,
        fetched: Result<Arc<str>, String>,
        now: Timestamp,
    ) -> Option<String> {
        let mut sources = self.sources();
        let source = sources.entry(Arc::clone(url)).or_default();
        source.asked_at = now;
        match fetched {
            Ok(text) => {
                if source.text.as_ref() != Some(&text) {
                    info!(%url, "the public keys of a source have changed");
                }
                source.text = Some(text);
                source.failures = 0;
                source.due_at = now.plus(FRESH);
                None
            }
            Err(fault) => {
                if source.failures == 0 {
                    warn!(%url, fault, "public keys cannot be fetched; the last ones stay in use");
                }
                source.due_at = now.plus(PAUSE * (1 << source.failures.min(DOUBLINGS_MAX)));
                source.failures = source.failures.saturating_add(1);
                Some(fault)
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Arc<str>, Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PublishedSets for PublishedKeys {
    fn find(&self, url: &str) -> Option<Arc<str>> {
        Self::find(self, url)
    }

    fn miss(&self, url: &str, now: Timestamp) {
        Self::miss(self, url, now);
    }
}

/// The text of a document that is a JWK set.
fn read(fetched: Result<Vec<u8>, String>) -> Result<Arc<str>, String> {
    let document = fetched?;
    KeySet::parse(&document, Strictness::Usable).map_err(|fault| fault.to_string())?;
    let text = String::from_utf8(document);
    text.map(Arc::from).map_err(|error| error.to_string())
}

#[cfg(test)]
pub mod testing {
    use super::{Arc, Fetch, Fetching, Mutex};

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
        fn fetch(&self, _url: Arc<str>) -> Fetching {
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
    use crate::control::testing::Fixture;
    use crate::crypto::jwk_testing::TestKey;
    use crate::domain::app::App;
    use crate::domain::shelf::Shelf;

    const URL: &str = "https://acme.example/jwks";
    const NOW: Timestamp = Timestamp::from_unix_seconds(10_000_000);

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
            ..Snapshot::clone(&empty)
        }
    }

    #[tokio::test]
    async fn a_set_is_fetched_again_when_it_is_old_and_kept_while_its_source_is_away() {
        let (first, second) = (TestKey::p256().set(), TestKey::p256().set());
        let source = OneSource::of(Ok(&first));
        let keys = PublishedKeys::new(source.clone(), Vec::new());
        let live = snapshot(&[URL, URL]).await;
        let asked = || *source.asked.lock().unwrap();
        assert_eq!(keys.find(URL), None);
        keys.refresh(&live, NOW).await;
        assert_eq!((keys.find(URL).as_deref(), asked()), (Some(&*first), 1));
        keys.refresh(&live, NOW.plus(FRESH / 2)).await;
        assert_eq!(asked(), 1);
        source.set(Err("away"));
        let mut now = NOW.plus(FRESH);
        keys.refresh(&live, now).await;
        assert_eq!((keys.find(URL).as_deref(), asked()), (Some(&*first), 2));
        keys.refresh(&live, now.plus(PAUSE / 2)).await;
        assert_eq!(asked(), 2, "it pauses");
        for bad in [
            "[]",
            r#"{"keys":[{"kty":"oct","k":"AA"}]}"#,
            &" ".repeat(70_000),
        ] {
            source.set(Ok(bad));
            now = now.plus(PAUSE * 200);
            keys.refresh(&live, now).await;
            assert_eq!(keys.find(URL).as_deref(), Some(&*first));
        }
        source.set(Ok(&second));
        keys.refresh(&live, now.plus(PAUSE * 200)).await;
        assert_eq!(keys.find(URL).as_deref(), Some(&*second));
        keys.refresh(&snapshot(&[]).await, NOW).await;
        assert_eq!(keys.find(URL), None, "no App has it any more");
    }

    #[tokio::test]
    async fn an_unknown_key_asks_once_a_minute() {
        let set = TestKey::p256().set();
        let source = OneSource::of(Ok(&set));
        let keys = PublishedKeys::new(source.clone(), Vec::new());
        let live = snapshot(&[URL]).await;
        let asked = || *source.asked.lock().unwrap();
        keys.refresh(&live, NOW).await;
        for second in 1..60 {
            let now = NOW.plus(Duration::from_secs(second));
            keys.miss(URL, now);
            keys.refresh(&live, now).await;
        }
        assert_eq!(asked(), 1);
        let now = NOW.plus(ASKED_AGAIN);
        keys.miss(URL, now);
        keys.refresh(&live, now).await;
        assert_eq!(asked(), 2);
    }

    #[tokio::test]
    async fn an_operator_learns_why_a_url_is_of_no_use() {
        let source = OneSource::of(Err("no connection"));
        let keys = PublishedKeys::new(source.clone(), Vec::new());
        let refused = keys.try_out(URL.into(), NOW).await.unwrap_err();
        assert!(refused.detail.contains("no connection"), "{refused}");
        let set = TestKey::p256().set();
        source.set(Ok(&set));
        keys.try_out(URL.into(), NOW).await.unwrap();
        assert_eq!(keys.find(URL).as_deref(), Some(&*set));
    }
}
