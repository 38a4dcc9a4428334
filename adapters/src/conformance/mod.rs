//! Does an adapter keep the contract of [`crate::broker`]? One suite that every adapter passes.
//!
//! An adapter brings a [`Factory`]; [`run`] goes through all scenarios and reports each. What an adapter cannot do it declares with the
//! reason: the scenario runs all the same and must fail, so no declaration outlives its reason.
//!
//! ```
//! # use rohas_adapters::conformance;
//! # async fn check(factory: &dyn conformance::Factory) {
//! let report = conformance::run(factory).await;
//! assert_eq!(report.failures(), Vec::<String>::new());
//! # }
//! ```

mod bounds;
mod content;
mod copies;
mod dead;
mod delivery;
mod drain;
mod failing;
mod kit;
mod lifetime;
mod order;
mod people;
mod report;
mod scenarios;

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{Broker, Error};

pub use report::{Outcome, Report, table};
pub use scenarios::{names, run};

/// Makes brokers of one adapter.
#[async_trait]
pub trait Factory: Send + Sync {
    /// The adapter's type, as `rohas.toml` names it.
    fn adapter(&self) -> &'static str;

    /// A place where no broker has been yet. Called once or twice per scenario.
    ///
    /// # Errors
    /// When it cannot be made.
    async fn place(&self, size: Size) -> Result<Box<dyn Place>, Error>;

    /// The scenarios that this adapter cannot pass, by name, each with the reason for the people who read the table.
    fn exceptions(&self) -> &[(&'static str, &'static str)] {
        &[]
    }

    /// The scenarios that this adapter passes at times only, by name, each with the reason. They run, and whatever comes of it is no fault.
    fn at_times(&self) -> &[(&'static str, &'static str)] {
        &[]
    }
}

/// Where a broker keeps what it must not forget. Removed when it is dropped.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the broker of this place. It is opened again after the one before was closed and dropped: what a restart does.
    ///
    /// # Errors
    /// When it cannot be opened.
    async fn open(&self) -> Result<Arc<dyn Broker>, Error>;
}

/// How much a broker is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// At least 20,000 messages or 64 MiB per subscription.
    Ample,
    /// At least 4 and less than 512 messages of 16 KiB.
    Small,
}
