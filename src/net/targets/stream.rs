//! An HTTP/2 stream that leaves the judgement of request targets to us: the library resets a stream whose `:path` it
//! does not take, and cuts a fragment off, before any code of ours runs. Such a path is kept here, and the library gets
//! a stand-in of the same length.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::block::Table;

/// The client's connection preface, before its first frame.
const PREFACE: usize = 24;
const FRAME_HEAD: usize = 9;
/// The longest frame that the library takes.
const FRAME_MAX: usize = 16 << 10;
/// Paths that wait for their requests. One waits only until the library has handed out its stream.
const WAITING_MAX: usize = 128;

const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// The paths that were kept from the library, by their streams.
#[derive(Clone, Debug, Default)]
pub struct Paths(Rc<RefCell<VecDeque<(u32, Bytes)>>>);

impl Paths {
    /// Takes the path of a stream.
    pub fn take(&self, stream: u32) -> Option<Bytes> {
        let mut waiting = self.0.borrow_mut();
        if waiting.is_empty() {
            return None;
        }
        let place = waiting.iter().position(|(known, _)| *known == stream)?;
        waiting.remove(place).map(|(_, path)| path)
    }

    fn keep(&self, stream: u32, path: Bytes) {
        let mut waiting = self.0.borrow_mut();
        if waiting.len() == WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back((stream, path));
    }
}

/// The client's bytes with stand-ins for such paths; see the module.
#[derive(Debug)]
pub struct Targets<S> {
    inner: S,
    paths: Paths,
    /// The table of HPACK; `None` once the blocks cannot be followed any more: everything passes unchanged from then
    /// on.
    table: Option<Table>,
    /// Bytes that belong to no frame head and to no block.
    skip: usize,
    /// The beginning of a head or a block, of which the rest has not come.
    partial: Vec<u8>,
    /// Bytes that were looked at and wait to be read.
    ready: VecDeque<u8>,
}

/// Reads `inner` as described, and keeps the paths for the requests' handler.
pub fn targets<S>(inner: S) -> (Targets<S>, Paths) {
    let paths = Paths::default();
    let targets = Targets {
        inner,
        paths: paths.clone(),
        table: Some(Table::default()),
        skip: PREFACE,
        partial: Vec::new(),
        ready: VecDeque::new(),
    };
    (targets, paths)
}

/// The decision about the next bytes.
enum Next {
    /// So many bytes that pass.
    Pass(usize),
    /// A frame of so many bytes, whose block was replaced.
    Replaced(usize, Vec<u8>),
    /// Too few bytes for a decision.
    Partial,
}

impl<S> Targets<S> {
    fn next(&mut self, bytes: &[u8]) -> Next {
        let Some(table) = &mut self.table else {
            return Next::Pass(bytes.len());
        };
        if self.skip > 0 {
            let length = self.skip.min(bytes.len());
            self.skip -= length;
            return Next::Pass(length);
        }
        let Some(head) = bytes.first_chunk::<FRAME_HEAD>() else {
            return Next::Partial;
        };
        let [a, b, c, kind, flags, stream @ ..] = *head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        if kind != HEADERS || length > FRAME_MAX {
            self.skip = FRAME_HEAD + length;
            let length = self.skip.min(bytes.len());
            self.skip -= length;
            return Next::Pass(length);
        }
        let Some(payload) = bytes.get(FRAME_HEAD..FRAME_HEAD + length) else {
            return Next::Partial;
        };
        let whole = FRAME_HEAD + length;
        let block = block_of(payload, flags).filter(|_| flags & END_HEADERS != 0);
        let walked = block.and_then(|block| table.walk(block).ok());
        let Some(walked) = walked else {
            // The block goes on in another frame, or is malformed.
            self.table = None;
            return Next::Pass(bytes.len());
        };
        if let Some(path) = walked.path {
            let id = u32::from_be_bytes(stream) & 0x7fff_ffff;
            self.paths.keep(id, path);
        }
        match walked.block {
            None => Next::Pass(whole),
            Some(block) => Next::Replaced(whole, frame(flags, stream, &block)),
        }
    }

    /// Looks at bytes in a buffer of our own.
    fn feed(&mut self) {
        let bytes = std::mem::take(&mut self.partial);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let length = match self.next(rest) {
                Next::Pass(length) => {
                    self.ready.extend(rest.get(..length).unwrap_or_default());
                    length
                }
                Next::Replaced(length, frame) => {
                    self.ready.extend(frame);
                    length
                }
                Next::Partial => {
                    self.partial = rest.to_vec();
                    return;
                }
            };
            rest = rest.get(length..).unwrap_or_default();
        }
    }

    /// Looks at bytes in place. Bytes that must change go into a buffer of our own.
    fn look(&mut self, buf: &mut ReadBuf<'_>, begun: usize) {
        let mut seen = begun;
        while let Some(rest) = buf.filled().get(seen..)
            && !rest.is_empty()
        {
            match self.next(rest) {
                Next::Pass(length) => seen += length,
                Next::Replaced(length, frame) => {
                    self.ready.extend(frame);
                    self.partial = rest.get(length..).unwrap_or_default().to_vec();
                    self.feed();
                    break;
                }
                Next::Partial => {
                    self.partial = rest.to_vec();
                    break;
                }
            }
        }
        buf.set_filled(seen);
    }

    fn read_ready(&mut self, buf: &mut ReadBuf<'_>) {
        while !self.ready.is_empty() && buf.remaining() > 0 {
            let (front, _) = self.ready.as_slices();
            let length = front.len().min(buf.remaining());
            buf.put_slice(front.get(..length).unwrap_or_default());
            self.ready.drain(..length);
        }
        if self.ready.is_empty() {
            self.ready = VecDeque::new();
        }
    }
}

