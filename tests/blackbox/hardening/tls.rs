//! TLS: records and handshakes that no honest client sends, and names that mean nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::{MEMORY_MAX, Siege, numbered, request};
use crate::support::gateway::{Gateway, HOST, config};
use crate::support::pki::{self, Stranger};
use crate::support::process::run_with_input;
use crate::support::upstream::Echo;

const STRICT: &str = "strict.example.test";

/// What the other side says until it ends the connection, or is silent for too long.
fn said(mut stream: &TcpStream) -> (Vec<u8>, bool) {
    stream
        .set_read_timeout(Some(Duration::from_secs(6)))
        .unwrap();
    let (mut all, mut piece) = (Vec::new(), [0_u8; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return (all, true),
            Ok(read) => all.extend(&piece[..read]),
            Err(error) => {
                let silent = matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                );
                return (all, !silent);
            }
        }
    }
}

fn client(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

/// A client that trusts the gateway and shows nothing.
fn trusting_client(gateway: &Gateway) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(gateway.ca()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    client(roots)
}

/// The bytes of a `ClientHello` for `name`, as one record.
fn hello(name: &str) -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = ClientConnection::new(client(RootCertStore::empty()), name).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    (connection, bytes)
}

#[test]
fn versions_that_are_broken_are_refused() {
    let siege = Siege::new();
    let at = siege.gateway.partners().to_string();
    for version in ["-tls1", "-tls1_1"] {
        let args = [
            "s_client",
            "-connect",
            &at,
            "-servername",
            HOST,
            version,
            "-cipher",
            "DEFAULT@SECLEVEL=0",
        ];
        let shown = run_with_input(siege.gateway.dir(), "openssl", &args, b"");
        assert!(
            shown.stderr.contains("alert protocol version")
                || shown.stdout.contains("Cipher is (NONE)"),
            "{version}: {shown:?}"
        );
        siege.honest(version);
    }
    for cipher in [
        "RC4-SHA",
        "DES-CBC3-SHA",
        "NULL-SHA256",
        "AES128-SHA",
        "AES128-GCM-SHA256",
        "ADH-AES128-SHA256",
    ] {
        let cipher = format!("{cipher}:@SECLEVEL=0");
        let args = [
            "s_client",
            "-connect",
            &at,
            "-servername",
            HOST,
            "-tls1_2",
            "-cipher",
            &cipher,
        ];
        let shown = run_with_input(siege.gateway.dir(), "openssl", &args, b"");
        assert!(
            !shown.stdout.contains("Verify return code") || shown.stdout.contains("(NONE)"),
            "{cipher}: {shown:?}"
        );
        siege.honest(&cipher);
    }
}

#[test]
fn a_handshake_is_made_once() {
    let siege = Siege::new();
    let at = siege.gateway.partners().to_string();
    let args = [
        "s_client",
        "-connect",
        &at,
        "-servername",
        HOST,
        "-tls1_2",
        "-legacy_renegotiation",
    ];
    let shown = run_with_input(
        siege.gateway.dir(),
        "openssl",
        &args,
        b"R\nGET / HTTP/1.1\r\n",
    );
    assert!(!shown.stdout.contains("HTTP/1.1 200"), "{shown:?}");
    assert!(
        shown.stdout.contains("Secure Renegotiation") || shown.stderr.contains("RENEGOTIATING"),
        "{shown:?}"
    );
    assert_eq!(siege.echo.requests(), 0);
    siege.honest("renegotiation");
}

