//! The few system calls that the loop needs, as thin functions. No async runtime: its timers and wake-ups would be noise.

use std::io;
use std::os::fd::RawFd;

pub const READABLE: u32 = libc::EPOLLIN as u32;
pub const WRITABLE: u32 = libc::EPOLLOUT as u32;
pub const FAILED: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

pub use libc::epoll_event as Event;

pub const NO_EVENT: Event = Event { events: 0, u64: 0 };

pub struct Epoll(RawFd);

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed.
        checked(unsafe { libc::epoll_create1(0) }).map(Self)
    }

    pub fn add(&self, fd: RawFd, token: u64, writable_too: bool) {
        self.control(libc::EPOLL_CTL_ADD, fd, token, writable_too);
    }

    pub fn modify(&self, fd: RawFd, token: u64, writable_too: bool) {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable_too);
    }

    fn control(&self, operation: i32, fd: RawFd, token: u64, writable_too: bool) {
        let mut event = Event {
            events: READABLE | if writable_too { WRITABLE } else { 0 },
            u64: token,
        };
        // SAFETY: `event` lives through the call.
        unsafe { libc::epoll_ctl(self.0, operation, fd, &mut event) };
    }

    /// The number of events now in `events`. A timeout of 0 polls, -1 waits for ever.
    pub fn wait(&self, events: &mut [Event], timeout_ms: i32) -> usize {
        // SAFETY: the kernel writes at most `events.len()` entries.
        let count = unsafe {
            libc::epoll_wait(self.0, events.as_mut_ptr(), events.len() as i32, timeout_ms)
        };
        count.max(0) as usize
    }
}

pub fn listen(port: u16) -> io::Result<RawFd> {
    let fd = tcp_socket()?;
    set_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR);
    let address = loopback(port);
    // SAFETY: `address` is a sockaddr_in and lives through the call.
    checked(unsafe { libc::bind(fd, (&raw const address).cast(), ADDRESS_SIZE) })?;
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::listen(fd, 4096) })?;
    Ok(fd)
}

/// The next waiting connection, non-blocking and without Nagle's delay.
pub fn accept(listener: RawFd) -> Option<RawFd> {
    // SAFETY: null asks the kernel not to report the peer's address.
    let fd = unsafe {
        libc::accept4(
            listener,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_NONBLOCK,
        )
    };
    (fd >= 0).then(|| {
        set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
        fd
    })
}

/// Starts a connection to 127.0.0.1; the socket becomes writable, or fails, later.
pub fn connect(port: u16) -> io::Result<RawFd> {
    let fd = tcp_socket()?;
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY);
    let address = loopback(port);
    // SAFETY: `address` is a sockaddr_in and lives through the call.
    match checked(unsafe { libc::connect(fd, (&raw const address).cast(), ADDRESS_SIZE) }) {
        Err(problem) if problem.raw_os_error() != Some(libc::EINPROGRESS) => {
            close(fd);
            Err(problem)
        }
        _ => Ok(fd),
    }
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `buffer.len()` bytes.
    checked_size(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) })
}

pub fn write(fd: RawFd, data: &[u8]) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `data.len()` bytes.
    checked_size(unsafe { libc::send(fd, data.as_ptr().cast(), data.len(), libc::MSG_NOSIGNAL) })
}

pub fn write_vectored(fd: RawFd, parts: &[io::IoSlice]) -> io::Result<usize> {
    // SAFETY: IoSlice is guaranteed to have the layout of iovec; 64 is far below the kernel's limit.
    checked_size(unsafe { libc::writev(fd, parts.as_ptr().cast(), parts.len().min(64) as i32) })
}

pub fn close(fd: RawFd) {
    // SAFETY: callers own `fd` and forget it after this call.
    unsafe { libc::close(fd) };
}

/// A socket as an `io::Write`, which is what rustls writes its records to.
pub struct Socket(pub RawFd);

impl io::Write for Socket {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        write(self.0, data)
    }

    fn write_vectored(&mut self, parts: &[io::IoSlice]) -> io::Result<usize> {
        write_vectored(self.0, parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn ignore_sigpipe() {
    // SAFETY: SIG_IGN installs no handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// As many descriptors as the hard limit allows: idle scenarios hold thousands of connections.
pub fn raise_fd_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives through both calls.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
    }
}

const ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn tcp_socket() -> io::Result<RawFd> {
    // SAFETY: no pointers are passed.
    checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) })
}

fn set_option(fd: RawFd, level: i32, option: i32) {
    let on: i32 = 1;
    // SAFETY: `on` lives through the call and its size is given.
    unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), 4) };
}

fn loopback(port: u16) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn checked_size(result: isize) -> io::Result<usize> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}
