//! The framing of an HTTP/1.1 body, and the part of it that is at hand.

use bytes::BytesMut;

use super::chunked::{Chunked, Piece};
use super::malformed::Malformed;

/// The part of a body that has not come yet.
#[derive(Debug)]
pub enum Coding {
    /// So many bytes.
    Length(u64),
    Chunked(Chunked),
    /// Everything until the connection ends.
    UntilClose,
}

impl Coding {
    /// Takes the next piece out of `input`; `None` when more bytes are needed.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Option<Piece>, Malformed> {
        match self {
            Self::Length(0) => Ok(Some(Piece::End)),
            Self::Chunked(chunked) => chunked.next(input),
            Self::Length(_) | Self::UntilClose if input.is_empty() => Ok(None),
            Self::Length(left) => {
                let length =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= length as u64;
                Ok(Some(Piece::Data(input.split_to(length).freeze())))
            }
            Self::UntilClose => Ok(Some(Piece::Data(input.split().freeze()))),
        }
    }
}
