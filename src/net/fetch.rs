//! Documents of others, fetched over HTTPS: one GET of a bounded answer, without redirects, from public addresses.
//!
//! The address that was judged is the one that is connected to. A name that is looked up twice could have a public
//! address for the judge and a private one for the connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, HOST};
use http::{HeaderValue, Request, Uri};
use http_body_util::Full;
use tokio::net::TcpStream;

use super::call::{self, CallError};
use super::tls::{self, ClientConfig};

/// The time for a whole fetch.
const WITHIN: Duration = Duration::from_secs(10);

/// The most addresses of a name that are looked at.
const ADDRESSES_MAX: usize = 16;

/// The failure of a fetch, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("the URL is not an https URL with a host")]
    Url,
    #[error("the name does not resolve")]
    Resolve(#[source] io::Error),
    #[error("the host has no public address, and private ones are not asked")]
    Private,
    #[error("no connection: {0}")]
    Connect(io::Error),
    #[error("there was no whole answer within {} seconds", WITHIN.as_secs())]
    Timeout,
    #[error("the answer cannot be read: {0}")]
    Call(#[from] CallError),
    #[error("the answer has the status {0} instead of 200; redirects are not followed")]
    Status(u16),
}

/// A client that fetches.
#[derive(Clone, Debug)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
    allow_private: bool,
}

impl Fetcher {
    /// Trusts the authorities of `tls`. `allow_private` is for sources inside of the operator's own network.
    pub const fn new(tls: Arc<ClientConfig>, allow_private: bool) -> Self {
        Self { tls, allow_private }
    }

    /// Gets the document at `url`, of at most `max` bytes.
    pub async fn get(&self, url: &str, max: usize) -> Result<Bytes, FetchError> {
        let fetched = tokio::time::timeout(WITHIN, self.get_in_any_time(url, max));
        fetched.await.unwrap_or(Err(FetchError::Timeout))
    }

    async fn get_in_any_time(&self, url: &str, max: usize) -> Result<Bytes, FetchError> {
        let uri: Uri = url.parse().ok().ok_or(FetchError::Url)?;
        let host = uri.host().filter(|host| !host.is_empty());
        let (Some("https"), Some(host)) = (uri.scheme_str(), host) else {
            return Err(FetchError::Url);
        };
        let host = host.trim_matches(['[', ']']);
        let stream = self.connect(host, uri.port_u16().unwrap_or(443)).await?;
        let stream = tls::connect(stream, Arc::clone(&self.tls), host).await;
        let stream = stream.map_err(FetchError::Connect)?;
        let answer = call::exchange(stream, request(&uri)?, max).await?;
        match answer.status().as_u16() {
            200 => Ok(answer.into_body()),
            status => Err(FetchError::Status(status)),
        }
    }

    /// Connects to the first address of the host that may be asked and answers.
    async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, FetchError> {
        let found = tokio::net::lookup_host((host, port)).await;
        let mut failed = FetchError::Private;
        for address in found.map_err(FetchError::Resolve)?.take(ADDRESSES_MAX) {
            if !self.allow_private && !is_public(address.ip()) {
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = FetchError::Connect(error),
            }
        }
        Err(failed)
    }
}

fn request(uri: &Uri) -> Result<Request<Full<Bytes>>, FetchError> {
    let mut request = Request::new(Full::default());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse().ok().ok_or(FetchError::Url)?;
    let authority = uri.authority().ok_or(FetchError::Url)?;
    let host = HeaderValue::from_str(authority.as_str());
    let fields = request.headers_mut();
    fields.insert(HOST, host.ok().ok_or(FetchError::Url)?);
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// True for addresses that lead to no network of the operator, of the machine, or of nobody.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    // This network, loopback, multicast and what is reserved; carriers' own (RFC 6598), protocol assignments
    // (RFC 6890), benchmarks (RFC 2544), relays of 6to4.
    let special = matches!(
        address.octets(),
        [0 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [192, 0, 0, _]
            | [198, 18 | 19, ..]
            | [192, 88, 99, _]
    );
    !(special || address.is_private() || address.is_link_local() || address.is_documentation())
}

/// Global unicast is `2000::/3`; of that, addresses that hold or reach another network are none of ours to judge.
const fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Teredo and other protocol assignments, documentation (RFC 3849 and 9637), 6to4.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_asked() {
        for public in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "2606:4700::1",
            "2a00::1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
    }

    #[tokio::test]
    async fn a_private_address_is_not_even_connected_to() {
        let roots = rustls::RootCertStore::empty();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fetcher = Fetcher::new(Arc::new(tls), false);
        for url in [
            format!("https://127.0.0.1:{port}/jwks"),
            format!("https://localhost:{port}/jwks"),
            format!("https://[::1]:{port}/jwks"),
            format!("https://[::ffff:127.0.0.1]:{port}/jwks"),
        ] {
            let refused = fetcher.get(&url, 10).await.unwrap_err();
            assert!(matches!(refused, FetchError::Private), "{url}: {refused}");
        }
        for url in ["http://a.test/", "https://", "jwks", ""] {
            let refused = fetcher.get(url, 10).await.unwrap_err();
            assert!(matches!(refused, FetchError::Url), "{url}: {refused}");
        }
    }
}
