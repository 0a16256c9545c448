//! What stands in front of the gateway: load balancers that say who called, proxies that are trusted, and everybody else.

use std::net::IpAddr;

use serde_json::Value;

use crate::support::client::Answer;
use crate::support::eventually::eventually;
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A gateway with these settings of the partners' listener.
fn listening(echo: &Echo, settings: &str) -> Gateway {
    let listener = format!("\"127.0.0.1:0\", {settings} }}");
    Gateway::start(&config(&echo.url(), OPEN).replacen("\"127.0.0.1:0\" }", &listener, 1))
}

/// A field as the upstream saw it, once.
#[track_caller]
fn seen(answer: &Answer, name: &str) -> String {
    let told = answer.json();
    let fields = told["headers"].as_array().unwrap();
    let named = |pair: &&Value| pair[0].as_str().unwrap().eq_ignore_ascii_case(name);
    let values: Vec<_> = fields.iter().filter(named).collect();
    assert_eq!(values.len(), 1, "{name}: {told}");
    values[0][1].as_str().unwrap().to_owned()
}

/// The address that the access log has for a request.
fn client(gateway: &Gateway, answer: &Answer) -> String {
    let id = answer.header("x-request-id").unwrap();
    gateway.record_of(id)["client"].as_str().unwrap().to_owned()
}

/// A header of version 2 about a TCP connection from `source` to the same family's loopback address.
fn version_2(source: &str) -> Vec<u8> {
    let (family, addresses) = match source.parse().unwrap() {
        IpAddr::V4(source) => (0x11, [source.octets(), [127, 0, 0, 1]].concat()),
        IpAddr::V6(source) => {
            let loopback = std::net::Ipv6Addr::LOCALHOST.octets();
            (0x21, [source.octets(), loopback].concat())
        }
    };
    let length = u16::try_from(addresses.len() + 4).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(family);
    header.extend(length.to_be_bytes());
    header.extend(addresses);
    header.extend([0x13, 0x88, 0x01, 0xbb]);
    header
}

/// One of version 2 in which a load balancer speaks for itself, as its health checks do.
fn version_2_local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0".to_vec()
}

#[test]
fn a_trusted_load_balancer_says_who_called_in_both_versions_and_families() {
    let echo = Echo::start();
    let gateway = listening(&echo, "proxy_protocol: { trusted: [127.0.0.0/8] }");
    for (header, caller) in [
        (
            b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 ::1 5000 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (
            b"PROXY TCP6 ::ffff:203.0.113.7 ::1 5000 443\r\n".to_vec(),
            "203.0.113.7",
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2("203.0.113.8"), "203.0.113.8"),
        (version_2("2001:db8::8"), "2001:db8::8"),
        (version_2_local(), "127.0.0.1"),
    ] {
        let partner = gateway.stranger().behind(&header);
        for answer in [partner.get("/"), partner.get_h2("/", &[])] {
            assert_eq!(answer.status, 200, "{caller}");
            assert_eq!(seen(&answer, "x-forwarded-for"), caller);
            let forwarded = seen(&answer, "forwarded");
            assert!(forwarded.contains(caller), "{forwarded}");
            assert_eq!(client(&gateway, &answer), caller);
        }
    }
}

#[test]
fn nobody_else_names_a_caller() {
    let echo = Echo::start();
    // Load balancers elsewhere are trusted, and this machine is none of them.
    let gateway = listening(&echo, "proxy_protocol: { trusted: [10.0.0.0/8] }");
    for header in [
        b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
        version_2("203.0.113.7"),
    ] {
        let refused = gateway.stranger().behind(&header).try_connect(HOST);
        assert!(refused.is_err(), "{header:?}");
    }
    let answer = gateway.stranger().get("/");
    assert_eq!(seen(&answer, "x-forwarded-for"), "127.0.0.1");
    assert_eq!(client(&gateway, &answer), "127.0.0.1");
    assert!(
        gateway
            .access_log()
            .iter()
            .all(|line| line["client"] == "127.0.0.1")
    );
}

#[test]
fn whoever_must_send_a_header_is_refused_without() {
    let echo = Echo::start();
    let gateway = listening(&echo, "proxy_protocol: { trusted: [127.0.0.0/8] }");
    assert!(gateway.stranger().try_connect(HOST).is_err());
    eventually("the refusal is counted", || {
        let counted = gateway.ops_get("/metrics").1;
        let failed = counted.lines().find(|line| {
            line.starts_with("countersign_tls_handshakes_total")
                && line.contains("proxy_header_invalid")
        });
        failed?.ends_with(" 1").then_some(())
    });
    assert_eq!(echo.requests(), 0);
}

/// What a caller or a hop says of the way so far.
const SAID: [(&str, &str); 5] = [
    ("x-forwarded-for", "203.0.113.7, 198.51.100.1"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "shop.example"),
    ("forwarded", "for=203.0.113.7;proto=http"),
    ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
];

#[test]
fn a_trusted_hop_is_believed_and_appended_to() {
    let echo = Echo::start();
    let gateway = listening(&echo, "forwarded: { trusted: [127.0.0.0/8] }");
    let partner = gateway.stranger();
    for answer in [partner.get_with("/", &SAID), partner.get_h2("/", &SAID)] {
        assert_eq!(answer.status, 200, "{answer:?}");
        for (name, value) in [
            ("x-forwarded-for", "203.0.113.7, 198.51.100.1, 127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example"),
            ("x-request-id", "0190163d-8694-739b-aea5-966c26f8ad91"),
        ] {
            assert_eq!(seen(&answer, name), value, "{name}");
        }
        let forwarded = seen(&answer, "forwarded");
        let (said, ours) = forwarded.split_once(", ").unwrap();
        assert_eq!(said, "for=203.0.113.7;proto=http");
        assert!(ours.starts_with("for=127.0.0.1;"), "{ours}");
        assert!(ours.ends_with("proto=https"), "{ours}");
        let id = answer.header("x-request-id");
        assert_eq!(id, Some("0190163d-8694-739b-aea5-966c26f8ad91"));
    }
}

#[test]
fn what_others_say_of_the_way_is_replaced() {
    let echo = Echo::start();
    let trusting = "forwarded: { trusted: [127.0.0.0/8] }";
    let balanced = format!("proxy_protocol: {{ trusted: [127.0.0.0/8] }}, {trusting}");
    for (settings, preamble, caller) in [
        (
            "forwarded: { trusted: [10.0.0.0/8] }",
            Vec::new(),
            "127.0.0.1",
        ),
        // The balancer's own address is trusted, and it says that somebody else calls.
        (&balanced, version_2("203.0.113.9"), "203.0.113.9"),
    ] {
        let gateway = listening(&echo, settings);
        let partner = gateway.stranger().behind(&preamble);
        for answer in [partner.get_with("/", &SAID), partner.get_h2("/", &SAID)] {
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(seen(&answer, "x-forwarded-for"), caller);
            assert_eq!(seen(&answer, "x-forwarded-proto"), "https");
            assert_eq!(seen(&answer, "x-forwarded-host"), HOST);
            assert_eq!(
                seen(&answer, "forwarded"),
                format!("for={caller};host={HOST};proto=https")
            );
            assert!(seen(&answer, "x-request-id").starts_with("req_"));
        }
    }
}
