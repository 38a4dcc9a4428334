//! Can the database be used now? It is open, or being opened again after a failure, or closed for good.
//!
//! Whoever only asks never waits, not even while a failing disk holds up whoever reads, or the end of the database.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use super::database::Database;
use super::error::Fault;

/// The database as everybody finds it.
#[derive(Debug)]
pub(super) struct Slot {
    path: PathBuf,
    /// Whether it can be used. The writer changes it, everybody asks it first.
    usable: AtomicBool,
    /// Guards the database against being closed while it is used: held for one read or sync. Only the writer puts it in and takes it out, and
    /// lets go of it without this lock.
    database: RwLock<Option<Database>>,
    /// Guards why it cannot be used; held to copy it.
    refusal: Mutex<Refusal>,
}

/// Why the database cannot be used.
#[derive(Debug)]
enum Refusal {
    /// A write failed for this reason; the writer is about to open it again.
    Down(String),
    Closed,
}

impl Slot {
    pub(super) fn new(path: PathBuf, database: Database) -> Self {
        Self {
            path,
            usable: AtomicBool::new(true),
            database: RwLock::new(Some(database)),
            refusal: Mutex::new(Refusal::Closed),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Uses the database. May block as long as a disk does.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&Database) -> Result<T, Fault>) -> Result<T, Fault> {
        self.check()?;
        match &*self.database.read().unwrap_or_else(PoisonError::into_inner) {
            Some(database) => use_it(database),
            None => Err(self.fault()),
        }
    }

    /// Why it cannot be used now, if so. Never blocks.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.usable.load(Ordering::Acquire) { Ok(()) } else { Err(self.fault()) }
    }

    pub(super) fn set_open(&self, database: Database) {
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        self.usable.store(true, Ordering::Release);
    }

    /// Closes the database after a failure.
    pub(super) fn set_down(&self, cause: String) {
        self.refuse(Refusal::Down(cause));
    }

    /// Closes the database for good.
    pub(super) fn close(&self) {
        self.refuse(Refusal::Closed);
    }

    fn refuse(&self, refusal: Refusal) {
        *self.refusal() = refusal;
        self.usable.store(false, Ordering::Release);
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // Closing waits for the disk, so it comes after the lock.
        drop(database);
    }

    fn fault(&self) -> Fault {
        match &*self.refusal() {
            Refusal::Down(cause) => Fault::Down(cause.clone()),
            Refusal::Closed => Fault::Closed,
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Refusal> {
        // A panic while the lock is held leaves a whole value: it is replaced in a single step.
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn whoever_asks_waits_neither_for_a_slow_reader_nor_for_the_end_of_the_database() {
        let directory = tempfile::tempdir().unwrap();
        let slot = Arc::new(Slot::new(directory.path().to_owned(), Database::open(directory.path()).unwrap()));
        let (reading, is_reading) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let (asked, answers) = mpsc::channel();
        let reader = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                slot.with(|_| {
                    reading.send(()).unwrap();
                    may_go_on.recv_timeout(PATIENCE).unwrap();
                    Ok(())
                })
            })
        };
        is_reading.recv_timeout(PATIENCE).unwrap();
        let writer = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || slot.set_down("as told".to_owned()))
        };
        let asking = {
            let slot = Arc::clone(&slot);
            thread::spawn(move || {
                while slot.check().is_ok() {
                    thread::yield_now();
                }
                asked.send((slot.check(), slot.with(|_| Ok(())))).unwrap();
            })
        };
        let answers = answers.recv_timeout(PATIENCE).expect("an answer while the writer waits for the reader");
        assert!(matches!(answers, (Err(Fault::Down(_)), Err(Fault::Down(_)))), "{answers:?}");
        assert!(!writer.is_finished(), "the reader still holds the database");
        go_on.send(()).unwrap();
        reader.join().unwrap().unwrap();
        writer.join().unwrap();
        asking.join().unwrap();
        slot.set_open(Database::open(directory.path()).expect("it was let go of"));
        slot.check().unwrap();
        slot.close();
        assert!(matches!(slot.check(), Err(Fault::Closed)));
    }
}
