//! The client of the running gateway's admin API.

use std::path::Path;

use http::Method;
use serde_json::Value;

use crate::api::client::AdminClient;
use crate::daemon::inspect::pem_text;

use super::config;
use super::exit::{Exit, Failure};
use super::files;
use super::global::{AdminArgs, Global};
use super::listing::{Extent, Listed, Query};

/// The maximum size of a file, more than any certificate chain or token.
const CREDENTIAL_BYTES_MAX: u64 = 1024 * 1024;

/// The address of the admin API.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// The socket from the options, or else from the configuration.
    Socket(Option<&'a Path>),
    Url {
        url: &'a str,
        ca: &'a Path,
        token: &'a Path,
    },
}

/// The place that the options name.
fn place(args: &AdminArgs) -> Result<Place<'_>, Failure> {
    match (&args.admin_url, &args.admin_ca, &args.admin_token_file) {
        (None, _, _) => Ok(Place::Socket(args.admin_socket.as_deref())),
        (Some(url), Some(ca), Some(token)) => Ok(Place::Url { url, ca, token }),
        (Some(_), _, _) => Err(Failure::new(
            Exit::Usage,
            "--admin-url needs --admin-ca and --admin-token-file",
        )
        .help("get the authority's certificate from /.well-known/countersign/ca.pem on the partners' port, and create a token with `countersign admin-token create`")),
    }
}

/// The client of the admin API.
#[derive(Debug)]
pub(super) struct Admin(AdminClient);

impl Admin {
    /// Finds the admin API, without a connection.
    pub(super) fn find(global: &Global) -> Result<Self, Failure> {
        let client = match place(&global.admin)? {
            Place::Socket(Some(path)) => AdminClient::unix(path),
            Place::Socket(None) => {
                AdminClient::unix(&config::admin_socket(global.config.as_deref())?)
            }
            Place::Url { url, ca, token } => {
                let ca = pem_text(&files::read(ca, CREDENTIAL_BYTES_MAX)?);
                let token = files::read_text(token, CREDENTIAL_BYTES_MAX)?;
                AdminClient::https(url, &ca, &token.into())?
            }
        };
        Ok(Self(client))
    }

    /// The address for messages.
    pub(super) fn at(&self) -> String {
        self.0.at()
    }

    /// Gets `path`, relative to the API's own path.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, Some(body)).await
    }

    /// Gets a list, with as many pages as needed.
    pub(super) async fn list(
        &self,
        path: &str,
        query: &Query,
        extent: &Extent,
    ) -> Result<Listed, Failure> {
        extent
            .fetch(path, query, async |page| self.get(&page).await)
            .await
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Value, Failure> {
        let path = format!("/api/v1{path}");
        Ok(self.0.call(method, &path, body).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_wins_over_a_socket_and_needs_its_companions() {
        let mut args = AdminArgs::default();
        assert_eq!(place(&args).unwrap(), Place::Socket(None));
        args.admin_socket = Some("/run/x".into());
        assert_eq!(
            place(&args).unwrap(),
            Place::Socket(Some(Path::new("/run/x")))
        );
        args.admin_url = Some("https://gateway:7443".into());
        assert_eq!(place(&args).unwrap_err().exit, Exit::Usage);
        args.admin_ca = Some("ca.pem".into());
        assert_eq!(place(&args).unwrap_err().exit, Exit::Usage);
        args.admin_token_file = Some("token".into());
        assert_eq!(
            place(&args).unwrap(),
            Place::Url {
                url: "https://gateway:7443",
                ca: Path::new("ca.pem"),
                token: Path::new("token"),
            }
        );
    }
}
