//! How is a message run once? With the version that is current when it starts.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt as _;
use rohas_adapters::Envelope;
use rohas_adapters::broker::Subscription;
use rohas_handlers_host::Input;
use rohas_handlers_host::invocation::EventInput;
use rohas_telemetry::{Kind, Phase, Status};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::dispatch::{self, Room, Work};
use crate::publish;
use crate::recorder::Recorder;
use crate::trigger::broker::message::Message;
use crate::trigger::cron;
use crate::version::{CronRoute, DeliveryRules, EventRoute, HandlerRef, Version};

/// Runs messages. There is one for the daemon and one for tests of the consumer's loop.
pub(super) trait Runner: Send {
    /// What the attempts that begin together share.
    type Route: Clone + Send;

    /// How messages are to be delivered now; `None` when nothing declares the subscription any more.
    fn rules(&mut self) -> Option<&DeliveryRules>;

    /// What attempts that begin now need. It must not outlive them: it keeps a version alive.
    fn route(&self) -> Option<Self::Route>;

    /// Who runs a suspect holds the permit of this.
    fn quarantine(&self) -> Arc<Semaphore>;

    /// Runs a message once. Whatever happens, it comes back.
    fn attempt(route: Self::Route, message: Message) -> impl Future<Output = Ended> + Send + 'static;
}

/// A message after an attempt.
pub(super) struct Ended {
    pub(super) message: Message,
    pub(super) outcome: Result<(), Fault>,
}

/// Why an attempt did not handle its message.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Dispatch(Box<dispatch::Error>),
    /// What was published under an older declaration, or by others, does not fit the one that is present. Nothing has run.
    #[error(transparent)]
    Schema(Box<publish::Error>),
    #[error("internal error: it panicked")]
    Panicked,
}

impl From<dispatch::Error> for Fault {
    fn from(error: dispatch::Error) -> Self {
        Self::Dispatch(Box::new(error))
    }
}

impl Fault {
    /// Stable code, as in error bodies.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Dispatch(error) => error.stable_code(),
            Self::Schema(_) => "schema",
            Self::Panicked => "internal",
        }
    }

    /// Whether the handler was to be run.
    pub(super) fn is_of_a_run(&self) -> bool {
        !matches!(self, Self::Schema(_))
    }

    pub(super) fn traceback(&self) -> Option<&str> {
        match self {
            Self::Dispatch(error) => error.traceback(),
            Self::Schema(_) | Self::Panicked => None,
        }
    }
}

/// Runs messages of one subscription with whatever version is current.
pub(super) struct Current {
    app: Arc<App>,
    subscription: Subscription,
    /// The version that `rules` was looked up in.
    version: u64,
    rules: Option<DeliveryRules>,
}

impl Current {
    pub(super) fn new(app: Arc<App>, subscription: Subscription) -> Self {
        Self { app, subscription, version: 0, rules: None }
    }
}

/// What attempts of one subscription need of a version.
pub(super) struct Route {
    app: Arc<App>,
    version: Arc<Version>,
    target: Target,
}

/// Who is to have the messages.
enum Target {
    Event { event: Arc<EventRoute>, handler: HandlerRef },
    Cron(Arc<CronRoute>),
}

impl Runner for Current {
    type Route = Arc<Route>;

    fn rules(&mut self) -> Option<&DeliveryRules> {
        let version = self.app.version_number();
        if version != self.version {
            self.version = version;
            self.rules = self.route().map(|route| route.target.rules().clone());
        }
        self.rules.as_ref()
    }

    fn route(&self) -> Option<Arc<Route>> {
        let version = self.app.current();
        let target = Target::find(&version, &self.subscription)?;
        Some(Arc::new(Route { app: Arc::clone(&self.app), version, target }))
    }

    fn quarantine(&self) -> Arc<Semaphore> {
        Arc::clone(&self.app.quarantine)
    }

    async fn attempt(route: Arc<Route>, message: Message) -> Ended {
        let attempt = AssertUnwindSafe(route.attempt(&message)).catch_unwind().await;
        let outcome = attempt.unwrap_or(Err(Fault::Panicked));
        Ended { message, outcome }
    }
}

impl Target {
    fn find(version: &Version, subscription: &Subscription) -> Option<Self> {
        if let Some(cron) = version.crons.get(&subscription.event) {
            return Some(Self::Cron(Arc::clone(cron)));
        }
        let event = Arc::clone(version.events.get(&subscription.event)?);
        let handler = event.handlers.iter().find(|handler| handler.name == subscription.handler)?.clone();
        Some(Self::Event { event, handler })
    }

    fn rules(&self) -> &DeliveryRules {
        match self {
            Self::Event { event, .. } => &event.delivery,
            Self::Cron(cron) => &cron.delivery,
        }
    }
}