/// A session of OpenSSL's as if its ticket had permitted early data. It is a SEQUENCE, and the field `[15]` is the
/// number of bytes that the ticket permits.
fn permitting_early_data(session: &str) -> String {
    const PERMISSION: [u8; 6] = [0xaf, 4, 2, 2, 0x40, 0];
    const LATER_FIELDS: std::ops::RangeInclusive<u8> = 0xb0..=0xbe;
    let body: String = session
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = BASE64.decode(body.as_bytes()).unwrap();
    let (_, start, end) = element(&der);
    let fields = &der[start..end];
    let mut at = 0;
    while at < fields.len() && !LATER_FIELDS.contains(&fields[at]) {
        assert_ne!(fields[at], PERMISSION[0], "the ticket permits early data");
        at += element(&fields[at..]).2;
    }
    let fields = [&fields[..at], &PERMISSION, &fields[at..]].concat();
    let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
    let der = [&[0x30, 0x82], &length[..], &fields].concat();
    let label = "SSL SESSION PARAMETERS";
    let body = BASE64.encode(&der);
    let lines: Vec<&str> = (0..body.len())
        .step_by(64)
        .map(|from| &body[from..body.len().min(from + 64)])
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The tag of the element at the front, and the places where its content begins and ends.
fn element(der: &[u8]) -> (u8, usize, usize) {
    match der[1] {
        short @ 0..=0x7f => (der[0], 2, 2 + usize::from(short)),
        long => {
            let start = 2 + usize::from(long & 0x7f);
            let length = der[2..start]
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte));
            (der[0], start, start + length)
        }
    }
}

/// Early data can be sent again by anyone who saw it. No ticket permits it, and what comes all the same is not read.
#[test]
fn early_data_is_not_read_and_its_connection_is_served() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let at = siege.gateway.partners().to_string();
    let get = |path: &str| request("GET", path, "Connection: close\r\n", "");
    let call = |args: &[&str], input: &[u8]| {
        let common = [
            "s_client",
            "-connect",
            &at,
            "-servername",
            HOST,
            "-tls1_3",
            "-ign_eof",
        ];
        run_with_input(dir, "openssl", &[&common[..], args].concat(), input)
    };
    let first = call(&["-sess_out", "session.pem"], &get("/first"));
    assert!(first.stdout.contains("HTTP/1.1 200"), "{first:?}");
    assert!(first.stdout.contains("Max Early Data: 0"), "{first:?}");
    let session = fs::read_to_string(dir.join("session.pem")).unwrap();
    fs::write(dir.join("forged.pem"), permitting_early_data(&session)).unwrap();
    fs::write(dir.join("early"), get("/early")).unwrap();

    let forged = ["-sess_in", "forged.pem", "-early_data", "early"];
    let second = call(&forged, &get("/second"));
    assert!(
        second.stdout.contains("Early data was rejected"),
        "{second:?}"
    );
    assert!(second.stdout.contains("Reused, TLSv1.3"), "{second:?}");
    assert_eq!(
        second.stdout.matches("HTTP/1.1 200").count(),
        1,
        "{second:?}"
    );
    assert_eq!(siege.echo.requests(), 2, "/first and /second");
    siege.honest("early data");
    let log = siege.gateway.access_log();
    assert!(log.iter().all(|line| line["path"] != "/early"), "{log:?}");
}

