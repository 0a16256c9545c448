//! What the README tells to type, typed.

use std::fs;
use std::path::Path;

use crate::support::client::Partner;
use crate::support::pki;
use crate::support::process::{Background, Finished, run};

/// The lines of a section that begin with a prompt.
fn commands(heading: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(readme).unwrap();
    let section = text.split("\n## ").find(|part| part.starts_with(heading));
    let lines = section.unwrap_or_else(|| panic!("no section {heading}"));
    let typed = lines.lines().filter_map(|line| line.strip_prefix("$ "));
    typed.map(str::to_owned).collect()
}

/// Everything as written but for the ports, which other tests may have.
#[test]
fn a_gateway_stands_in_front_of_an_api_after_what_the_readme_says() {
    let dir = tempfile::tempdir().unwrap();
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(dir.path().join("config")).unwrap();
    let minimal = "config/minimal.yaml";
    fs::copy(tree.join(minimal), dir.path().join(minimal)).unwrap();
    pki::request(dir.path(), "acme");
    let binary = Path::new(env!("CARGO_BIN_EXE_countersign"));
    let programs = binary.parent().unwrap().display();
    let shell = |command: &str| {
        let ports = [
            "LISTENERS__PARTNERS__ADDRESS",
            "ADMIN__ADDRESS",
            "OPS__ADDRESS",
        ];
        let ports = ports.map(|port| format!("export COUNTERSIGN_{port}=127.0.0.1:0; "));
        format!("PATH={programs}:$PATH; {}{command}", ports.concat())
    };
    let mut serving = None;
    let mut said = Vec::new();
    for command in commands("In front of your API") {
        if command.contains(" serve") {
            let script = shell(&format!("exec {command}"));
            let begun = Background::start(dir.path(), "sh", &["-c", &script], &[]);
            assert!(begun.ready.starts_with("ready: "), "{}", begun.ready);
            serving = Some(begun);
        } else {
            let finished: Finished = run(dir.path(), "sh", &["-c", &shell(&command)]);
            assert_eq!(finished.code, 0, "{command}: {finished:?}");
            said.push(finished.stdout);
        }
    }
    assert!(said.iter().any(|text| text.contains("sk_live_")), "a key");
    // What was signed lets its owner in.
    let ready = serving.expect("the README starts a gateway");
    let address = ready.ready.split_whitespace().nth(2).unwrap();
    let address = address.trim_end_matches(',').parse().unwrap();
    let ca = dir.path().join("ca.pem");
    let authority = dir.path().join("countersign-data/authority");
    fs::copy(authority.join("root.pem"), &ca).unwrap();
    let (chain, key) = (dir.path().join("acme.pem"), dir.path().join("acme.key"));
    let acme = Partner::new(address, "localhost", &ca, Some((&chain, &key)));
    let whoami = acme.get("/.well-known/countersign/whoami").json();
    assert_eq!(whoami["app"]["name"], "acme", "{whoami}");
}