impl Route {
    async fn attempt(&self, message: &Message) -> Result<(), Fault> {
        match &self.target {
            Target::Event { event, handler } => self.deliver(message, event, handler).await,
            // In a box of its own, or each delivery would have room for it.
            Target::Cron(cron) => Ok(Box::pin(cron::run(&self.app, &self.version, cron, &message.delivery)).await?),
        }
    }

    async fn deliver(&self, message: &Message, event: &EventRoute, handler: &HandlerRef) -> Result<(), Fault> {
        let envelope = &message.delivery.envelope;
        let mut recorder = Recorder::begin(Kind::Delivery, &event.name, envelope.trace);
        let attempt = message.trial.runs() + 1;
        recorder.attempt(attempt, envelope.id);
        let body = match fit(envelope, event, &mut recorder) {
            Ok(body) => body,
            Err(error) => {
                let fault = Fault::Schema(Box::new(error));
                recorder.handler(&handler.name);
                recorder.failure(Status::Rejected, fault.code(), &fault.to_string());
                recorder.finish(&self.app.telemetry);
                return Err(fault);
            }
        };
        let work = Work {
            version: &self.version,
            handler,
            triggers: &event.triggers,
            cause: envelope.id,
            hops: envelope.hops,
            attempt,
            // One that kills every worker would take those that run beside it along, again and again.
            alone: message.quarantine.is_some(),
            timeout: event.delivery.timeout,
            input: Input::Event(EventInput {
                id: envelope.id,
                time: envelope.time,
                key: envelope.key.clone(),
                event: Arc::clone(&envelope.event),
            }),
            body,
            room: Room::Try,
        };
        let outcome = dispatch::run(work, &self.app.brokers, &mut recorder).await;
        if let Err(error) = &outcome {
            error.record(&mut recorder);
        }
        recorder.finish(&self.app.telemetry);
        outcome.map(|_reply| ()).map_err(Fault::from)
    }
}

/// What the handler is given. Ours was checked when it was published; what comes from others (version 0) or from an older declaration is fitted to the present one, and the record
/// says where it comes from.
fn fit(envelope: &Envelope, event: &EventRoute, recorder: &mut Recorder) -> Result<Bytes, publish::Error> {
    if envelope.version >= event.version {
        return Ok(envelope.data.clone());
    }
    let message = match envelope.version {
        0 => "the message comes from others".to_owned(),
        version => format!("the message has version {version} of the event, which has version {} now", event.version),
    };
    recorder.note(message, json!({"source": envelope.source, "version": envelope.version}).to_string());
    let fitted = publish::refit(event, &envelope.data);
    recorder.lap(Phase::Validate);
    fitted
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use rohas_adapters::TraceContext;
    use rohas_config::schema::Schema;
    use rohas_config::schema::model::{Backoff, Type};
    use rohas_config::schema::shape::Shape;
    use uuid::Uuid;

    use super::*;

    /// Version 3 of an event whose payload is text.
    fn route() -> EventRoute {
        EventRoute {
            name: "E".into(),
            payload: Shape::compile(&Schema::default(), &Type::String),
            structured: false,
            key: None,
            handlers: Vec::new(),
            triggers: Vec::new(),
            delivery: DeliveryRules {
                attempts: 3,
                backoff: Backoff::Fixed,
                delay: Duration::ZERO,
                max_delay: Duration::ZERO,
                timeout: Duration::from_secs(1),
                buffer_size: 1,
                concurrency: 1,
                dedupe: Duration::ZERO,
            },
            version: 3,
        }
    }

    fn fit_version(version: u32, data: &'static str) -> Result<Bytes, publish::Error> {
        let trace = TraceContext { trace_id: [1; 16], parent: [0; 8] };
        let envelope = Envelope {
            id: Uuid::nil(),
            source: "others".into(),
            event: "E".into(),
            key: None,
            time: SystemTime::UNIX_EPOCH,
            data: data.into(),
            trace,
            causation: None,
            version,
            hops: 0,
        };
        let mut recorder = Recorder::begin(Kind::Delivery, &"E".into(), trace);
        fit(&envelope, &route(), &mut recorder)
    }

    #[test]
    fn what_comes_from_others_or_is_older_is_fitted() {
        for version in [0, 1, 2] {
            assert_eq!(fit_version(version, "\"text\"").unwrap(), "\"text\"");
            assert_eq!(fit_version(version, r#"{"payload": "text"}"#).unwrap(), "\"text\"", "as the original sends it");
            for misfit in ["7", "[", ""] {
                assert_eq!(Fault::Schema(Box::new(fit_version(version, misfit).unwrap_err())).code(), "schema");
            }
        }
    }

    #[test]
    fn what_was_checked_under_the_present_version_or_a_later_one_is_not_read_again() {
        for version in [3, 4] {
            assert_eq!(fit_version(version, "7").unwrap(), "7");
        }
    }
}
