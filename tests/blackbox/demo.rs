//! The demo, as somebody meets it who has just found the project.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::client::Partner;
use crate::support::gateway::Gateway;
use crate::support::process::{countersign, run};
use crate::support::upstream::Echo;

/// A demo that runs until it is dropped.
struct Demo {
    dir: tempfile::TempDir,
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Demo {
    fn start(args: &[&str]) -> Self {
        Self::listening("127.0.0.1:0", args)
    }

    fn listening(address: &str, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_countersign"))
            .args(["demo", "--listen", address])
            .args(args)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { dir, child, stdout }
    }

    /// The next line that it says; empty when it says nothing more.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn stop(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        run(self.dir.path(), "kill", &["-TERM", &id]).ok();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command to paste, and what is said to come out of it; `…` stands for anything.
#[derive(Debug)]
struct Step {
    command: String,
    answer: String,
}

/// The steps of the tour in the README.
fn readme() -> Vec<Step> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).unwrap();
    let (_, tour) = text.split_once("## The tour").unwrap();
    let (_, tour) = tour.split_once("```console\n").unwrap();
    let (tour, _) = tour.split_once("```").unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in tour.lines() {
        match (line.strip_prefix("$ "), steps.last_mut()) {
            (Some(command), _) => steps.push(Step {
                command: command.to_owned(),
                answer: String::new(),
            }),
            (None, Some(step)) if goes_on => step.command.extend(["\n", line]),
            (None, Some(step)) => step.answer.extend([line, "\n"]),
            (None, None) => panic!("{line}"),
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// The commands of the tour that the demo prints.
fn printed(demo: &mut Demo) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    loop {
        let line = demo.line();
        let line = line.trim_end();
        if line.starts_with("Stop with") {
            return commands;
        }
        if let Some(command) = line.strip_prefix("  ") {
            if goes_on {
                let last = commands.last_mut().unwrap();
                last.extend(["\n", command]);
            } else {
                commands.push(command.to_owned());
            }
        }
        goes_on = line.ends_with('\\');
    }
}

/// Words without what differs from place to place: blanks at a line's beginning, the directory, the ports.
fn essence(command: &str, ports: [(u16, u16); 3]) -> Vec<String> {
    let mut text = command.to_owned();
    for (usual, port) in ports {
        text = text.replace(&format!(":{port}"), &format!(":{usual}"));
    }
    let words = text.split_whitespace();
    words
        .filter(|word| *word != "\\" && !word.ends_with("countersign-demo"))
        .map(str::to_owned)
        .collect()
}

#[track_caller]
fn reads_like(answer: &str, expected: &str) {
    let mut rest = answer;
    for piece in expected.split('…').map(str::trim) {
        let Some((_, after)) = rest.split_once(piece) else {
            panic!("{piece:?} is missing, or in another place, in {answer}");
        };
        rest = after;
    }
}

#[test]
fn the_readmes_tour_is_the_demos_and_its_answers_are_as_they_are_shown() {
    let mut demo = Demo::start(&[]);
    let printed = printed(&mut demo);
    let port = |word: &str| -> u16 {
        let mut commands = printed.iter();
        let (_, after) = commands.find_map(|text| text.split_once(word)).unwrap();
        let digits = after.split(|letter: char| !letter.is_ascii_digit());
        digits.into_iter().next().unwrap().parse().unwrap()
    };
    let (last, operators) = (printed.len() - 1, printed.len() - 3);
    let admin = printed[operators].split_once("localhost:").unwrap().1;
    let admin: u16 = admin.split('/').next().unwrap().parse().unwrap();
    let ops = printed[last].split_once("127.0.0.1:").unwrap().1;
    let ops: u16 = ops.split('/').next().unwrap().parse().unwrap();
    let ports = [(8443, port("localhost:")), (7443, admin), (7444, ops)];
    let steps = readme();
    let written: Vec<_> = steps
        .iter()
        .map(|step| essence(&step.command, [(0, 0); 3]))
        .collect();
    let said: Vec<_> = printed.iter().map(|text| essence(text, ports)).collect();
    assert_eq!(written, said);

    let mut script = String::new();
    for (place, step) in steps.iter().enumerate() {
        let mut command = step.command.clone();
        for (usual, port) in ports {
            command = command.replace(&format!(":{usual}"), &format!(":{port}"));
        }
        script.extend([&command, "\necho\necho \"== ", &place.to_string(), "\"\n"]);
    }
    let pasted = run(demo.dir.path(), "bash", &["-c", &script]);
    let mut rest = pasted.stdout.as_str();
    for (place, step) in steps.iter().enumerate() {
        let end = format!("\n== {place}\n");
        let (answer, after) = rest
            .split_once(&end)
            .unwrap_or_else(|| panic!("{place}: {pasted:?}"));
        if !step.answer.trim().is_empty() {
            reads_like(answer, step.answer.trim());
        }
        rest = after;
    }
    let (_, metrics) = pasted.stdout.rsplit_once("== 6\n").unwrap();
    assert!(metrics.contains("reason=\"cert_revoked\"} 1"), "{metrics}");
    assert!(
        metrics.contains("countersign_tokens_issued_total"),
        "{metrics}"
    );
    assert_eq!(demo.stop(), Some(0));
}

#[test]
fn a_script_is_told_where_everything_of_the_demo_is() {
    let mut demo = Demo::start(&["--dir", "here", "--output", "json"]);
    let ready: Value = serde_json::from_str(&demo.line()).unwrap();
    assert_eq!(ready["ready"], true);
    let file = |name: &str| {
        let path = PathBuf::from(ready[name].as_str().unwrap());
        assert!(path.is_absolute() && path.exists(), "{name}: {ready}");
        path
    };
    let read = |name: &str| {
        fs::read_to_string(file(name))
            .unwrap()
            .trim_end()
            .to_owned()
    };
    let partner = Partner::new(
        ready["partners"].as_str().unwrap().parse().unwrap(),
        "localhost",
        &file("ca"),
        Some((&file("client_certificate"), &file("client_key"))),
    );
    let token = partner.token(&read("server_key_id"), &read("server_key"));
    assert_eq!(partner.get_by("/orders/7", &token).status, 200);
    let admin = Partner::new(
        ready["admin"].as_str().unwrap().parse().unwrap(),
        "localhost",
        &file("ca"),
        None,
    );
    let apps = admin.get_by("/api/v1/apps", &read("admin_token")).json();
    assert_eq!(apps["items"][0]["name"], "acme", "{apps}");
    let configuration = file("configuration");
    let configuration = configuration.to_str().unwrap();
    countersign(demo.dir.path(), &["config", "check", configuration]).ok();
    let socket = file("socket");
    let args = ["app", "list", "--admin-socket", socket.to_str().unwrap()];
    assert!(countersign(demo.dir.path(), &args).ok().contains("acme"));
    assert_eq!(demo.stop(), Some(0));
}

/// Shown to the whole network, the demo shows it the partners' port and nothing else.
#[test]
fn the_demo_keeps_its_admin_and_ops_listeners_to_itself() {
    let mut demo = Demo::listening("0.0.0.0:0", &["--dir", "here", "--output", "json"]);
    let ready: Value = serde_json::from_str(&demo.line()).unwrap();
    let address = |which: &str| -> SocketAddr { ready[which].as_str().unwrap().parse().unwrap() };
    assert!(address("partners").ip().is_unspecified());
    assert!(address("admin").ip().is_loopback());
    assert!(address("ops").ip().is_loopback());
    let port = address("partners").port();
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    let partner = Partner::new(
        local,
        "localhost",
        &demo.dir.path().join("here/ca.pem"),
        None,
    );
    let metadata = partner
        .get("/.well-known/oauth-authorization-server")
        .json();
    assert_eq!(metadata["issuer"], format!("https://localhost:{port}"));
    assert_eq!(
        metadata["token_endpoint"],
        format!("https://localhost:{port}/oauth2/token")
    );
}

#[test]
fn the_demo_stands_before_an_api_of_ones_own() {
    let echo = Echo::start();
    let dir = tempfile::tempdir().unwrap();
    let tour = countersign(
        dir.path(),
        &[
            "demo",
            "--once",
            "--dir",
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--upstream",
            &echo.url(),
            "--output",
            "json",
        ],
    )
    .ok();
    let steps: Vec<Value> = tour
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(steps.len() >= 7, "{tour}");
    assert!(steps.iter().all(|step| step["held"] == true), "{tour}");
    assert_eq!(echo.requests(), 1, "the call that was let in");
}

#[test]
fn the_minimal_configuration_protects_an_api() {
    let echo = Echo::start();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/minimal.yaml");
    let text = fs::read_to_string(file).unwrap();
    let text = text.replace("http://127.0.0.1:9001", &echo.url());
    assert!(text.contains(&echo.url()), "the one line to edit");
    // Only so that tests can run side by side; everything else is as the file says.
    let anywhere = Path::new("127.0.0.1:0");
    let ports = [
        ("COUNTERSIGN_LISTENERS__PARTNERS__ADDRESS", anywhere),
        ("COUNTERSIGN_ADMIN__ADDRESS", anywhere),
        ("COUNTERSIGN_OPS__ADDRESS", anywhere),
    ];
    let gateway = Gateway::start_with(&text, &ports);
    let authority = gateway.dir().join("countersign-data/authority");
    let root = fs::read(authority.join("root.pem")).unwrap();
    fs::write(gateway.dir().join("ca.pem"), root).unwrap();
    let acme = gateway.enrol("acme");
    let identity = Some((acme.certificate.as_path(), acme.key.as_path()));
    let at = |identity| Partner::new(gateway.partners(), "localhost", &gateway.ca(), identity);
    let refused = at(None).get("/orders");
    assert_eq!(
        (refused.status, refused.reason().as_str()),
        (401, "cert_missing")
    );
    assert_eq!(echo.requests(), 0);
    assert_eq!(at(identity).get("/orders").json()["target"], "/orders");
}
