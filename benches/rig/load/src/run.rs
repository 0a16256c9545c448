//! The loop: every mode but `check`.
//!
//! Lines on standard output drive `compare`: `START` when counting begins and `END {json}` when it ends (it reads the
//! proxy's CPU time at both), `READY n` when n idle connections are held, `TICK n` for progress.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::connection::{Connection, Lost, Protocol, Scratch, Stage};
use crate::h2::{Blocks, Session};
use crate::options::{Mode, Options};
use crate::pacer::Pacer;
use crate::sys::{self, Epoll, Event};
use crate::tally::Tally;
use crate::upstream::Upstream;
use crate::{h1, tls};

const ERRORS_MAX: u64 = 200_000;
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(20);

pub fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    Engine::new(options)?.run()
}

/// What all connections are made from and send.
struct Plan<'a> {
    options: &'a Options,
    configs: Vec<Arc<ClientConfig>>,
    name: ServerName<'static>,
    requests: Vec<Vec<u8>>,
    /// The place of the next request.
    next: Cell<usize>,
    blocks: Blocks,
}

struct Engine<'a> {
    plan: Plan<'a>,
    epoll: Epoll,
    connections: Vec<Option<Connection>>,
    scratch: Scratch,
    tally: Tally,
    pacer: Option<Pacer>,
    upstream: Option<Upstream>,
    opened: usize,
    settled: usize,
}

impl<'a> Engine<'a> {
    fn new(options: &'a Options) -> Result<Self, Box<dyn std::error::Error>> {
        let plan = Plan {
            options,
            configs: tls::configs(options)?,
            name: tls::server_name(&options.host)?,
            requests: h1::requests(options),
            next: Cell::new(0),
            blocks: Blocks::new(options),
        };
        Ok(Self {
            plan,
            epoll: Epoll::new()?,
            connections: (0..options.connections).map(|_| None).collect(),
            scratch: Scratch::new(),
            tally: Tally::default(),
            pacer: options.mode.is_paced().then(|| Pacer::new(options.rate)),
            upstream: options
                .spin
                .map(|port| Upstream::listen(&[port]))
                .transpose()?,
            opened: 0,
            settled: 0,
        })
    }

    fn run(mut self) -> Result<(), Box<dyn std::error::Error>> {
        let options = self.plan.options;
        let began = Instant::now();
        let mut counting_since = None;
        let mut hold_until = None;
        let mut next_tick = began;
        let mut events = vec![sys::NO_EVENT; 512];
        // A paced run polls too: a sleeping generator would be late for its own schedule.
        let timeout = if options.spin.is_some() || self.pacer.is_some() {
            0
        } else {
            50
        };
        loop {
            let now = Instant::now();
            if options.mode == Mode::Idle {
                self.open_more()?;
                if hold_until.is_none() && self.settled == options.connections {
                    say(&format!(
                        "READY {} errs={}",
                        self.settled, self.tally.errors
                    ));
                    hold_until = Some(now + Duration::from_secs_f64(options.hold));
                }
                if hold_until.is_some_and(|until| now >= until) {
                    return Ok(());
                }
                if hold_until.is_none() && now - began > IDLE_TIMEOUT {
                    return Err(format!(
                        "only {} of {} were idle in time",
                        self.settled, options.connections
                    )
                    .into());
                }
            } else {
                if counting_since.is_none() {
                    self.open_all()?;
                    if (now - began).as_secs_f64() >= options.warm {
                        self.tally = Tally::default();
                        counting_since = Some(now);
                        say("START");
                    }
                }
                if self.plan.is_used_up() {
                    break;
                }
                if counting_since
                    .is_some_and(|since| (now - since).as_secs_f64() >= options.seconds)
                {
                    break;
                }
            }
            if self.tally.errors > ERRORS_MAX {
                return Err("too many errors".into());
            }
            if let Some(upstream) = &mut self.upstream {
                upstream.step(0);
            }
            let count = self.epoll.wait(&mut events, timeout);
            for event in &events[..count] {
                self.serve(event)?;
            }
            if self.pacer.is_some() {
                self.pace(now)?;
            }
            if options.progress && now >= next_tick {
                say(&format!("TICK {}", self.tally.requests));
                next_tick = now + TICK;
            }
        }
        let seconds = counting_since.map_or(0.0, |since| since.elapsed().as_secs_f64());
        say(&format!("END {}", self.tally.to_json(seconds)));
        Ok(())
    }

    fn open_all(&mut self) -> std::io::Result<()> {
        while self.opened < self.connections.len() {
            self.open(self.opened)?;
            self.opened += 1;
        }
        Ok(())
    }

    /// Idle connections are opened a few at a time, so that the proxy's listen queue does not overflow.
    fn open_more(&mut self) -> std::io::Result<()> {
        while self.opened < self.connections.len()
            && self.opened - self.settled < self.plan.options.opening
        {
            self.open(self.opened)?;
            self.opened += 1;
        }
        Ok(())
    }

