//! One client connection: its socket, its TLS and its protocol, from connect to close.

use std::io::{self, Read, Write};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::tally::Tally;
use crate::{h1, h2, sys};

/// The connection is of no more use and must be opened anew.
#[derive(Debug)]
pub struct Lost;

pub struct Connection {
    pub fd: RawFd,
    pub tls: ClientConnection,
    pub protocol: Protocol,
    pub stage: Stage,
    /// The start of the request in flight (h1), or of the connection while there was none.
    pub started: Instant,
    pub in_flight: bool,
    pub upload_left: u64,
    /// Whether epoll watches for writability; kept to spare the system call when nothing changes.
    pub watches_writable: bool,
    /// An idle connection that has had its one answer.
    pub settled: bool,
    /// A handshake-mode connection that has had its one answer.
    pub done: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Stage {
    Connecting,
    Handshaking,
    Open,
}

pub enum Protocol {
    H1(h1::Reader),
    H2(h2::Session),
}

/// What arrived in one `receive`.
#[derive(Default)]
pub struct Received {
    pub answers: u32,
}

/// Buffers that all connections share, since one at a time is served.
pub struct Scratch {
    pub sealed: Vec<u8>,
    pub plain: Vec<u8>,
    pub upload: Vec<u8>,
    pub out: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            sealed: vec![0; 1 << 18],
            plain: vec![0; 1 << 16],
            upload: vec![b'x'; 1 << 16],
            out: Vec::new(),
        }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads per event before other connections get their turn.
const READS_MAX: usize = 9;

impl Connection {
    pub fn open(
        port: u16,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        h2: bool,
    ) -> io::Result<Self> {
        Ok(Self {
            fd: sys::connect(port)?,
            tls: ClientConnection::new(config, name).map_err(io::Error::other)?,
            protocol: if h2 {
                Protocol::H2(h2::Session::new())
            } else {
                Protocol::H1(h1::Reader::default())
            },
            stage: Stage::Connecting,
            started: Instant::now(),
            in_flight: false,
            upload_left: 0,
            watches_writable: true,
            settled: false,
            done: false,
        })
    }

    /// Reads what the socket has. An end of file is `Lost`: no scenario lets the proxy close first.
    pub fn receive(&mut self, scratch: &mut Scratch, tally: &mut Tally) -> Result<Received, Lost> {
        let mut received = Received::default();
        for _ in 0..READS_MAX {
            let length = match sys::read(self.fd, &mut scratch.sealed) {
                Ok(0) => return Err(Lost),
                Ok(length) => length,
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return Err(Lost),
            };
            let Scratch {
                sealed, plain, out, ..
            } = scratch;
            self.unseal(&sealed[..length], plain, out, &mut received, tally)?;
            if length < sealed.len() {
                break; // the socket is empty; asking again would cost a system call
            }
        }
        Ok(received)
    }

    fn unseal(
        &mut self,
        mut sealed: &[u8],
        plain: &mut [u8],
        out: &mut Vec<u8>,
        received: &mut Received,
        tally: &mut Tally,
    ) -> Result<(), Lost> {
        while !sealed.is_empty() {
            self.tls.read_tls(&mut sealed).map_err(|_| Lost)?;
            let state = self.tls.process_new_packets().map_err(|problem| {
                if tally.errors < 5 {
                    eprintln!("tls: {problem}");
                }
                Lost
            })?;
            if state.plaintext_bytes_to_read() == 0 {
                continue;
            }
            while let Ok(length @ 1..) = self.tls.reader().read(plain) {
                tally.bytes += length as u64;
                self.read_plain(&plain[..length], out, received, tally)?;
            }
        }
        Ok(())
    }

    fn read_plain(
        &mut self,
        plain: &[u8],
        out: &mut Vec<u8>,
        received: &mut Received,
        tally: &mut Tally,
    ) -> Result<(), Lost> {
        match &mut self.protocol {
            Protocol::H1(reader) => {
                if reader.read(plain, tally) {
                    received.answers += 1;
                    tally.answered(Some(self.started));
                }
            }
            Protocol::H2(session) => {
                out.clear();
                received.answers += session
                    .read(plain, out, tally)
                    .map_err(|h2::GoneAway| Lost)?;
                if !out.is_empty() {
                    self.send(out)?;
                }
            }
        }
        Ok(())
    }

    /// Whether this call saw the handshake end.
    pub fn handshake_ended(&mut self, tally: &mut Tally) -> bool {
        if self.stage != Stage::Handshaking || self.tls.is_handshaking() {
            return false;
        }
        self.stage = Stage::Open;
        match self.tls.handshake_kind() {
            Some(HandshakeKind::Resumed) => tally.resumed_handshakes += 1,
            _ => tally.full_handshakes += 1,
        }
        true
    }

    /// Hands plaintext to TLS; `flush` writes it.
    pub fn send(&mut self, data: &[u8]) -> Result<(), Lost> {
        self.tls.writer().write_all(data).map_err(|_| Lost)
    }

    /// Writes what TLS has and as much of the upload as the socket takes. True if something is left for later.
    pub fn flush(&mut self, upload: &[u8], tally: &mut Tally) -> Result<bool, Lost> {
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut sys::Socket(self.fd)) {
                    Ok(_) => {}
                    Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                    Err(_) => return Err(Lost),
                }
            }
            if self.upload_left == 0 {
                return Ok(false);
            }
            let length = self.upload_left.min(upload.len() as u64) as usize;
            let taken = self
                .tls
                .writer()
                .write(&upload[..length])
                .map_err(|_| Lost)?;
            self.upload_left -= taken as u64;
            tally.bytes += taken as u64;
            if taken == 0 {
                return Ok(true);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        sys::close(self.fd);
    }
}
