//! What is a worker? The one object that the event loop, the pool's threads and all calls share.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyList, PyMemoryView, PyString, PyTuple};

use crate::call::Call;
use crate::connection::{Connection, Flushed, lock};
use crate::coroutine::{self, Starting};
use crate::decode::{self, Invoke, Message};
use crate::environment::Environment;
use crate::flusher::Flusher;
use crate::frame::{Frame, Inbox};
use crate::ids::Ids;
use crate::message::Header;
use crate::output::{Output, Stream};
use crate::plan::Plan;
use crate::pool::Pool;
use crate::project::Project;
use crate::raw;
use crate::slots::Slots;
use crate::watchdog;

/// How long first steps of handlers may keep the loop from everything else that is due.
const TURN: Duration = Duration::from_millis(5);

/// After so many calls their answers are sent, so that the daemon works on them while the next calls run.
const BATCH: u32 = 64;

/// What the daemon asked for, in its order.
enum Queued {
    Start(Py<Call>),
    Cancel(u64),
}

/// The worker, seen from Python as well.
#[pyclass(frozen, module = "rohas_python")]
pub(crate) struct Worker {
    pub(crate) connection: Connection,
    pub(crate) slots: Slots,
    pub(crate) ids: Ids,
    pub(crate) output: Output,
    pub(crate) pool: Pool,
    pub(crate) flusher: Flusher,
    /// What is called in Python again and again; set by [`Worker::attach`] before anything is read.
    environment: OnceLock<Environment>,
    /// Set when the project has been loaded, before anything else is received.
    project: OnceLock<Project>,
    /// One per handler, in the daemon's order; `None` for those that failed to load.
    plans: OnceLock<Vec<Option<Plan>>>,
    /// What was read and not yet acted on.
    queue: Mutex<VecDeque<Queued>>,
    /// Calls that wait for the loop or a thread, or run there; those that end in their first step are never here.
    calls: Mutex<HashMap<u64, Py<Call>>>,
    /// Calls in their first step: more than one only if a handler runs the loop itself.
    starting: Mutex<Vec<Starting>>,
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
            flusher: Flusher::default(),
            environment: OnceLock::new(),
            project: OnceLock::new(),
            plans: OnceLock::new(),
            queue: Mutex::default(),
            calls: Mutex::default(),
            starting: Mutex::default(),
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
    pub(crate) fn project(&self) -> PyResult<&Project> {
        self.project.get().ok_or_else(|| PyRuntimeError::new_err("no project is loaded"))
    }

    /// How to run a handler.
    pub(crate) fn plan(&self, handler: u32) -> Option<&Plan> {
        let index = usize::try_from(handler).ok()?;
        self.plans.get()?.get(index)?.as_ref()
    }

    /// A call was answered, or dropped because the daemon took it back.
    pub(crate) fn finished(&self, py: Python<'_>, call: &Call) {
        if call.is_remembered.load(Ordering::Relaxed) {
            let call = lock(&self.calls).remove(&call.id);
            drop(call);
        }
        working(self.flush_soon(py), py);
    }

    /// A call goes on beyond its first step, or in a thread.
    pub(crate) fn remember(&self, call: &Bound<'_, Call>) {
        call.get().is_remembered.store(true, Ordering::Relaxed);
        lock(&self.calls).insert(call.get().id, call.clone().unbind());
    }

    /// A call's first step begins.
    pub(crate) fn starting_push(&self, starting: Starting) {
        lock(&self.starting).push(starting);
    }

    /// The last call's first step has ended.
    pub(crate) fn starting_pop(&self) -> Option<Starting> {
        lock(&self.starting).pop()
    }

