//! How is one worker process started, and what does the daemon hold of it?

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::worker::slots::SharedWords;

const SOCKET_FD: i32 = 3;
const SLOTS_FD: i32 = 4;
const IDS_FD: i32 = 5;

/// How long a worker's output is read after its end: what it wrote is there by then, and what it started may go on writing.
const OUTPUT_PATIENCE: Duration = Duration::from_millis(200);
/// Longest line of a worker's own output that is logged in one piece, in bytes.
const MAX_LINE: u64 = 16 << 10;

/// What to run as a worker.
#[derive(Debug, Clone)]
pub struct Program {
    /// The executable.
    pub executable: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Environment variables on top of the daemon's own.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory: the project's root.
    pub directory: PathBuf,
}

/// A started worker process. When its group is dropped, all of it is killed.
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) socket: UnixStream,
    pub(super) group: Group,
}

/// The process group of a worker: the worker and what its handlers started. Whoever holds it decides how long they live;
/// however the holder ends, even with the runtime when the daemon doesn't wait for its tasks, they end too.
pub(super) struct Group {
    pub(super) pid: u32,
}

impl Drop for Group {
    fn drop(&mut self) {
        kill_group(self.pid);
    }
}

impl Process {
    pub(super) fn spawn(program: &Program, slots: &SharedWords, ids: &SharedWords) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&program.executable);
        command
            .args(&program.arguments)
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .env("ROHAS_SOCKET_FD", SOCKET_FD.to_string())
            .env("ROHAS_SLOTS_FD", SLOTS_FD.to_string())
            .env("ROHAS_IDS_FD", IDS_FD.to_string())
            .current_dir(&program.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Its own process group: Ctrl-C in the terminal is the daemon's to handle, and what the worker starts dies with it.
            .process_group(0)
            // A worker that has left its group is killed too.
            .kill_on_drop(true);
        let mapping = |parent_fd: OwnedFd, child_fd| FdMapping { parent_fd, child_fd };
        command
            .fd_mappings(vec![
                mapping(theirs.as_fd().try_clone_to_owned()?, SOCKET_FD),
                mapping(slots.descriptor()?, SLOTS_FD),
                mapping(ids.descriptor()?, IDS_FD),
            ])
            .map_err(io::Error::other)?;
        let child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the worker ended before it had a process id"))?;
        let group = Group { pid };
        Ok(Self { child, group, socket: UnixStream::from_std(ours)? })
    }
}

fn kill_group(pid: u32) {
    let group = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    let Some(group) = group else { return };
    if let Err(error) = rustix::process::kill_process_group(group, rustix::process::Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(pid, %error, "a worker could not be killed");
    }
}

/// Resident memory of a process in bytes; `None` when it is gone.
pub(super) fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

/// Logs what a worker process writes by itself (an interpreter that crashes, an extension that prints), line by line, until
/// a short while after the worker's end.
pub(super) async fn log_output(stream: impl AsyncRead + Unpin, pid: u32, name: &'static str, ended: CancellationToken) {
    let after_its_end = async {
        ended.cancelled().await;
        sleep(OUTPUT_PATIENCE).await;
    };
    tokio::select! {
        () = log_lines(stream, pid, name) => {}
        () = after_its_end => tracing::debug!(pid, stream = name, "what a worker started still holds its output"),
    }
}

async fn log_lines(stream: impl AsyncRead + Unpin, pid: u32, name: &'static str) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line).await {
            Ok(0) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                tracing::warn!(target: "rohas::worker", pid, stream = name, "{}", text.trim_end());
            }
            Err(error) => {
                tracing::warn!(pid, %error, "a worker's output could not be read");
                return;
            }
        }
    }
}
