//! What source code follows from a checked schema?
//!
//! [`python::generate`] is a pure function from a [`rohas_config::schema::Schema`] to [`File`]s; [`sync`], [`check`] and [`replace()`] are
//! the only places that touch a disk. Whatever lies below `src/generated` belongs to rohas, everything else to the user.

mod file;
pub mod python;
mod replace;
mod tree;

pub use file::{File, Policy, Project};
pub use replace::replace;
pub use tree::{Changes, Error, Stale, StaleReason, check, sync};
