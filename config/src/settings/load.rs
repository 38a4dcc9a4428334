//! How do the settings of a project come together? Defaults, then the file, then the environment, then flags.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use indexmap::IndexMap;

use super::effective::Effective;
use super::layers::Layers;
use super::problem::Problems;
use super::reader::Reader;
use super::value::Fault;
use super::{Adapter, Events, Project, Python, Server, Settings, Telemetry, WebSocket, Workbench, stores};

/// Path of the configuration file relative to the project's root.
pub const FILE: &str = "config/rohas.toml";

/// What stands above the file: the environment, and above that flags.
#[derive(Clone, Default)]
pub struct Overrides {
    environment: BTreeMap<String, String>,
    flags: Vec<Flag>,
}

#[derive(Clone)]
struct Flag {
    name: String,
    key: String,
    value: String,
}

/// Checked settings, and where each of them comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Every setting with its value and origin.
    pub effective: Effective,
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory is not a project.
    #[error("{} does not exist; `rohas init` makes a project", path.display())]
    Missing {
        /// The file that was looked for.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The settings are wrong.
    #[error("{0}")]
    Invalid(Problems),
}

impl Overrides {
    /// Variables of the environment: those that are settings, and those that the file refers to.
    #[must_use]
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.environment.extend(variables);
        self
    }

    /// A flag, as it is written on the command line (`--port`), and the setting that it sets (`server.port`).
    #[must_use]
    pub fn flag(mut self, name: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.flags.push(Flag { name: name.into(), key: key.into(), value: value.into() });
        self
    }
}

/// Names only: values may be secrets.
impl Debug for Overrides {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let flags: Vec<&str> = self.flags.iter().map(|flag| flag.name.as_str()).collect();
        formatter
            .debug_struct("Overrides")
            .field("environment", &self.environment.keys())
            .field("flags", &flags)
            .finish()
    }
}

impl Settings {
    /// Reads and checks the settings of the project at `root`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] without a configuration file; [`Error::Invalid`] with everything that is wrong.
    pub fn load(root: &Path, overrides: &Overrides) -> Result<Loaded, Error> {
        let path = root.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Self::from_text(root, Some(&text), overrides).map_err(Error::Invalid),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::Missing { path }),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    /// Checks settings whose file has been read already, or that have none: then the other layers alone count.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn from_text(root: &Path, file: Option<&str>, overrides: &Overrides) -> Result<Loaded, Problems> {
        let mut layers = Layers::default();
        if let Some(text) = file {
            layers.file(FILE, text, &overrides.environment);
        }
        if !layers.drafts.iter().any(|draft| draft.code == "settings::syntax") {
            layers.environment(&overrides.environment);
            for Flag { name, key, value } in &overrides.flags {
                layers.flag(name, key, value);
            }
        }
        let mut reader = Reader::new(root.to_owned(), layers);
        let settings = Self::read(&mut reader, &directory_name(root));
        let finished = reader.finish();
        let effective = Effective::new(&settings, finished.read);
        match Problems::collect(finished.layers) {
            Some(problems) => Err(problems),
            None => Ok(Loaded { settings, effective }),
        }
    }

    fn read(reader: &mut Reader, directory_name: &str) -> Self {
        let settings = Self {
            project: Project::read(&mut reader.section("project"), directory_name),
            server: Server::read(&mut reader.section("server")),
            adapter: Adapter::read(&mut reader.section("adapter")),
            adapters: read_adapters(reader),
            events: Events::read(&mut reader.section("events")),
            python: Python::read(&mut reader.section("python")),
            telemetry: Telemetry::read(&mut reader.section("telemetry")),
            websocket: WebSocket::read(&mut reader.section("websocket")),
            workbench: Workbench::read(&mut reader.section("workbench")),
        };
        stores::keep_apart(&settings, reader);
        settings
    }
}

fn read_adapters(reader: &mut Reader) -> IndexMap<String, Adapter> {
    let mut adapters = IndexMap::new();
    for name in reader.names_below("adapters") {
        if is_identifier(&name) {
            let adapter = Adapter::read(&mut reader.nested(&["adapters", &name]));
            adapters.insert(name, adapter);
        } else {
            let fault = Fault::new(format!("{name:?} cannot be the name of an adapter"))
                .help("a name is a letter, then letters, digits and underscores: events refer to it in the schema");
            reader.refuse_name(&["adapters", &name], fault);
        }
    }
    adapters
}

/// What the `.ro` language takes as a name.
fn is_identifier(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The name that a project has when it does not say: that of its directory.
fn directory_name(root: &Path) -> String {
    // `.` and `..` have no name of their own; the directory that they mean has.
    let absolute = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    absolute.file_name().map_or_else(|| "rohas-app".to_owned(), |name| name.to_string_lossy().into_owned())
}
