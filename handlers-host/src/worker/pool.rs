//! How does a call get to a worker process and back?
//!
//! One task per process reads its messages, one writes to it, `deadlines` ends what takes too long, and `maintenance` watches over
//! the processes. They share `State` under
//! one lock that is held for a few instructions and never over an await.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::coop::consume_budget;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::{Error as HostError, Host};
use crate::invocation::Invocation;
use crate::load::{Load, Report};
use crate::outcome::{Finished, LogLevel};
use crate::protocol::{self, Decoder, FromWorker};
use crate::push;
use crate::worker::call::Call;
use crate::worker::calls::SLOTS;
use crate::worker::member::{Ending, Phase};
use crate::worker::process::{self, Process, Program};
use crate::worker::slots::SharedWords;
use crate::worker::state::{Admission, State};

/// How long a worker may take from its start until its handlers are loaded.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How much room there is for a read, and when it is made anew, in bytes.
const READ: usize = 64 << 10;
const MIN_READ: usize = 8 << 10;
/// A frame of which more has come than this many bytes is a large one. Log lines, which may come from a loop that hangs, are shorter.
const LARGE: usize = 256 << 10;

/// How a pool is to be run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to run.
    pub program: Program,
    /// How many processes.
    pub workers: usize,
    /// How long a call may go on after its deadline before it counts as stuck. A worker whose loop is blocked so long is killed.
    pub grace: Duration,
    /// How many stuck calls make a worker due for replacement, as long as its loop turns. At least 1.
    pub stuck_limit: usize,
    /// How long workers may take to end when the pool is dropped.
    pub drain: Duration,
    /// Resident bytes beyond which a worker is replaced.
    pub memory_limit: Option<u64>,
    /// Calls after which a worker is replaced.
    pub recycle_after: Option<u64>,
    /// Where to take what handlers do to WebSocket connections.
    pub pushes: Arc<dyn push::Sink>,
}

/// Why a pool could not be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StartError {
    /// The process could not be started.
    #[error("cannot start the worker {program}: {reason}")]
    Spawn {
        /// The executable.
        program: String,
        /// Why.
        reason: String,
    },
    /// The process ended or talked nonsense before its handlers were loaded.
    #[error("the worker did not load the handlers: {0}")]
    Load(String),
}

/// A pool of worker processes: the [`Host`] of languages that run in processes of their own.
pub struct Pool {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) options: Options,
    handler_names: Vec<String>,
    load_frame: Vec<u8>,
    ids: Arc<SharedWords>,
    state: Mutex<State>,
    /// Wakes maintenance: a worker came, went, or is to be looked at.
    pub(super) changed: Notify,
    /// Wakes who keeps the deadlines: one is before all that were known.
    pub(super) sooner: Notify,
    pub(super) closing: CancellationToken,
    tracker: TaskTracker,
    report: OnceLock<Arc<Report>>,
    /// The first worker's fate, for whoever starts the pool.
    first: watch::Sender<Option<Result<(), StartError>>>,
}

impl Pool {
    /// Starts the workers and returns as soon as the first has loaded the handlers. A handler that fails to load is in
    /// the report and doesn't keep the pool from starting.
    ///
    /// # Errors
    /// When no worker gets as far as loading.
    pub async fn start(options: Options, load: &Load, tracker: &TaskTracker) -> Result<Self, StartError> {
        let failed = |error: io::Error| StartError::Load(error.to_string());
        let mut load_frame = Vec::new();
        protocol::encode_load(&mut load_frame, load).map_err(|error| failed(error.into()))?;
        let (first, mut started) = watch::channel(None);
        let shared = Arc::new(Shared {
            handler_names: load.handlers.iter().map(|handler| handler.name.clone()).collect(),
            load_frame,
            ids: Arc::new(SharedWords::new("rohas-ids", 1).map_err(failed)?),
            state: Mutex::default(),
            changed: Notify::new(),
            sooner: Notify::new(),
            closing: CancellationToken::new(),
            tracker: tracker.clone(),
            report: OnceLock::new(),
            options,
            first,
        });
        let pool = Self { shared: Arc::clone(&shared) };
        tracker.spawn(Arc::clone(&shared).maintain());
        tracker.spawn(Arc::clone(&shared).keep_deadlines());
        let outcome = started.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(Ok(()))) => Ok(pool),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) | Err(_) => Err(StartError::Load("the pool ended while it started".to_owned())),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