#[test]
fn keys_are_not_changed_for_ever() {
    let siege = Siege::new();
    let memory = siege.gateway.resident();
    let mut connection = siege.stranger.connect();
    connection.set_patience(Duration::from_secs(2));
    let begun = Instant::now();
    for _ in 0..20_000 {
        let asked = connection.tls().refresh_traffic_keys();
        if asked.is_err() || connection.try_send(b"").is_err() {
            break;
        }
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    siege.honest("new keys");
    let grown = siege.gateway.resident().saturating_sub(memory);
    assert!(grown < MEMORY_MAX, "{grown} bytes");
}

#[test]
fn an_unknown_protocol_gets_the_alert() {
    let siege = Siege::new();
    for alpn in [
        &["spdy/3"][..],
        &["h2c"],
        &["http/0.9"],
        &["H2"],
        &["\0"],
        &["x".repeat(255).leak()],
    ] {
        let refused = siege.stranger.try_connect_offering(HOST, alpn);
        assert!(refused.is_err(), "{alpn:?}");
        siege.honest("an unknown protocol");
    }
    let mut many: Vec<String> = (0..500).map(|n| format!("protocol-{n}")).collect();
    many.push("http/1.1".to_owned());
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut connection = siege.stranger.try_connect_offering(HOST, &many).unwrap();
    assert_eq!(connection.get("/").status, 200);
}

#[test]
fn names_that_are_no_names_open_nothing() {
    let siege = Siege::new();
    let (_, good) = hello(HOST);
    let at = good
        .windows(HOST.len())
        .position(|window| window == HOST.as_bytes())
        .unwrap();
    for name in [
        &b"api\0example.test"[..],
        b"api example.test",
        b"api.example\xff\xff\xff\xff\xff",
        b"../../../../etc/",
        b"................",
        b"-pi.example.test",
        b"\r\n\r\nGET / HTTP/1",
        b"127.0.0.1.......",
        &[0; 16],
    ] {
        assert_eq!(name.len(), HOST.len());
        let mut bytes = good.clone();
        bytes[at..at + name.len()].copy_from_slice(name);
        let mut stream = TcpStream::connect(siege.gateway.partners()).unwrap();
        stream.write_all(&bytes).unwrap();
        let (_, ended) = said(&stream);
        assert!(ended, "{}", name.escape_ascii());
        siege.honest("a strange name");
    }
    let log = siege.gateway.log();
    assert!(!log.contains('\0') && !log.contains("panicked"), "{log}");
}

#[test]
fn records_that_are_wrong_end_the_connection() {
    let siege = Siege::new();
    let (_, good) = hello(HOST);
    let cut = |from: &[u8], length: u16| {
        let mut bytes = from.to_vec();
        bytes[3..5].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let mut flipped = good.clone();
    flipped[9] ^= 0xff;
    let mut endless = vec![0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff];
    endless.extend(
        [0x16, 3, 1, 0x40, 0]
            .iter()
            .chain(&[0; 0x4000])
            .copied()
            .collect::<Vec<u8>>()
            .repeat(20),
    );
    for (what, bytes) in [
        ("a record of 65,535 bytes", cut(&good, 0xffff)),
        ("a record of no bytes", cut(&good[..5], 0).repeat(100)),
        ("a record that stops", good[..60].to_vec()),
        ("a hello that never ends", endless),
        ("a hello of another version", flipped),
        ("two hellos", good.repeat(2)),
        ("alerts", [0x15, 3, 3, 0, 2, 1, 90].repeat(10_000)),
        ("a heartbeat", vec![0x18, 3, 3, 0, 3, 1, 0xff, 0xff]),
        (
            "data before the handshake",
            [0x17, 3, 3, 0, 1, 0].repeat(1000),
        ),
        (
            "a change of ciphers, many times",
            [0x14, 3, 3, 0, 1, 1].repeat(10_000),
        ),
        (
            "a finish without a beginning",
            vec![0x16, 3, 3, 0, 4, 20, 0, 0, 0],
        ),
        (
            "SSL 2",
            b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(),
        ),
        ("HTTP", request("GET", "/", "", "")),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        (
            "a PROXY header",
            b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
        ),
    ] {
        let mut stream = TcpStream::connect(siege.gateway.partners()).unwrap();
        let _ = stream.write_all(&bytes);
        let (_, ended) = said(&stream);
        assert!(ended, "{what}");
        siege.honest(what);
    }
    assert_eq!(
        siege
            .gateway
            .access_log()
            .iter()
            .filter(|line| line["path"] != "/honest")
            .count(),
        0
    );
}

/// A `ClientHello` in records of one byte is slow to read, and says the same.
#[test]
fn the_policy_of_a_host_holds_for_a_hello_in_pieces_and_in_capitals() {
    let echo = Echo::start();
    let routes = format!(
        "      - {{ match: {{ prefix: / }}, require: none, upstream: api }}
  {STRICT}:
    client_auth: {{ mode: required }}
    routes:
      - {{ match: {{ prefix: / }}, require: mtls, upstream: api }}"
    );
    let gateway = Gateway::start(&config(&echo.url(), &routes));
    let client = trusting_client(&gateway);
    for (name, in_pieces, expected) in [
        (HOST, true, Some(200)),
        (HOST, false, Some(200)),
        (STRICT, true, None),
        (STRICT, false, None),
        ("STRICT.example.test", true, None),
        ("Strict.Example.Test", false, None),
    ] {
        let server = ServerName::try_from(name).unwrap();
        let mut tls = ClientConnection::new(Arc::clone(&client), server).unwrap();
        let mut bytes = Vec::new();
        tls.write_tls(&mut bytes).unwrap();
        if in_pieces {
            bytes = bytes[5..]
                .iter()
                .flat_map(|byte| [0x16, 3, 1, 0, 1, *byte])
                .collect();
        }
        let mut stream = TcpStream::connect(gateway.partners()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(8)))
            .unwrap();
        stream.write_all(&bytes).unwrap();
        let mut session = rustls::Stream::new(&mut tls, &mut stream);
        let sent = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            name.to_lowercase()
        );
        let mut answer = Vec::new();
        if session.write_all(sent.as_bytes()).is_ok() {
            let _ = session.read_to_end(&mut answer);
        }
        let text = String::from_utf8_lossy(&answer).into_owned();
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse::<u16>().ok());
        assert_eq!(status, expected, "{name}, in pieces: {in_pieces}: {text}");
    }
    assert_eq!(echo.requests(), 2);
}

