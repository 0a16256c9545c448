//! An operator's first hours: what a table names, what is found by what is at hand, how the demo is told where to be.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::support::gateway::{Gateway, config};
use crate::support::pki;
use crate::support::process::{Background, countersign, run};
use crate::support::upstream::Echo;

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

#[test]
fn tables_name_the_app_and_json_keeps_its_id() {
    let gateway = Gateway::start(&config("http://127.0.0.1:1", ROUTES));
    let acme = gateway.enrol("acme");
    let (key, _) = gateway.key("acme", &[]);
    for args in [
        &["cert", "list"][..],
        &["cert", "get", &acme.id],
        &["key", "list"],
        &["key", "get", &key],
        &["audit", "list", "--app", "acme"],
        &["key", "create", "--app", "acme"],
        &["cert", "revoke", &acme.id, "--yes"],
    ] {
        let shown = gateway.cli(args).ok();
        assert!(shown.contains("acme (app_"), "{args:?}: {shown}");
    }
    let listed = gateway.cli_json(&["cert", "list"]);
    assert!(listed[0]["app"].as_str().unwrap().starts_with("app_"));
}

#[test]
fn a_certificate_is_found_by_what_other_programs_show_of_it() {
    let gateway = Gateway::start(&config("http://127.0.0.1:1", ROUTES));
    let acme = gateway.enrol("acme");
    gateway.enrol("zenith");
    let file = acme.certificate.to_str().unwrap();
    let openssl = |what: &[&str]| {
        let args = [&["x509", "-in", file, "-noout"], what].concat();
        let said = run(gateway.dir(), "openssl", &args).ok();
        said.trim().split_once('=').unwrap().1.to_owned()
    };
    let (serial, fingerprint) = (openssl(&["-serial"]), openssl(&["-fingerprint", "-sha256"]));
    for which in [
        &*acme.id,
        &acme.serial,
        &serial,
        &fingerprint,
        &fingerprint.replace(':', "").to_lowercase(),
    ] {
        let found = gateway.cli_json(&["cert", "get", which]);
        assert_eq!(found["id"], acme.id.as_str(), "{which}");
    }
    for unknown in ["00ff00ff", &"ab".repeat(32), "nonsense", "crt_01"] {
        assert_eq!(gateway.cli(&["cert", "get", unknown]).code, 3, "{unknown}");
    }
    gateway.cli(&["cert", "revoke", &serial, "--yes"]).ok();
    let found = gateway.cli_json(&["cert", "get", &acme.id]);
    assert_eq!(found["state"], "revoked");
}

#[test]
fn status_says_where_it_listens_what_it_reads_what_ends_and_what_is_behind_it() {
    let gateway = Gateway::start(&config("http://127.0.0.1:9", ROUTES));
    let table = gateway.cli(&["status"]).ok();
    for part in [
        &gateway.partners().to_string(),
        &gateway.admin().to_string(),
        &gateway.ops().to_string(),
        "admin.sock",
        "countersign.yaml",
        "end of root",
        "end of issuing",
        "end of server api.example.test",
        "upstream api",
        "http://127.0.0.1:9",
    ] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let status = gateway.cli_json(&["status"]);
    assert_eq!(
        status["addresses"]["partners"],
        gateway.partners().to_string()
    );
    assert_eq!(status["upstreams"][0]["endpoints"][0], "http://127.0.0.1:9");
    gateway.configure(&config("http://127.0.0.1:10", ROUTES));
    gateway.cli(&["reload"]).ok();
    assert!(
        gateway
            .cli(&["status"])
            .ok()
            .contains("http://127.0.0.1:10")
    );
}

#[test]
fn the_name_of_a_revoked_app_can_be_taken_again_and_nothing_of_the_old_one_comes_back() {
    let echo = Echo::start();
    let gateway = Gateway::start(&config(&echo.url(), ROUTES));
    let old = gateway.enrol("acme");
    gateway.cli_json(&["app", "suspend", "acme"]);
    assert_eq!(
        gateway.cli(&["app", "create", "acme"]).code,
        5,
        "it may be resumed"
    );
    gateway.cli_json(&["app", "revoke", "acme", "--yes"]);
    let new = gateway.cli_json(&["app", "create", "acme"]);
    let made = pki::request(gateway.dir(), "again");
    let signed = gateway.sign("acme", "again", &made);
    assert_eq!(signed.partner.get("/").status, 200);
    assert_eq!(old.partner.get("/").status, 403);
    let apps = gateway.cli_json(&["app", "list"]);
    let state_of = |name: &str| {
        let mut apps = apps.as_array().unwrap().iter();
        let app = apps.find(|app| app["name"].as_str().unwrap().starts_with(name));
        app.map(|app| app["state"].clone())
    };
    assert_eq!(state_of("acme."), Some(Value::from("revoked")), "{apps}");
    assert_eq!(gateway.cli_json(&["app", "get", "acme"])["id"], new["id"]);
    assert_eq!(gateway.cli(&["app", "create", "acme"]).code, 5);
    // The same after a restart.
    let gateway = Gateway::start_in(gateway.kill(), &config(&echo.url(), ROUTES));
    assert_eq!(gateway.cli_json(&["app", "get", "acme"])["id"], new["id"]);
    let partner = gateway.partner(&old.certificate, &old.key);
    assert_eq!(partner.get("/").status, 403);
}

