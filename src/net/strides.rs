//! Copies in strides: the longest copies of a body's bytes, made short.
//!
//! Where a processor reports fast string moves (FSRM), glibc's `memcpy` uses that instruction for lengths above 2,112
//! bytes. To an odd address, where the plaintext behind a record's header lies, it is four times slower than a loop of
//! vectors on the machines that we have measured, and was a third of a download's cost.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BufMut;
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

/// Appends `bytes` to `out`.
pub fn append(out: &mut impl BufMut, bytes: &[u8]) {
    for part in bytes.chunks(STRIDE) {
        out.put_slice(part);
    }
}

/// A TLS stream to which everything is written as a list of parts. TLS copies each by itself into its sealed record.
#[derive(Debug)]
pub struct Strided<S>(S);

impl<S> Strided<S> {
    pub fn new(stream: S) -> Self {
        Self(stream)
    }

    pub fn inner(&self) -> &S {
        &self.0
    }
}

/// The bytes of one copy.
const STRIDE: usize = 2 << 10;
/// The number of parts that TLS seals before it sends: 64 KiB, and a head before them.
const PARTS_MAX: usize = 33;

impl<S: AsyncWrite + Unpin> AsyncWrite for Strided<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.len() <= STRIDE {
            return Pin::new(&mut self.get_mut().0).poll_write(cx, buf);
        }
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut parts = [IoSlice::new(&[]); PARTS_MAX];
        let strides = bufs.iter().flat_map(|buf| buf.chunks(STRIDE));
        let mut count = 0;
        for (part, stride) in parts.iter_mut().zip(strides) {
            *part = IoSlice::new(stride);
            count += 1;
        }
        let parts = parts.get(..count).unwrap_or(&parts);
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strided<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncBufRead + Unpin> AsyncBufRead for Strided<S> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    fn consume(self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.get_mut().0).consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// A writer that takes everything at once, and remembers the parts.
    #[derive(Debug, Default)]
    struct Parts(Vec<Vec<usize>>, Vec<u8>);

    impl AsyncWrite for Parts {
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.poll_write_vectored(cx, &[IoSlice::new(buf)])
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let Self(parts, bytes) = self.get_mut();
            parts.push(bufs.iter().map(|buf| buf.len()).collect());
            for buf in bufs {
                bytes.extend_from_slice(buf);
            }
            Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    #[tokio::test]
    async fn no_part_is_longer_than_a_stride_and_no_byte_is_lost() {
        for length in [0, 1, STRIDE, STRIDE + 1, 16 << 10, (64 << 10) + 1, 300_000] {
            let mut stream = Strided::new(Parts::default());
            stream.write_all(&bytes(length)).await.unwrap();
            let Parts(parts, written) = stream.0;
            assert!(written == bytes(length), "{length} bytes");
            assert!(parts.iter().flatten().all(|part| *part <= STRIDE));
            assert!(parts.len() <= length.div_ceil(PARTS_MAX * STRIDE));
        }
    }

    #[tokio::test]
    async fn a_head_and_its_body_stay_one_write() {
        let mut stream = Strided::new(Parts::default());
        let (head, body) = (bytes(300), bytes(5000));
        let parts = [IoSlice::new(&head), IoSlice::new(&body)];
        assert_eq!(stream.write_vectored(&parts).await.unwrap(), 5300);
        assert_eq!(stream.0.0, [vec![300, STRIDE, STRIDE, 904]]);
        assert_eq!(stream.0.1, [head, body].concat());
    }

    #[test]
    fn what_is_appended_follows_what_was_there() {
        for length in [0, 1, STRIDE, 5 * STRIDE + 3] {
            let mut out = b"before".to_vec();
            append(&mut out, &bytes(length));
            assert!(out == [&b"before"[..], &bytes(length)].concat(), "{length}");
        }
    }
}