#[async_trait]
impl Host for Pool {
    fn report(&self) -> Arc<Report> {
        self.shared.report.get().cloned().unwrap_or_default()
    }

    async fn invoke(&self, invocation: Invocation) -> Finished {
        let refused = |error| Finished { result: Err(error), logs: Vec::new(), dropped_logs: 0 };
        if let Some(error) = self.shared.load_error(invocation.handler) {
            return refused(HostError::NotLoaded(error));
        }
        if invocation.body.len() > protocol::MAX_PAYLOAD {
            return refused(HostError::TooLarge(invocation.body.len()));
        }
        let (reply, answer) = oneshot::channel();
        let (sooner, wants_worker) = {
            let mut state = self.shared.state();
            (state.submit(Call::new(invocation, reply)), !state.alone.is_empty())
        };
        if sooner {
            self.shared.sooner.notify_one();
        }
        if wants_worker {
            self.shared.changed.notify_one();
        }
        answer.await.unwrap_or_else(|_closed| refused(HostError::Closed))
    }

    fn in_flight(&self) -> usize {
        self.shared.state().in_flight()
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Critical sections leave whole state behind even if one panicked: they move calls, one at a time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_error(&self, handler: u32) -> Option<String> {
        self.report.get()?.handlers.get(handler as usize)?.failure()
    }

    /// Starts one worker process and the tasks that belong to it.
    pub(super) async fn start_worker(self: &Arc<Self>) -> Result<(), StartError> {
        let failed = |error: io::Error| StartError::Spawn {
            program: self.options.program.executable.display().to_string(),
            reason: error.to_string(),
        };
        let (program, ids) = (self.options.program.clone(), Arc::clone(&self.ids));
        // Forking takes as long as the daemon is large, and it lasts until the program has been found and begun.
        let spawning = spawn_blocking(move || {
            let slots = Arc::new(SharedWords::new("rohas-slots", SLOTS as usize)?);
            Ok((Process::spawn(&program, &slots, &ids)?, slots))
        });
        let (process, slots) = spawning.await.map_err(io::Error::other).flatten().map_err(failed)?;
        let (number, kill, wake) = {
            let mut state = self.state();
            let worker = state.add_worker(process.group.pid, slots);
            (worker.number, worker.kill_token(), Arc::clone(&worker.wake_writer))
        };
        self.tracker.spawn(Arc::clone(self).run_worker(number, process, kill, wake));
        Ok(())
    }

    async fn run_worker(self: Arc<Self>, number: u64, process: Process, kill: CancellationToken, wake: Arc<Notify>) {
        let Process { mut child, socket, group } = process;
        let pid = group.pid;
        let ended = CancellationToken::new();
        if let Some(stdout) = child.stdout.take() {
            self.tracker.spawn(process::log_output(stdout, pid, "stdout", ended.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            self.tracker.spawn(process::log_output(stderr, pid, "stderr", ended.clone()));
        }
        let _ended = ended.drop_guard();
        let (reading, writing) = socket.into_split();
        // Only the reader says that the socket has ended: what a dying worker answered before is in there and counts.
        let writing = async {
            self.write(number, writing, &wake).await;
            std::future::pending::<String>().await
        };
        let reason = tokio::select! {
            reason = self.read(number, reading) => reason,
            never = writing => never,
            () = kill.cancelled() => "it was stopped by the daemon".to_owned(),
        };
        let status = timeout(self.exit_grace(&kill), child.wait()).await;
        drop(group);
        let reason = match status {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => format!("{reason}; {error}"),
            Err(_) => {
                // It may have left its group.
                let killed = child.start_kill();
                if let Err(error) = killed.and(child.wait().await) {
                    tracing::warn!(pid, %error, "a worker could not be killed or waited for");
                }
                reason
            }
        };
        self.ended(number, pid, &reason);
    }

    /// A worker whose socket has ended exits by itself; one that is to be killed is not waited for.
    fn exit_grace(&self, kill: &CancellationToken) -> Duration {
        if kill.is_cancelled() { Duration::ZERO } else { self.options.grace }
    }

    fn ended(&self, number: u64, pid: u32, reason: &str) {
        let mut state = self.state();
        let fate = state.worker(number).map(|worker| (worker.phase, worker.is_killed()));
        let (phase, killed) = fate.unwrap_or((Phase::Retiring, true));
        state.remove_worker(number, reason);
        let others_start = state.workers.iter().any(|worker| worker.phase == Phase::Starting);
        drop(state);
        if phase == Phase::Starting && !others_start {
            self.announce(Err(StartError::Load(format!("it ended while loading: {reason}"))));
        }
        if phase == Phase::Retiring || killed || self.closing.is_cancelled() {
            tracing::debug!(pid, reason, "a worker ended");
        } else {
            tracing::warn!(pid, reason, loading = phase == Phase::Starting, "a worker died and is replaced");
        }
        self.changed.notify_one();
    }

    pub(super) fn announce(&self, outcome: Result<(), StartError>) {
        self.first.send_if_modified(|first| {
            let news = first.is_none();
            if news {
                *first = Some(outcome);
            }
            news
        });
    }

    async fn read(&self, number: u64, mut socket: OwnedReadHalf) -> String {
        let mut decoder = Decoder::default();
        let loaded_by = Instant::now() + LOAD_TIMEOUT;
        let mut loaded = false;
        loop {
            // Replies share the buffer they came in; a new one for each read would let a small reply pin all of it.
            if decoder.buffer().spare_capacity_mut().len() < MIN_READ {
                decoder.buffer().reserve(READ);
            }
            let read = if loaded {
                socket.read_buf(decoder.buffer()).await
            } else {
                match timeout_at(loaded_by, socket.read_buf(decoder.buffer())).await {
                    Ok(read) => read,
                    Err(_) => return "it did not load the handlers in time".to_owned(),
                }
            };
            match read {
                Ok(0) => return "its socket closed".to_owned(),
                Ok(_) => {}
                Err(error) => return format!("its socket failed: {error}"),
            }
            match self.receive(number, &mut decoder).await {
                Ok(ready) => loaded |= ready,
                Err(error) => return format!("it broke the protocol: {error}"),
            }
            if decoder.buffer().len() > LARGE
                && let Some(worker) = self.state().worker(number)
            {
                worker.spoke = Some(Instant::now());
            }
        }
    }

    /// Takes all whole frames that have come; true when the worker has loaded its handlers.
    ///
    /// Meanwhile nothing is read from the worker, which waits when its socket is full. So a handler that says more than can be
    /// done holds up its own worker, and neither the rest of the daemon nor the daemon's memory.
    async fn receive(&self, number: u64, decoder: &mut Decoder) -> Result<bool, protocol::Error> {
        let mut loaded = false;
        while let Some((header, body)) = decoder.next_frame()? {
            consume_budget().await;
            match FromWorker::decode(&header, body)? {
                FromWorker::Hello { version, hello } => self.greet(number, version, &hello.version),
                FromWorker::Loaded(report) => {
                    self.loaded(number, report);
                    loaded = true;
                }
                FromWorker::Push(push) => self.options.pushes.push(push).await,
                message => {
                    self.show(&message);
                    self.state().receive(number, message);
                }
            }
        }
        Ok(loaded)
    }

    fn greet(&self, number: u64, version: u64, interpreter: &str) {
        let mut state = self.state();
        let Some(worker) = state.worker(number) else { return };
        if version != protocol::VERSION {
            tracing::error!(version, expected = protocol::VERSION, "the worker speaks another protocol version");
            worker.kill(Ending::ForOthers("it speaks another protocol version"));
            return;
        }
        tracing::debug!(pid = worker.pid, interpreter, "a worker said hello");
        worker.outgoing.extend_from_slice(&self.load_frame);
        worker.wake_writer.notify_one();
    }

    fn loaded(&self, number: u64, report: Report) {
        let report = Arc::new(report);
        let first = self.report.get_or_init(|| Arc::clone(&report));
        let lacks = first.lacking_in(&report);
        self.show_lacking(&lacks);
        let mut state = self.state();
        match state.loaded(number, lacks, self.options.workers) {
            Admission::Full => {}
            Admission::Partial => {
                tracing::warn!(
                    "no other worker lives, so a new one serves although it lacks handlers that could be loaded before"
                );
            }
            Admission::Refused => {
                tracing::warn!(
                    "a new worker lacks handlers that could be loaded before; it is not used, the others go on"
                );
                if let Some(worker) = state.worker(number) {
                    worker.kill(Ending::ForOthers("it could not load all handlers"));
                }
            }
        }
        drop(state);
        self.announce(Ok(()));
        self.changed.notify_one();
    }

    fn show_lacking(&self, lacks: &BTreeMap<u32, String>) {
        for (handler, error) in lacks {
            let handler = self.handler_names.get(*handler as usize).map_or("-", String::as_str);
            tracing::error!(handler, "a new worker could not load a handler that could be loaded before: {error}");
        }
    }

    /// Puts a handler's line on the daemon's own log.
    fn show(&self, message: &FromWorker) {
        let FromWorker::Log { handler, level, message, fields, .. } = message else { return };
        let handler = handler.and_then(|handler| self.handler_names.get(handler as usize)).map_or("-", String::as_str);
        let fields = fields.as_deref().unwrap_or_default();
        match level {
            LogLevel::Trace => tracing::trace!(target: "rohas::handler", handler, fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target: "rohas::handler", handler, fields, "{message}"),
            LogLevel::Info => tracing::info!(target: "rohas::handler", handler, fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "rohas::handler", handler, fields, "{message}"),
            LogLevel::Error => tracing::error!(target: "rohas::handler", handler, fields, "{message}"),
            LogLevel::Stdout | LogLevel::Stderr => {
                tracing::info!(target: "rohas::handler", handler, stream = level.as_str(), "{message}");
            }
        }
    }

    async fn write(&self, number: u64, mut socket: OwnedWriteHalf, wake: &Notify) {
        let mut frames = Vec::new();
        loop {
            wake.notified().await;
            // One turn of the loop: whatever else is ready to call this worker goes out in the same write.
            tokio::task::yield_now().await;
            match self.state().worker(number) {
                Some(worker) => std::mem::swap(&mut frames, &mut worker.outgoing),
                None => return,
            }
            if let Err(error) = self.write_all(number, &mut socket, &frames).await {
                tracing::debug!(%error, "a worker's socket cannot be written");
                return;
            }
            frames.clear();
            frames.shrink_to(1 << 20);
        }
    }

    /// Writes all of it. Where the socket takes a part at a time, each is a sign of life.
    async fn write_all(&self, number: u64, socket: &mut OwnedWriteHalf, frames: &[u8]) -> io::Result<()> {
        let mut rest = frames;
        while !rest.is_empty() {
            match socket.write(rest).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => rest = &rest[written..],
            }
            if !rest.is_empty()
                && let Some(worker) = self.state().worker(number)
            {
                worker.took = Some(Instant::now());
            }
        }
        Ok(())
    }
}
