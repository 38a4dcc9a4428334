//! Is everything that was confirmed still there? A small file beside the database says up to which commit publications were confirmed.
//!
//! The database opens after a crash with what its log has up to the first damaged entry, and says nothing about the rest. This file does: when the database
//! ends before what the file says, confirmed publications are lost, and the time between the two tells which.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::codec::{seal, unseal};

const NAME: &str = "confirmed";
const LENGTH: usize = 12;

/// The file. It is written in place and not synced: after a crash of the machine it may say less than is true, never more.
#[derive(Debug)]
pub(super) struct Confirmed {
    file: File,
}

impl Confirmed {
    pub(super) fn path(store: &Path) -> PathBuf {
        store.join(NAME)
    }

    /// Opens the file, or makes it. Also returns the commit time that it has, zero when it has none that can be read.
    pub(super) fn open(store: &Path) -> io::Result<(Self, u64)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(Self::path(store))?;
        let mut bytes = [0; LENGTH];
        let length = file.read_at(&mut bytes, 0)?;
        let time = unseal(&bytes[..length]).and_then(|time| time.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok((Self { file }, time))
    }

    /// Everything up to the commit at this time, in nanoseconds since 1970, is confirmed.
    pub(super) fn write(&self, time: u64) -> io::Result<()> {
        self.file.write_all_at(&seal(time.to_le_bytes().to_vec()), 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_is_read_again_and_nonsense_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let (file, time) = Confirmed::open(directory.path()).unwrap();
        assert_eq!(time, 0);
        file.write(5).unwrap();
        file.write(7).unwrap();
        assert_eq!(Confirmed::open(directory.path()).unwrap().1, 7);
        std::fs::write(Confirmed::path(directory.path()), b"nonsense and more").unwrap();
        assert_eq!(Confirmed::open(directory.path()).unwrap().1, 0);
    }
}
