//! The command line, parsed by hand: fifteen options do not justify a library.

use std::path::PathBuf;

pub const USAGE: &str = "\
usage: load --mode MODE --cert FILE --key FILE [options]

  --mode MODE         h1       keep-alive requests, one in flight per connection
                      h2       --streams requests in flight per connection
                      hs, hsr  a connection per request: full, or resumed, handshakes
                      rate     h1 at a fixed --rate, latency counted from when a request was due
                      rateh2   the same over h2
                      idle     open --connections, one request each, then hold them
                      check    one request whose server certificate is verified against --ca; prints the answer
  --port N            the proxy's port on 127.0.0.1 (28443)
  --ca FILE           roots for `check`; the other modes do not verify, so that the client costs the same everywhere
  --cert FILE         the client's certificate chain, PEM, leaf first
  --key FILE          its key, PEM
  --host NAME         SNI and Host / :authority (localhost)
  --header 'N: V'     repeatable; replaces a default header of that name
  --no-default-headers
  --path PATH         /1k; the upstream knows /1k, /size/BYTES, and echoes the request head for anything else
  --path-prefix P     goes before PATH
  --upload BYTES      POST this many bytes instead of GET (h1 modes)
  --forms FILE        POST the lines of FILE as forms, one after another (h1 modes); the run ends with the last one
  --connections N     64
  --streams N         32, per connection, h2 modes
  --rate N            requests per second, rate modes
  --warm S            1.0, seconds before counting starts
  --seconds S         5.0, seconds counted
  --hold S            5.0, seconds to hold idle connections
  --opening N         64, idle: connections being opened at once
  --spin PORT         run the upstream in this thread, on PORT, and never sleep
  --progress          print `TICK requests` every 20 ms";

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Check,
    H1,
    H2,
    Handshake,
    Idle,
    Rate,
    RateH2,
    Resume,
}

impl Mode {
    pub fn is_h2(self) -> bool {
        matches!(self, Mode::H2 | Mode::RateH2)
    }

    pub fn is_paced(self) -> bool {
        matches!(self, Mode::Rate | Mode::RateH2)
    }

    /// One request per connection, then a new connection.
    pub fn reconnects(self) -> bool {
        matches!(self, Mode::Handshake | Mode::Resume)
    }
}

pub struct Options {
    pub mode: Mode,
    pub port: u16,
    pub ca: Option<PathBuf>,
    pub cert: PathBuf,
    pub key: PathBuf,
    pub host: String,
    /// Names as given; HTTP/2 lower-cases them.
    pub headers: Vec<(String, String)>,
    pub path: String,
    pub upload: u64,
    /// The bodies of requests, each sent once.
    pub forms: Vec<String>,
    pub connections: usize,
    pub streams: u32,
    pub rate: f64,
    pub warm: f64,
    pub seconds: f64,
    pub hold: f64,
    pub opening: usize,
    pub spin: Option<u16>,
    pub progress: bool,
}

/// What an ordinary client sends, plus a forged identity header, which a proxy that sets `X-Client-Fp` must drop.
const DEFAULT_HEADERS: [(&str, &str); 4] = [
    ("User-Agent", "bench/1.0"),
    ("Accept", "*/*"),
    (
        "Authorization",
        "Bearer 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("X-Client-Fp", "forged"),
];

impl Options {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments;
        let mut options = Self::defaults();
        let (mut prefix, mut given, mut default_headers) = (String::new(), Vec::new(), true);
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--no-default-headers" => default_headers = false,
                "--progress" => options.progress = true,
                _ => {
                    let value = arguments
                        .next()
                        .ok_or_else(|| format!("{name} needs a value"))?;
                    match name.as_str() {
                        "--header" => given.push(header(&value)?),
                        "--path-prefix" => prefix = value,
                        _ => options.set(&name, value)?,
                    }
                }
            }
        }
        options.path.insert_str(0, &prefix);
        options.headers = merge(
            if default_headers {
                &DEFAULT_HEADERS
            } else {
                &[]
            },
            given,
        );
        options.complete()
    }

    fn defaults() -> Self {
        Self {
            mode: Mode::H1,
            port: 28443,
            ca: None,
            cert: PathBuf::new(),
            key: PathBuf::new(),
            host: "localhost".into(),
            headers: Vec::new(),
            path: "/1k".into(),
            upload: 0,
            forms: Vec::new(),
            connections: 64,
            streams: 32,
            rate: 0.0,
            warm: 1.0,
            seconds: 5.0,
            hold: 5.0,
            opening: 64,
            spin: None,
            progress: false,
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        match name {
            "--mode" => self.mode = mode(&value)?,
            "--port" => self.port = number(name, &value)?,
            "--ca" => self.ca = Some(value.into()),
            "--cert" => self.cert = value.into(),
            "--key" => self.key = value.into(),
            "--host" => self.host = value,
            "--path" => self.path = value,
            "--upload" => self.upload = number(name, &value)?,
            "--forms" => self.forms = lines(&value)?,
            "--connections" => self.connections = number(name, &value)?,
            "--streams" => self.streams = number(name, &value)?,
            "--rate" => self.rate = number(name, &value)?,
            "--warm" => self.warm = number(name, &value)?,
            "--seconds" => self.seconds = number(name, &value)?,
            "--hold" => self.hold = number(name, &value)?,
            "--opening" => self.opening = number(name, &value)?,
            "--spin" => self.spin = Some(number(name, &value)?),
            _ => return Err(format!("unknown option {name}")),
        }
        Ok(())
    }

    fn complete(self) -> Result<Self, String> {
        if self.cert.as_os_str().is_empty() || self.key.as_os_str().is_empty() {
            return Err("--cert and --key are needed".into());
        }
        if self.mode.is_paced() && self.rate <= 0.0 {
            return Err("the rate modes need --rate".into());
        }
        if self.mode.is_h2() && self.upload > 0 {
            return Err("--upload works in the h1 modes only".into());
        }
        if self.mode.is_h2() && !self.forms.is_empty() {
            return Err("--forms works in the h1 modes only".into());
        }
        if self.mode == Mode::Check && self.ca.is_none() {
            return Err("--mode check needs --ca".into());
        }
        Ok(self)
    }
}

fn lines(path: &str) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn mode(name: &str) -> Result<Mode, String> {
    Ok(match name {
        "check" => Mode::Check,
        "h1" => Mode::H1,
        "h2" => Mode::H2,
        "hs" => Mode::Handshake,
        "hsr" => Mode::Resume,
        "idle" => Mode::Idle,
        "rate" => Mode::Rate,
        "rateh2" => Mode::RateH2,
        _ => return Err(format!("unknown mode {name}")),
    })
}

fn number<N: std::str::FromStr>(name: &str, value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("{name}: {value:?} is not a number of the right kind"))
}

fn header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| format!("--header {line:?} has no colon"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// The given headers after the defaults, each default dropped that a given one names.
fn merge(defaults: &[(&str, &str)], given: Vec<(String, String)>) -> Vec<(String, String)> {
    let kept = defaults.iter().filter(|(name, _)| {
        !given
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    });
    let mut headers: Vec<_> = kept
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    headers.extend(given);
    headers
}
