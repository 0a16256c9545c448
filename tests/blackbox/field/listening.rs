//! Addresses to listen on: kernels without IPv6, and what is said when an address cannot be had.

use std::net::TcpListener;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::gateway::{Circumstances, Gateway, config};
use crate::support::process::run;
use crate::support::upstream::Echo;

const OPEN: &str = "      - { match: { prefix: / }, require: none, upstream: api }";

/// A library that makes `socket` answer as a kernel without IPv6 does.
fn without_ipv6(dir: &TempDir) -> PathBuf {
    let source = "
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <errno.h>
        #include <sys/socket.h>
        int socket(int domain, int type, int protocol) {
            int (*real)(int, int, int) = dlsym(RTLD_NEXT, \"socket\");
            if (domain == AF_INET6) { errno = EAFNOSUPPORT; return -1; }
            return real(domain, type, protocol);
        }
    ";
    std::fs::write(dir.path().join("noipv6.c"), source).unwrap();
    let args = ["-shared", "-fPIC", "-o", "noipv6.so", "noipv6.c", "-ldl"];
    run(dir.path(), "cc", &args).ok();
    dir.path().join("noipv6.so")
}

#[test]
fn every_address_is_every_ipv4_address_on_a_kernel_without_ipv6() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let library = without_ipv6(&dir);
    let text = config(&echo.url(), OPEN).replacen("\"127.0.0.1:0\"", "\":0\"", 1);
    let how = Circumstances {
        variables: &[("LD_PRELOAD", library.as_path())],
        ..Circumstances::default()
    };
    let gateway = Gateway::start_by(dir, &text, how);
    assert!(gateway.partners().is_ipv4(), "{}", gateway.partners());
    assert!(gateway.partners().ip().is_unspecified());
    assert_eq!(gateway.stranger().get("/").status, 200);
}

#[test]
fn an_address_that_cannot_be_had_is_told_with_its_setting_and_the_cure() {
    let echo = Echo::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let text = config(&echo.url(), OPEN);
    let settings = [
        (
            "listeners.partners.address",
            "address: \"127.0.0.1:0\" }\nadmin",
        ),
        ("admin.address", "address: \"127.0.0.1:0\", socket"),
        ("ops.address", "address: \"127.0.0.1:0\" }\nauthority"),
    ];
    for (setting, place) in settings {
        for (address, cure) in [
            (taken.as_str(), "another process listens there"),
            (
                "192.0.2.77:0",
                "no interface of this machine has the address",
            ),
        ] {
            let other = place.replace("127.0.0.1:0", address);
            assert_eq!(text.matches(place).count(), 1, "{text}");
            let started =
                Gateway::try_start_in(tempfile::tempdir().unwrap(), &text.replace(place, &other));
            let Err((_, log, _)) = started else {
                panic!("{setting} at {address} was taken");
            };
            for words in [setting, address, cure] {
                assert!(log.contains(words), "{words} in {log}");
            }
        }
    }
}
