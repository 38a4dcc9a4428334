//! How is a file replaced so that whoever reads it meanwhile sees the old text or the new one, never half of it? By a rename.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::process;

/// What the names of temporary files begin with.
pub(crate) const TEMPORARY: &str = ".rohas-tmp-";

/// Writes a file, which keeps its permissions if there was one. Its folder must exist. A link is replaced, not followed.
///
/// # Errors
///
/// When the folder isn't writable or the disk is full; the file is then as it was.
pub fn replace(path: &Path, content: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    // Ends in no extension that a reader of the folder looks for, such as `.ro`.
    let temporary = path.with_file_name(format!("{TEMPORARY}{}-{}.tmp", process::id(), name.to_string_lossy()));
    write(&temporary, path, content).and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // The write's own error is the one to report.
        drop(fs::remove_file(&temporary));
    })
}

fn write(temporary: &Path, path: &Path, content: &str) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    match path.symlink_metadata() {
        Ok(former) if former.is_file() => file.set_permissions(former.permissions())?,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(content.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nothing_is_left_behind_and_permissions_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.ro");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        replace(&folder.path().join("b"), "first").unwrap();

        fs::create_dir(folder.path().join("c")).unwrap();
        replace(&folder.path().join("c"), "x").unwrap_err();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.ro", "b", "c"]);
    }
}
