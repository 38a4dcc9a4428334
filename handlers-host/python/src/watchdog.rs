//! Who ends the worker when the daemon is gone? A thread that needs neither the GIL nor the event loop, so that no
//! handler can keep the process alive.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Exit code of a worker whose daemon is gone, or doesn't speak its protocol.
const BROKEN: i32 = 70;

/// Starts the thread for a socket.
///
/// # Errors
///
/// When the descriptor can't be duplicated or the thread can't be started.
pub(crate) fn start(socket: impl AsFd) -> io::Result<()> {
    let socket = socket.as_fd().try_clone_to_owned()?;
    thread::Builder::new().name("rohas-watchdog".to_owned()).spawn(move || watch(&socket))?;
    Ok(())
}

/// Ends the process at once: no handler, no `atexit`, no flushing.
#[expect(unsafe_code, reason = "there is no safe way to leave a process whose other threads may be stuck")]
pub(crate) fn exit() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(BROKEN) }
}

/// The same, with a word to the daemon's log: stderr is a pipe that it reads.
pub(crate) fn fail(reason: &str) -> ! {
    let line = format!("rohas worker: {reason}\n");
    // A log that can't be written changes nothing about the end.
    match rustix::io::write(rustix::stdio::stderr(), line.as_bytes()) {
        Ok(_) | Err(_) => exit(),
    }
}

fn watch(socket: &OwnedFd) {
    loop {
        let mut hangup = [PollFd::new(socket, PollFlags::HUP | PollFlags::RDHUP)];
        match poll(&mut hangup, None) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) | Err(_) => exit(),
        }
    }
}
