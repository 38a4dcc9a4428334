//! How does a firing run? Once: what fails is recorded and not tried again. Only what was not entered, or cut off with the daemon, comes again.

use bytes::Bytes;
use rohas_adapters::broker::Delivery;
use rohas_handlers_host::invocation::CronInput;
use rohas_handlers_host::{HostError, Input};
use rohas_telemetry::Kind;

use crate::app::App;
use crate::dispatch::{self, Room, Work};
use crate::recorder::Recorder;
use crate::version::{CronRoute, Version};

/// Runs a firing and records it.
///
/// # Errors
/// When it is to be handed out again.
pub(crate) async fn run(
    app: &App,
    version: &Version,
    cron: &CronRoute,
    delivery: &Delivery,
) -> Result<(), dispatch::Error> {
    let envelope = &delivery.envelope;
    let mut recorder = Recorder::begin(Kind::CronRun, &cron.name, envelope.trace);
    recorder.attempt(1, envelope.id);
    recorder.cron(&cron.schedule, envelope.time);
    let work = Work {
        version,
        handler: &cron.handler,
        triggers: &cron.triggers,
        cause: envelope.id,
        hops: envelope.hops,
        attempt: 1,
        alone: false,
        timeout: cron.delivery.timeout,
        input: Input::Cron(CronInput { name: cron.name.clone(), schedule: cron.schedule.clone(), slot: envelope.time }),
        body: Bytes::new(),
        // It consumes nothing that it publishes, so it may wait for room as requests do.
        room: Room::Await,
    };
    let outcome = dispatch::run(work, &app.brokers, &mut recorder).await;
    if let Err(error) = &outcome {
        error.record(&mut recorder);
    }
    recorder.finish(&app.telemetry);
    match outcome {
        Err(error) if was_not_run(&error) => Err(error),
        Err(error) => {
            tracing::warn!(job = %cron.name, %error, "a cron job failed");
            Ok(())
        }
        Ok(_reply) => Ok(()),
    }
}

/// Whether the handler was not entered, or was cut off for the sake of others.
fn was_not_run(error: &dispatch::Error) -> bool {
    let dispatch::Error::Host(error) = error else { return false };
    match error {
        HostError::Closed | HostError::Busy | HostError::NeverStarted | HostError::NoLongerLoads(_) => true,
        HostError::WorkerEnded(_) => true,
        HostError::TimedOut | HostError::WorkerDied(_) | HostError::NotLoaded(_) | HostError::TooLarge(_) => false,
    }
}
