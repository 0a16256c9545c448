//! Partners' servers: real TLS clients, polite and otherwise.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

/// How long a client waits for bytes that should come.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fields of a request that opens a WebSocket (RFC 6455, 4.1).
pub const WEBSOCKET: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// A partner's server: what it trusts, and what it can prove.
#[derive(Clone, Debug)]
pub struct Partner {
    address: SocketAddr,
    /// Where it calls from; the system's choice when not set.
    source: Option<IpAddr>,
    host: String,
    config: Arc<ClientConfig>,
    /// What is sent before the TLS handshake, as a load balancer does.
    preamble: Vec<u8>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason of a problem; empty when it is none.
    pub fn reason(&self) -> String {
        let problem: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        problem["reason"].as_str().unwrap_or_default().to_owned()
    }
}

impl Partner {
    /// A client that trusts `ca` and shows `identity` (certificate chain and key, in PEM files) if it has one.
    pub fn new(
        address: SocketAddr,
        host: &str,
        ca: &Path,
        identity: Option<(&Path, &Path)>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_file_iter(chain)
                    .unwrap()
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                    .unwrap()
            }
        };
        Self {
            address,
            source: None,
            host: host.to_owned(),
            config: Arc::new(config),
            preamble: Vec::new(),
        }
    }

    /// The same partner behind a load balancer that begins its connections with these bytes.
    #[must_use]
    pub fn behind(&self, preamble: &[u8]) -> Self {
        Self {
            preamble: preamble.to_vec(),
            ..self.clone()
        }
    }

    /// A partner that shows `chain`, which no honest client would take for its own; without a key it signs nonsense.
    pub fn showing(
        address: SocketAddr,
        host: &str,
        ca: &Path,
        chain: &Path,
        key: Option<&Path>,
    ) -> Self {
        let honest = Self::new(address, host, ca, None);
        let mut config = (*honest.config).clone();
        let chain = CertificateDer::pem_file_iter(chain).unwrap();
        let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
        let key: Arc<dyn rustls::sign::SigningKey> = match key {
            Some(key) => {
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap()
            }
            None => Arc::new(Nonsense),
        };
        let shown = rustls::sign::CertifiedKey::new(chain, key);
        config.client_auth_cert_resolver = Arc::new(Shown(Arc::new(shown)));
        Self {
            config: Arc::new(config),
            ..honest
        }
    }

    /// The same partner on another machine.
    #[must_use]
    pub fn from(&self, source: IpAddr) -> Self {
        Self {
            source: Some(source),
            ..self.clone()
        }
    }

    /// The same partner, asking for TLS 1.2 and nothing newer.
    #[must_use]
    pub fn over_tls12(&self, ca: &Path, identity: Option<(&Path, &Path)>) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let chain = CertificateDer::pem_file_iter(chain)
                    .unwrap()
                    .collect::<Result<Vec<_>, _>>()
                    .unwrap();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap())
                    .unwrap()
            }
        };
        Self {
            config: Arc::new(config),
            ..self.clone()
        }
    }

    /// A connection on which HTTP/1.1 is spoken, byte by byte as the test likes.
    pub fn connect(&self) -> Connection {
        self.try_connect(&self.host).unwrap()
    }

    /// The same under another SNI.
    pub fn connect_as(&self, sni: &str) -> Connection {
        self.try_connect(sni).unwrap()
    }

    /// Connects and completes the handshake, as far as a client can tell.
    pub fn try_connect(&self, sni: &str) -> std::io::Result<Connection> {
        self.try_connect_offering(sni, &["http/1.1"])
    }

    /// The same, offering these protocols; none sends no ALPN at all.
    pub fn try_connect_offering(&self, sni: &str, alpn: &[&str]) -> std::io::Result<Connection> {
        let mut config = (*self.config).clone();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        // The clone shares the session store, so resumption works between connections of one partner.
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = self.dial()?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.preamble)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Connection {
            stream,
            host: self.host.clone(),
        })
    }

    fn dial(&self) -> std::io::Result<TcpStream> {
        let Some(source) = self.source else {
            return TcpStream::connect(self.address);
        };
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
        socket.connect(&self.address.into())?;
        Ok(socket.into())
    }

    /// One request on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        self.connect().get(path)
    }

    /// One request with these fields on a connection of its own.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.connect().request("GET", path, headers, b"")
    }

    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.connect().request("POST", path, headers, body)
    }

    /// One request with a key or a token.
    pub fn get_by(&self, path: &str, credential: &str) -> Answer {
        self.get_with(path, &[("Authorization", &format!("Bearer {credential}"))])
    }

    /// Asks the token endpoint with a key.
    pub fn exchange(&self, id: &str, secret: &str) -> Answer {
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let kind = ("Content-Type", "application/x-www-form-urlencoded");
        self.post("/oauth2/token", &[kind], form.as_bytes())
    }

    /// An access token for a key.
    #[track_caller]
    pub fn token(&self, id: &str, secret: &str) -> String {
        let answer = self.exchange(id, secret);
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["access_token"].as_str().unwrap().to_owned()
    }

    /// One request over HTTP/2 on a connection of its own.
    pub fn get_h2(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = |builder: http::request::Builder| builder.method("GET");
        self.over_h2(vec![(path.to_owned(), Bytes::new())], headers, request)
            .remove(0)
    }

    /// Requests over HTTP/2, one after the other on one connection.
    pub fn over_h2(
        &self,
        requests: Vec<(String, Bytes)>,
        headers: &[(&str, &str)],
        build: impl Fn(http::request::Builder) -> http::request::Builder,
    ) -> Vec<Answer> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut sender = self.h2().await;
            let mut answers = Vec::new();
            for (path, body) in requests {
                let uri = format!("https://{}{path}", self.host);
                let mut builder = build(
                    http::Request::builder()
                        .uri(uri)
                        .version(http::Version::HTTP_2),
                );
                for (name, value) in headers {
                    builder = builder.header(*name, *value);
                }
                let response = sender
                    .send_request(builder.body(Full::new(body)).unwrap())
                    .await
                    .unwrap();
                let (parts, body) = response.into_parts();
                let collected = body.collect().await.unwrap();
                let mut fields = listed(&parts.headers);
                fields.extend(collected.trailers().map(listed).unwrap_or_default());
                answers.push(Answer {
                    status: parts.status.as_u16(),
                    headers: fields,
                    body: collected.to_bytes().to_vec(),
                });
            }
            answers
        })
    }

    /// A connection on which HTTP/2 is spoken; its task runs on the current runtime.
    pub async fn h2(&self) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
        let tls = self.tls_for_h2().await;
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
                .await
                .unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the connection's life is the test's"
        )]
        tokio::spawn(connection);
        sender
    }

    /// The same for tests that send and receive piece by piece.
    pub async fn streams(&self) -> h2::client::SendRequest<Bytes> {
        let (sender, connection) = h2::client::handshake(self.tls_for_h2().await)
            .await
            .unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "the connection's life is the test's"
        )]
        tokio::spawn(connection);
        sender.ready().await.unwrap()
    }

    async fn tls_for_h2(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        use tokio::io::AsyncWriteExt;
        let mut config = (*self.config).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let mut tcp = tokio::net::TcpStream::connect(self.address).await.unwrap();
        tcp.write_all(&self.preamble).await.unwrap();
        let name = ServerName::try_from(self.host.clone()).unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
            .unwrap()
    }
}

