//! The clients that partners call with are served, and read the reason of a refusal that comes before they have sent
//! their body. The programs are in `tests/clients`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::clients::{installed, need, source, target};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::process::{Background, run};
use crate::support::upstream::Echo;

/// What each of them posts: more than fits into the buffers on the way.
const BODY_BYTES: usize = 3 << 20;
/// How often a call that is refused is made, since what is lost is lost now and then.
const REFUSALS: usize = 5;

const ROUTES: &str = "      - { match: { path: /orders }, require: mtls, upstream: api }
      - { match: { path: /small }, require: mtls, upstream: api, body_max: 1MiB }
      - { match: { prefix: /orders.Orders }, require: mtls, upstream: api }";

#[test]
fn curl_is_served_over_http1_and_reads_why_it_is_refused() {
    check(&Program::script("curl.sh", &["--http1.1"], &["curl"]));
}

#[test]
fn curl_that_does_not_wait_for_100_is_served_and_reads_why_it_is_refused() {
    let args = ["--http1.1", "--header", "Expect:"];
    check(&Program::script("curl.sh", &args, &["curl"]));
}

#[test]
fn curl_is_served_over_http2_and_reads_why_it_is_refused() {
    check(&Program::script("curl.sh", &["--http2"], &["curl"]));
}

#[test]
fn wget_is_served_and_reads_why_it_is_refused() {
    check(&Program {
        // It never shows the body of a 401.
        reads_401: false,
        ..Program::script("wget.sh", &[], &["wget"])
    });
}

#[test]
fn openssl_is_served_and_reads_why_it_is_refused() {
    check(&Program::script("openssl.sh", &[], &["openssl"]));
}

#[test]
fn python_requests_is_served_and_reads_why_it_is_refused() {
    check(&Program::python("python_requests.py", &[]));
}

#[test]
fn python_httpx_is_served_over_http1_and_reads_why_it_is_refused() {
    check(&Program::python("python_httpx.py", &["http1"]));
}

#[test]
fn python_httpx_is_served_over_http2_and_reads_why_it_is_refused() {
    check(&Program::python("python_httpx.py", &["http2"]));
}

#[test]
fn node_https_is_served_and_reads_why_it_is_refused() {
    check(&Program::node("node_https.mjs", &[]));
}

#[test]
fn undici_is_served_over_http1_and_reads_why_it_is_refused() {
    check(&Program::node("undici.mjs", &["http1"]));
}

#[test]
fn undici_is_served_over_http2() {
    // It takes an answer that ends before its own request does for a fault, so its refusals are not tried.
    let gateway = gateway();
    let shown = Shown::enrolled(&gateway, "acme");
    check_served(&Program::node("undici.mjs", &["http2"]), &gateway, &shown);
}

#[test]
fn go_is_served_over_http1_and_over_http2_and_reads_why_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("go_http");
    need("go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&binary, &source("go_http.go")])
        .env("GOCACHE", target().join("go-cache"))
        .env("GOFLAGS", "-mod=mod")
        .output()
        .unwrap();
    assert!(built.status.success(), "{built:?}");
    for version in ["http1", "http2"] {
        check(&Program::new(&binary, &[version], &["go"]));
    }
}

#[test]
fn java_with_a_key_of_keytools_is_served_over_http1_and_over_http2_and_reads_why_it_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    need("javac");
    let classes = dir.path().to_str().unwrap();
    let file = source("JavaHttp.java");
    run(
        dir.path(),
        "javac",
        &["-d", classes, file.to_str().unwrap()],
    )
    .ok();
    for version in ["HTTP_1_1", "HTTP_2"] {
        let args = ["-cp", classes, "JavaHttp", version];
        let program = Program::new(Path::new("java"), &args, &["java", "keytool"]);
        let gateway = gateway();
        let shown = keystore(&gateway, "acme");
        check_with(&program, &gateway, &shown);
    }
}

