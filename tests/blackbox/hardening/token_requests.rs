//! Requests for tokens that hide something in what the token endpoint passes over: no more comes of them than the Key
//! has, and what can be read in two ways is refused.

use data_encoding::BASE64;

use crate::support::client::{Answer, Partner};
use crate::support::gateway::{Gateway, HOST, config};

const ROUTES: &str =
    "      - { match: { prefix: /read }, require: token, scopes: [read], upstream: api }
      - { match: { prefix: /write }, require: token, scopes: [write], upstream: api }";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const GRANT: &str = "grant_type=client_credentials";

/// Two Apps with a Key each: one may read, the other may write too.
struct World {
    gateway: Gateway,
    partner: Partner,
    id: String,
    secret: String,
    other: (String, String),
}

impl World {
    fn new() -> Self {
        let gateway = Gateway::start(&config("http://127.0.0.1:9", ROUTES));
        for app in ["acme", "other"] {
            gateway.cli_json(&["app", "create", app]);
        }
        let (id, secret) = gateway.key("acme", &["read"]);
        let other = gateway.key("other", &["read", "write"]);
        Self {
            partner: gateway.stranger(),
            gateway,
            id,
            secret,
            other,
        }
    }

    fn ask(&self, more: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut fields = vec![FORM];
        fields.extend(more);
        self.partner.post("/oauth2/token", &fields, body)
    }

    fn basic(&self) -> String {
        basic(&self.id, &self.secret)
    }
}

fn basic(id: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        BASE64.encode(format!("{id}:{secret}").as_bytes())
    )
}

/// `text` with each byte percent-encoded.
fn escaped(text: &str) -> String {
    let escaped: Vec<_> = text.bytes().map(|byte| format!("%{byte:02x}")).collect();
    escaped.concat()
}

#[track_caller]
fn refused(answer: &Answer, expected: &str, what: &str) {
    let told = answer.json();
    assert_eq!(told["error"], expected, "{what}: {told}");
    let status = if expected == "invalid_client" {
        401
    } else {
        400
    };
    assert_eq!(answer.status, status, "{what}: {told}");
    assert!(told.get("access_token").is_none(), "{what}: {told}");
}

#[test]
fn a_known_parameter_stands_once_in_whichever_spelling() {
    let world = World::new();
    let (id, secret) = (&world.id, &world.secret);
    let basic = [("Authorization", &*world.basic())];
    for (name, value) in [
        ("scope", "read"),
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
        ("client_assertion", "x"),
        ("client_assertion_type", "x"),
    ] {
        let first = name.split_at(1);
        let half = format!("{}{}", escaped(first.0), first.1);
        for again in [
            name.to_owned(),
            escaped(name),
            half,
            name.replace('_', "%5F"),
        ] {
            for (one, two) in [(value, value), (value, "other"), ("", value), (value, "")] {
                let form = format!("{GRANT}&{name}={one}&audience=x&{again}={two}");
                let answer = world.ask(&basic, form.as_bytes());
                refused(&answer, "invalid_request", &form);
            }
        }
    }
    // A name that is almost known is unknown, and says nothing.
    for name in [
        "Scope",
        "SCOPE",
        "scope[]",
        "scope%00",
        "%00scope",
        "scope%20",
        "+scope",
        "scopes",
        "sc%6Fpe%0D%0A",
        "scope;",
        "\u{455}cope",
    ] {
        let form = format!("{GRANT}&{name}=write&scope=read&{name}=write");
        let answer = world.ask(&basic, form.as_bytes());
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.json()["scope"], "read", "{name}");
    }
}

#[test]
fn who_asks_is_said_once_and_proved_in_one_way() {
    let world = World::new();
    let (id, secret) = (&world.id, &world.secret);
    let (other, others) = &world.other;
    let mine = world.basic();
    let jwt = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let minted = world.partner.token(id, secret);
    let bearer = format!("Bearer {minted}");
    let (request, client) = ("invalid_request", "invalid_client");
    for (authorization, more, expected) in [
        (&*mine, format!("&client_id={other}"), request),
        (&mine, format!("&client_id={}", escaped(other)), request),
        (&mine, format!("&client_id=+{id}"), request),
        (&mine, format!("&client_id={id}%00"), request),
        (&mine, format!("&client_id={}", id.to_uppercase()), request),
        (&mine, format!("&client_secret={secret}"), request),
        (
            &mine,
            format!("&client_id={other}&client_secret={others}"),
            request,
        ),
        (
            &mine,
            format!("&client_assertion_type={jwt}&client_assertion=e30.e30.x"),
            request,
        ),
        (&mine, "&client_assertion=e30.e30.x".to_owned(), request),
        (&mine, format!("&client_assertion_type={jwt}"), request),
        (&mine, format!("&client%5Fassertion={minted}"), request),
        (
            "",
            format!("&client_id={id}&client_assertion_type={jwt}&client_assertion={minted}"),
            client,
        ),
        (
            "",
            format!("&client_id={id}&client_secret={others}"),
            client,
        ),
        (
            "",
            format!("&client_id={other}&client_secret={secret}"),
            client,
        ),
        ("", format!("&client_id={id}&client_secret="), client),
        (
            "",
            format!("&client_id={id}&client%00_secret={secret}"),
            client,
        ),
        (
            "",
            format!("&client_id={id};client_secret={secret}"),
            client,
        ),
        (
            &bearer,
            format!("&client_id={id}&client_secret={secret}"),
            client,
        ),
        (&bearer, String::new(), client),
        (&basic(id, others), String::new(), client),
        (&basic(other, secret), String::new(), client),
        (&basic(&format!("{id}%00"), secret), String::new(), client),
        (&basic(&format!("{id}:x"), secret), String::new(), client),
        (&basic(id, &format!("{secret}%0A")), String::new(), client),
    ] {
        let fields = [("Authorization", authorization)];
        let fields = &fields[..usize::from(!authorization.is_empty())];
        let answer = world.ask(fields, format!("{GRANT}{more}").as_bytes());
        refused(&answer, expected, &format!("{authorization} {more}"));
        for text in [secret, others, &minted] {
            assert!(!answer.text().contains(text.as_str()), "{answer:?}");
        }
    }
    let two = [
        ("Authorization", &*mine),
        ("Authorization", &basic(other, others)),
    ];
    refused(
        &world.ask(&two, GRANT.as_bytes()),
        "invalid_request",
        "two fields",
    );
    let said = format!("{GRANT}&client_id={}", escaped(id));
    let answer = world.ask(&[("Authorization", &mine)], said.as_bytes());
    assert_eq!(answer.json()["scope"], "read", "the same client twice");
}

