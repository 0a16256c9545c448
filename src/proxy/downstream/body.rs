//! A request's body as it arrives, over either version of HTTP.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// What a client sends behind a request's head.
#[derive(Debug)]
pub enum Incoming {
    /// From the connection that the request came on; it is read when it is asked for.
    Http1(Box<dyn Source>),
    /// From a stream.
    Http2(hyper::body::Incoming),
}

/// An HTTP/1.1 connection as its request's body sees it.
pub trait Source: fmt::Debug {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>>;

    /// Whether nothing follows any more.
    fn is_end_stream(&self) -> bool;

    fn size_hint(&self) -> SizeHint;
}

/// Why a body broke off.
#[derive(Debug)]
pub enum Broken {
    /// The connection ended, or what came was no body: then the kind is `InvalidData`.
    Http1(io::Error),
    Http2(hyper::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request's body broke off")
    }
}

impl StdError for Broken {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Http1(error) => Some(error),
            Self::Http2(error) => Some(error),
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Poll::Ready(match self.get_mut() {
            Self::Http1(source) => {
                ready!(source.poll_frame(cx)).map(|frame| frame.map_err(Broken::Http1))
            }
            Self::Http2(body) => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Broken::Http2))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(source) => source.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(source) => source.size_hint(),
            Self::Http2(body) => body.size_hint(),
        }
    }
}
