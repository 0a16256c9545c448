//! Paths that servers read in different ways: which rule refuses one, and where; what is forwarded, and as it came.

use crate::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, Outcome, block, get};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: /echo }, require: none, upstream: api }
      - { match: { prefix: /files }, require: none, upstream: api, ambiguous_paths: true }
      - { match: { prefix: /matrix }, require: none, upstream: api, ambiguous_paths: [semicolons] }
      - { match: { path: \"/items/{id}\" }, require: none, upstream: api, ambiguous_paths: [encoded_slashes, encoded_percents] }
      - { match: { prefix: /latin }, require: none, upstream: api, ambiguous_paths: [not_utf8] }
      - { match: { prefix: /admin }, require: mtls, upstream: api }
      - { match: { prefix: /rest }, require: none, upstream: api, ambiguous_paths: [semicolons, backslashes, empty_segments] }";

/// What a caller is told about a path: the status, the rule and the place.
fn told(gateway: &Gateway, path: &str) -> (u16, String, String) {
    let mut connection = gateway.stranger().connect();
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").as_bytes());
    let answer = connection.answer();
    let body = answer.json();
    let rule = body["rule"].as_str().unwrap_or_default().to_owned();
    let place = match body["at"].as_u64() {
        Some(at) => format!("{at} {}", body["sent"].as_str().unwrap_or_default()),
        None => String::new(),
    };
    (answer.status, rule, place)
}

#[test]
fn a_refused_path_is_told_by_rule_place_and_bytes() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for (path, rule, place) in [
        ("/echo/a;v=1", "semicolons", "7 ;"),
        ("/echo/a%3Bb", "semicolons", "7 %3B"),
        ("/echo/a%25b", "encoded_percents", "7 %25"),
        ("/echo/a%FFb", "not_utf8", "7 %FF"),
        ("/echo/a%2fb", "encoded_slashes", "7 %2f"),
        ("/echo/a\\b", "backslashes", "7 \\"),
        ("/echo//b", "empty_segments", "5 /"),
        ("/echo/./b", "dot_segments", "6 ."),
        ("/echo/%e2%84%80", "lookalikes", "6 %e2%84%80"),
        ("/echo/a%00", "control", "7 %00"),
        ("/echo/a%zz", "escape", "7 %"),
        ("/echo/a#b", "fragment", "7 #"),
    ] {
        let expected = (400, rule.to_owned(), place.to_owned());
        assert_eq!(told(&gateway, path), expected, "{path}");
    }
    assert_eq!(echo.requests(), 0);
    let answer = gateway.stranger().get("/echo/a;v=1");
    assert_eq!(answer.reason(), "path_invalid");
    let line = gateway.record_of(answer.header("x-request-id").unwrap());
    assert_eq!(line["cause"], "semicolons at byte 7: ;");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("semicolon") && detail.contains("byte 7"),
        "{detail}"
    );
    assert!(
        !detail.contains("ambiguous_paths"),
        "the cure is the partner's: {detail}"
    );
}

#[test]
fn no_path_is_read_as_outside_of_its_route() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let ways_up = [
        "..",
        "%2e%2e",
        ".%2e",
        "..%23",
        "..%3f",
        "..%3Fx",
        "..%20",
        "%20..",
        "..%c2%a0",
        "..%e3%80%80",
        "..%e2%80%8b",
        "..;",
        "..;x=1",
        "..%3b",
        "%ef%bc%8e%ef%bc%8e",
        ".%ef%bc%8e",
        "%e2%80%a5",
        "%e2%80%a4.",
        "%ef%b8%b0",
        "%252e%252e",
        "%25252e.",
        "..%2523",
        "%c0%ae%c0%ae",
        "%e0%80%ae.",
        "..%ef%bc%83",
        "..%ef%bc%9b",
    ];
    let joined = [
        "/",
        "%2f",
        "%5c",
        "\\",
        "%252f",
        "%c0%af",
        "%ef%bc%8f",
        "%ef%bc%bc",
    ];
    for route in ["/echo", "/files", "/matrix", "/latin", "/rest", "/items"] {
        for up in ways_up {
            let path = format!("{route}/{up}/admin");
            assert_eq!(told(&gateway, &path).0, 400, "{path}");
        }
        for slash in joined {
            for path in [
                format!("{route}/..{slash}admin"),
                format!("{route}/x/..{slash}..{slash}admin"),
            ] {
                assert_eq!(told(&gateway, &path).0, 400, "{path}");
            }
        }
    }
    assert_eq!(echo.requests(), 0);
    for up in ways_up {
        let mut frames = Frames::open(&gateway.stranger());
        let head = block(&get(&format!("/echo/{up}/admin")));
        frames.send(HEADERS, END_HEADERS | END_STREAM, 1, &head);
        assert_eq!(frames.outcome(1), Outcome::Answered(400), "{up}");
    }
    assert_eq!(echo.requests(), 0);
    assert_eq!(gateway.stranger().get("/echo/honest").status, 200);
}

