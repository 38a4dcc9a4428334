//! How does what a daemon prints get out without ever holding it up? Through a bounded buffer and a thread per stream.
//!
//! A terminal that is stopped (Ctrl-S) or a collector that no longer reads blocks whoever writes to it: here a thread that has
//! nothing else to do. Lines that find the buffer full are lost, counted, and reported as soon as somebody reads again.

use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

/// How much may wait to be written, in bytes. As much again may have been taken by the thread that writes.
const CAPACITY: usize = 1 << 20;

/// How long the end of the process waits for what is still to be written.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

static STDOUT: OnceLock<Output> = OnceLock::new();
static STDERR: OnceLock<Output> = OnceLock::new();

/// Where the screen of a daemon is shown.
pub(crate) fn stdout() -> &'static Output {
    STDOUT.get_or_init(|| Output::start("stdout", rustix::stdio::stdout()))
}

/// Where log records go.
pub(crate) fn stderr() -> &'static Output {
    STDERR.get_or_init(|| Output::start("stderr", rustix::stdio::stderr()))
}

/// Waits until everything is written, but not for a reader that no longer reads; false when something was left.
pub(crate) fn flush() -> bool {
    let deadline = Instant::now() + FLUSH_PATIENCE;
    // Not `all`: it would leave out the second when the first is stuck.
    let flushed = [STDOUT.get(), STDERR.get()].map(|output| output.is_none_or(|output| output.flush(deadline)));
    flushed == [true, true]
}

/// A stream that is written to by a thread of its own.
pub(crate) struct Output {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Held for as long as it takes to copy a line, never while something is written.
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What the thread has not taken yet.
    waiting: Vec<u8>,
    /// The thread has taken something and is not done with it.
    writing: bool,
    /// Lines that found no room, since the start.
    lost: u64,
}

impl Output {
    fn start(name: &'static str, stream: impl AsFd + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || theirs.write_all(name, &stream));
        thread.expect("a process that just started may have two more threads");
        Self { shared }
    }

    /// Hands a text over to be written. It is lost as a whole when it finds no room.
    pub(crate) fn push(&self, text: &[u8]) {
        let mut state = self.shared.state();
        if state.waiting.len() + text.len() > CAPACITY {
            state.lost += lines(text).max(1);
            return;
        }
        state.waiting.extend_from_slice(text);
        drop(state);
        self.shared.changed.notify_all();
    }

    fn flush(&self, deadline: Instant) -> bool {
        let patience = deadline.saturating_duration_since(Instant::now());
        let busy = |state: &mut State| state.writing || !state.waiting.is_empty();
        let waited = self.shared.changed.wait_timeout_while(self.shared.state(), patience, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl io::Write for &Output {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.push(text);
        Ok(text.len())
    }

    /// What was handed over is written without being asked for.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // A text is appended as a whole, so the state is whole even if somebody panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what comes, for as long as the process lives. A stream that has gone takes everything, as `/dev/null` does.
    fn write_all(&self, name: &'static str, stream: &impl AsFd) {
        let mut batch = Vec::new();
        let (mut unwritten, mut reported) = (0, 0);
        loop {
            let mut lost = self.take(&mut batch);
            let mut rest = &*batch;
            let outcome = write(stream, &mut rest);
            unwritten += lines(rest);
            lost += unwritten;
            batch.clear();
            // It may itself find no room; then it is counted too, and the next time says so. Not while nothing can be written:
            // it would be the next that can't be, and so on for ever.
            if outcome.is_ok() && lost > reported {
                reported = lost;
                tracing::warn!(stream = name, lost, "lines were lost, since nobody read them; so many since the start");
            }
        }
    }

    /// Waits for something to write and takes it; returns how many lines were lost until now.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let mut state = self.state();
        state.writing = false;
        self.changed.notify_all();
        let idle = |state: &mut State| state.waiting.is_empty();
        let mut state = self.changed.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(batch, &mut state.waiting);
        state.writing = true;
        state.lost
    }
}

fn lines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// Writes a text and leaves of it what could not be written.
fn write(stream: &impl AsFd, text: &mut &[u8]) -> Result<(), Errno> {
    while !text.is_empty() {
        match rustix::io::write(stream, text) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => *text = &text[written..],
            Err(Errno::INTR) => {}
            // Somebody else with the same terminal has made it non-blocking.
            Err(Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::new(stream, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const LINE: &[u8] = &[b'\n'; 1 << 10];

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn what_is_pushed_is_written_in_order() {
        let (mut reader, writer) = io::pipe().unwrap();
        let output = Output::start("test", writer);
        output.push(b"one\n");
        output.push(b"two\n");
        assert!(output.flush(soon()));
        let mut text = [0; 8];
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"one\ntwo\n");
    }

    #[test]
    fn without_a_reader_lines_are_lost_and_counted_and_nobody_waits() {
        let (reader, writer) = io::pipe().unwrap();
        let output = Output::start("test", writer);
        // More than the pipe, the thread and the buffer hold together.
        for _ in 0..(3 * CAPACITY / LINE.len()) {
            output.push(LINE);
        }
        let lost = output.shared.state().lost;
        assert!(lost > 0 && lost.is_multiple_of(LINE.len() as u64), "{lost}");
        assert!(!output.flush(Instant::now() + Duration::from_millis(10)), "it can't have been written");
        drop(reader);
        assert!(output.flush(soon()), "a stream that has gone takes everything");
    }

    #[test]
    fn a_stream_that_others_made_non_blocking_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let output = Output::start("test", writer);
        let pushed = CAPACITY / LINE.len();
        for _ in 0..pushed {
            output.push(LINE);
        }
        let mut text = vec![0; pushed * LINE.len()];
        reader.read_exact(&mut text).unwrap();
        assert!(output.flush(soon()));
    }
}
