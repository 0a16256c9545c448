//! A connection driven over a stream in memory, with a small service behind it.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream, DuplexStream};

use super::super::testing::{Echo, LONG, run};
use super::*;

const BOUNDS: Bounds = Bounds {
    head: HeadBounds {
        bytes_max: 4096,
        fields_max: 20,
    },
    head_time: Duration::from_secs(2),
    discard: Discard {
        bytes: 1 << 20,
        time: Duration::from_secs(30),
        pause: Duration::from_secs(5),
    },
};

fn start(echo: &Echo) -> (DuplexStream, Http1<BufStream<DuplexStream>, Echo>) {
    let (client, ours) = tokio::io::duplex(64 << 10);
    (
        client,
        Http1::new(BufStream::new(ours), echo.clone(), BOUNDS),
    )
}

/// Sends `sent`, closes the sending side, and returns all answers.
async fn converse(echo: &Echo, sent: &str) -> (String, Closed) {
    let (mut client, served) = start(echo);
    let talk = async {
        client.write_all(sent.as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        // A client that is kept waiting for more has received everything.
        while let Ok(Ok(length @ 1..)) =
            tokio::time::timeout(Duration::from_millis(500), client.read(&mut piece)).await
        {
            heard.extend_from_slice(&piece[..length]);
        }
        drop(client);
        String::from_utf8(heard).unwrap()
    };
    tokio::join!(talk, served)
}

fn bodies(text: &str) -> Vec<String> {
    let parts = text.split("HTTP/1.1 ").skip(1);
    parts
        .map(|part| {
            let (head, body) = part.split_once("\r\n\r\n").unwrap();
            format!("{} {body}", head.get(..3).unwrap())
        })
        .collect()
}

#[test]
fn requests_are_answered_one_after_the_other() {
    run(async {
        let echo = Echo::default();
        let sent = "GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc\
            POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\nGET /d HTTP/1.1\r\n\r\n";
        let (heard, why) = converse(&echo, sent).await;
        assert_eq!(
            bodies(&heard),
            ["200 /a:", "200 /b:abc", "200 /c:de", "200 /d:"]
        );
        assert!(!heard.contains("connection: close"));
        assert_eq!(why, Closed::Finished);
    });
}

#[test]
fn who_asks_to_close_and_who_cannot_do_otherwise_is_closed_after_the_answer() {
    run(async {
        for sent in [
            "GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
            "GET /a HTTP/1.0\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        ] {
            let (heard, _) = converse(&Echo::default(), sent).await;
            assert_eq!(bodies(&heard), ["200 /a:"]);
            assert!(heard.contains("connection: close"), "{heard}");
        }
        let echo = Echo::default();
        echo.ending.set(true);
        let (heard, _) = converse(&echo, "GET /a HTTP/1.1\r\n\r\n").await;
        assert!(heard.contains("connection: close"), "{heard}");
    });
}

#[test]
fn bytes_that_are_no_request_are_refused_once() {
    run(async {
        let (heard, why) = converse(&Echo::default(), "what?\r\n\r\nGET /a HTTP/1.1\r\n\r\n").await;
        assert_eq!(bodies(&heard), ["400 request_malformed"]);
        assert_eq!(why, Closed::Failed);
        let (heard, why) = converse(&Echo::default(), "GET /a HTTP/1.1\r\nHost").await;
        assert_eq!(bodies(&heard), [""; 0], "who has left is not answered");
        assert_eq!(why, Closed::Failed);
    });
}

#[test]
fn a_head_that_dribbles_is_refused_and_an_idle_client_is_not() {
    run(async {
        let echo = Echo::default();
        let (mut client, served) = start(&echo);
        let talk = async {
            sleep(Duration::from_secs(30)).await;
            client.write_all(b"GET / HT").await.unwrap();
            let began = tokio::time::Instant::now();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert!(began.elapsed() >= BOUNDS.head_time);
            String::from_utf8(heard).unwrap()
        };
        let (heard, why) = tokio::join!(talk, served);
        assert_eq!(bodies(&heard), ["408 request_timeout"]);
        assert_eq!(why, Closed::Stalled);
    });
}

#[test]
fn a_client_that_waits_is_told_to_go_on_when_its_body_is_wanted() {
    run(async {
        let head = "HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n";
        let (mut client, served) = start(&Echo::default());
        let talk = async {
            let asked = format!("POST /a {head}");
            client.write_all(asked.as_bytes()).await.unwrap();
            let mut word = [0; 25];
            client.read_exact(&mut word).await.unwrap();
            assert_eq!(&word, b"HTTP/1.1 100 Continue\r\n\r\n");
            client.write_all(b"abc").await.unwrap();
            let mut piece = [0; 4096];
            let length = client.read(&mut piece).await.unwrap();
            drop(client);
            String::from_utf8(piece[..length].to_vec()).unwrap()
        };
        let (answer, _) = tokio::join!(talk, served);
        assert_eq!(bodies(&answer), ["200 /a:abc"]);
        let (early, _) = converse(&Echo::default(), &format!("POST /drop {head}")).await;
        assert!(early.starts_with("HTTP/1.1 200 OK"), "{early}");
        let close = early.contains("connection: close");
        assert!(close, "the body may still come: {early}");
    });
}

#[test]
fn a_body_that_nobody_wants_never_becomes_a_request() {
    run(async {
        let echo = Echo::default();
        let body = "GET /smuggled HTTP/1.1\r\n\r\n";
        // All of it is here, so it is passed over and the connection goes on.
        let whole = format!(
            "POST /drop HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}GET /b HTTP/1.1\r\n\r\n",
            body.len()
        );
        let (heard, _) = converse(&echo, &whole).await;
        assert_eq!(bodies(&heard), ["200 early", "200 /b:"]);
        // It is still to come, so the connection ends.
        let part = format!("POST /drop HTTP/1.1\r\nContent-Length: 100\r\n\r\n{body}");
        let (heard, _) = converse(&echo, &part).await;
        assert_eq!(bodies(&heard), ["200 early"]);
        assert!(heard.contains("connection: close"), "{heard}");
        assert_eq!(*echo.asked.borrow(), ["/drop", "/b", "/drop"]);
    });
}

#[test]
fn a_body_that_comes_after_its_answer_is_discarded_and_followed_by_nothing() {
    run(async {
        let echo = Echo::default();
        let (mut client, served) = start(&echo);
        let talk = async {
            let asked = b"POST /drop HTTP/1.1\r\nContent-Length: 300000\r\n\r\n";
            client.write_all(asked).await.unwrap();
            client.write_all(&vec![b'x'; 300_000]).await.unwrap();
            assert!(echo.discarding.get());
            client.write_all(b"GET /b HTTP/1.1\r\n\r\n").await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            heard
        };
        let (heard, why) = tokio::join!(talk, served);
        assert_eq!(bodies(&heard), ["200 early"]);
        assert_eq!(why, Closed::Finished);
        assert_eq!(*echo.asked.borrow(), ["/drop"]);
        assert!(!echo.discarding.get());
    });
}

#[test]
fn a_body_that_is_let_go_of_while_its_answer_leaves_is_passed_over() {
    run(async {
        let (mut client, served) = start(&Echo::default());
        let talk = async {
            let first = b"POST /let-go HTTP/1.1\r\nContent-Length: 10\r\n\r\nhello";
            client.write_all(first).await.unwrap();
            let (mut heard, mut piece) = (Vec::new(), [0; 4096]);
            let end = vec![b'x'; LONG];
            while !heard.ends_with(&end) {
                let length = client.read(&mut piece).await.unwrap();
                heard.extend_from_slice(&piece[..length]);
            }
            client
                .write_all(b"worldGET /b HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            let length = client.read(&mut piece).await.unwrap();
            drop(client);
            String::from_utf8(piece[..length].to_vec()).unwrap()
        };
        let (answer, _) = tokio::join!(talk, served);
        assert_eq!(bodies(&answer), ["200 /b:"]);
    });
}

/// A client that pauses sees the close, and its next piece does not reset the answer.
#[test]
fn a_client_that_pauses_is_heard_out_after_the_goodbye() {
    run(async {
        let (mut client, served) = start(&Echo::default());
        let talk = async {
            let asked = b"POST /drop HTTP/1.1\r\nContent-Length: 300000\r\n\r\n";
            client.write_all(asked).await.unwrap();
            let mut heard = String::new();
            client.read_to_string(&mut heard).await.unwrap();
            for _ in 0..3 {
                sleep(BOUNDS.discard.pause.mul_f32(0.8)).await;
                client.write_all(b"more").await.unwrap();
            }
            heard
        };
        let (heard, _) = tokio::join!(talk, served);
        assert_eq!(bodies(&heard), ["200 early"]);
    });
}

#[test]
fn a_client_that_goes_on_for_ever_is_left() {
    run(async {
        for (piece, pause) in [(&[b'x'; 4096][..], 0), (b"x", 2)] {
            let (mut client, served) = start(&Echo::default());
            let talk = async {
                let head = b"POST /drop HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
                client.write_all(head).await.unwrap();
                let (mut sent, began) = (0, tokio::time::Instant::now());
                while client.write_all(piece).await.is_ok() {
                    sent += piece.len() as u64;
                    sleep(Duration::from_secs(pause)).await;
                }
                assert!(sent < BOUNDS.discard.bytes + (256 << 10), "{sent}");
                assert!(began.elapsed() <= BOUNDS.discard.time + Duration::from_secs(3));
            };
            tokio::join!(talk, served);
        }
    });
}

/// A reader elsewhere, as HTTP/2 upstreams have it, takes the end of a body for its end.
#[test]
fn a_body_that_is_still_read_is_neither_cut_short_nor_followed() {
    run(async {
        let echo = Echo::default();
        let sent = "POST /hold HTTP/1.1\r\nContent-Length: 100\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
        let (heard, _) = converse(&echo, sent).await;
        assert_eq!(bodies(&heard), ["200 early"]);
        tokio::task::yield_now().await;
        assert_eq!(echo.held.get(), Some(false));
        assert_eq!(*echo.asked.borrow(), ["/hold"]);
    });
}

#[test]
fn a_malformed_body_is_an_error_and_the_last_of_its_connection() {
    run(async {
        let sent =
            "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /b HTTP/1.1\r\n\r\n";
        let (heard, _) = converse(&Echo::default(), sent).await;
        assert_eq!(bodies(&heard), ["400 broken"]);
        assert!(heard.contains("connection: close"));
    });
}

#[test]
fn a_client_that_leaves_ends_what_runs_for_it() {
    run(async {
        let echo = Echo::default();
        let (mut client, served) = start(&echo);
        let talk = async {
            client
                .write_all(b"GET /wait HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            while echo.asked.borrow().is_empty() {
                tokio::task::yield_now().await;
            }
            assert!(!echo.dropped.get());
            drop(client);
        };
        let ((), why) = tokio::join!(talk, served);
        assert_eq!(why, Closed::Failed);
        assert!(echo.dropped.get());
    });
}

#[test]
fn a_switch_hands_the_stream_over_with_what_was_read() {
    run(async {
        let (mut client, served) = start(&Echo::default());
        let talk = async {
            let asked = b"GET /switch HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nping";
            client.write_all(asked).await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            String::from_utf8(heard).unwrap()
        };
        let (heard, _) = tokio::join!(talk, served);
        assert!(heard.starts_with("HTTP/1.1 101 "), "{heard}");
        assert!(heard.ends_with("\r\n\r\nping"), "{heard}");
    });
}

#[test]
fn finishing_ends_an_idle_connection_at_once() {
    run(async {
        let (client, mut served) = start(&Echo::default());
        served.finish();
        assert_eq!(served.await, Closed::Finished);
        drop(client);
    });
}

#[test]
fn an_idle_connection_holds_no_buffers() {
    run(async {
        let echo = Echo::default();
        let (mut client, mut served) = start(&echo);
        client.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..3 {
            assert!(Pin::new(&mut served).poll(&mut cx).is_pending());
        }
        assert_eq!(served.output.own.capacity(), 0);
        assert_eq!(served.link.borrow().input.capacity(), 0);
        assert!(matches!(served.state, State::Head(None)));
    });
}