/// A certificate that is shown whatever the server asks for.
#[derive(Debug)]
struct Shown(Arc<rustls::sign::CertifiedKey>);

impl rustls::client::ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<Arc<rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Signs without a key.
#[derive(Debug)]
struct Nonsense;

impl rustls::sign::SigningKey for Nonsense {
    fn choose_scheme(
        &self,
        _: &[rustls::SignatureScheme],
    ) -> Option<Box<dyn rustls::sign::Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for Nonsense {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![0x30, 6, 2, 1, 1, 2, 1, 1])
    }

    fn scheme(&self) -> rustls::SignatureScheme {
        rustls::SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// One request on an HTTP/2 connection that is open; gives the status and the reason of a refusal.
pub async fn ask_h2(
    sender: &mut hyper::client::conn::http2::SendRequest<Full<Bytes>>,
    uri: &str,
) -> (u16, String) {
    let request = http::Request::get(uri).body(Full::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (
        status,
        problem["reason"].as_str().unwrap_or_default().to_owned(),
    )
}

fn listed(map: &http::HeaderMap) -> Vec<(String, String)> {
    map.iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect()
}

/// A TLS connection with HTTP/1.1 on it.
#[derive(Debug)]
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    host: String,
}

impl Connection {
    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// True if bytes that have come are not read yet.
    pub fn has_bytes(&mut self) -> bool {
        let state = self.stream.conn.process_new_packets();
        state.is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// The certificate that the server showed, in DER.
    pub fn shown(&self) -> Vec<u8> {
        self.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }

    /// Whether the handshake resumed an earlier session.
    pub fn resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        use std::fmt::Write as _;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !body.is_empty() {
            let _ = write!(head, "Content-Length: {}\r\n", body.len());
        }
        head.push_str("\r\n");
        self.send(head.as_bytes());
        // A server may refuse before it has read everything; its answer tells more than a broken pipe.
        let _ = self.try_send(body);
        self.answer()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one answer to its end; panics when none comes.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().unwrap_or_else(|| panic!("no answer"))
    }

    /// Reads one answer, or `None` when the connection ends or fails before its head is complete.
    pub fn try_answer(&mut self) -> Option<Answer> {
        let head = self.head()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if status == 101 || status == 204 || status == 304 {
            return Some(answer);
        }
        if status == 100 {
            return self.try_answer();
        }
        if answer.header("transfer-encoding").is_some() {
            answer.body = self.chunks();
        } else if let Some(length) = answer
            .header("content-length")
            .and_then(|value| value.parse().ok())
        {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body).ok()?;
        } else {
            let _ = self.stream.read_to_end(&mut answer.body);
        }
        Some(answer)
    }

    fn head(&mut self) -> Option<String> {
        let mut head = Vec::new();
        let mut byte = [0_u8; 1];
        while !head.ends_with(b"\r\n\r\n") {
            if self.stream.read(&mut byte).ok()? == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        Some(String::from_utf8_lossy(&head).into_owned())
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(self.line().trim(), 16).unwrap_or(0);
            if size == 0 {
                while !self.line().trim().is_empty() {}
                return body;
            }
            let mut chunk = vec![0; size];
            if self.stream.read_exact(&mut chunk).is_err() {
                return body;
            }
            body.extend(chunk);
            self.line();
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0_u8; 1];
        while !line.ends_with(b"\r\n") && self.stream.read(&mut byte).is_ok_and(|read| read == 1) {
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line).into_owned()
    }

    /// The TLS session itself, for tests that speak TLS rather than HTTP.
    pub fn tls(&mut self) -> &mut ClientConnection {
        &mut self.stream.conn
    }

    /// Bounds each read and each write from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.stream.sock.set_read_timeout(Some(patience)).unwrap();
        self.stream.sock.set_write_timeout(Some(patience)).unwrap();
    }

    /// Reads what there is into `bytes`.
    pub fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(bytes)
    }

    /// Reads just so many bytes.
    pub fn read_exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Counts the bytes up to an end that the other side announces; `None` when it just cuts the connection.
    pub fn count_to_goodbye(&mut self) -> Option<usize> {
        let mut piece = vec![0; 64 << 10];
        let mut count = 0;
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Some(count),
                Ok(read) => count += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether the other side ends the connection within `patience`, without sending anything more.
    pub fn is_closed_within(&mut self, patience: Duration) -> bool {
        self.stream.sock.set_read_timeout(Some(patience)).unwrap();
        let mut byte = [0_u8; 1];
        let closed = match self.stream.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        };
        self.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        closed
    }
}
