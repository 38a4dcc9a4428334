//! Up to which slot has each job been decided? A file below `.rohas`, so that it works with every adapter and outlives the daemon.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A clock may be set back by so much before what was decided counts for nothing.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What has been decided, by name of the job.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    jobs: BTreeMap<String, Entry>,
    /// Whether the file says something else.
    changed: bool,
}

/// A job as it was when it was last decided about. With another schedule nothing has been decided yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    schedule: String,
    timezone: Option<String>,
    decided: Timestamp,
}

/// Why it is not known what has been decided.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{} cannot be understood; without it, jobs begin anew with what is due from now on", path.display())]
    Content { path: PathBuf, source: serde_json::Error },
}

impl Ledger {
    /// Reads what earlier daemons of the project have left.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let path = root.join(".rohas/cron.json");
        let jobs = match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|source| Error::Content { path: path.clone(), source })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(Error::Read { path, source }),
        };
        Ok(Self { path, jobs, changed: false })
    }

    /// Up to which slot a job has been decided, if it is known; what lies in the future counts for nothing.
    pub(crate) fn known(&self, job: &str, schedule: &str, timezone: Option<&str>, now: Timestamp) -> Option<Timestamp> {
        self.noted(job, schedule, timezone).filter(|decided| !is_ahead(*decided, now))
    }

    fn noted(&self, job: &str, schedule: &str, timezone: Option<&str>) -> Option<Timestamp> {
        let entry = self.jobs.get(job)?;
        (entry.schedule == schedule && entry.timezone.as_deref() == timezone).then_some(entry.decided)
    }

    /// Up to which slot a job has been decided; for a new one, one with another schedule, or one from the future, up to now.
    pub(super) fn decided(&mut self, job: &str, schedule: &str, timezone: Option<&str>, now: Timestamp) -> Timestamp {
        match self.noted(job, schedule, timezone) {
            Some(decided) if is_ahead(decided, now) => {
                tracing::warn!(job, %decided, "a cron job was decided up to a time to come; was the clock set back? It goes on from now");
            }
            Some(decided) => return decided,
            None => {}
        }
        let (schedule, timezone) = (schedule.to_owned(), timezone.map(str::to_owned));
        self.jobs.insert(job.to_owned(), Entry { schedule, timezone, decided: now });
        self.changed = true;
        now
    }

    /// Takes note of a decision.
    pub(super) fn decide(&mut self, job: &str, slot: Timestamp) {
        if let Some(entry) = self.jobs.get_mut(job) {
            entry.decided = slot;
            self.changed = true;
        }
    }

    /// Forgets jobs that are no longer declared: one that comes back is new.
    pub(super) fn retain(&mut self, declared: impl Fn(&str) -> bool) {
        let before = self.jobs.len();
        self.jobs.retain(|job, _| declared(job));
        self.changed |= self.jobs.len() != before;
    }

    /// What is to be written, if something is.
    pub(super) fn unsaved(&self) -> Option<Draft> {
        let text = || serde_json::to_vec_pretty(&self.jobs).expect("texts and times serialise without fail");
        self.changed.then(|| Draft { path: self.path.clone(), text: text() })
    }

    pub(super) fn saved(&mut self) {
        self.changed = false;
    }
}

/// The file as it is to be.
pub(super) struct Draft {
    path: PathBuf,
    text: Vec<u8>,
}

impl Draft {
    /// Replaces the file. Afterwards it outlives a crash of the machine.
    pub(super) fn save(&self) -> Result<(), Error> {
        let temporary = self.path.with_extension("json.new");
        self.write(&temporary).map_err(|source| Error::Write { path: temporary.clone(), source })?;
        fs::rename(&temporary, &self.path).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        let Some(directory) = self.path.parent() else { return Ok(()) };
        let synced = File::open(directory).and_then(|directory| directory.sync_all());
        synced.map_err(|source| Error::Write { path: directory.to_owned(), source })
    }

    fn write(&self, temporary: &Path) -> io::Result<()> {
        let mut file = File::create(temporary)?;
        file.write_all(&self.text)?;
        file.sync_all()
    }
}

fn is_ahead(decided: Timestamp, now: Timestamp) -> bool {
    decided.duration_since(now) > SKEW
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn reopened(root: &Path, ledger: &mut Ledger) -> Ledger {
        ledger.unsaved().unwrap().save().unwrap();
        ledger.saved();
        assert!(ledger.unsaved().is_none());
        Ledger::open(root).unwrap()
    }

    #[test]
    fn what_was_decided_is_known_to_the_next_daemon() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".rohas")).unwrap();
        let mut ledger = Ledger::open(root.path()).unwrap();
        assert_eq!(ledger.decided("A", "* * * * *", None, at(5)), at(5));
        ledger.decide("A", at(60));
        let mut next = reopened(root.path(), &mut ledger);
        assert_eq!(next.decided("A", "* * * * *", None, at(500)), at(60));
        // Another schedule or zone is another job, and so is one that was gone meanwhile.
        assert_eq!(next.decided("A", "* * * * *", Some("Asia/Tokyo"), at(600)), at(600));
        next.retain(|_| false);
        assert_eq!(reopened(root.path(), &mut next).decided("A", "* * * * *", Some("Asia/Tokyo"), at(700)), at(700));
    }

    #[test]
    fn what_lies_in_the_future_counts_for_nothing_but_for_a_small_skew() {
        let root = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(root.path()).unwrap();
        ledger.decided("A", "* * * * *", None, at(1060));
        assert_eq!(ledger.known("A", "* * * * *", None, at(1000)), Some(at(1060)));
        assert_eq!(ledger.decided("A", "* * * * *", None, at(1000)), at(1060));
        assert_eq!(ledger.known("A", "* * * * *", None, at(999)), None);
        assert_eq!(ledger.decided("A", "* * * * *", None, at(999)), at(999));
        assert_eq!(ledger.known("A", "* * * * *", None, at(1000)), Some(at(999)));
    }

    #[test]
    fn an_error_of_writing_names_the_path_that_failed() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(".rohas/cron.json.new")).unwrap();
        let mut ledger = Ledger::open(root.path()).unwrap();
        ledger.decided("A", "* * * * *", None, at(0));
        let named = |ledger: &Ledger| ledger.unsaved().unwrap().save().unwrap_err().to_string();
        assert!(named(&ledger).ends_with(".rohas/cron.json.new"));
        fs::remove_dir(root.path().join(".rohas/cron.json.new")).unwrap();
        fs::create_dir_all(root.path().join(".rohas/cron.json/in-the-way")).unwrap();
        assert!(named(&ledger).ends_with(".rohas/cron.json"));
    }

    #[test]
    fn a_file_that_is_none_of_ours_is_an_error_that_names_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".rohas")).unwrap();
        fs::write(root.path().join(".rohas/cron.json"), "{").unwrap();
        assert!(Ledger::open(root.path()).unwrap_err().to_string().contains(".rohas/cron.json"));
    }
}
