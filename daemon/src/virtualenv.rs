//! Does the project have the Python packages it asks for? `dev` makes a `.venv` and installs `requirements.txt` where nobody
//! has chosen an environment.

use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use indicatif::ProgressBar;
use rohas_config::settings::Settings;
use rohas_handlers_host::python;

use crate::output;
use crate::workers::Surroundings;

/// Remembers which requirements were installed; its presence says that the environment is ours.
const STAMP: &str = ".venv/.rohas-requirements";

/// Why the environment could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Python(#[from] python::Error),
    #[error("cannot run {program}")]
    Run { program: String, source: io::Error },
    #[error("{what} failed:\n{output}")]
    Failed { what: String, output: String },
    #[error("cannot read or write {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "the project has no Python environment of its own: {missing}; run `rohas dev` without --no-install, or make one and activate it"
    )]
    NotAllowed { missing: String },
}

/// Makes sure that handlers find their packages. An active or configured environment is the user's business and left alone.
pub(crate) fn prepare(
    root: &Path,
    settings: &Settings,
    surroundings: &Surroundings,
    install: bool,
) -> Result<(), Error> {
    let interpreter = surroundings.interpreter(root, settings)?;
    let ours = root.join(STAMP).exists();
    if interpreter.is_projects_own() && !ours {
        return Ok(());
    }
    let requirements = root.join("requirements.txt");
    let wanted = fingerprint(&requirements)?;
    if ours
        && interpreter.is_projects_own()
        && fs::read_to_string(root.join(STAMP)).is_ok_and(|stamp| stamp.trim() == wanted)
    {
        return Ok(());
    }
    if !install {
        let missing = if ours { "its .venv is older than requirements.txt" } else { "there is no .venv" };
        return Err(Error::NotAllowed { missing: missing.to_owned() });
    }
    let uv = which(surroundings, "uv");
    if !interpreter.is_projects_own() {
        make(root, &interpreter.path, uv.as_deref())?;
        // From here on the environment is known as ours: should installing fail, the next start installs again.
        let stamp = root.join(STAMP);
        fs::write(&stamp, "").map_err(|source| Error::Io { path: stamp, source })?;
    }
    if requirements.exists() {
        install_requirements(root, uv.as_deref())?;
    }
    let stamp = root.join(STAMP);
    fs::write(&stamp, wanted).map_err(|source| Error::Io { path: stamp, source })
}

fn fingerprint(requirements: &Path) -> Result<String, Error> {
    let text = match fs::read(requirements) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(Error::Io { path: requirements.to_owned(), source }),
    };
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    Ok(format!("{:016x}", hasher.finish()))
}

fn make(root: &Path, interpreter: &Path, uv: Option<&Path>) -> Result<(), Error> {
    let mut command = match uv {
        Some(uv) => {
            let mut command = Command::new(uv);
            command.args([OsStr::new("venv"), OsStr::new("--python"), interpreter.as_os_str(), OsStr::new(".venv")]);
            command
        }
        None => {
            let mut command = Command::new(interpreter);
            command.args(["-m", "venv", ".venv"]);
            command
        }
    };
    run("making .venv", command.current_dir(root))
}

fn install_requirements(root: &Path, uv: Option<&Path>) -> Result<(), Error> {
    let python = root.join(".venv/bin/python");
    let mut command = match uv {
        Some(uv) => {
            let mut command = Command::new(uv);
            command.args(["pip", "install", "--python"]).arg(&python);
            command
        }
        None => {
            let mut command = Command::new(&python);
            command.args(["-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]);
            command
        }
    };
    run("installing requirements.txt", command.args(["-r", "requirements.txt"]).current_dir(root))
}

/// Runs a command and shows its last line while it works; all of its output only if it fails.
fn run(what: &str, command: &mut Command) -> Result<(), Error> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |source| Error::Run { program: program.clone(), source };
    tracing::info!("{what}");
    // The progress is drawn on the same terminal as log records and would be drawn over by one that is late.
    output::flush();
    let progress = ProgressBar::new_spinner().with_message(what.to_owned());
    progress.enable_steady_tick(Duration::from_millis(100));
    let (reader, writer) = io::pipe().map_err(failed)?;
    let errors = writer.try_clone().map_err(failed)?;
    let mut child = command.stdin(Stdio::null()).stdout(writer).stderr(errors).spawn().map_err(failed)?;
    // The command holds the writing ends; ours must go, or reading would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut output = String::new();
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(failed)?;
        progress.set_message(format!("{what}: {line}"));
        output.push_str(&line);
        output.push('\n');
    }
    let status = child.wait().map_err(failed)?;
    progress.finish_and_clear();
    if status.success() { Ok(()) } else { Err(Error::Failed { what: what.to_owned(), output }) }
}

fn which(surroundings: &Surroundings, program: &str) -> Option<PathBuf> {
    let path = surroundings.path.as_deref()?;
    std::env::split_paths(path).map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}
