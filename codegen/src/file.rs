//! What is a generated file, and who owns it once it is written?

/// What generated files need to know of a project besides its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// `project.name` of the settings.
    pub name: String,
}

/// One file as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the project's root, with `/` between its parts.
    pub path: String,
    /// All of its text.
    pub content: String,
    /// Who owns it.
    pub policy: Policy,
}

/// Who owns a [`File`] once it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// Rohas: it is overwritten when it differs and removed when nothing asks for it any more.
    Generated,
    /// The user: it is written only when neither it nor one of these other files exists.
    IfAbsent {
        /// Other places for the same thing, relative to the project's root.
        unless: Vec<String>,
    },
}

impl File {
    pub(crate) fn generated(path: impl Into<String>, content: impl Into<String>) -> Self {
        Self { path: path.into(), content: content.into(), policy: Policy::Generated }
    }

    pub(crate) fn if_absent(path: impl Into<String>, content: impl Into<String>, unless: Vec<String>) -> Self {
        Self { path: path.into(), content: content.into(), policy: Policy::IfAbsent { unless } }
    }
}
