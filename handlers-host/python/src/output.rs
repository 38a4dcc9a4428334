//! Where does what a handler prints and logs go? Into log frames that name its call, before the call's result.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::call::Call;
use crate::connection::{Connection, lock};
use crate::message::Line;

/// A line without an end is cut here.
const LONGEST: usize = 64 << 10;

/// No handler is being loaded.
const NONE: u32 = u32::MAX;

/// A stream that a handler prints to.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn level(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// What was printed and has no line end yet.
#[derive(Default)]
pub(crate) struct Lines {
    stdout: Mutex<String>,
    stderr: Mutex<String>,
}

impl Lines {
    fn of(&self, stream: Stream) -> &Mutex<String> {
        match stream {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        }
    }

    /// Adds text; returns what ends with a line end, without that end.
    fn add(&self, stream: Stream, text: &str) -> Option<String> {
        let mut partial = lock(self.of(stream));
        match text.rfind('\n') {
            Some(end) => {
                let mut whole = std::mem::take(&mut *partial);
                whole.push_str(&text[..end]);
                partial.push_str(&text[end + 1..]);
                Some(whole)
            }
            None => {
                partial.push_str(text);
                (partial.len() >= LONGEST).then(|| std::mem::take(&mut *partial))
            }
        }
    }

    /// Sends what has no line end.
    fn rest(&self, connection: &Connection, owner: Owner) -> io::Result<()> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let partial = std::mem::take(&mut *lock(self.of(stream)));
            if !partial.is_empty() {
                owner.send(connection, stream.level(), &partial, None)?;
            }
        }
        Ok(())
    }
}

/// Whom a line belongs to.
#[derive(Clone, Copy)]
struct Owner {
    call: u64,
    handler: Option<u32>,
}

/// What the worker prints outside of calls, and which handler it is loading.
pub(crate) struct Output {
    lines: Lines,
    loading: AtomicU32,
}

impl Default for Output {
    fn default() -> Self {
        Self { lines: Lines::default(), loading: AtomicU32::new(NONE) }
    }
}

impl Output {
    /// From now on lines outside of calls belong to this handler.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn loading(&self, connection: &Connection, handler: Option<u32>) -> io::Result<()> {
        self.lines.rest(connection, self.owner(None))?;
        self.loading.store(handler.unwrap_or(NONE), Ordering::Relaxed);
        Ok(())
    }

    /// What was printed in a call, or outside of all.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn print(
        &self,
        connection: &Connection,
        call: Option<&Call>,
        stream: Stream,
        text: &str,
    ) -> io::Result<()> {
        let lines = call.map_or(&self.lines, |call| &call.lines);
        let Some(whole) = lines.add(stream, text) else { return Ok(()) };
        let owner = self.owner(call);
        whole.split('\n').try_for_each(|line| owner.send(connection, stream.level(), line, None))
    }

    /// A line of a logger.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn log(
        &self,
        connection: &Connection,
        call: Option<&Call>,
        (level, message): (&str, &str),
        fields: Option<&str>,
    ) -> io::Result<()> {
        self.owner(call).send(connection, level, message, fields)
    }

    fn owner(&self, call: Option<&Call>) -> Owner {
        let loading = self.loading.load(Ordering::Relaxed);
        match call {
            Some(call) => call.owner(),
            None => Owner { call: 0, handler: (loading != NONE).then_some(loading) },
        }
    }
}

impl Call {
    /// Sends what was printed last, without a line end.
    ///
    /// # Errors
    ///
    /// When the connection is broken.
    pub(crate) fn end_output(&self, connection: &Connection) -> io::Result<()> {
        self.lines.rest(connection, self.owner())
    }

    fn owner(&self) -> Owner {
        // Once the call has been answered its trace may be closed: then only the handler is named.
        Owner { call: if self.is_finished() { 0 } else { self.id }, handler: Some(self.handler) }
    }
}

impl Owner {
    fn send(self, connection: &Connection, level: &str, message: &str, fields: Option<&str>) -> io::Result<()> {
        let mut rest = message;
        loop {
            let piece = &rest[..boundary(rest, LONGEST)];
            rest = &rest[piece.len()..];
            connection.log(&Line { call: self.call, handler: self.handler, level, message: piece, fields })?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }
}

/// The last place up to `longest` at which a text may be cut.
fn boundary(text: &str, longest: usize) -> usize {
    if text.len() <= longest {
        return text.len();
    }
    (1..=longest).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len())
}
