//! The environment of a Kubernetes namespace that has a Service of the gateway's name.

use std::path::Path;

use crate::support::gateway::{Circumstances, Gateway, config};
use crate::support::process::{Finished, run};

const ROUTES: &str = "      - { match: { prefix: / }, require: mtls, upstream: api }";

const SERVICE: [(&str, &str); 9] = [
    ("COUNTERSIGN_SERVICE_HOST", "10.96.0.17"),
    ("COUNTERSIGN_SERVICE_PORT", "8443"),
    ("COUNTERSIGN_SERVICE_PORT_HTTPS", "8443"),
    ("COUNTERSIGN_PORT", "tcp://10.96.0.17:8443"),
    ("COUNTERSIGN_PORT_8443_TCP", "tcp://10.96.0.17:8443"),
    ("COUNTERSIGN_PORT_8443_TCP_PROTO", "tcp"),
    ("COUNTERSIGN_PORT_8443_TCP_PORT", "8443"),
    ("COUNTERSIGN_PORT_8443_TCP_ADDR", "10.96.0.17"),
    ("COUNTERSIGN_ADMIN_PORT", "tcp://10.96.0.18:7443"),
];

#[test]
fn the_variables_of_a_service_are_ignored_with_one_warning() {
    let variables: Vec<(&str, &Path)> = SERVICE
        .iter()
        .map(|(name, value)| (*name, Path::new(*value)))
        .collect();
    let how = Circumstances {
        variables: &variables,
        ..Circumstances::default()
    };
    let text = config("http://127.0.0.1:1", ROUTES);
    let gateway = Gateway::start_by(tempfile::tempdir().unwrap(), &text, how);
    let log = gateway.log();
    let warnings: Vec<_> = log
        .lines()
        .filter(|line| line.contains("Kubernetes"))
        .collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for (name, _) in SERVICE {
        assert!(warnings[0].contains(name), "{name}: {log}");
    }
}

#[test]
fn a_setting_that_is_misspelt_is_still_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(
        dir.path().join("c.yaml"),
        config("http://127.0.0.1:1", ROUTES),
    )
    .unwrap();
    let check = |variable: &str| -> Finished {
        let binary = env!("CARGO_BIN_EXE_countersign");
        run(
            dir.path(),
            "env",
            &[variable, binary, "config", "check", "c.yaml"],
        )
    };
    for (variable, told) in [
        ("COUNTERSIGN_WROKERS=2", "workers"),
        ("COUNTERSIGN_PORT=8443", "COUNTERSIGN_PORT"),
        ("COUNTERSIGN_SERVICE_PORT=https", "COUNTERSIGN_SERVICE_PORT"),
        (
            "COUNTERSIGN_ADMIN__PORT=tcp://10.96.0.17:8443",
            "admin.port",
        ),
        ("COUNTERSIGN_LOG__LEVLE=debug", "level"),
    ] {
        let refused = check(variable);
        assert_eq!(refused.code, 6, "{variable}: {refused:?}");
        assert!(refused.stderr.contains(told), "{variable}: {refused:?}");
    }
    for (name, value) in SERVICE {
        let good = check(&format!("{name}={value}"));
        assert_eq!(good.code, 0, "{name}: {good:?}");
    }
}
