//! What is a worker? The one object that the event loop, the pool's threads and all calls share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::Call;
use crate::connection::{Connection, Flushed, lock};
use crate::environment::Environment;
use crate::frame::{Frame, Inbox};
use crate::ids::Ids;
use crate::message::{self, Header, Invoke, Message};
use crate::output::{Output, Stream};
use crate::plan::{Loaded, Plan};
use crate::pool::Pool;
use crate::slots::Slots;
use crate::watchdog;

/// Reads in one turn of the loop, so that a daemon that never stops sending can't starve the handlers.
const READS: usize = 4;

/// The worker, seen from Python as well.
#[pyclass(frozen, module = "rohas_python")]
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) slots: Slots,
    pub(crate) ids: Ids,
    pub(crate) output: Output,
    pub(crate) pool: Pool,
    /// What is called in Python again and again; set by [`Worker::attach`] before anything is read.
    environment: OnceLock<Environment>,
    /// Set when the project has been loaded, before anything else is received.
    loaded: OnceLock<Loaded>,
    /// One per handler, in the daemon's order; `None` for those that failed to load.
    plans: OnceLock<Vec<Option<Plan>>>,
    /// Calls that were read and not yet started.
    queue: Mutex<VecDeque<Py<Call>>>,
    /// Calls that were read and not yet answered.
    calls: Mutex<HashMap<u64, Py<Call>>>,
    /// A flush is on its way.
    flushing: AtomicBool,
    /// The loop tells us when the socket takes more.
    writing: AtomicBool,
    draining: AtomicBool,
}

