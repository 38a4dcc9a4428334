//! How does telemetry start and stop? [`open`] starts the writer, [`Service::shutdown`] stores everything and closes the database.

use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crate::inbox::Inbox;
use crate::retention::Retention;
use crate::store::Store;
use crate::writer::{Counters, Writer};
use crate::{Error, Handle, Options};

const WRITER: &str = "telemetry-writer";

/// Opens the database, makes it when it is missing, and starts the writer.
///
/// # Errors
/// [`Error::InUse`] when somebody else has it open, [`Error::Directory`] and [`Error::Open`] when it cannot be opened,
/// [`Error::Thread`] when there are no threads left.
///
/// # Examples
/// ```
/// use rohas_telemetry::{Filter, Kind, Options, Record, SpanId, TraceId, open};
///
/// # let directory = tempfile::tempdir()?;
/// let (handle, service) = open(Options::new(directory.path()))?;
/// handle.record(Record::new(Kind::Request, "CreateUser".into(), TraceId::random(), SpanId::random()));
/// let listing = handle.list(&Filter { limit: 10, ..Filter::default() })?;
/// assert_eq!(&*listing.entries[0].name, "CreateUser");
/// service.shutdown()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(options: Options) -> Result<(Handle, Service), Error> {
    let store = Store::open(&options.path, options.max_cache_size)?;
    let last_key = store.last_key()?;
    let slot = Slot(RwLock::new(Some(store)));
    let shared = Arc::new(Shared { inbox: Inbox::default(), slot, counters: Counters::default() });
    let handle = Handle::new(Arc::clone(&shared), &options);
    let keeps_logs = options.logs;
    let retention = Retention::start(options, Arc::clone(&shared))?;
    let writer = Writer::new(Arc::clone(&shared), retention, last_key, keeps_logs);
    let thread = thread::Builder::new().name(WRITER.into()).spawn(move || writer.run());
    let thread = thread.map_err(|source| Error::Thread { name: WRITER, source })?;
    Ok((handle, Service { shared, thread: Some(thread) }))
}

/// Owns the writer thread and the database. Dropping it does the same as [`Service::shutdown`], but can only log errors.
#[derive(Debug)]
pub struct Service {
    shared: Arc<Shared>,
    /// `None` once it has been joined.
    thread: Option<JoinHandle<Result<(), Error>>>,
}

impl Service {
    /// Stores every record that was handed over, waits for queries that run, and closes the database. Handles that are still there
    /// drop and count what they are given, and their queries fail with [`Error::Closed`].
    ///
    /// # Errors
    /// When the last records could not be written or a thread panicked. The database is closed all the same.
    pub fn shutdown(mut self) -> Result<(), Error> {
        self.close()
    }

    fn close(&mut self) -> Result<(), Error> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.shared.inbox.close();
        let written = thread.join().unwrap_or(Err(Error::Panicked { name: WRITER }));
        let flushed = self.shared.slot.take().map_or(Ok(()), |store| store.flush());
        written.and(flushed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "telemetry could not be closed in order");
        }
    }
}

/// What handles, the writer and the service have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// From everyone who records to the writer.
    pub(crate) inbox: Inbox,
    /// Written by the writer, read by queries, emptied by the service.
    pub(crate) slot: Slot,
    /// Counted by the writer, read by handles.
    pub(crate) counters: Counters,
}

/// The store as long as it is open.
#[derive(Debug)]
pub(crate) struct Slot(
    /// Read by the writer and by queries while they use the store, written once, to close it.
    RwLock<Option<Store>>,
);

impl Slot {
    /// Uses the store; it stays open meanwhile.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&Store) -> T) -> Result<T, Error> {
        let slot = self.0.read().unwrap_or_else(PoisonError::into_inner);
        slot.as_ref().map(f).ok_or(Error::Closed)
    }

    fn take(&self) -> Option<Store> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).take()
    }
}
