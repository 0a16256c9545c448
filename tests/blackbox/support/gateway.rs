//! The process under test: a fresh directory, free ports, a ready line, and death on drop.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::Partner;
use super::eventually::eventually;
use super::pki::{self, KeyAndRequest};
use super::process::{self, Finished};

/// The host that tests call unless they say otherwise.
pub const HOST: &str = "api.example.test";

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    dir: TempDir,
    child: Child,
    ready: Value,
    /// Standard output, where nobody reads it.
    _unread: Option<BufReader<ChildStdout>>,
}

/// Circumstances of a start that are not the usual ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// More in its environment.
    pub variables: &'a [(&'a str, &'a Path)],
    /// More on its command line.
    pub args: &'a [&'a str],
    /// What the shell's `ulimit` is told before.
    pub ulimit: Option<&'static str>,
    /// Nobody reads its standard output after the ready line.
    pub unread: bool,
}

/// A partner's App with a certificate, as an operator and the partner make them together.
#[derive(Debug)]
pub struct Enrolled {
    pub id: String,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub serial: String,
    pub partner: Partner,
}

impl Gateway {
    /// Starts one with this configuration; see [`config`].
    #[track_caller]
    pub fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config)
    }

    /// Starts one in a directory that may hold an earlier one's state.
    #[track_caller]
    pub fn start_in(dir: TempDir, config: &str) -> Self {
        Self::start_by(dir, config, Circumstances::default())
    }

    /// Starts one in circumstances that are not the usual ones.
    #[track_caller]
    pub fn start_by(dir: TempDir, config: &str, how: Circumstances<'_>) -> Self {
        match Self::try_start_by(dir, config, how) {
            Ok(gateway) => gateway,
            Err((code, log, _)) => panic!("not ready: exit code {code:?}\n{log}"),
        }
    }

    /// Starts one with these variables in its environment.
    #[track_caller]
    pub fn start_with(config: &str, variables: &[(&str, &Path)]) -> Self {
        let how = Circumstances {
            variables,
            ..Circumstances::default()
        };
        Self::start_by(tempfile::tempdir().unwrap(), config, how)
    }

    /// Tries to start one; gives its exit code and its log when it ends before it is ready.
    pub fn try_start_in(
        dir: TempDir,
        config: &str,
    ) -> Result<Self, (Option<i32>, String, TempDir)> {
        Self::try_start_by(dir, config, Circumstances::default())
    }

    /// The same in circumstances that are not the usual ones.
    pub fn try_start_by(
        dir: TempDir,
        config: &str,
        how: Circumstances<'_>,
    ) -> Result<Self, (Option<i32>, String, TempDir)> {
        fs::write(dir.path().join("countersign.yaml"), config).unwrap();
        let log = File::create(dir.path().join("log")).unwrap();
        let binary = env!("CARGO_BIN_EXE_countersign");
        let mut command = match how.ulimit {
            None => Command::new(binary),
            Some(limit) => {
                let mut shell = Command::new("sh");
                let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
                shell.args(["-c", &script, binary]);
                shell
            }
        };
        let mut child = command
            .args(["serve", "--config", "countersign.yaml", "--output", "json"])
            .args(how.args)
            .current_dir(dir.path())
            .envs(how.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        match serde_json::from_str::<Value>(&line) {
            Ok(ready) if ready["ready"] == true && how.unread => Ok(Self {
                dir,
                child,
                ready,
                _unread: Some(stdout),
            }),
            Ok(ready) if ready["ready"] == true => {
                let access = dir.path().join("stdout");
                std::thread::spawn(move || {
                    let mut file = File::create(access).unwrap();
                    let mut rest = [0_u8; 8192];
                    while let Ok(read @ 1..) = stdout.read(&mut rest) {
                        let _ = file.write_all(&rest[..read]);
                    }
                });
                Ok(Self {
                    dir,
                    child,
                    ready,
                    _unread: None,
                })
            }
            _ => {
                let code = child.wait().unwrap().code();
                let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
                Err((code, log, dir))
            }
        }
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn address(&self, which: &str) -> SocketAddr {
        self.ready[which]
            .as_str()
            .unwrap_or_else(|| panic!("{which} in {}", self.ready))
            .parse()
            .unwrap()
    }

    /// Where partners connect.
    pub fn partners(&self) -> SocketAddr {
        self.address("partners")
    }

    pub fn admin(&self) -> SocketAddr {
        self.address("admin")
    }

    pub fn ops(&self) -> SocketAddr {
        self.address("ops")
    }

    pub fn socket(&self) -> PathBuf {
        PathBuf::from(self.ready["socket"].as_str().unwrap())
    }

    /// The certificates that partners trust, in a file.
    pub fn ca(&self) -> PathBuf {
        let path = self.dir().join("ca.pem");
        if !path.exists() {
            let issuing = fs::read_to_string(self.dir().join("authority/issuing.pem")).unwrap();
            let root = fs::read_to_string(self.dir().join("authority/root.pem")).unwrap();
            fs::write(&path, root + &issuing).unwrap();
        }
        path
    }

    /// The gateway's command line, talking to this gateway.
    pub fn cli(&self, args: &[&str]) -> Finished {
        let socket = self.socket();
        let mut all = args.to_vec();
        all.extend(["--admin-socket", socket.to_str().unwrap()]);
        process::countersign(self.dir(), &all)
    }

    /// The same with `--output json`, which must end well.
    #[track_caller]
    pub fn cli_json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.extend(["--output", "json"]);
        self.cli(&all).json()
    }

    /// A partner without a certificate.
    pub fn stranger(&self) -> Partner {
        Partner::new(self.partners(), HOST, &self.ca(), None)
    }

    /// A partner that shows this certificate.
    pub fn partner(&self, chain: &Path, key: &Path) -> Partner {
        Partner::new(self.partners(), HOST, &self.ca(), Some((chain, key)))
    }

    /// Creates an App and a certificate for it from a request of OpenSSL's.
    #[track_caller]
    pub fn enrol(&self, app: &str) -> Enrolled {
        self.cli_json(&["app", "create", app]);
        self.enrol_again(app, "prod")
    }

    /// One more certificate for an App that exists.
    #[track_caller]
    pub fn enrol_again(&self, app: &str, name: &str) -> Enrolled {
        let made = pki::request(self.dir(), &format!("{app}-{name}"));
        self.sign(app, name, &made)
    }

    #[track_caller]
    pub fn sign(&self, app: &str, name: &str, made: &KeyAndRequest) -> Enrolled {
        let certificate = self.dir().join(format!("{app}-{name}.pem"));
        let args = [
            "cert",
            "sign",
            "--app",
            app,
            "--name",
            name,
            "--csr",
            made.csr.to_str().unwrap(),
            "-o",
            certificate.to_str().unwrap(),
        ];
        let signed = self.cli_json(&args);
        Enrolled {
            id: signed["certificate"]["id"].as_str().unwrap().to_owned(),
            serial: signed["certificate"]["serial"].as_str().unwrap().to_owned(),
            partner: self.partner(&certificate, &made.key),
            certificate,
            key: made.key.clone(),
        }
    }

    /// Creates a key and gives its id and its secret.
    #[track_caller]
    pub fn key(&self, app: &str, scopes: &[&str]) -> (String, String) {
        let mut args = vec!["key", "create", "--app", app];
        for scope in scopes {
            args.extend(["--scope", scope]);
        }
        let made = self.cli_json(&args);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&made["key"]["id"]), text(&made["secret"]))
    }

    /// What the ops listener answers: status and body.
    pub fn ops_get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.ops()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: ops\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    /// The sum of a metric's series, whatever their labels.
    pub fn count(&self, metric: &str) -> u64 {
        self.count_of(metric, "")
    }

    /// The sum of those of a metric's series whose labels contain `label`, for example `reason="cert_usage"`.
    pub fn count_of(&self, metric: &str, label: &str) -> u64 {
        let (_, text) = self.ops_get("/metrics");
        text.lines()
            .filter_map(|line| line.strip_prefix(metric))
            .filter(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// Handshakes that failed for this reason.
    pub fn handshakes_refused(&self, reason: &str) -> u64 {
        let label = format!("reason=\"{reason}\"");
        self.count_of("countersign_tls_handshakes_total", &label)
    }

    /// Waits until the partners' port takes no connections any more.
    pub fn wait_until_closed(&self) {
        eventually("the partners' port is closed", || {
            TcpStream::connect(self.partners()).is_err().then_some(())
        });
    }

    /// The bytes of memory that it holds.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kib.unwrap_or_else(|| panic!("no VmRSS: {status}")) * 1024
    }

    /// The CPU time that it has used, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // The name, in parentheses, may hold anything.
        let (_, fields) = text.rsplit_once(") ").unwrap();
        let ticks = |place: usize| fields.split(' ').nth(place)?.parse::<u64>().ok();
        let used = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
        Duration::from_millis(used.unwrap_or_else(|| panic!("no CPU time: {text}")) * 10)
    }

    /// Lines of the access log, as far as they are written.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("access.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for the access log's line about this request.
    #[track_caller]
    pub fn record_of(&self, request_id: &str) -> Value {
        eventually("the access log names the request", || {
            self.access_log()
                .into_iter()
                .find(|line| line["request_id"] == request_id)
        })
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir().join("log")).unwrap_or_default()
    }

    /// Writes another configuration, without telling the gateway.
    pub fn configure(&self, config: &str) {
        fs::write(self.dir().join("countersign.yaml"), config).unwrap();
    }

    pub fn signal(&self, name: &str) {
        process::run(
            self.dir(),
            "kill",
            &[&format!("-{name}"), &self.pid().to_string()],
        )
        .ok();
    }

    /// Kills it in the middle of whatever it does, and gives its directory back.
    pub fn kill(mut self) -> TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }

    /// Waits for its end and gives the exit code.
    pub fn wait(&mut self, patience: Duration) -> Option<i32> {
        let begun = Instant::now();
        while begun.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "a test's own thread has nothing else to do"
            )]
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A configuration with every port free and one host, whose routes are given as YAML list items.
pub fn config(upstream: &str, routes: &str) -> String {
    config_with(upstream, routes, "")
}

/// The same configuration, in which a certificate alone is enough at the token endpoint.
pub fn certificate_alone(config: &str) -> String {
    let methods = "[client_secret_basic, client_secret_post, tls_client_auth]";
    config.replace("tokens: {", &format!("tokens: {{ client_auth: {methods},"))
}

/// A configuration with these settings of `drain`.
pub fn draining(config: &str, settings: &str) -> String {
    config.replacen(
        "version: 1",
        &format!("version: 1\ndrain: {{ {settings} }}"),
        1,
    )
}

/// The same with further top-level sections.
pub fn config_with(upstream: &str, routes: &str, more: &str) -> String {
    format!(
        "version: 1
workers: 2
listeners:
  partners: {{ address: \"127.0.0.1:0\" }}
admin: {{ address: \"127.0.0.1:0\", socket: admin.sock }}
ops: {{ address: \"127.0.0.1:0\" }}
authority: {{ directory: authority }}
tokens: {{ issuer: \"https://{HOST}\", signing_key: token.key }}
store: {{ url: \"sqlite://store.db\" }}
access_log: {{ path: access.log }}
{more}
upstreams:
  api: {{ endpoints: [\"{upstream}\"] }}
hosts:
  {HOST}:
    routes:
{routes}
"
    )
}
