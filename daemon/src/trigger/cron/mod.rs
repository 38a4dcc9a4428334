//! How do cron jobs run? `service` looks at the clock, `plan` says which firings follow from it, `ledger` keeps what was decided, `clock`
//! waits, `firing` makes each firing an event, and `run` runs it when its subscription hands it out.

mod clock;
mod firing;
mod ledger;
mod plan;
mod run;
mod service;

pub(crate) use firing::{DEDUPE, event_name, fire_now};
pub(crate) use ledger::{Error, Ledger};
pub(crate) use run::run;
pub(crate) use service::Service;