/// A second spelling of a protected path is no way around what protects it, not even where ambiguous paths are taken.
#[test]
fn an_open_route_takes_no_path_that_is_another_ones() {
    let echo = Echo::start();
    let routes = "      - { match: { prefix: /admin }, require: mtls, upstream: api }
      - { match: { prefix: / }, require: none, upstream: api, ambiguous_paths: true }";
    let gateway = Gateway::start(&config(&echo.url(), routes));
    for path in [
        "/admin;x=1",
        "/admin;x=1/secret",
        "/admin%3bx/secret",
        "/admin%2fsecret",
        "/admin\\secret",
        "/admin%5csecret",
        "/%2fadmin",
        "//admin",
        "/;/admin",
        "/x/../admin",
        "/x/..;/admin",
        "/./admin",
        "/admin%20/x",
        "/admin%23",
        "/admin%3f",
        "/%2561dmin/x",
        "/x%2f..%2fadmin",
        "/x/%ef%bc%8e%ef%bc%8e/admin",
        "/%ef%bc%8fadmin",
    ] {
        let (status, ..) = told(&gateway, path);
        assert_eq!(status, 400, "{path}");
    }
    assert_eq!(echo.requests(), 0);
    for path in [
        "/users;v=1",
        "/a%2fb",
        "/a//b",
        "/a/./b",
        "/a%25b",
        "/what%3f",
        "/a%FF",
    ] {
        let answer = gateway.stranger().get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.json()["target"], path);
    }
    assert_eq!(gateway.stranger().get("/admin/x").status, 401);
}

#[test]
fn a_route_takes_the_kinds_that_it_lists_and_no_others() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for path in [
        "/matrix/a;v=1",
        "/matrix/a%3bv;w/x;y",
        "/items/a%2Fb",
        "/items/a%252fb",
        "/items/100%25",
        "/latin/caf%e9",
        "/rest//a;b\\c",
        "/files/a//b/../c;d",
        "/files/a%5cb%25",
    ] {
        let answer = gateway.stranger().get(path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.json()["target"], path, "forwarded as it came");
    }
    for (path, rule) in [
        ("/matrix/a%2fb", "encoded_slashes"),
        ("/matrix/..;/x", "dot_segments"),
        ("/matrix/a//b", "empty_segments"),
        ("/items/a;b", "semicolons"),
        ("/items/..%2fb", "dot_segments"),
        ("/items/%252e%252e", "dot_segments"),
        ("/latin/%c0%ae", "lookalikes"),
        ("/rest/a%2fb", "encoded_slashes"),
        ("/files/../admin", "another_route"),
    ] {
        let (status, told, _) = told(&gateway, path);
        assert_eq!((status, told.as_str()), (400, rule), "{path}");
    }
}

#[test]
fn a_path_is_matched_in_one_form_and_forwarded_as_it_came() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    for path in [
        "/echo/x%3ay",
        "/%65cho/%7euser/%c3%a4",
        "/echo/a%20b?q=%2F..;x",
        "/echo/!$&'()*+,=:@-._~",
        "/echo/caf%C3%A9/%41",
    ] {
        for answer in [
            gateway.stranger().get(path),
            gateway.stranger().get_h2(path, &[]),
        ] {
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            assert_eq!(answer.json()["target"], path);
        }
    }
    assert_eq!(gateway.stranger().get("/%61dmin/x").status, 401);
}
