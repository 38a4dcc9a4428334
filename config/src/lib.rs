//! What the user wrote, checked: how the daemon runs (`settings`) and what the project declares (`schema`).
//!
//! A leaf crate: no network, no async, no clock. Everything here is a pure function of files and environment.

pub mod project;
pub mod schema;
pub mod settings;