/// The block in the payload of a HEADERS frame.
fn block_of(payload: &[u8], flags: u8) -> Option<&[u8]> {
    let (padding, rest) = match payload {
        [padding, rest @ ..] if flags & PADDED != 0 => (usize::from(*padding), rest),
        [] if flags & PADDED != 0 => return None,
        payload => (0, payload),
    };
    let rest = match flags & PRIORITY {
        0 => rest,
        _ => rest.get(5..)?,
    };
    rest.get(..rest.len().checked_sub(padding)?)
}

/// A HEADERS frame without padding and priority, which nobody uses.
fn frame(flags: u8, stream: [u8; 4], block: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = u32::try_from(block.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(FRAME_HEAD + block.len());
    frame.extend([a, b, c, HEADERS, flags & !(PADDED | PRIORITY)]);
    frame.extend(stream);
    frame.extend(block);
    frame
}

impl<S: AsyncRead + Unpin> AsyncRead for Targets<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if !this.ready.is_empty() {
                this.read_ready(buf);
                return Poll::Ready(Ok(()));
            }
            let begun = buf.filled().len();
            if this.partial.is_empty() {
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                if buf.filled().len() == begun {
                    return Poll::Ready(Ok(()));
                }
                this.look(buf, begun);
                if buf.filled().len() > begun {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut more = [0; 4 << 10];
                let mut more = ReadBuf::new(&mut more);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut more))?;
                if more.filled().is_empty() {
                    // The end, in the middle of a frame.
                    this.table = None;
                }
                this.partial.extend_from_slice(more.filled());
                this.feed();
                if more.filled().is_empty() && this.ready.is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Targets<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn head(stream: u8, path: &[u8]) -> Vec<u8> {
        let mut block = vec![0x82, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
        block.extend_from_slice(path);
        frame(END_HEADERS | 1, [0, 0, 0, stream], &block)
    }

    fn data(length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, 0, 0, 0, 0, 0, 1];
        frame.resize(FRAME_HEAD + usize::from(length), b'd');
        frame
    }

    /// The library's input for `sent`, which comes in pieces of `step` bytes, and the paths of streams 1, 3 and 5.
    async fn read(sent: &[u8], step: usize) -> (Vec<u8>, [Option<Bytes>; 3]) {
        let (mut far, near) = tokio::io::duplex(1 << 20);
        let (mut targets, paths) = targets(near);
        let sent = sent.to_vec();
        let write = async move {
            for piece in sent.chunks(step) {
                far.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let mut read = Vec::new();
        let ((), all) = tokio::join!(write, targets.read_to_end(&mut read));
        all.unwrap();
        (read, [1, 3, 5].map(|stream| paths.take(stream)))
    }

    #[tokio::test]
    async fn unfit_paths_are_kept_and_all_else_passes_however_it_comes() {
        let preface = vec![b'P'; PREFACE];
        let unfit = &b"/a?\"b\""[..];
        let sent = [
            preface.clone(),
            head(1, b"/fit"),
            data(200),
            head(3, unfit),
            data(7),
            head(5, b"/<"),
            data(0),
        ];
        let shown = [
            preface,
            head(1, b"/fit"),
            data(200),
            head(3, b"/../xx"),
            data(7),
            head(5, b"/.."),
            data(0),
        ];
        for step in [1, 2, 9, 10, 64, 1000] {
            let (read, paths) = read(&sent.concat(), step).await;
            assert_eq!(read, [&shown.concat()[..]].concat(), "{step}");
            let expected = [
                None,
                Some(Bytes::from_static(unfit)),
                Some(Bytes::from_static(b"/<")),
            ];
            assert_eq!(paths, expected, "{step}");
        }
    }

    #[tokio::test]
    async fn blocks_in_several_frames_and_what_is_cut_short_pass_as_they_are() {
        let mut begun = head(1, b"/<");
        begun[4] = 1;
        for end in [begun, vec![0, 0, 5, HEADERS], head(1, b"/<")[..12].to_vec()] {
            let sent = [vec![b'P'; PREFACE], end, head(3, b"/x")].concat();
            let (read, _) = read(&sent, 7).await;
            assert_eq!(read.len(), sent.len());
        }
    }

    #[tokio::test]
    async fn padding_and_priority_are_passed_over() {
        let whole = head(1, b"/<");
        let block = &whole[FRAME_HEAD..];
        let payload = [&[2, 0, 0, 0, 0, 16][..], block, &[0, 0]].concat();
        let mut framed = frame(0, [0, 0, 0, 1], &payload);
        framed[4] = END_HEADERS | PADDED | PRIORITY;
        let (read, [path, ..]) = read(&[vec![b'P'; PREFACE], framed].concat(), 11).await;
        assert_eq!(path.unwrap(), "/<");
        assert!(read.ends_with(b"/.."), "{read:?}");
    }
}