    /// Flushes at the end of this turn of the loop, once for everything that finishes in it; at once from a thread.
    fn flush_soon(&self, py: Python<'_>) -> PyResult<()> {
        let environment = self.environment()?;
        if !environment.on_loop() {
            return self.flush_from_thread(py);
        }
        self.flusher.notify();
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
        let done =
            self.draining.load(Ordering::Acquire) && lock(&self.calls).is_empty() && lock(&self.queue).is_empty();
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
        match understood(decode::decode(&inbox.bytes()[frame.header.clone()])) {
            Message::Invoke(invoke) => Self::queue(slf, &invoke, body),
            Message::Load => watchdog::fail("the daemon sent a second load"),
            Message::Cancel(id) => {
                lock(&worker.queue).push_back(Queued::Cancel(id));
                Ok(())
            }
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
        lock(&slf.get().queue).push_back(Queued::Start(call));
        Ok(())
    }

    fn work_off_queue(&self, py: Python<'_>) -> PyResult<()> {
        let start = Instant::now();
        let mut started = 0;
        loop {
            if started == BATCH {
                started = 0;
                self.flush_now(py)?;
                self.flushing.store(true, Ordering::Release);
            }
            if start.elapsed() > TURN && !lock(&self.queue).is_empty() {
                return self.environment()?.proceed_soon(py);
            }
            // A statement of its own, so that the lock is released before any handler runs.
            let next = lock(&self.queue).pop_front();
            match next {
                Some(Queued::Start(call)) => {
                    started += 1;
                    self.start(call.bind(py));
                }
                Some(Queued::Cancel(id)) => self.cancel(py, id)?,
                None => return Ok(()),
            }
        }
    }

    fn start(&self, call: &Bound<'_, Call>) {
        let started = if self.plan(call.get().handler).is_none_or(|plan| plan.asynchronous) {
            coroutine::start(call)
        } else {
            self.remember(call);
            self.environment().and_then(|environment| self.pool.submit(environment, call))
        };
        if let Err(error) = started {
            call.get().abort(call.py(), error);
        }
    }

    fn cancel(&self, py: Python<'_>, id: u64) -> PyResult<()> {
        let call = lock(&self.calls).get(&id).map(|call| call.clone_ref(py));
        if let Some(task) = call.and_then(|call| call.get().cancel(py)) {
            task.bind(py).call_method0(intern!(py, "cancel"))?;
        }
        if let Some(call) = self.pool.withdraw(id) {
            call.get().abort(py, self.environment()?.cancelled(py));
        }
        Ok(())
    }

    /// Appends an answer.
    ///
    /// # Errors
    ///
    /// When it is too long for a frame.
    pub(crate) fn answer(&self, header: &Header, parts: &[&[u8]]) -> PyResult<()> {
        self.connection.push(header, parts).map_err(|error| PyOverflowError::new_err(error.to_string()))
    }

    /// Data for a WebSocket: bytes are a binary frame, anything else is JSON in a text frame.
    fn frame<'py>(&self, data: &Bound<'py, PyAny>) -> PyResult<(bool, Bound<'py, PyBytes>)> {
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok((true, bytes.clone()));
        }
        if data.is_instance_of::<PyByteArray>() || data.is_instance_of::<PyMemoryView>() {
            return Ok((true, raw::bytes(data)?));
        }
        Ok((false, self.encode(data)?))
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
        self.flusher.notify();
        Ok(())
    }

    /// Lets a daemon that reads slowly catch up, without keeping other threads from running.
    fn make_room(&self, py: Python<'_>) {
        if self.connection.is_full() {
            sent(py.detach(|| self.connection.wait()));
        }
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
                let message = understood(decode::decode(&inbox.bytes()[frame.header.clone()]));
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
pub(crate) fn sent<T>(outcome: io::Result<T>) -> T {
    outcome.unwrap_or_else(|_| watchdog::exit())
}

/// A worker whose loop is broken or that has no memory left would keep the daemon waiting for answers. When it ends instead,
/// what it had not entered moves to another one.
fn working(outcome: PyResult<()>, py: Python<'_>) {
    if let Err(error) = outcome {
        let error = error.value(py);
        watchdog::fail(&format!("can't go on: {error}"));
    }
}

/// Whoever sends what can't be understood speaks another protocol; nothing after it can be trusted.
fn understood<T, E: std::error::Error>(outcome: Result<T, E>) -> T {
    outcome.unwrap_or_else(|error| watchdog::fail(&error.to_string()))
}

fn target_element(header: &mut Header, target: &Bound<'_, PyAny>) -> PyResult<()> {
    if target.is_none() {
        header.nil();
    } else if let Ok(text) = target.cast::<PyString>() {
        header.text(&text.to_cow()?);
    } else {
        header.number(target.extract()?);
    }
    Ok(())
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
        let first = slf.get().environment.set(environment).is_ok();
        if first { Ok(()) } else { Err(PyRuntimeError::new_err("the worker is attached already")) }
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
        plans: &Bound<'_, PyList>,
        body: &[u8],
    ) -> PyResult<()> {
        let worker = slf.get();
        let plan = |plan: Bound<'_, PyAny>| if plan.is_none() { Ok(None) } else { Plan::new(&plan).map(Some) };
        let plans = plans.iter().map(plan).collect::<PyResult<Vec<_>>>()?;
        worker.pool.limit(project.getattr("threads")?.extract()?);
        worker.environment()?.find_task_factory(slf.py())?;
        // Without any loaded handler there may be no generated code to share.
        let shared = if plans.iter().any(Option::is_some) { Some(Project::new(slf, project)?) } else { None };
        let first = shared.is_none_or(|shared| worker.project.set(shared).is_ok()) && worker.plans.set(plans).is_ok();
        if !first {
            return Err(PyRuntimeError::new_err("a project is loaded already"));
        }
        worker.answer(&Header::loaded(), &[body])?;
        worker.flush_all(slf.py());
        Ok(())
    }

    /// The socket has something to read.
    fn readable(slf: &Bound<'_, Self>) {
        let worker = slf.get();
        let mut inbox = worker.connection.take_inbox();
        let read = sent(worker.connection.read(&mut inbox));
        let taken = Self::take(slf, &mut inbox);
        inbox.trim();
        worker.connection.put_inbox(inbox);
        if read == Some(0) {
            watchdog::exit();
        }
        working(taken, slf.py());
        worker.proceed(slf.py());
    }

    /// Acts on what was read.
    fn proceed(&self, py: Python<'_>) {
        // Whatever ends now is written below, with few system calls.
        self.flushing.store(true, Ordering::Release);
        working(self.work_off_queue(py), py);
        working(self.flush_now(py), py);
    }

    /// Initialises the task of a call whose first step is running; does nothing to other tasks.
    fn materialise(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let found = lock(&self.starting).iter_mut().find(|starting| starting.task.is(task)).and_then(|starting| {
            let first = !std::mem::replace(&mut starting.real, true);
            first.then(|| (starting.call.clone_ref(task.py()), starting.context.clone_ref(task.py())))
        });
        match found {
            Some((call, context)) => {
                self.environment()?.initialise_task(task, call.bind(task.py()), context.bind(task.py()))
            }
            None => Ok(()),
        }
    }

    /// The socket takes more.
    fn writable(&self, py: Python<'_>) {
        working(self.flush_now(py), py);
    }

    /// The end of a turn of the loop.
    fn flush(&self, py: Python<'_>) {
        working(self.flush_now(py), py);
    }

    /// Serves the pool; called in a thread of it.
    fn serve(&self, py: Python<'_>) {
        self.pool.serve(py)
    }

    /// The next id.
    fn generate_id(&self) -> u64 {
        self.ids.generate()
    }

    /// An event's payload as JSON.
    fn encode<'py>(&self, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let environment = self.environment()?;
        // Our Python part says what is wrong with the payload, and where in it.
        self.project()?.to_json(environment, payload).or_else(|_| environment.explain(payload))
    }

    /// Does something to WebSocket connections, at once: `targets` are the elements behind the action's number, `data` is what is
    /// sent to them.
    #[pyo3(signature = (action, targets, *data))]
    fn push(&self, action: u64, targets: &Bound<'_, PyTuple>, data: &Bound<'_, PyTuple>) -> PyResult<()> {
        let py = targets.py();
        let mut header = Header::push(1 + targets.len() + data.len());
        header.number(action);
        for target in targets {
            target_element(&mut header, &target)?;
        }
        let frame = data.iter().next().map(|data| self.frame(&data)).transpose()?;
        if let Some((binary, _)) = &frame {
            header.boolean(*binary);
        }
        self.make_room(py);
        self.answer(&header, &[frame.as_ref().map_or(&[], |(_, data)| data.as_bytes())])?;
        self.flush_soon(py)
    }

    /// What was printed to stdout or stderr.
    fn print(&self, py: Python<'_>, stdout: bool, text: &Bound<'_, PyString>) -> PyResult<()> {
        let stream = if stdout { Stream::Stdout } else { Stream::Stderr };
        let call = self.environment()?.current(py)?;
        self.make_room(py);
        sent(self.output.print(&self.connection, call.as_ref().map(Bound::get), stream, &text.to_string_lossy()));
        self.flusher.notify();
        Ok(())
    }

    /// A line of Python's `logging`, or of the worker itself.
    #[pyo3(name = "log")]
    fn log_line(&self, level: &str, message: &Bound<'_, PyString>, fields: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = fields.py();
        let call = self.environment()?.current(py)?;
        self.log(py, call.as_ref().map(Bound::get), (level, &message.to_string_lossy()), Some(fields))
    }

    /// Sends what still waits, before the process ends.
    fn flush_last(&self, py: Python<'_>) {
        self.flush_all(py);
    }

    /// After a fork, in the child: the socket is the parent's.
    fn forked(&self) {
        self.connection.detach();
    }
}
