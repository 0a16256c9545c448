//! The partner's server in the demo: a real TLS client that sends one request at a time.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::directory::{Directory, HOST};
use crate::crypto::tls::{self, Roots, UpstreamTls};
use crate::domain::secret::Secret;
use crate::net::tls::{self as stream, ClientConfig};

/// The maximum number of bytes of an answer; the demo's are a few kilobytes.
const ANSWER_MAX: u64 = 1 << 20;

/// A partner's server.
#[derive(Debug)]
pub struct Partner {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    /// A value in a JSON body; empty when it is not there.
    pub fn at(&self, pointer: &str) -> String {
        let body: Value = serde_json::from_str(&self.body).unwrap_or_default();
        body.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    }
}

impl Partner {
    /// A partner that trusts the demo's authority, and shows its certificate if it has one here.
    pub fn new(
        directory: &Directory,
        address: SocketAddr,
        with_certificate: bool,
    ) -> anyhow::Result<Self> {
        let identity = if with_certificate {
            Some((
                read(&directory.certificate())?,
                Secret::new(read(&directory.certificate_key())?),
            ))
        } else {
            None
        };
        let settings = UpstreamTls {
            roots: Roots::Pem(read(&directory.ca())?),
            identity,
            http2: false,
        };
        Ok(Self {
            address,
            tls: tls::upstream_config(settings)?,
        })
    }

    /// Sends one request on a connection of its own.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &str,
    ) -> anyhow::Result<Answer> {
        let socket = TcpStream::connect(self.address)
            .await
            .context("connecting")?;
        let stream = stream::connect(socket, Arc::clone(&self.tls), HOST)
            .await
            .context("shaking hands")?;
        say(stream, method, path, fields, body).await
    }
}

/// Sends one request without TLS, for the ops listener.
pub async fn ask_plain(address: SocketAddr, path: &str) -> anyhow::Result<Answer> {
    let socket = TcpStream::connect(address).await.context("connecting")?;
    say(socket, "GET", path, &[], "").await
}

async fn say<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> anyhow::Result<Answer> {
    use std::fmt::Write as _;
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n");
    for (name, value) in fields {
        write!(text, "{name}: {value}\r\n")?;
    }
    write!(text, "Content-Length: {}\r\n\r\n{body}", body.len())?;
    stream.write_all(text.as_bytes()).await.context("sending")?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_MAX)
        .read_to_end(&mut answer)
        .await
        .context("reading the answer")?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer has no head")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("the answer has no status")?;
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    Ok(Answer {
        status,
        body: if chunked {
            joined(body)
        } else {
            body.to_owned()
        },
    })
}

/// A body without the sizes of its chunks.
fn joined(chunks: &str) -> String {
    let mut body = String::new();
    let mut rest = chunks;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        let Some((chunk, next)) = after.split_at_checked(size).filter(|_| size > 0) else {
            break;
        };
        body.push_str(chunk);
        rest = next.trim_start_matches("\r\n");
    }
    body
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined("5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), "hello!");
        assert_eq!(joined("zz\r\nhello"), "");
    }
}