#[test]
fn nothing_that_is_passed_over_widens_a_scope() {
    let world = World::new();
    let mine = world.basic();
    let fields = [("Authorization", &*mine)];
    for scope in [
        "write",
        "read+write",
        "read%20write",
        "read%20%20write",
        "write+read",
        "READ",
        "*",
        "read*",
        "read,write",
    ] {
        let answer = world.ask(&fields, format!("{GRANT}&scope={scope}").as_bytes());
        refused(&answer, "invalid_scope", scope);
    }
    for scope in [
        "read%00write",
        "read%0Awrite",
        "read%09write",
        "read%7Fwrite",
        "read%C2%85write",
    ] {
        let answer = world.ask(&fields, format!("{GRANT}&scope={scope}").as_bytes());
        refused(&answer, "invalid_request", scope);
    }
    for more in [
        "",
        "&scope=",
        "&scope=read",
        "&Scope=write",
        "&scope[]=write",
        "&scopes=write",
        "&claims=%7B%22scope%22%3A%22write%22%7D",
        "&authorization_details=%5B%7B%22type%22%3A%22write%22%7D%5D",
        "&request=e30.eyJzY29wZSI6IndyaXRlIn0.",
        "&sub=other&app=other&act=other&audience=other&cnf=x&exp=99999999999&token_type=none",
    ] {
        let answer = world.ask(&fields, format!("{GRANT}{more}").as_bytes());
        assert_eq!(answer.status, 200, "{more}: {answer:?}");
        let told = answer.json();
        assert_eq!(told["scope"], "read", "{more}");
        assert_eq!(told["token_type"], "Bearer", "{more}");
        let token = told["access_token"].as_str().unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims = data_encoding::BASE64URL_NOPAD
            .decode(claims.as_bytes())
            .unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["scope"], "read", "{more}: {claims}");
        let text = claims.to_string();
        assert!(
            !text.contains("write") && !text.contains("other"),
            "{more}: {claims}"
        );
        assert!(claims["exp"].as_u64().unwrap() < 90_000_000_000, "{claims}");
        assert_eq!(world.partner.get_by("/write", token).status, 403, "{more}");
        // There is nobody behind the gateway: what it lets through is 502.
        assert_eq!(world.partner.get_by("/read", token).status, 502, "{more}");
    }
}

#[test]
fn bytes_that_are_no_form_are_refused_also_where_nobody_reads_them() {
    let world = World::new();
    let mine = world.basic();
    let fields = [("Authorization", &*mine)];
    for more in [
        &b"&x=\xff"[..],
        b"&\xff=x",
        b"&x=%ff",
        b"&%ff=x",
        b"&x=%c0%ae",
        b"&x=%ed%a0%80",
        b"&x=%",
        b"&x=%4",
        b"&x=%zz",
        b"&%=x",
        b"&x=%u0041",
        b"\0&scope=\xfe",
    ] {
        let body = [GRANT.as_bytes(), more].concat();
        refused(
            &world.ask(&fields, &body),
            "invalid_request",
            &body.escape_ascii().to_string(),
        );
    }
    for grant in [
        "grant_type=client_credentials%00",
        "grant_type=client_credentials+",
        "grant_type=CLIENT_CREDENTIALS",
        "%00grant_type=client_credentials",
        "grant_type=password",
        "grant_type=refresh_token",
    ] {
        let answer = world.ask(&fields, grant.as_bytes());
        assert_eq!(answer.status, 400, "{grant}: {answer:?}");
        assert!(answer.json().get("access_token").is_none(), "{grant}");
    }
    let many = format!("{GRANT}{}&scope=read", "&x=1".repeat(40));
    refused(
        &world.ask(&fields, many.as_bytes()),
        "invalid_request",
        "forty parameters",
    );
    // Names and values of strangers are in no answer and in no log.
    let odd = format!("{GRANT}&resource=https://{HOST}.evil.test&<script>=1&\u{1b}[2J=x");
    let answer = world.ask(&fields, odd.as_bytes());
    refused(&answer, "invalid_target", "another resource");
    assert!(!answer.text().contains("evil") && !answer.text().contains("<script"));
    let written = format!("{}{:?}", world.gateway.log(), world.gateway.access_log());
    assert!(
        !written.contains("<script")
            && !written.contains("evil")
            && !written.contains(&world.secret)
    );
}
