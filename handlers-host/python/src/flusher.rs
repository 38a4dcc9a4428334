//! Who sends what waits while the loop is busy? A thread that needs neither the GIL nor the loop.
//!
//! The loop writes the answers of a turn at its end, and in between when there are many. When a handler doesn't give the turn back, this thread sends the
//! answers that were ready before it, and what the handler printed. Log lines alone never cause a write by themselves.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use pyo3::Py;

use crate::connection::Connection;
use crate::watchdog;
use crate::worker::Worker;

/// How long something waits at most.
const TICK: Duration = Duration::from_millis(20);

/// With nothing to send for so many ticks the thread goes to sleep.
const PATIENCE: u32 = 50;

/// The thread's handle.
#[derive(Default)]
pub(crate) struct Flusher {
    thread: OnceLock<Thread>,
    asleep: AtomicBool,
}

impl Flusher {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// When it can't be started.
    pub(crate) fn start(worker: Py<Worker>) -> io::Result<()> {
        let run = move || worker.get().flusher.run(&worker.get().connection);
        thread::Builder::new().name("rohas-flusher".to_owned()).spawn(run).map(drop)
    }

    /// Something waits to be sent.
    pub(crate) fn notify(&self) {
        if self.asleep.load(Ordering::Relaxed)
            && self.asleep.swap(false, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    fn run(&self, connection: &Connection) {
        self.thread.get_or_init(thread::current);
        let mut idle = 0;
        loop {
            thread::park_timeout(TICK);
            if connection.flush().is_err() {
                watchdog::exit();
            }
            idle = if connection.is_flushed() { idle + 1 } else { 0 };
            if idle > PATIENCE {
                self.sleep(connection);
                idle = 0;
            }
        }
    }

    fn sleep(&self, connection: &Connection) {
        self.asleep.store(true, Ordering::SeqCst);
        // Whoever appended something before it could see the flag has not woken us.
        while self.asleep.load(Ordering::SeqCst) && connection.is_flushed() {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}