#[test]
fn grpc_is_served_and_reads_why_it_is_refused() {
    let program = Program::python("python_grpc.py", &[]);
    let dir = tempfile::tempdir().unwrap();
    let python = installed("python/bin/python");
    let file = source("python_grpc.py");
    let args = [file.to_str().unwrap(), "serve"];
    let api = Background::start(dir.path(), python.to_str().unwrap(), &args, &[]);
    let url = format!("http://127.0.0.1:{}", api.ready.trim());
    let small = ROUTES.replace("/orders.Orders }", "/orders.Orders }, body_max: 1MiB");
    let text = |routes: &str| {
        let text = config(&url, routes).replace(HOST, "localhost");
        text.replace("] }\nhosts", "], protocol: http2 }\nhosts")
    };
    let gateway = Gateway::start(&text(ROUTES));
    let shown = Shown::enrolled(&gateway, "acme");
    let call = |call: &Call| program.run(&gateway, &shown, call);
    let served = call(&Call::served("grpc"));
    let served: Vec<_> = served
        .iter()
        .map(|(status, body)| (&**status, body["body_bytes"].as_u64()))
        .collect();
    assert_eq!(served, [("OK", Some(BODY_BYTES as u64))]);
    let without = Call::refused("grpc").without_certificate();
    refused_by_grpc("cert_missing", &call(&without));
    gateway.configure(&text(&small));
    gateway.cli(&["reload"]).ok();
    refused_by_grpc("body_too_large", &call(&Call::refused("grpc")));
    gateway.cli(&["cert", "revoke", &shown.id, "--yes"]).ok();
    refused_by_grpc("cert_revoked", &call(&Call::refused("grpc")));
}

#[track_caller]
fn refused_by_grpc(reason: &str, answers: &[(String, Value)]) {
    assert_eq!(answers.len(), REFUSALS);
    for (status, body) in answers {
        assert_ne!(status, "OK");
        assert_eq!(body["reason"], reason, "{status} {body}");
    }
}

/// One of the programs, and how it is started.
struct Program {
    command: PathBuf,
    args: Vec<String>,
    /// Whether it shows the body of a 401.
    reads_401: bool,
}

impl Program {
    fn new(command: &Path, args: &[&str], needs: &[&str]) -> Self {
        for tool in needs {
            need(tool);
        }
        Self {
            command: command.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            reads_401: true,
        }
    }

    fn script(file: &str, args: &[&str], needs: &[&str]) -> Self {
        Self::new(&source(file), args, needs)
    }

    fn python(file: &str, args: &[&str]) -> Self {
        Self::interpreted(&installed("python/bin/python"), file, args)
    }

    fn node(file: &str, args: &[&str]) -> Self {
        installed("node/node_modules/undici");
        Self::interpreted(&installed("python/bin/node"), file, args)
    }

    fn interpreted(interpreter: &Path, file: &str, args: &[&str]) -> Self {
        let file = source(file);
        let all: Vec<_> = [file.to_str().unwrap()]
            .into_iter()
            .chain(args.iter().copied())
            .collect();
        Self::new(interpreter, &all, &[])
    }

    /// Makes the calls, and gives the status and the body of each as the program read them.
    fn run(&self, gateway: &Gateway, shown: &Shown, call: &Call) -> Vec<(String, Value)> {
        let port = gateway.partners().port();
        let mut command = Command::new(&self.command);
        command
            .args(&self.args)
            .env("URL", format!("https://localhost:{port}/{}", call.path))
            .env("CA", &shown.ca)
            .env("CALLS", call.times.to_string())
            .env("MODULES", target().join("node/node_modules"));
        if call.shows_certificate {
            command.env("CERT", &shown.certificate);
            command.env("KEY", &shown.key);
        }
        if let Some(bytes) = call.body {
            let body = gateway.dir().join("body");
            fs::write(&body, vec![b'x'; bytes]).unwrap();
            command.env("BODY", body);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{:?}: {output:?}", self.args);
        said.split("== ")
            .skip(1)
            .map(|answer| {
                let (status, body) = answer.split_once('\n').unwrap_or((answer, ""));
                let body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
                (status.to_owned(), body)
            })
            .collect()
    }
}

/// One kind of call.
struct Call {
    path: &'static str,
    shows_certificate: bool,
    body: Option<usize>,
    /// How often it is made, each time on a connection of its own.
    times: usize,
}

impl Call {
    /// An upload that is served.
    fn served(path: &'static str) -> Self {
        Self {
            path,
            shows_certificate: true,
            body: Some(BODY_BYTES),
            times: 1,
        }
    }

    /// An upload that is refused.
    fn refused(path: &'static str) -> Self {
        Self {
            times: REFUSALS,
            ..Self::served(path)
        }
    }

