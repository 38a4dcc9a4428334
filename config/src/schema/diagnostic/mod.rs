//! What is wrong with a schema, where, and what to do about it?

mod code;
mod fault;
mod render;

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

pub use self::code::{Code, Severity};
pub(crate) use self::fault::{Fault, Faults};
pub use self::render::render;
use super::syntax::Span;

/// One finding. Its JSON form has the same names.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnostic {
    /// Stable identifier of the kind of finding.
    pub code: Code,
    /// Whether it stops the project.
    pub severity: Severity,
    /// What is wrong, in one sentence that names the thing.
    pub message: String,
    /// File relative to the project's root.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The bytes of the file that the finding is about.
    #[serde(serialize_with = "offsets")]
    pub span: Span,
    /// What to write beside the caret.
    pub label: Option<String>,
    /// What to do about it.
    pub help: Option<String>,
    /// Other places that explain it.
    pub related: Vec<Related>,
    /// Text of the file, for the caret; `None` when the finding is about a file as such.
    #[serde(skip)]
    pub source: Option<Arc<str>>,
}

/// Another place that explains a [`Diagnostic`].
#[derive(Debug, Clone, Serialize)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// File relative to the project's root.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The bytes of the file.
    #[serde(serialize_with = "offsets")]
    pub span: Span,
    /// Text of the file.
    #[serde(skip)]
    pub source: Arc<str>,
}

impl Diagnostic {
    /// The project can't run like this.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line, without source: `schema/a.ro:3:5: error[schema::unknown-type]: unknown type `Usr``.
impl fmt::Display for Diagnostic {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, severity, code, message, .. } = self;
        write!(formatter, "{file}:{line}:{column}: {severity}[{code}]: {message}")
    }
}

fn offsets<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Offsets {
        start: usize,
        end: usize,
    }
    Offsets { start: span.start, end: span.end }.serialize(serializer)
}