/// Half a handshake, byte by byte: the deadline is for the whole, not for each byte.
#[test]
fn a_slow_handshake_ends() {
    let siege = Siege::new();
    let (_, bytes) = hello(HOST);
    let mut stream = TcpStream::connect(siege.gateway.partners()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    let begun = Instant::now();
    for byte in &bytes[..bytes.len() - 1] {
        let sent = stream.write_all(&[*byte]);
        let ended = matches!(stream.read(&mut [0; 64]), Ok(0))
            || sent.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock);
        if ended {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(6), "still waiting");
    }
    siege.honest("a slow handshake");
}

#[test]
fn chains_that_are_bombs_are_refused_in_no_time() {
    let siege = Siege::new();
    let dir = siege.gateway.dir();
    let ours = fs::read_to_string(dir.join("authority/issuing.pem")).unwrap();
    let made = pki::request(dir, "bomber");
    let foreign = Stranger::new(dir, "bombs", "/CN=Countersign Issuing");
    let leaf = foreign.sign(
        &made,
        "extendedKeyUsage=clientAuth\nkeyUsage=digitalSignature",
    );
    let leaf = fs::read_to_string(leaf).unwrap();
    let authority = fs::read_to_string(foreign.certificate()).unwrap();
    let names = numbered(3000, |n| format!("DNS.{n}=a{n}.example.test\n"));
    let wide = pki::request(dir, "wide");
    let wide_leaf = foreign.sign(
        &wide,
        &format!("extendedKeyUsage=clientAuth\nsubjectAltName=@names\n[names]\n{names}"),
    );
    let wide_leaf = fs::read_to_string(wide_leaf).unwrap();
    for (what, chain, key) in [
        (
            "the same authority again and again",
            format!("{leaf}{}", authority.repeat(60)),
            &made.key,
        ),
        (
            "our authority behind a stranger's",
            format!("{leaf}{}", ours.repeat(60)),
            &made.key,
        ),
        ("a leaf with thousands of names", wide_leaf, &wide.key),
    ] {
        let file = dir.join("chain.pem");
        fs::write(&file, chain).unwrap();
        let begun = Instant::now();
        let refused = siege.gateway.partner(&file, key).try_connect(HOST);
        if let Ok(mut connection) = refused {
            let _ = connection.try_send(&request("GET", "/", "", ""));
            assert!(connection.try_answer().is_none(), "{what}");
        }
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{what}: {:?}",
            begun.elapsed()
        );
        siege.honest(what);
    }
    assert!(
        siege
            .gateway
            .access_log()
            .iter()
            .all(|line| line["path"] == "/honest")
    );
}

