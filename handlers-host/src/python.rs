//! Which interpreter runs a project's Python handlers, and how is it started?

use std::ffi::OsString;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use crate::worker::Program;

/// The extension module's file, as it stands beside the daemon's executable.
pub const EXTENSION: &str = "librohas_python.so";

/// Runs in the interpreter and hands over to the extension.
const BOOTSTRAP: &str = include_str!("../python/src/bootstrap.py");

/// Why the Python host cannot be started.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The extension module is not where it is installed.
    #[error("the Python extension is missing: expected {} beside the executable; reinstall rohas", .0.display())]
    NoExtension(PathBuf),
    /// The interpreter that was named does not exist, or none was found.
    #[error("the Python interpreter {} ({origin}) does not exist", .path.display())]
    NoInterpreter {
        /// Where it was looked for.
        path: PathBuf,
        /// Who named it.
        origin: Origin,
    },
}

impl Error {
    /// What to change in the project or its surroundings; `None` when rohas itself is not installed well.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoExtension(_) => None,
            Self::NoInterpreter { origin, .. } => Some(origin.remedy()),
        }
    }
}

/// Who named an interpreter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The setting.
    Configured,
    /// The environment variable.
    VirtualEnv,
    /// The project's own environment.
    Project,
    /// Nobody: it is the first on the path.
    Path,
}

impl Origin {
    fn remedy(self) -> &'static str {
        match self {
            Self::Configured => {
                "let [python] interpreter name one that exists, or leave it out to use the project's .venv, which `rohas dev` makes"
            }
            Self::VirtualEnv => "activate an environment that exists, or unset VIRTUAL_ENV to use the project's .venv",
            Self::Project | Self::Path => "install CPython 3.10 or newer, or let [python] interpreter name one",
        }
    }
}

impl Display for Origin {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Configured => "[python] interpreter",
            Self::VirtualEnv => "VIRTUAL_ENV",
            Self::Project => "the project's .venv",
            Self::Path => "python3 on the PATH",
        })
    }
}

/// Where an interpreter may be named, strongest first.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// `[python] interpreter`: a path relative to the project's root, or the name of a command.
    pub configured: Option<PathBuf>,
    /// The environment variable `VIRTUAL_ENV`.
    pub virtual_env: Option<PathBuf>,
    /// The environment variable `PATH`.
    pub path: Option<OsString>,
}

/// The interpreter of a project and who named it.
#[derive(Debug, Clone)]
pub struct Interpreter {
    /// Its executable.
    pub path: PathBuf,
    /// Who named it.
    pub origin: Origin,
}

impl Interpreter {
    /// Finds it: `[python] interpreter`, else `VIRTUAL_ENV`, else the project's `.venv`, else `python3` on the path.
    ///
    /// # Errors
    /// When the one named does not exist.
    pub fn find(root: &Path, candidates: &Candidates) -> Result<Self, Error> {
        if let Some(configured) = &candidates.configured {
            let path = root.join(configured);
            let is_command = configured.components().count() == 1 && !path.is_file();
            let command = if is_command { candidates.on_path(configured) } else { None };
            return existing(command.unwrap_or(path), Origin::Configured);
        }
        if let Some(environment) = &candidates.virtual_env {
            return existing(environment.join("bin/python"), Origin::VirtualEnv);
        }
        let own = root.join(".venv/bin/python");
        if own.exists() {
            return Ok(Self { path: own, origin: Origin::Project });
        }
        let command = Path::new("python3");
        existing(candidates.on_path(command).unwrap_or_else(|| command.to_owned()), Origin::Path)
    }

    /// Whether it was named by the user or belongs to the project, so that packages may be expected in it.
    #[must_use]
    pub fn is_projects_own(&self) -> bool {
        self.origin != Origin::Path
    }
}

impl Candidates {
    fn on_path(&self, command: &Path) -> Option<PathBuf> {
        let directories = std::env::split_paths(self.path.as_deref()?);
        directories.map(|directory| directory.join(command)).find(|path| path.is_file())
    }
}

fn existing(path: PathBuf, origin: Origin) -> Result<Interpreter, Error> {
    if path.is_file() { Ok(Interpreter { path, origin }) } else { Err(Error::NoInterpreter { path, origin }) }
}

/// How to start a worker: the interpreter, the bootstrap script and the extension that lies beside `executable`.
///
/// # Errors
/// When the extension is missing.
pub fn program(interpreter: &Interpreter, root: &Path, executable: &Path, development: bool) -> Result<Program, Error> {
    let extension = executable.with_file_name(EXTENSION);
    if !extension.is_file() {
        return Err(Error::NoExtension(extension));
    }
    let mut environment: Vec<(OsString, OsString)> = vec![("PYTHONUNBUFFERED".into(), "1".into())];
    if development {
        // A compiled file is taken for current when size and second of change agree: an edit within a second would be missed.
        environment.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
    }
    Ok(Program {
        executable: interpreter.path.clone(),
        arguments: vec!["-c".into(), BOOTSTRAP.into(), extension.into_os_string()],
        environment,
        directory: root.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn touch(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    #[test]
    fn the_strongest_candidate_wins() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("project");
        let bin = directory.path().join("bin");
        touch(&bin.join("python3"));
        let mut candidates = Candidates { path: Some(bin.clone().into_os_string()), ..Candidates::default() };
        let find = |candidates: &Candidates| Interpreter::find(&root, candidates).unwrap().path;
        assert_eq!(find(&candidates), bin.join("python3"));
        touch(&root.join(".venv/bin/python"));
        assert_eq!(find(&candidates), root.join(".venv/bin/python"));
        touch(&directory.path().join("active/bin/python"));
        candidates.virtual_env = Some(directory.path().join("active"));
        assert_eq!(find(&candidates), directory.path().join("active/bin/python"));
        touch(&root.join("tools/python"));
        candidates.configured = Some("tools/python".into());
        assert_eq!(find(&candidates), root.join("tools/python"));
        candidates.configured = Some("python3".into());
        assert_eq!(find(&candidates), bin.join("python3"), "a command");
        touch(&root.join("python3"));
        assert_eq!(find(&candidates), root.join("python3"), "a file of the project goes before a command");
    }

    #[test]
    fn a_named_interpreter_that_is_missing_is_an_error() {
        let candidates = Candidates { configured: Some("nope/python".into()), ..Candidates::default() };
        let error = Interpreter::find(Path::new("/project"), &candidates).unwrap_err();
        assert!(error.to_string().contains("/project/nope/python"), "{error}");
    }
}
