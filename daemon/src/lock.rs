//! Who runs this project? One daemon per project directory; its lock names it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// Held for a daemon's life; the system gives it back however the daemon ends.
pub(crate) struct Lock {
    _file: File,
}

/// Why the lock is not ours.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the daemon with the process id {pid} already runs this project; stop it first")]
    Held { pid: String },
    #[error("cannot lock the project with {}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Lock {
    /// Takes the project's lock.
    ///
    /// # Errors
    /// When another daemon has it.
    pub(crate) fn take(root: &Path) -> Result<Self, Error> {
        let path = root.join(".rohas/rohas.lock");
        let failed = |source| Error::Io { path: path.clone(), source };
        fs::create_dir_all(root.join(".rohas")).map_err(failed)?;
        let mut file =
            OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid).map_err(failed)?;
                return Err(Error::Held { pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let project = tempfile::tempdir().unwrap();
        let lock = Lock::take(project.path()).unwrap();
        let Err(Error::Held { pid }) = Lock::take(project.path()) else { panic!("the lock was given out twice") };
        assert_eq!(pid, std::process::id().to_string());
        drop(lock);
        assert!(Lock::take(project.path()).is_ok());
    }
}
