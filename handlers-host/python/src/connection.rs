//! How do bytes get through the socket without ever blocking the event loop?
//!
//! Reading belongs to the loop's thread. Writing may happen on any thread, under the lock of the outbox, because a
//! handler in a thread answers by itself. No lock of this file is held across a call into Python.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::frame::{self, Inbox, Outbox};
use crate::message::{Header, Line};

/// Log lines go out at once when this much waits, because the loop may be busy running the handler that writes them.
const EAGER: usize = 64 << 10;

/// With this much waiting, whoever writes a log line waits until the daemon has read some of it.
const FULL: usize = 8 << 20;

/// How long a log line waits for the daemon before it is dropped and counted.
const PATIENCE: Duration = Duration::from_secs(1);

/// What happened to the bytes that waited to be written.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) enum Flushed {
    /// Nothing waits any more.
    All,
    /// The socket is full; go on when it is writable.
    Partly,
}

/// The socket with its two buffers.
pub(crate) struct Connection {
    socket: OwnedFd,
    inbox: Mutex<Inbox>,
    outbox: Mutex<Outbox>,
    /// Log lines that found no room; told to the daemon with the next line that does.
    dropped: AtomicU64,
    /// Set in a forked child: the socket belongs to the parent.
    detached: AtomicBool,
}

impl Connection {
    /// Takes over the socket.
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            inbox: Mutex::default(),
            outbox: Mutex::default(),
            dropped: AtomicU64::new(0),
            detached: AtomicBool::new(false),
        }
    }

    /// The descriptor to register with the event loop.
    pub(crate) fn fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Takes the inbox away, so that nothing is locked while its frames are looked at.
    pub(crate) fn take_inbox(&self) -> Inbox {
        std::mem::take(&mut *lock(&self.inbox))
    }

    /// Puts the inbox back with what is left in it.
    pub(crate) fn put_inbox(&self, inbox: Inbox) {
        *lock(&self.inbox) = inbox;
    }

    /// Reads once; `None` when nothing is there, `Some(0)` when the daemon has closed its end.
    pub(crate) fn read(&self, inbox: &mut Inbox) -> io::Result<Option<usize>> {
        loop {
            match recv(&self.socket, inbox.space(), RecvFlags::DONTWAIT) {
                Ok((_, count)) => {
                    inbox.filled(count);
                    return Ok(Some(count));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends a frame; [`Connection::flush`] sends it.
    ///
    /// # Errors
    ///
    /// When the frame would be too long.
    pub(crate) fn push(&self, header: &Header, parts: &[&[u8]]) -> Result<(), frame::Error> {
        lock(&self.outbox).push(header.bytes(), parts)
    }

    /// Writes what the socket takes.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn flush(&self) -> io::Result<Flushed> {
        let mut outbox = lock(&self.outbox);
        if self.detached.load(Ordering::Relaxed) {
            *outbox = Outbox::default();
        }
        while !outbox.front().is_empty() {
            match send(&self.socket, outbox.front(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => outbox.wrote(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Flushed::Partly),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Flushed::All)
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        lock(&self.outbox).front().is_empty()
    }

    /// Whether so much waits that whoever writes a log line should [`Connection::wait`] first.
    pub(crate) fn is_full(&self) -> bool {
        lock(&self.outbox).len() >= FULL
    }

    /// Appends a log line, and sends it if much waits; drops and counts it when the daemon reads nothing.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn log(&self, line: &Line<'_>) -> io::Result<()> {
        let waiting = {
            let mut outbox = lock(&self.outbox);
            if outbox.len() >= FULL {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            self.report_dropped(&mut outbox, line);
            if outbox.push(Header::log(line).bytes(), &[]).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            outbox.len()
        };
        if waiting >= EAGER { self.flush().map(|_| ()) } else { Ok(()) }
    }

    /// Blocks until the daemon has read some of what waits, or patience ends. To be called without the GIL.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn wait(&self) -> io::Result<()> {
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        let mut writable = [PollFd::new(&self.socket, PollFlags::OUT)];
        match poll(&mut writable, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => self.flush().map(|_| ()),
            Err(error) => Err(error.into()),
        }
    }

    /// Blocks until there is something to read. To be called without the GIL.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn wait_readable(&self) -> io::Result<()> {
        let mut readable = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut readable, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Leaves the socket to the parent process, after a fork.
    pub(crate) fn detach(&self) {
        self.detached.store(true, Ordering::Relaxed);
    }

    fn report_dropped(&self, outbox: &mut Outbox, line: &Line<'_>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        if dropped == 0 {
            return;
        }
        let message = format!("{dropped} log lines were dropped because they came faster than they could be read");
        let note = Line { call: line.call, handler: line.handler, level: "warn", message: &message, fields: None };
        if outbox.push(Header::log(&note).bytes(), &[]).is_err() {
            self.dropped.fetch_add(dropped, Ordering::Relaxed);
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Locks even when a thread panicked with the lock: the buffers are whole between any two statements that change them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