    fn without_certificate(self) -> Self {
        Self {
            shows_certificate: false,
            ..self
        }
    }
}

/// What a program trusts and shows.
struct Shown {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
    /// The certificate's, to revoke it by.
    id: String,
}

impl Shown {
    fn enrolled(gateway: &Gateway, app: &str) -> Self {
        let enrolled = gateway.enrol(app);
        Self {
            ca: gateway.ca(),
            certificate: enrolled.certificate,
            key: enrolled.key,
            id: enrolled.id,
        }
    }
}

/// The usual gateway, whose API tells how much it was sent.
fn gateway() -> Gateway {
    let echo = Echo::start();
    Gateway::start(&config(&echo.url(), ROUTES).replace(HOST, "localhost"))
}

#[track_caller]
fn check(program: &Program) {
    let gateway = gateway();
    let shown = Shown::enrolled(&gateway, "acme");
    check_with(program, &gateway, &shown);
}

#[track_caller]
fn check_with(program: &Program, gateway: &Gateway, shown: &Shown) {
    check_served(program, gateway, shown);
    let refused = |status: &str, reason: &str, call: &Call| {
        let expected = vec![(status.to_owned(), reason.to_owned()); REFUSALS];
        let answers = program.run(gateway, shown, call);
        let read = |(status, body): &(String, Value)| {
            let reason = body["reason"].as_str().unwrap_or("no reason");
            (status.clone(), reason.to_owned())
        };
        let seen: Vec<_> = answers.iter().map(read).collect();
        assert_eq!(seen, expected, "{:?}: {answers:?}", program.args);
    };
    refused("413", "body_too_large", &Call::refused("small"));
    let missing = if program.reads_401 {
        "cert_missing"
    } else {
        "no reason"
    };
    let call = Call::refused("orders").without_certificate();
    refused("401", missing, &call);
    gateway.cli(&["cert", "revoke", &shown.id, "--yes"]).ok();
    refused("403", "cert_revoked", &Call::refused("orders"));
}

/// A call without a body, and one with.
#[track_caller]
fn check_served(program: &Program, gateway: &Gateway, shown: &Shown) {
    let upload = Call::served("orders");
    let get = Call {
        body: None,
        ..Call::served("orders")
    };
    for (call, body_bytes) in [(get, 0), (upload, BODY_BYTES)] {
        let answers = program.run(gateway, shown, &call);
        let [(status, body)] = &answers[..] else {
            panic!("{:?}: {answers:?}", program.args);
        };
        let seen = (&**status, &body["body_bytes"]);
        assert_eq!(seen, ("200", &Value::from(body_bytes)), "{body}");
    }
}

/// Stores as keytool makes them: a key of its own with the certificate that the gateway signed for it, and the
/// authority that is trusted.
fn keystore(gateway: &Gateway, app: &str) -> Shown {
    let keytool = |args: &[&str]| {
        let store = [
            "-storepass",
            "changeit",
            "-storetype",
            "PKCS12",
            "-noprompt",
        ];
        let all: Vec<_> = args.iter().chain(&store).copied().collect();
        run(gateway.dir(), "keytool", &all).ok();
    };
    let own = ["-alias", app, "-keystore", "own.p12"];
    let kind = [
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-dname",
        "CN=acme",
    ];
    keytool(&[&["-genkeypair"], &own[..], &kind].concat());
    keytool(&[&["-certreq"], &own[..], &["-file", "acme.csr"]].concat());
    gateway.cli_json(&["app", "create", app]);
    let sign = ["cert", "sign", "--app", app, "--name", "prod"];
    let signed = gateway.cli_json(&[&sign[..], &["--csr", "acme.csr", "-o", "chain.pem"]].concat());
    // keytool wants to know the root before it takes a chain.
    let authority = gateway.dir().join("authority/root.pem");
    let authority = authority.to_str().unwrap();
    let trusted = ["-importcert", "-alias", "gateway", "-file", authority];
    keytool(&[&trusted[..], &["-keystore", "trusted.p12"]].concat());
    keytool(&[&trusted[..], &["-keystore", "own.p12"]].concat());
    keytool(&[&["-importcert"], &own[..], &["-file", "chain.pem"]].concat());
    Shown {
        ca: gateway.dir().join("trusted.p12"),
        certificate: gateway.dir().join("own.p12"),
        key: gateway.dir().join("own.p12"),
        id: signed["certificate"]["id"].as_str().unwrap().to_owned(),
    }
}
