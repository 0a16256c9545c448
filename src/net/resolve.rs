//! Name resolution: one query at a time, cached for a while, and cached longer when the resolver is away.
//!
//! The system's resolver can take any time, on a thread that cannot be stopped. So there is never more than one such
//! thread for a name, however many wait for it, and a caller with known addresses waits only a moment.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// The time for which addresses are used without a new query.
const KNOWN_FOR: Duration = Duration::from_secs(10);

/// The time between a failed query and the next, while there are addresses to go on with.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time for a query before old addresses are used. A resolver that works answers sooner.
const PATIENCE: Duration = Duration::from_millis(250);

/// The names that are in use. Clones are cheap and share their results.
#[derive(Clone, Debug, Default)]
pub struct Resolver {
    names: Arc<Mutex<Names>>,
}

type Names = HashMap<(String, u16), Weak<HostPort>>;

impl Resolver {
    /// The name, which is remembered for as long as a caller holds it.
    pub fn name(&self, host: &str, port: u16) -> Arc<HostPort> {
        let mut names = locked(&self.names);
        let place = (host.to_owned(), port);
        if let Some(name) = names.get(&place).and_then(Weak::upgrade) {
            return name;
        }
        let name = Arc::new(HostPort::new(host, port));
        names.retain(|_, name| name.strong_count() > 0);
        names.insert(place, Arc::downgrade(&name));
        name
    }
}

/// A host's name and port, and their addresses.
#[derive(Debug)]
pub struct HostPort {
    host: String,
    port: u16,
    /// Locked for moments only, never during a wait.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: Option<Known>,
    lookup: Option<Lookup>,
}

#[derive(Clone, Debug)]
struct Known {
    addresses: Arc<[SocketAddr]>,
    /// The time of the next query.
    until: Instant,
}

/// A query that is under way, or whose answer was not taken yet.
#[derive(Clone, Debug)]
struct Lookup {
    began: Instant,
    answer: watch::Receiver<Option<Answer>>,
}

#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    found: Result<Arc<[SocketAddr]>, Arc<io::Error>>,
}

impl HostPort {
    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            state: Mutex::default(),
        }
    }

    pub fn host(&self) -> &str {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses, from the system's resolver.
    pub async fn addresses(&self) -> io::Result<Arc<[SocketAddr]>> {
        self.addresses_by(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
            .await
    }

    /// Forces a query before the next use of the addresses: they led nowhere.
    pub fn doubt(&self) {
        if let Some(known) = &mut locked(&self.state).known {
            known.until = Instant::now();
        }
    }

    async fn addresses_by(
        &self,
        ask: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
    ) -> io::Result<Arc<[SocketAddr]>> {
        let (known, lookup) = {
            let mut state = locked(&self.state);
            state.take_answer();
            let known = state.known.clone();
            if let Some(known) = &known
                && Instant::now() < known.until
            {
                return Ok(Arc::clone(&known.addresses));
            }
            let begin = || begin(self.host.clone(), self.port, ask);
            (known, state.lookup.get_or_insert_with(begin).clone())
        };
        let Some(known) = known else {
            return self.wait(lookup).await;
        };
        // A resolver that is slow or away does not make working addresses wrong.
        let patience = lookup.began + PATIENCE;
        match timeout_at(patience, self.wait(lookup)).await {
            Ok(Ok(addresses)) => Ok(addresses),
            Ok(Err(_)) | Err(_) => Ok(known.addresses),
        }
    }

    async fn wait(&self, mut lookup: Lookup) -> io::Result<Arc<[SocketAddr]>> {
        let answer = lookup.answer.wait_for(Option::is_some).await;
        let answer = answer.map(|answer| answer.clone());
        locked(&self.state).take_answer();
        match answer {
            Ok(Some(answer)) => answer
                .found
                .map_err(|error| io::Error::new(error.kind(), error)),
            Ok(None) => Err(no_address()),
            Err(gone) => Err(io::Error::other(gone)),
        }
    }
}

impl State {
    /// Stores the result of the query that was under way, if it has finished.
    fn take_answer(&mut self) {
        let Some(lookup) = &self.lookup else { return };
        // The order matters: the thread ends right after its answer.
        let given_up = lookup.answer.has_changed().is_err();
        let answer = lookup.answer.borrow().clone();
        if answer.is_none() && !given_up {
            return;
        }
        self.lookup = None;
        match (answer, &mut self.known) {
            (
                Some(Answer {
                    at,
                    found: Ok(found),
                }),
                known,
            ) => {
                *known = Some(Known {
                    addresses: found,
                    until: at + KNOWN_FOR,
                });
            }
            (Some(Answer { at, .. }), Some(known)) => known.until = at + RETRY_AFTER,
            (Some(_), None) | (None, _) => {}
        }
    }
}

/// Starts a query on a detached thread: it goes on when its caller has given up, and its answer is there for the next.
fn begin(
    host: String,
    port: u16,
    ask: impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + 'static,
) -> Lookup {
    let (sender, answer) = watch::channel(None);
    let began = Instant::now();
    let _asking = tokio::task::spawn_blocking(move || {
        let found = match ask(&host, port) {
            Ok(found) if found.is_empty() => Err(no_address()),
            Ok(found) => Ok(alternate(&found).into()),
            Err(error) => Err(error),
        };
        sender.send_replace(Some(Answer {
            at: Instant::now(),
            found: found.map_err(Arc::new),
        }));
    });
    Lookup { began, answer }
}

fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no address")
}