/// Who is trusted to begin with a PROXY header must, and nonsense in it is nobody's address.
#[test]
fn proxy_headers_are_taken_from_load_balancers_and_read_strictly() {
    let echo = Echo::start();
    let trusting = "\"127.0.0.1:0\", proxy_protocol: { trusted: [127.0.0.0/8] }, timeouts: { handshake: 1s, first_request: 1s } }";
    let open = "      - { match: { prefix: / }, require: none, upstream: api }";
    let gateway =
        Gateway::start(&config(&echo.url(), open).replacen("\"127.0.0.1:0\" }", trusting, 1));
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    v2.extend([203, 0, 113, 7, 127, 0, 0, 1, 0x13, 0x88, 1, 0xbb]);
    let mut long = v2.clone();
    long[14..16].copy_from_slice(&[0xff, 0xff]);
    let mut short = v2.clone();
    short[14..16].copy_from_slice(&[0, 4]);
    let mut future = v2.clone();
    future[12] = 0x31;
    let (_, plain) = hello(HOST);
    for (what, bytes) in [
        ("no header", plain),
        ("nothing", Vec::new()),
        ("half a header", b"PROXY TCP4 203.0.113.7".to_vec()),
        (
            "an address that is none",
            b"PROXY TCP4 999.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
        ),
        (
            "a family that is none",
            b"PROXY TCP9 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
        ),
        (
            "a port that is none",
            b"PROXY TCP4 203.0.113.7 127.0.0.1 500000 443\r\n".to_vec(),
        ),
        ("too few words", b"PROXY TCP4\r\n".to_vec()),
        (
            "lower case",
            b"proxy TCP4 203.0.113.7 127.0.0.1 5000 443\r\n".to_vec(),
        ),
        (
            "a bare LF",
            b"PROXY TCP4 203.0.113.7 127.0.0.1 5000 443\n".to_vec(),
        ),
        (
            "a line without end",
            [b"PROXY ".as_slice(), &[b'x'; 5000]].concat(),
        ),
        ("a header that is too long", long),
        ("a header that is too short", short),
        ("a header of the future", future),
        ("a second header", [v2.as_slice(), &v2].concat()),
    ] {
        let mut stream = TcpStream::connect(gateway.partners()).unwrap();
        let _ = stream.write_all(&bytes);
        let (answer, ended) = said(&stream);
        assert!(ended, "{what}");
        assert!(answer.first() != Some(&0x16), "{what}: a handshake");
        let honest = through(&gateway, &v2);
        assert!(honest.contains("203.0.113.7"), "after {what}: {honest}");
    }
    let v1 = b"PROXY TCP4 198.51.100.9 127.0.0.1 5000 443\r\n";
    assert!(through(&gateway, v1).contains("\"x-forwarded-for\",\"198.51.100.9\""));
}

/// Asks honestly behind a PROXY header; gives what the upstream saw.
fn through(gateway: &Gateway, header: &[u8]) -> String {
    let name = ServerName::try_from(HOST).unwrap();
    let mut tls = ClientConnection::new(trusting_client(gateway), name).unwrap();
    let mut stream = TcpStream::connect(gateway.partners()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(8)))
        .unwrap();
    stream.write_all(header).unwrap();
    let mut session = rustls::Stream::new(&mut tls, &mut stream);
    session
        .write_all(&request("GET", "/", "Connection: close\r\n", ""))
        .unwrap();
    let mut answer = Vec::new();
    let _ = session.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
