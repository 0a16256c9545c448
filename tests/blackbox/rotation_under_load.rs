//! Rotations of a Key, a certificate and the token key while clients get tokens and call: no request fails.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;

use crate::support::client::Partner;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str =
    "      - { match: { prefix: /bound }, require: mtls_and_token, upstream: api }";

/// Clients that work at once.
const CLIENTS: usize = 4;

/// What every client uses from its next round on.
#[derive(Clone)]
struct Shown {
    partner: Partner,
    key: (String, String),
}

/// Clients that get a token and call with it, round after round.
struct Load {
    shown: Arc<RwLock<Shown>>,
    rounds: Arc<AtomicUsize>,
    end: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn begin(shown: Shown) -> Self {
        let shown = Arc::new(RwLock::new(shown));
        let (rounds, end) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let clients = (0..CLIENTS).map(|_| {
            let (shown, rounds, end) = (shown.clone(), rounds.clone(), end.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !end.load(Ordering::Relaxed) {
                    let now = shown.read().unwrap().clone();
                    failures.extend(round(&now).err());
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        });
        Self {
            clients: clients.collect(),
            shown,
            rounds,
            end,
        }
    }

    /// Waits until every client has finished a round that began after this call.
    fn settle(&self) {
        let enough = self.rounds.load(Ordering::Relaxed) + 3 * CLIENTS;
        let settled = || (self.rounds.load(Ordering::Relaxed) >= enough).then_some(());
        eventually("every client has gone on", settled);
    }

    fn end(self) -> Vec<String> {
        self.end.store(true, Ordering::Relaxed);
        let failures = self
            .clients
            .into_iter()
            .flat_map(|client| client.join().unwrap());
        failures.collect()
    }
}

/// Gets a token and calls with it twice, on two connections.
fn round(shown: &Shown) -> Result<(), String> {
    let (id, secret) = &shown.key;
    let answer = shown.partner.exchange(id, secret);
    if answer.status != 200 {
        return Err(format!("token: {answer:?}"));
    }
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let called = shown.partner.get_by("/bound", &token);
        if called.status != 200 {
            return Err(format!("call: {called:?}"));
        }
    }
    Ok(())
}

#[test]
fn pb_08_rotations_of_everything_cost_no_request() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let enrolled = gateway.enrol("acme");
    let key = gateway.key("acme", &[]);
    let load = Load::begin(Shown {
        partner: enrolled.partner.clone(),
        key: key.clone(),
    });
    load.settle();

    gateway.cli_json(&["token-key", "rotate", "--yes"]);
    load.settle();

    let rotated = gateway.cli_json(&["key", "rotate", &key.0, "--overlap", "1h"]);
    let successor = (
        rotated["key"]["id"].as_str().unwrap().to_owned(),
        rotated["secret"].as_str().unwrap().to_owned(),
    );
    load.settle();
    load.shown.write().unwrap().key = successor;
    load.settle();
    gateway.cli(&["key", "revoke", &key.0, "--yes"]).ok();
    load.settle();

    let next = gateway.enrol_again("acme", "next");
    load.settle();
    load.shown.write().unwrap().partner = next.partner;
    load.settle();
    gateway.cli(&["cert", "revoke", &enrolled.id, "--yes"]).ok();
    load.settle();

    let rounds = load.rounds.load(Ordering::Relaxed);
    assert_eq!(load.end(), Vec::<String>::new(), "{rounds} rounds");
}
