//! How connections are spread over the workers.

use crate::support::client::Connection;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// The connections of each worker, as the metrics have them.
fn of_workers(gateway: &Gateway) -> [u64; 2] {
    ["0", "1"].map(|worker| {
        gateway.count(&format!(
            "countersign_worker_connections{{worker=\"{worker}\"}}"
        ))
    })
}

/// A connection on which a request was answered.
fn connected(gateway: &Gateway) -> Connection {
    let mut connection = gateway.stranger().connect();
    assert_eq!(connection.get("/").status, 200);
    connection
}

#[test]
fn eight_connections_are_four_on_each_of_two_workers() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for _ in 0..5 {
        let connections: Vec<_> = (0..8).map(|_| connected(&gateway)).collect();
        assert_eq!(of_workers(&gateway), [4, 4]);
        drop(connections);
        eventually("they are gone", || {
            (of_workers(&gateway) == [0, 0]).then_some(())
        });
    }
}

#[test]
fn what_one_worker_loses_the_next_connections_make_up_for() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let mut connections: Vec<_> = (0..8).map(|_| connected(&gateway)).collect();
    connections.truncate(3);
    eventually("five are gone", || {
        (of_workers(&gateway).iter().sum::<u64>() == 3).then_some(())
    });
    connections.extend((0..5).map(|_| connected(&gateway)));
    assert_eq!(of_workers(&gateway), [4, 4]);
}
