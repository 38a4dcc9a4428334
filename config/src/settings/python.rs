//! How do Python handlers run? `[python]`.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::num::{NonZeroU16, NonZeroU64};
use std::path::PathBuf;
use std::thread;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::reader::Section;
use super::size::ByteSize;
use super::value::{Fault, Value};

/// The workers that run Python handlers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Python {
    /// The interpreter
    ///
    /// A path, relative ones counting from the project's root, or the name of a command such as `python3.12`.
    /// Default: that of the active virtual environment (`VIRTUAL_ENV`), else of the project's `.venv`, else `python3`.
    pub interpreter: Option<PathBuf>,

    /// Where handlers run
    ///
    /// `process` runs them in worker processes, which can be stopped and replaced. Default: `process`.
    pub mode: PythonMode,

    /// How many workers there are
    ///
    /// A number, at least 1, or `auto`: one per processor core. Default: `auto`.
    pub workers: Workers,

    /// Threads per worker for handlers written as plain `def`
    ///
    /// `async def` handlers share one event loop and need none. At least 1. Default: 40.
    pub threads: NonZeroU16,

    /// Most memory of a worker
    ///
    /// A worker that grows beyond it is replaced. Unit: bytes, or text such as `512MiB`. Default: no limit.
    pub memory_limit: Option<ByteSize>,

    /// Calls after which a worker is replaced
    ///
    /// A remedy for handlers that leak; work in flight finishes first. At least 1. Default: never.
    pub recycle_after: Option<NonZeroU64>,
}

/// Where Python handlers run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PythonMode {
    /// In worker processes.
    #[default]
    Process,
}

/// How many workers a pool has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Workers {
    /// One per processor core.
    #[default]
    Auto,
    /// So many.
    Count(NonZeroU16),
}

impl Default for Python {
    fn default() -> Self {
        Self {
            interpreter: None,
            mode: PythonMode::Process,
            workers: Workers::Auto,
            threads: const { NonZeroU16::new(40).expect("not zero") },
            memory_limit: None,
            recycle_after: None,
        }
    }
}

impl Python {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            interpreter: section.optional("interpreter"),
            mode: section.get("mode", default.mode),
            workers: section.get("workers", default.workers),
            threads: section.get("threads", default.threads),
            memory_limit: section.optional("memory_limit"),
            recycle_after: section.optional("recycle_after"),
        }
    }
}

impl Value for PythonMode {
    const EXPECTED: &'static str = "\"process\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "process" => Ok(Self::Process),
            "embedded" => Err(Fault::new("this version does not have the mode \"embedded\"")
                .help("use \"process\", which runs handlers in worker processes")),
            _ => Err(Fault::new(format!("unknown mode {text:?}")).choices(text, &["process"])),
        }
    }
}

impl Workers {
    /// The number of workers, at least 1.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            // Where the system does not tell its cores, one worker is the answer that is never wrong.
            Self::Auto => thread::available_parallelism().map_or(1, usize::from),
            Self::Count(count) => usize::from(count.get()),
        }
    }
}

impl Display for Workers {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Count(count) => Display::fmt(count, formatter),
        }
    }
}

impl Serialize for Workers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Count(count) => count.serialize(serializer),
        }
    }
}

impl JsonSchema for Workers {
    fn schema_name() -> Cow<'static, str> {
        "Workers".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [{ "const": "auto" }, { "type": "integer", "minimum": 1, "maximum": u16::MAX }] })
    }
}

impl Value for Workers {
    const EXPECTED: &'static str = "a number of workers or \"auto\"";

    fn from_toml(value: &toml::Value) -> Result<Self, Fault> {
        match value {
            toml::Value::String(text) if text == "auto" => Ok(Self::Auto),
            other => NonZeroU16::from_toml(other).map(Self::Count),
        }
    }

    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "auto" { Ok(Self::Auto) } else { NonZeroU16::from_text(text).map(Self::Count) }
    }
}
