//! One HTTP/1.1 exchange over its own connection, for tools that send few requests.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tls::{self, ClientConfig, ClientStream};

/// The failure of an exchange.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("the answer is longer than {0} bytes")]
    AnswerTooLong(usize),
    #[error("the connection ended before the answer was complete")]
    Exchange(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sends one request and waits for the whole answer, which may have `body_max` bytes.
pub async fn exchange<I>(
    io: I,
    request: http::Request<Full<Bytes>>,
    body_max: usize,
) -> Result<http::Response<Bytes>, CallError>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(io))
        .await
        .map_err(|error| CallError::Exchange(error.into()))?;
    let exchange = async move {
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| CallError::Exchange(error.into()))?;
        let (head, body) = answer.into_parts();
        match Limited::new(body, body_max).collect().await {
            Ok(body) => Ok(http::Response::from_parts(head, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => Err(CallError::AnswerTooLong(body_max)),
            Err(error) => Err(CallError::Exchange(error)),
        }
    };
    // The connection ends by itself once the sender is gone; its result adds nothing.
    let (answer, _ended) = tokio::join!(exchange, connection);
    answer
}

/// The authorities that a client trusts: these, and no others.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

/// The fault of a PEM text with authorities.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("there is no certificate in the authority's PEM")]
    Empty,
    #[error("the authority's PEM cannot be read")]
    Pem(#[source] rustls::pki_types::pem::Error),
    #[error("the authority's certificate cannot be used")]
    Certificate(#[source] rustls::Error),
}

impl Trust {
    /// Trusts the authorities in `ca_pem` to name servers.
    pub fn authorities(ca_pem: &str) -> Result<Self, TrustError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(TrustError::Pem)?;
            roots.add(certificate).map_err(TrustError::Certificate)?;
        }
        if roots.is_empty() {
            return Err(TrustError::Empty);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TrustError::Certificate)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(Arc::new(config)))
    }

    /// Performs a TLS handshake as a client with the server `host`: a name, or an address without brackets.
    pub async fn connect<I>(&self, io: I, host: &str) -> io::Result<ClientStream<I>>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        tls::connect(io, Arc::clone(&self.0), host).await
    }
}
