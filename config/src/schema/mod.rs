//! The `.ro` language: what a project declares.
//!
//! `source` finds and holds files, `lexer` and `parser` turn them into syntax, `checker` turns syntax into a
//! [`Schema`] that cannot be wrong, `diagnostic` says what was wrong, `format` prints canonical source,
//! `shape` checks JSON values against a declared type.

pub mod model;

pub use model::Schema;