impl Worker {
    /// Puts the parts together.
    pub(crate) fn new(connection: Connection, slots: Slots, ids: Ids) -> Self {
        Self {
            connection,
            slots,
            ids,
            output: Output::default(),
            pool: Pool::default(),
            environment: OnceLock::new(),
            loaded: OnceLock::new(),
            plans: OnceLock::new(),
            queue: Mutex::default(),
            calls: Mutex::default(),
            flushing: AtomicBool::new(false),
            writing: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    /// What the loop provides.
    ///
    /// # Errors
    ///
    /// Before [`Worker::attach`].
    pub(crate) fn environment(&self) -> PyResult<&Environment> {
        self.environment.get().ok_or_else(|| PyRuntimeError::new_err("the worker is not attached to a loop"))
    }

    /// What calls share.
    ///
    /// # Errors
    ///
    /// Before the project was loaded.
    pub(crate) fn loaded(&self) -> PyResult<&Loaded> {
        self.loaded.get().ok_or_else(|| PyRuntimeError::new_err("no project is loaded"))
    }

    /// How to run a handler.
    pub(crate) fn plan(&self, handler: u32) -> Option<&Plan> {
        let index = usize::try_from(handler).ok()?;
        self.plans.get()?.get(index)?.as_ref()
    }

    /// A call was answered, or dropped because the daemon took it back.
    pub(crate) fn finished(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        let call = lock(&self.calls).remove(&id);
        drop(call);
        self.flush_soon(py)
    }

    /// Flushes at the end of this turn of the loop, once for everything that finishes in it; at once from a thread.
    pub(crate) fn flush_soon(&self, py: Python<'_>) -> PyResult<()> {
        let environment = self.environment()?;
        if !environment.on_loop() {
            return self.flush_from_thread(py);
        }
        if self.flushing.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        environment.call_soon(py)
    }

    fn flush_from_thread(&self, py: Python<'_>) -> PyResult<()> {
        let flushed = sent(self.connection.flush());
        // The loop alone may register the socket, and it alone ends the drain.
        if flushed == Flushed::Partly || self.draining.load(Ordering::Acquire) {
            self.environment()?.call_soon_threadsafe(py)?;
        }
        Ok(())
    }

    fn flush_now(&self, py: Python<'_>) -> PyResult<()> {
        self.flushing.store(false, Ordering::Release);
        let environment = self.environment()?;
        match sent(self.connection.flush()) {
            Flushed::Partly => {
                if !self.writing.swap(true, Ordering::AcqRel) {
                    environment.add_writer(py, self.connection.fd())?;
                }
            }
            Flushed::All => {
                if self.writing.swap(false, Ordering::AcqRel) {
                    environment.remove_writer(py, self.connection.fd())?;
                }
                self.stop_when_drained(py)?;
            }
        }
        Ok(())
    }

    fn stop_when_drained(&self, py: Python<'_>) -> PyResult<()> {
        let done = self.draining.load(Ordering::Acquire) && lock(&self.calls).is_empty();
        if done && self.connection.is_flushed() { self.environment()?.stop(py) } else { Ok(()) }
    }

    /// Takes the frames out of the inbox and acts on them; calls are only queued.
    fn take(slf: &Bound<'_, Self>, inbox: &mut Inbox) -> PyResult<()> {
        while let Some(frame) = understood(inbox.next()) {
            Self::receive(slf, inbox, &frame)?;
        }
        Ok(())
    }

    fn receive(slf: &Bound<'_, Self>, inbox: &Inbox, frame: &Frame) -> PyResult<()> {
        let worker = slf.get();
        let body = &inbox.bytes()[frame.body.clone()];
        match understood(message::decode(&inbox.bytes()[frame.header.clone()])) {
            Message::Invoke(invoke) => Self::queue(slf, &invoke, body),
            Message::Load => watchdog::fail("the daemon sent a second load"),
            Message::Cancel(id) => worker.cancel(slf.py(), id),
            Message::Ping(number) => {
                worker.answer(&Header::pong(number), &[])?;
                worker.flush_soon(slf.py())
            }
            Message::Drain => {
                worker.draining.store(true, Ordering::Release);
                worker.flush_soon(slf.py())
            }
        }
    }

    fn queue(slf: &Bound<'_, Self>, invoke: &Invoke<'_>, body: &[u8]) -> PyResult<()> {
        let call = Call::new(slf, invoke, body)?;
        let worker = slf.get();
        let again = lock(&worker.calls).insert(invoke.id, call.clone_ref(slf.py()));
        lock(&worker.queue).push_back(call);
        drop(again);
        Ok(())
    }

    fn start_queued(&self, py: Python<'_>) -> PyResult<()> {
        loop {
            let Some(call) = lock(&self.queue).pop_front() else { return Ok(()) };
            let call = call.bind(py);
            if self.plan(call.get().handler).is_none_or(|plan| plan.asynchronous) {
                Call::start(call)?;
            } else {
                self.pool.submit(self.environment()?, call)?;
            }
        }
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        // The call may have come with the same read.
        self.start_queued(py)?;
        let call = lock(&self.calls).get(&id).map(|call| call.clone_ref(py));
        call.map_or(Ok(()), |call| call.get().cancel(py))
    }

    /// Appends an answer.
    ///
    /// # Errors
    ///
    /// When it is too long for a frame.
    pub(crate) fn answer(&self, header: &Header, parts: &[&[u8]]) -> PyResult<()> {
        self.connection.push(header, parts).map_err(|error| PyOverflowError::new_err(error.to_string()))
    }

    /// A line of a logger.
    ///
    /// # Errors
    ///
    /// When the fields can't be written.
    pub(crate) fn log(
        &self,
        py: Python<'_>,
        call: Option<&Call>,
        line: (&str, &str),
        fields: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let fields = match fields {
            Some(fields) if fields.is_truthy()? => Some(self.environment()?.fields(fields)?),
            _ => None,
        };
        self.make_room(py);
        sent(self.output.log(&self.connection, call, line, fields.as_deref()));
        self.flush_log(py)
    }

    /// Lets a daemon that reads slowly catch up, without keeping other threads from running.
    fn make_room(&self, py: Python<'_>) {
        if self.connection.is_full() {
            sent(py.detach(|| self.connection.wait()));
        }
    }

    /// Log lines of a call go out with the next flush; without a loop that runs, at once.
    fn flush_log(&self, py: Python<'_>) -> PyResult<()> {
        if self.loaded.get().is_some() {
            return self.flush_soon(py);
        }
        self.flush_all(py);
        Ok(())
    }

    /// Writes everything, waiting for the daemon to read it.
    fn flush_all(&self, py: Python<'_>) {
        while sent(self.connection.flush()) == Flushed::Partly {
            sent(py.detach(|| self.connection.wait()));
        }
    }

    /// Reads until a first message is there and takes it.
    fn first_message(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let mut inbox = self.connection.take_inbox();
        loop {
            if let Some(frame) = understood(inbox.next()) {
                let body = PyBytes::new(py, &inbox.bytes()[frame.body.clone()]).unbind();
                let message = understood(message::decode(&inbox.bytes()[frame.header.clone()]));
                let Message::Load = message else { watchdog::fail("the first message of the daemon is not load") };
                self.connection.put_inbox(inbox);
                return Ok(body);
            }
            match sent(self.connection.read(&mut inbox)) {
                Some(0) => watchdog::exit(),
                Some(_) => {}
                None => sent(py.detach(|| self.connection.wait_readable())),
            }
        }
    }
}

/// Without a connection nobody is left to work for, or to tell.
fn sent<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|_| watchdog::exit())
}

