//! The smallest mTLS reverse proxy on pingora: `pingora-peer PORT UPSTREAM_PORT CERT KEY CA`, one worker thread.

use async_trait::async_trait;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::prelude::*;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::tls::ssl::{SslVerifyMode, SslVersion};
use pingora_http::RequestHeader;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Proxy {
    upstream: String,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _context: &mut (),
    ) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(
            &self.upstream,
            false,
            String::new(),
        )))
    }

    /// Replaces the identity header, so that a client's forged one is dropped.
    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        _context: &mut (),
    ) -> Result<()> {
        let digest = session
            .digest()
            .and_then(|digest| digest.ssl_digest.as_ref());
        let fingerprint = digest
            .map(|digest| hex(&digest.cert_digest))
            .unwrap_or_default();
        request.remove_header("x-client-fp");
        request.insert_header("X-Client-Fp", fingerprint)
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, upstream_port, cert, key, ca] = arguments.as_slice() else {
        eprintln!("usage: pingora-peer PORT UPSTREAM_PORT CERT KEY CA");
        std::process::exit(2);
    };
    let mut conf = ServerConf::new().expect("the default configuration is valid");
    conf.threads = 1;
    conf.upstream_keepalive_pool_size = 256;
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let proxy = Proxy {
        upstream: format!("127.0.0.1:{upstream_port}"),
    };
    let mut service = http_proxy_service(&server.configuration, proxy);
    service.add_tls_with_settings(&format!("127.0.0.1:{port}"), None, tls(cert, key, ca));
    server.add_service(service);
    server.run_forever();
}

fn tls(cert: &str, key: &str, ca: &str) -> TlsSettings {
    let mut settings =
        TlsSettings::intermediate(cert, key).expect("certificate and key are readable");
    settings.enable_h2();
    settings
        .set_min_proto_version(Some(SslVersion::TLS1_3))
        .expect("BoringSSL has TLS 1.3");
    settings.set_ca_file(ca).expect("the CA is readable");
    settings
        .set_session_id_context(b"bench")
        .expect("the context is short enough");
    settings.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    settings
}
