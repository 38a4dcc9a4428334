//! The `.ro` language: what a project declares.
//!
//! `source` finds and holds files, `lexer` and `parser` turn them into syntax, `checker` turns syntax into a
//! [`Schema`] that cannot be wrong, `diagnostic` says what was wrong, `format` prints canonical source,
//! `shape` checks JSON values against a declared type, `timing` says when a cron job is due.

mod checker;
pub mod diagnostic;
pub mod format;
mod lexer;
pub mod model;
mod parser;
pub mod shape;
pub mod source;
mod suggest;
mod syntax;
pub mod timing;

use std::path::Path;

pub use self::{
    checker::{Checked, Context, check},
    diagnostic::{Code, Diagnostic, Severity},
    model::Schema,
    source::Sources,
    syntax::Span,
};

/// Reads the schema files at `path`, a file or a directory. See [`Sources::read`].
///
/// # Errors
///
/// When nothing is at the path, no schema file is in it, or one can't be read.
pub fn load(root: &Path, path: &Path) -> Result<Sources, source::Error> {
    Sources::read(root, path)
}