    /// Opens connection `index`, anew if it was open.
    fn open(&mut self, index: usize) -> std::io::Result<()> {
        self.connections[index] = None; // closes the old one first, so that its descriptor is free
        let plan = &self.plan;
        let config = plan.configs[index % plan.configs.len()].clone();
        let h2 = plan.options.mode.is_h2();
        let connection = Connection::open(plan.options.port, config, plan.name.clone(), h2)?;
        self.epoll.add(connection.fd, index as u64, true);
        self.connections[index] = Some(connection);
        Ok(())
    }

    fn serve(&mut self, event: &Event) -> std::io::Result<()> {
        let (index, ready) = (event.u64 as usize, event.events);
        match self.exchange(index, ready) {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(Lost) => self.count_loss(index),
        }
        self.open(index)
    }

    fn count_loss(&mut self, index: usize) {
        self.tally.errors += 1;
        if self.connections[index]
            .as_ref()
            .is_some_and(|connection| connection.settled)
        {
            self.settled -= 1;
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.forget(index);
        }
        if self.tally.errors % 64 == 63 {
            std::thread::sleep(Duration::from_millis(5)); // a proxy that refuses everyone should not be hammered
        }
    }

    /// Reads, decides and writes for one connection. True: it did what it was opened for.
    fn exchange(&mut self, index: usize, ready: u32) -> Result<bool, Lost> {
        let Self {
            plan,
            epoll,
            connections,
            scratch,
            tally,
            pacer,
            settled,
            ..
        } = self;
        let Some(connection) = connections[index].as_mut() else {
            return Ok(false);
        };
        let options = plan.options;
        if connection.stage == Stage::Connecting {
            if ready & sys::FAILED != 0 {
                return Err(Lost);
            }
            connection.stage = Stage::Handshaking;
        }
        let answers = match ready & sys::READABLE != 0 {
            true => connection.receive(scratch, tally)?.answers,
            false => 0,
        };
        if connection.handshake_ended(tally) {
            let mut slots = 1;
            if options.mode.is_h2() {
                connection.send(&Session::preface())?;
                slots = options.streams;
            }
            if let Some(pacer) = pacer {
                pacer.free.extend((0..slots).map(|_| index));
            }
        }
        if connection.stage == Stage::Open {
            if let Some(pacer) = pacer {
                pacer.free.extend((0..answers).map(|_| index));
                connection.in_flight = false;
            } else if answers > 0 && options.mode.reconnects() {
                connection.done = true;
                connection.tls.send_close_notify();
            } else if answers > 0 && options.mode == Mode::Idle && !connection.settled {
                connection.settled = true;
                *settled += 1;
            } else {
                plan.next_request(connection, answers, &mut scratch.out)?;
            }
        }
        let more = connection.flush(&scratch.upload, tally)?;
        if more != connection.watches_writable {
            connection.watches_writable = more;
            epoll.modify(connection.fd, index as u64, more);
        }
        Ok(connection.done)
    }

    fn pace(&mut self, now: Instant) -> std::io::Result<()> {
        let Self {
            plan,
            connections,
            scratch,
            tally,
            pacer,
            ..
        } = self;
        let Some(pacer) = pacer else { return Ok(()) };
        let slots = if plan.options.mode.is_h2() {
            plan.options.streams as usize
        } else {
            1
        };
        if pacer.free.len() >= plan.options.connections * slots {
            pacer.start(now);
        }
        pacer.advance(now);
        let mut lost = Vec::new();
        while let Some((due, index)) = pacer.take() {
            let Some(connection) = connections[index].as_mut() else {
                continue;
            };
            let sent = plan.paced_request(connection, due, &mut scratch.out);
            if sent.and_then(|()| connection.flush(&[], tally)).is_err() {
                lost.push(index);
            }
        }
        for index in lost {
            self.count_loss(index);
            self.open(index)?;
        }
        Ok(())
    }
}

impl Plan<'_> {
    /// The bytes of the next request.
    fn bytes(&self) -> &[u8] {
        let place = self.next.get();
        self.next.set(place + 1);
        &self.requests[place % self.requests.len()]
    }

    /// True if every form has been sent.
    fn is_used_up(&self) -> bool {
        !self.options.forms.is_empty() && self.next.get() >= self.requests.len()
    }

    /// Keeps a connection as busy as its mode wants it.
    fn next_request(
        &self,
        connection: &mut Connection,
        answers: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        if let Protocol::H2(session) = &mut connection.protocol {
            if session.in_flight() < self.options.streams {
                out.clear();
                session.fill(&self.blocks, self.options.streams, out);
                if !out.is_empty() {
                    connection.send(out)?;
                }
            }
            return Ok(());
        }
        if connection.settled || (connection.in_flight && answers == 0) {
            return Ok(());
        }
        if !self.options.mode.reconnects() {
            connection.started = Instant::now();
        }
        connection.in_flight = true;
        connection.upload_left = self.options.upload;
        connection.send(self.bytes())
    }

    fn paced_request(
        &self,
        connection: &mut Connection,
        due: Instant,
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        if let Protocol::H2(session) = &mut connection.protocol {
            out.clear();
            session.request(&self.blocks, due, out);
            return connection.send(out);
        }
        connection.started = due;
        connection.in_flight = true;
        connection.send(self.bytes())
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listening is no reason to stop a run.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
