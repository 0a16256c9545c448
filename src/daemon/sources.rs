//! Sources of public keys: `control` must not depend on `net`, so they are connected here.

use std::sync::Arc;

use crate::config::tokens::Tokens;
use crate::control::fetch::{Fetch, Fetching};
use crate::crypto::jwk::SET_BYTES_MAX;
use crate::crypto::tls::{self, Roots, UpstreamTls};
use crate::crypto::tls_error::TlsError;
use crate::net::fetch::Fetcher;

/// A client of sources, which trusts the system's authorities.
#[derive(Debug)]
pub struct Sources {
    allow_private: bool,
}

impl Sources {
    pub const fn new(tokens: &Tokens) -> Self {
        Self {
            allow_private: tokens.jwks_allow_private,
        }
    }

    /// A client with the authorities of this moment: few fetches a minute are worth no cache of them.
    fn client(&self, allow_private: bool) -> Result<Fetcher, TlsError> {
        let tls = tls::upstream_config(UpstreamTls {
            roots: Roots::System,
            identity: None,
            http2: false,
        })?;
        Ok(Fetcher::new(tls, self.allow_private || allow_private))
    }
}

impl Fetch for Sources {
    fn fetch(&self, url: Arc<str>, allow_private: bool) -> Fetching {
        let client = self.client(allow_private);
        Box::pin(async move {
            let client = client.map_err(|error| error.to_string())?;
            let document = client.get(&url, SET_BYTES_MAX).await;
            document.map(Into::into).map_err(|error| error.to_string())
        })
    }
}