#[test]
fn an_error_is_said_once_and_in_the_operators_terms() {
    let gateway = Gateway::start(&config("http://127.0.0.1:1", ROUTES));
    gateway.cli_json(&["app", "create", "acme"]);
    for args in [
        &["app", "create", "Not A Name"][..],
        &["app", "create", "acme"],
        &["app", "get", "nobody"],
        &["cert", "list", "--after", "nonsense"],
        &["key", "create", "--app", "acme", "--scope", "not a scope"],
        &["key", "create", "--app", "acme", "--name", "Not A Name"],
    ] {
        let refused = gateway.cli(args);
        assert_ne!(refused.code, 0, "{args:?}");
        let said = refused.stderr.to_lowercase();
        assert!(!said.contains("column"), "{args:?}: {said}");
        let sentences: Vec<&str> = said
            .split([':', '\n', '('])
            .map(|part| part.trim().trim_end_matches('.'))
            .filter(|part| part.len() > 12)
            .collect();
        for (place, sentence) in sentences.iter().enumerate() {
            assert!(!sentences[..place].contains(sentence), "{args:?}: {said}");
        }
    }
}

fn demo(dir: &Path, args: &[&str]) -> (Background, Value) {
    let all = [&["demo", "--output", "json"], args].concat();
    let running = Background::start(dir, env!("CARGO_BIN_EXE_countersign"), &all, &[]);
    let ready = serde_json::from_str(&running.ready).unwrap();
    (running, ready)
}

#[test]
fn the_demo_listens_where_it_is_told_and_finds_room_where_it_is_not() {
    // Whoever has the usual ports; where somebody else has them already, so much the better.
    let _taken: Vec<_> = [7443, 7444]
        .map(|port| TcpListener::bind(("127.0.0.1", port)))
        .into();
    for listen in ["localhost:0", ":0", "127.0.0.1:0"] {
        let dir = tempfile::tempdir().unwrap();
        let args = ["--listen", listen, "--admin", "localhost:0", "--ops", ":0"];
        let (_running, ready) = demo(dir.path(), &args);
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        assert!(text("admin").starts_with("127.0.0.1:"), "{ready}");
        assert!(!text("ops").starts_with("127.0.0.1:"), "{ready}");
    }
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_running, ready) = demo(
        dir.path(),
        &["--listen", &format!("localhost:{}", free.port())],
    );
    assert_eq!(ready["partners"], free.to_string());
    for name in ["admin", "ops"] {
        let address = ready[name].as_str().unwrap();
        assert!(
            !address.ends_with(":7443") && !address.ends_with(":7444"),
            "{ready}"
        );
    }
}

#[test]
fn an_api_behind_the_demo_is_there_with_all_its_paths() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let args = ["--listen", "127.0.0.1:0", "--upstream", &echo.url()];
    let (_running, ready) = demo(dir.path(), &args);
    let root = dir.path().join("countersign-demo");
    let base = format!(
        "https://localhost:{}",
        ready["partners"]
            .as_str()
            .unwrap()
            .rsplit_once(':')
            .unwrap()
            .1
    );
    // The commands of the tour, in the shells that are here: no variable and no word is split in its own way.
    let token = format!(
        "curl -s -K partner.curl -K server-key.curl -d grant_type=client_credentials {base}/oauth2/token | \
         sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/header = \"Authorization: Bearer \\1\"/' > token.curl"
    );
    for shell in ["sh", "bash", "zsh", "fish"] {
        if run(dir.path(), "sh", &["-c", &format!("command -v {shell}")]).code != 0 {
            continue;
        }
        run(&root, shell, &["-c", &token]).ok();
        for path in ["/", "/orders/7", "/anything/else?x=1"] {
            let call = format!("curl -s -K partner.curl -K token.curl '{base}{path}'");
            let said = run(&root, shell, &["-c", &call]).ok();
            let answer: Value = serde_json::from_str(&said).unwrap();
            assert_eq!(answer["target"], path, "{shell}: {answer}");
        }
    }
}

#[test]
fn an_ordinary_user_is_told_of_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), "mkdir", &["open", "closed"]).ok();
    run(dir.path(), "chmod", &["755", ".", "closed"]).ok();
    let is_root = run(dir.path(), "id", &["-u"]).ok().trim() == "0";
    if !is_root {
        run(dir.path(), "chmod", &["555", "closed"]).ok();
    }
    let default = countersign(dir.path(), &["config", "default"]).ok();
    let binary = dir.path().join("countersign");
    std::fs::copy(env!("CARGO_BIN_EXE_countersign"), &binary).unwrap();
    for data in ["closed", "closed/data"] {
        let data = dir.path().join(data);
        let text = default.replace("/var/lib/countersign", data.to_str().unwrap());
        let file = dir.path().join("c.yaml");
        std::fs::write(&file, text).unwrap();
        let (binary, file) = (binary.to_str().unwrap(), file.to_str().unwrap());
        let serve = [binary, "serve", "--config", file];
        let refused = if is_root {
            let as_nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
            run(dir.path(), "setpriv", &[&as_nobody[..], &serve].concat())
        } else {
            run(dir.path(), binary, &serve[1..])
        };
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.stderr.contains("set data_directory"), "{refused:?}");
    }
}