/// The families in turn, in the resolver's order within each, beginning with the family of its first address.
fn alternate(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let of = |family: bool| {
        addresses
            .iter()
            .copied()
            .filter(move |address| address.is_ipv6() == family)
    };
    let (mut one, mut other) = (of(first_is_v6), of(!first_is_v6));
    let mut result = Vec::with_capacity(addresses.len());
    loop {
        let next = [one.next(), other.next()];
        if next == [None, None] {
            return result;
        }
        result.extend(next.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A resolver with this one address.
    fn one(text: &'static str) -> impl FnOnce(&str, u16) -> io::Result<Vec<SocketAddr>> + Send {
        move |_, _| Ok(vec![address(text)])
    }

    fn never(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        panic!("nobody should be asked")
    }

    fn away(_: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Err(io::ErrorKind::TimedOut.into())
    }

    #[test]
    fn families_take_turns() {
        let all = |texts: &[&str]| texts.iter().map(|text| address(text)).collect::<Vec<_>>();
        let mixed = all(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1"]);
        let expected = all(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(alternate(&mixed), expected);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_one_worker_has_found_out_another_knows() {
        let resolver = Resolver::default();
        let first = resolver.name("a.test", 1);
        first.addresses_by(one("10.0.0.1:1")).await.unwrap();
        let second = resolver.clone().name("a.test", 1);
        assert!(second.addresses_by(never).await.is_ok());
        let other = resolver.name("a.test", 2);
        assert!(other.addresses_by(away).await.is_err());
        // A name that is not in use any more is forgotten.
        drop((first, second, other));
        let again = resolver.name("a.test", 1);
        assert!(again.addresses_by(away).await.is_err());
        assert_eq!(resolver.names.lock().unwrap().len(), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_name_is_asked_for_once_in_a_while() {
        let name = HostPort::new("a.test", 1);
        let first = name.addresses_by(one("10.0.0.1:1")).await.unwrap();
        assert_eq!(*first, [address("10.0.0.1:1")]);
        assert_eq!(name.addresses_by(never).await.unwrap(), first);
        name.doubt();
        let second = name.addresses_by(one("10.0.0.2:1")).await.unwrap();
        assert_eq!(*second, [address("10.0.0.2:1")]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_resolver_that_fails_leaves_the_addresses_as_they_were() {
        let name = HostPort::new("a.test", 1);
        let refused = name.addresses_by(away).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        let none = name.addresses_by(|_, _| Ok(Vec::new())).await.unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
        let first = name.addresses_by(one("10.0.0.1:1")).await.unwrap();
        name.doubt();
        assert_eq!(name.addresses_by(away).await.unwrap(), first);
        assert_eq!(name.addresses_by(never).await.unwrap(), first);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_resolver_that_hangs_is_asked_once_and_waited_for_a_moment() {
        let name = HostPort::new("a.test", 1);
        let old = name.addresses_by(one("10.0.0.1:1")).await.unwrap();
        name.doubt();
        let asked = Arc::new(AtomicUsize::new(0));
        let (answer, answers) = mpsc::channel::<SocketAddr>();
        let answers = Arc::new(Mutex::new(answers));
        let hanging = || {
            let (asked, answers) = (Arc::clone(&asked), Arc::clone(&answers));
            move |_: &str, _: u16| {
                asked.fetch_add(1, Ordering::SeqCst);
                let answer = answers.lock().unwrap().recv();
                answer
                    .map(|address| vec![address])
                    .map_err(io::Error::other)
            }
        };
        let begun = Instant::now();
        let all = [(); 3].map(|()| name.addresses_by(hanging()));
        let [one, two, three] = all;
        let (one, two, three) = tokio::join!(one, two, three);
        for found in [one, two, three] {
            assert_eq!(found.unwrap(), old);
        }
        assert!(begun.elapsed() >= PATIENCE);
        // The query was waited for already, so a second caller does not wait again: that would take minutes.
        let begun = Instant::now();
        for _ in 0..1000 {
            assert_eq!(name.addresses_by(hanging()).await.unwrap(), old);
        }
        assert!(begun.elapsed() < PATIENCE * 200);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // Its late answer is there for the next caller.
        let new = address("10.0.0.2:1");
        answer.send(new).unwrap();
        while *name.addresses_by(hanging()).await.unwrap() != [new] {
            tokio::task::yield_now().await;
        }
        assert_eq!(*name.addresses_by(never).await.unwrap(), [new]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_question_goes_on_when_whoever_asked_has_given_up() {
        let name = HostPort::new("a.test", 1);
        let (answer, answers) = mpsc::channel::<SocketAddr>();
        let hanging = move |_: &str, _: u16| {
            let answer = answers.recv();
            answer
                .map(|address| vec![address])
                .map_err(io::Error::other)
        };
        let given_up = tokio::time::timeout(Duration::from_millis(1), name.addresses_by(hanging));
        assert!(given_up.await.is_err());
        let new = address("10.0.0.1:1");
        answer.send(new).unwrap();
        assert_eq!(*name.addresses_by(never).await.unwrap(), [new]);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_resolver_that_panics_is_asked_again() {
        let name = HostPort::new("a.test", 1);
        assert!(name.addresses_by(never).await.is_err());
        assert!(name.addresses_by(one("10.0.0.1:1")).await.is_ok());
    }
}
