//! The upstream behind the proxy: HTTP/1.1 keep-alive over plain TCP, as cheap as it can be.
//!
//! `GET …/1k` answers 1 KiB, `GET …/size/BYTES` that many bytes, any other GET echoes the request's head (so one can see
//! what the proxy made of it), any other method reads the body and answers `ok`. Paths are matched at their end, so a
//! prefix that the proxy did not strip does no harm. Requests are not pipelined; no proxy here does that.

use std::io::{self, IoSlice};
use std::os::fd::RawFd;

use crate::h1::{Tail, content_length, find};
use crate::sys::{self, Epoll, Event};

/// Bytes of payload offered to one write.
const PAYLOAD: usize = 1 << 20;
const READ_MAX: usize = 1 << 18;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub struct Upstream {
    epoll: Epoll,
    listeners: Vec<RawFd>,
    /// By descriptor: a table lookup is the cheapest map.
    connections: Vec<Option<Box<Connection>>>,
    answers: Answers,
    scratch: Vec<u8>,
}

struct Answers {
    one_kib: Vec<u8>,
    payload: Vec<u8>,
}

#[derive(Default)]
struct Connection {
    /// The beginning of a head whose end has not arrived.
    partial_head: Vec<u8>,
    body: Body,
    out: Vec<u8>,
    written: usize,
    payload_left: u64,
    watches_writable: bool,
}

/// A request's body, read and dropped.
#[derive(Default)]
enum Body {
    Chunked(Tail),
    Length(u64),
    #[default]
    None,
}

struct Lost;

impl Upstream {
    pub fn listen(ports: &[u16]) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let mut listeners = Vec::new();
        for port in ports {
            let listener = sys::listen(*port).map_err(|problem| {
                io::Error::new(problem.kind(), format!("upstream port {port}: {problem}"))
            })?;
            epoll.add(listener, listener as u64, false);
            listeners.push(listener);
        }
        let mut one_kib = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nCache-Control: no-store\r\n\
            X-Request-Id: 0123456789abcdef\r\nContent-Length: 1024\r\n\r\n"
            .to_vec();
        one_kib.resize(one_kib.len() + 1024, b'x');
        let answers = Answers {
            one_kib,
            payload: vec![b'x'; PAYLOAD],
        };
        Ok(Self {
            epoll,
            listeners,
            connections: Vec::new(),
            answers,
            scratch: vec![0; READ_MAX],
        })
    }

    /// Serves what is ready. A timeout of 0 polls, -1 waits.
    pub fn step(&mut self, timeout_ms: i32) {
        let mut events = [sys::NO_EVENT; 256];
        let count = self.epoll.wait(&mut events, timeout_ms);
        for event in &events[..count] {
            let fd = event.u64 as RawFd;
            if self.listeners.contains(&fd) {
                self.accept(fd);
            } else if self.serve(fd, event).is_err() {
                self.connections[fd as usize] = None;
                sys::close(fd);
            }
        }
    }

    fn accept(&mut self, listener: RawFd) {
        while let Some(fd) = sys::accept(listener) {
            if self.connections.len() <= fd as usize {
                self.connections.resize_with(fd as usize + 1, || None);
            }
            self.connections[fd as usize] = Some(Box::default());
            self.epoll.add(fd, fd as u64, false);
        }
    }

    fn serve(&mut self, fd: RawFd, event: &Event) -> Result<(), Lost> {
        let Some(connection) = self
            .connections
            .get_mut(fd as usize)
            .and_then(Option::as_mut)
        else {
            return Ok(());
        };
        if event.events & (sys::READABLE | sys::FAILED) != 0 {
            match sys::read(fd, &mut self.scratch) {
                Ok(0) => return Err(Lost),
                Ok(length) => connection.take_in(&self.scratch[..length], &self.answers),
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Err(Lost),
            }
        }
        let more = connection.write_out(fd, &self.answers.payload)?;
        if more != connection.watches_writable {
            connection.watches_writable = more;
            self.epoll.modify(fd, fd as u64, more);
        }
        Ok(())
    }
}

impl Connection {
    fn take_in(&mut self, mut data: &[u8], answers: &Answers) {
        while !data.is_empty() {
            match &mut self.body {
                Body::Chunked(tail) => {
                    tail.push(data);
                    data = &[];
                    if tail.ends_body() {
                        self.end_body();
                    }
                }
                Body::Length(left) => {
                    let taken = (*left).min(data.len() as u64);
                    *left -= taken;
                    data = &data[taken as usize..];
                    if *left == 0 {
                        self.end_body();
                    }
                }
                Body::None => data = self.take_head(data, answers),
            }
        }
    }

    fn end_body(&mut self) {
        self.body = Body::None;
        self.out.extend_from_slice(OK);
    }

    /// Answers the head at the front of `data` and returns the rest. The usual head arrives whole and is not copied.
    fn take_head<'a>(&mut self, data: &'a [u8], answers: &Answers) -> &'a [u8] {
        if self.partial_head.is_empty() {
            let Some(found) = find(data, b"\r\n\r\n") else {
                self.partial_head.extend_from_slice(data);
                return &[];
            };
            let (head, rest) = data.split_at(found + 4);
            self.answer(head, answers);
            return rest;
        }
        let before = self.partial_head.len();
        self.partial_head.extend_from_slice(data);
        let Some(found) = find(&self.partial_head, b"\r\n\r\n") else {
            return &[];
        };
        let mut head = std::mem::take(&mut self.partial_head);
        head.truncate(found + 4);
        self.answer(&head, answers);
        &data[found + 4 - before..]
    }

    fn answer(&mut self, head: &[u8], answers: &Answers) {
        if !head.starts_with(b"GET ") {
            return self.start_body(head);
        }
        let path = head[4..]
            .split(|byte| *byte == b' ')
            .next()
            .unwrap_or_default();
        if path.ends_with(b"/1k") {
            self.out.extend_from_slice(&answers.one_kib);
        } else if let Some(size) = size_wanted(path) {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: ";
            self.out
                .extend_from_slice(format!("{head}{size}\r\n\r\n").as_bytes());
            self.payload_left = size;
        } else {
            self.out.extend_from_slice(
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len()).as_bytes(),
            );
            self.out.extend_from_slice(head);
        }
    }

    fn start_body(&mut self, head: &[u8]) {
        match content_length(&head.to_ascii_lowercase()) {
            Some(0) => self.end_body(),
            Some(length) => self.body = Body::Length(length),
            None => self.body = Body::Chunked(Tail::default()),
        }
    }

    /// True if the socket is full and something is left.
    fn write_out(&mut self, fd: RawFd, payload: &[u8]) -> Result<bool, Lost> {
        while self.written < self.out.len() || self.payload_left > 0 {
            let head = &self.out[self.written..];
            let body = &payload[..self.payload_left.min(payload.len() as u64) as usize];
            let result = match (head.is_empty(), body.is_empty()) {
                (false, true) => sys::write(fd, head),
                (true, _) => sys::write(fd, body),
                (false, false) => {
                    sys::write_vectored(fd, &[IoSlice::new(head), IoSlice::new(body)])
                }
            };
            let count = match result {
                Ok(count) => count,
                Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(_) => return Err(Lost),
            };
            let of_head = count.min(head.len());
            self.payload_left -= (count - of_head) as u64;
            self.written += of_head;
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
            }
        }
        Ok(false)
    }
}

/// BYTES of `…/size/BYTES`.
fn size_wanted(path: &[u8]) -> Option<u64> {
    let path = std::str::from_utf8(path).ok()?;
    path.rsplit_once("/size/")?.1.parse().ok()
}