/// Whoever sends what can't be understood speaks another protocol; nothing after it can be trusted.
fn understood<T, E: std::error::Error>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| watchdog::fail(&error.to_string()))
}

#[pymethods]
impl Worker {
    /// The socket's descriptor.
    #[getter]
    fn fd(&self) -> i32 {
        self.connection.fd()
    }

    /// Takes over the event loop; `support` is our Python part.
    fn attach(slf: &Bound<'_, Self>, event_loop: &Bound<'_, PyAny>, support: &Bound<'_, PyAny>) -> PyResult<()> {
        let environment = Environment::new(slf, event_loop, support)?;
        slf.get().environment.set(environment).map_err(|_| PyRuntimeError::new_err("the worker is attached already"))
    }

    /// Sends `hello` and waits for what to load: the body of that message.
    fn hello(&self, py: Python<'_>, body: &[u8]) -> PyResult<Py<PyBytes>> {
        self.answer(&Header::hello(), &[body])?;
        self.flush_all(py);
        self.first_message(py)
    }

    /// What is printed from now on belongs to the loading of this handler, or to none.
    fn loading(&self, handler: Option<u32>) {
        sent(self.output.loading(&self.connection, handler));
    }

    /// Takes over what was loaded and sends `loaded`.
    fn loaded_project(
        slf: &Bound<'_, Self>,
        project: &Bound<'_, PyAny>,
        plans: Vec<Option<Bound<'_, PyAny>>>,
        body: &[u8],
    ) -> PyResult<()> {
        let worker = slf.get();
        let plans = plans.iter().map(|plan| plan.as_ref().map(Plan::new).transpose()).collect::<PyResult<Vec<_>>>()?;
        worker.pool.limit(project.getattr("threads")?.extract()?);
        let loaded = Loaded::new(slf, project)?;
        let first = worker.plans.set(plans).is_ok() && worker.loaded.set(loaded).is_ok();
        if !first {
            return Err(PyRuntimeError::new_err("a project is loaded already"));
        }
        worker.answer(&Header::loaded(), &[body])?;
        worker.flush_all(slf.py());
        Ok(())
    }

    /// The socket has something to read.
    fn readable(slf: &Bound<'_, Self>) -> PyResult<()> {
        let worker = slf.get();
        for _ in 0..READS {
            let mut inbox = worker.connection.take_inbox();
            let read = sent(worker.connection.read(&mut inbox));
            let taken = Self::take(slf, &mut inbox);
            inbox.trim();
            worker.connection.put_inbox(inbox);
            taken?;
            worker.start_queued(slf.py())?;
            match read {
                Some(0) => watchdog::exit(),
                Some(_) => {}
                None => break,
            }
        }
        Ok(())
    }

    /// The socket takes more.
    fn writable(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_now(py)
    }

    /// The end of a turn of the loop.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.flush_now(py)
    }

    /// Serves the pool; called in a thread of it.
    fn serve(&self, py: Python<'_>) -> PyResult<()> {
        self.pool.serve(py)
    }

    /// The next id.
    fn generate_id(&self) -> u64 {
        self.ids.generate()
    }

    /// What was printed to stdout or stderr.
    fn print(&self, py: Python<'_>, stdout: bool, text: &str) -> PyResult<()> {
        let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
        let call = self.environment()?.current(py)?;
        self.make_room(py);
        sent(self.output.print(&self.connection, call.as_ref().map(Bound::get), stream, text));
        self.flush_log(py)
    }

    /// A line of Python's `logging`, or of the worker itself.
    #[pyo3(name = "log")]
    fn log_line(&self, py: Python<'_>, level: &str, message: &str, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        let call = self.environment()?.current(py)?;
        self.log(py, call.as_ref().map(Bound::get), (level, message), Some(fields))
    }

    /// After a fork, in the child: the socket is the parent's.
    fn forked(&self) {
        self.connection.detach();
    }
}
