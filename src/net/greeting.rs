//! The first bytes of a connection that should speak TLS, so that a client of plain HTTP gets its answer in HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// A stream that notes its first bytes while TLS reads them, and that keeps the output of TLS: the alert for bytes that
/// are not TLS, which is sent, or replaced by an answer in HTTP.
#[derive(Debug)]
pub struct Greeting<S> {
    stream: S,
    first: [u8; NOTED],
    noted: usize,
    alert: Vec<u8>,
}

impl<S> Greeting<S> {
    pub const fn of(stream: S) -> Self {
        Self {
            stream,
            first: [0; NOTED],
            noted: 0,
            alert: Vec::new(),
        }
    }

    pub fn into_inner(self) -> S {
        self.stream
    }

    fn noted(&self) -> &[u8] {
        self.first.get(..self.noted).unwrap_or_default()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Greeting<S> {
    /// Answers a client that did not speak TLS: in HTTP if that is its protocol, and with the alert otherwise. Returns
    /// true if it was HTTP.
    pub async fn refuse(&mut self) -> io::Result<bool> {
        let plain = self.is_http().await;
        let answer = if plain { plain_answer() } else { Vec::new() };
        let said = if plain { &answer } else { &self.alert };
        self.stream.write_all(said).await?;
        Ok(plain)
    }

    /// Waits a moment for the rest of a possible request line.
    async fn is_http(&mut self) -> bool {
        let mut piece = [0; NOTED];
        loop {
            if let Some(decided) = begins_request(self.noted()) {
                return decided;
            }
            match timeout(PATIENCE, self.read(&mut piece)).await {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => return false,
            }
        }
    }
}

/// True if bytes begin with a method and a target, with any version of HTTP behind them; `None` while too few have
/// come.
fn begins_request(bytes: &[u8]) -> Option<bool> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let method = bytes.iter().take_while(|byte| is_token(byte)).count();
    match (bytes.get(method), bytes.get(method + 1)) {
        _ if method > METHOD_MAX => Some(false),
        (None, _) => None,
        (Some(b' '), None) => (method == 0).then_some(false),
        (Some(b' '), Some(target)) => Some(method > 0 && target.is_ascii_graphic()),
        (Some(_), _) => Some(false),
    }
}

fn plain_answer() -> Vec<u8> {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n";
    let length = PLAIN_TEXT.len();
    format!("{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{PLAIN_TEXT}").into_bytes()
}

const PLAIN_TEXT: &str = "This port speaks HTTPS, and the request came as plain HTTP.\n\
    Use a URL that begins with https://.\n";

/// A length above that of every registered method.
const METHOD_MAX: usize = 24;
/// A method, a blank, and a byte of the target.
const NOTED: usize = METHOD_MAX + 2;
/// The time limit for the rest of a request line.
const PATIENCE: Duration = Duration::from_secs(1);

impl<S: AsyncRead + Unpin> AsyncRead for Greeting<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        let places = this.first.iter_mut().skip(this.noted);
        for (place, byte) in places.zip(fresh) {
            *place = *byte;
            this.noted += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeting<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().alert.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_method_and_target() {
        let check = |bytes: &[u8], expected| {
            let shown = String::from_utf8_lossy(bytes);
            assert_eq!(begins_request(bytes), expected, "{shown:?}");
        };
        for request in [
            "GET / HTTP/1.1\r\n",
            "POST /x",
            "OPTIONS *",
            "CONNECT a.test:443",
            "PRI * HTTP/2.0",
            "purge http://a.test/",
            "UPDATEREDIRECTREF /",
        ] {
            check(request.as_bytes(), Some(true));
        }
        for other in [
            &b"\x16\x03\x01\x02\x00"[..],
            b"\x80\x2e\x01\x00\x02",
            b"SSH-2.0-OpenSSH_9\r\n",
            b"EHLO\r\n",
            b" / HTTP/1.1",
            b" ",
            b"GET  /",
            b"GET \x00",
            b"\r\nGET / HTTP/1.1",
            b"abcdefghijklmnopqrstuvwxyz",
        ] {
            check(other, Some(false));
        }
        for more in ["", "G", "GET", "GET "] {
            check(more.as_bytes(), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_pieces_is_told_in_words() {
        let (near, mut far) = tokio::io::duplex(1 << 10);
        let asking = async {
            for piece in ["GE", "T", " /"] {
                far.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let mut answer = String::new();
            far.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let refusing = async {
            let mut greeting = Greeting::of(near);
            greeting.refuse().await.unwrap()
        };
        let (answer, plain) = tokio::join!(asking, refusing);
        assert!(plain);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
        assert_eq!(body, PLAIN_TEXT);
    }
}
