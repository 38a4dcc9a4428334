//! What is the project called, and which language are its handlers written in? `[project]`.

use schemars::JsonSchema;
use serde::Serialize;

use super::reader::Section;
use super::value::{Fault, Value};
use crate::project::Language;

/// The project itself.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Project {
    /// Name of the project
    ///
    /// Names its streams and queues at brokers and marks its traces. Default: the name of the project's directory.
    pub name: String,

    /// Version of the project
    ///
    /// Shown with the name; it has no other effect. Default: `0.1.0`.
    pub version: String,

    /// Language of the handlers
    ///
    /// `python` (or `py`), `typescript` (`ts`), `rust` (`rs`), in any case. Default: `python`.
    #[schemars(with = "LanguageText")]
    pub language: Language,
}

impl Default for Project {
    fn default() -> Self {
        Self { name: String::new(), version: "0.1.0".to_owned(), language: Language::Python }
    }
}

impl Project {
    pub(super) fn read(section: &mut Section<'_>, directory_name: &str) -> Self {
        let default = Self::default();
        Self {
            name: section.not_empty("name", directory_name.to_owned()),
            version: section.not_empty("version", default.version),
            language: section.get("language", default.language),
        }
    }
}

/// `python` (or `py`), `typescript` (`ts`) or `rust` (`rs`); other cases are accepted too.
#[derive(JsonSchema)]
#[schemars(rename = "Language", rename_all = "lowercase")]
#[expect(dead_code, reason = "only its schema is used")]
enum LanguageText {
    Python,
    Py,
    TypeScript,
    Ts,
    Rust,
    Rs,
}

impl Value for Language {
    const EXPECTED: &'static str = "the name of a language: \"python\", \"typescript\" or \"rust\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.to_ascii_lowercase().as_str() {
            "python" | "py" => Ok(Self::Python),
            "typescript" | "ts" => Ok(Self::TypeScript),
            "rust" | "rs" => Ok(Self::Rust),
            _ => {
                Err(Fault::new(format!("unsupported language {text:?}"))
                    .choices(text, &["python", "typescript", "rust"]))
            }
        }
    }
}
