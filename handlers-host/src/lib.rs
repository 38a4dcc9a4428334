//! Runs user code.
//!
//! A [`Host`] holds one version of a project's handlers, loaded and ready. It runs them and says what came of it; it never
//! publishes, never retries and reads no settings. Reloading is starting another host, moving new work to it and
//! dropping the old one, which then finishes what it began.

pub mod host;
pub mod invocation;
pub mod load;
pub mod outcome;
pub mod protocol;
pub mod push;
pub mod python;
pub mod worker;

pub use host::{Error as HostError, Host};
pub use invocation::{Input, Invocation};
pub use outcome::{Class, Completed, Emit, Finished, HandlerError, LogLevel, LogLine, Outcome};
pub use push::{Push, Sink as PushSink};
