//! How is one piece of work run? Every trigger takes this way: handler with a deadline, reply checked, emits planned, emits
//! published, recorded.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rohas_adapters::broker::{self, Broker, Publication};
use rohas_handlers_host::{Completed, HandlerError, HostError, Input, Invocation, Outcome};
use rohas_telemetry::{Phase, Status};
use tokio::time::Instant;
use uuid::Uuid;

use crate::brokers::Brokers;
use crate::publish::{self, Cause, OfNothing};
use crate::recorder::Recorder;
use crate::reply::{self, Reply};
use crate::version::{HandlerRef, Version};

/// What is to be run.
pub(crate) struct Work<'a> {
    pub(crate) version: &'a Version,
    pub(crate) handler: &'a HandlerRef,
    pub(crate) triggers: &'a [Arc<str>],
    /// Id of the request or event that is handled.
    pub(crate) cause: Uuid,
    /// How many events lie between the root stimulus and this.
    pub(crate) hops: u32,
    pub(crate) attempt: u32,
    /// Whether it may kill its worker, and so must have one for itself.
    pub(crate) alone: bool,
    pub(crate) timeout: Duration,
    pub(crate) input: Input,
    pub(crate) body: Bytes,
    /// Whether the handler's emits may wait for room: requests wait until their deadline, deliveries never do.
    pub(crate) room: Room,
}

/// What to do when a queue that is published to is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Wait for room until the deadline.
    Await,
    /// Try a few times; a consumer that waited for room that only it can make would wait for ever.
    Try,
}

/// Why a piece of work has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{}: {}", .0.kind, .0.message)]
    Rejected(HandlerError),
    #[error("{}: {}", .0.kind, .0.message)]
    Failed(HandlerError),
    #[error("{}: {}", .error.kind, .error.message)]
    Retry { after: Duration, error: HandlerError },
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("the handler {0}")]
    Reply(#[from] reply::Error),
    #[error("the middleware {name} {source}")]
    MiddlewareReply { name: Arc<str>, source: reply::Error },
    #[error(transparent)]
    Emit(#[from] publish::Error),
    #[error("what the handler emitted could not be published: {0}")]
    Publish(#[source] broker::Error),
    #[error("the queues of the events that the handler emitted stayed full until its deadline")]
    NoRoom,
}

/// Pauses between tries to publish where there is no room now, or nobody to take it.
const FIRST_ROOM_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_ROOM_PAUSE: Duration = Duration::from_millis(500);
/// A broker has so long to answer, however late it is asked.
const LEAST_PATIENCE: Duration = Duration::from_secs(5);

/// What a call is on the record, and how what it has left is read, before anything of it is published.
pub(crate) struct Step<T> {
    pub(crate) phase: Phase,
    /// Where there are several of that phase.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) read: fn(Completed) -> Result<T, Error>,
}

/// Runs a handler and publishes what it emits. When this gives `Ok`, every emit is where its broker keeps it.
pub(crate) fn run<'a>(
    work: Work<'a>,
    brokers: &'a Brokers,
    recorder: &'a mut Recorder,
) -> impl Future<Output = Result<Reply, Error>> + Send {
    recorder.handler(&work.handler.name);
    step(work, Step { phase: Phase::Handler, name: None, read: read_reply }, brokers, recorder)
}

/// Reads what a handler replies.
pub(crate) fn read_reply(completed: Completed) -> Result<Reply, Error> {
    let head = reply::Head::check(&completed)?;
    Ok(Reply { head, body: completed.reply })
}

/// Runs a handler, or what stands before or after one, and publishes what it emits, as [`run`] does.
pub(crate) async fn step<T: Send>(
    work: Work<'_>,
    step: Step<T>,
    brokers: &Brokers,
    recorder: &mut Recorder,
) -> Result<T, Error> {
    let deadline = Instant::now() + work.timeout;
    let incoming = matches!(work.input, Input::Event(_)).then(|| work.body.clone());
    let of_nothing = match work.input {
        Input::WebSocket(_) => OfNothing::NoEvent,
        Input::Cron(_) => OfNothing::WhatFits,
        _ => OfNothing::Something,
    };
    let invocation = Invocation {
        handler: work.handler.index,
        attempt: work.attempt,
        alone: work.alone,
        deadline,
        // Nobody else will say that a client has gone.
        patient: work.input.is_disconnect().then_some(work.timeout),
        trace_id: recorder.context().trace_id,
        input: work.input,
        body: work.body,
    };
    let mut finished = work.version.host.invoke(invocation).await;
    let made_by = step.name.clone();
    recorder.lap_named(step.phase, step.name);
    recorder.logs(&mut finished);
    let completed = completed(finished.result)?;

    let cause = Cause {
        id: work.cause,
        handler: &work.handler.name,
        trace: recorder.context(),
        hops: work.hops + 1,
        incoming: incoming.as_ref(),
        time: SystemTime::now(),
        of_nothing,
    };
    let publications = publish::plan(work.version, &completed, work.triggers, &cause)?;
    let reply = (step.read)(completed).map_err(|error| error.of_middleware(made_by))?;
    if publications.is_empty() {
        return Ok(reply);
    }
    let emitted: Vec<_> = publications.iter().map(|p| (Arc::clone(&p.envelope.event), p.envelope.id)).collect();
    // In a box of its own, since few deliveries emit anything and each that runs has room for all that it may become.
    let published = Box::pin(publish_all(brokers, publications, work.room, deadline)).await;
    recorder.lap(Phase::Publish);
    published?;
    recorder.emits(emitted);
    Ok(reply)
}

fn completed(result: Result<Outcome, HostError>) -> Result<Completed, Error> {
    match result? {
        Outcome::Completed(completed) => Ok(completed),
        Outcome::Rejected(error) => Err(Error::Rejected(error)),
        Outcome::Failed(error) => Err(Error::Failed(error)),
        Outcome::Retry { after, error } => Err(Error::Retry { after, error }),
    }
}

async fn publish_all(
    brokers: &Brokers,
    publications: Vec<Publication>,
    room: Room,
    deadline: Instant,
) -> Result<(), Error> {
    match room {
        Room::Await => match tokio::time::timeout_at(deadline, brokers.publish(publications)).await {
            Ok(outcome) => outcome.map_err(Error::Publish),
            Err(_elapsed) => Err(Error::NoRoom),
        },
        Room::Try => {
            // Broker by broker: what one of them has taken is not offered to it again.
            for (name, part) in brokers.divide(publications) {
                try_until(&**brokers.named(name), &part, deadline).await.map_err(Error::Publish)?;
            }
            Ok(())
        }
    }
}

async fn try_until(broker: &dyn Broker, publications: &[Publication], deadline: Instant) -> Result<(), broker::Error> {
    let mut pause = FIRST_ROOM_PAUSE;
    loop {
        match in_time(broker.try_publish(publications.to_vec()), deadline).await {
            Err(broker::Error::Full { .. } | broker::Error::Unavailable(_)) if Instant::now() + pause < deadline => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_ROOM_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The outcome of a try, if it comes until the deadline or soon. What is given up may still be published; it is known by its ids when it comes again.
async fn in_time(
    trying: impl Future<Output = Result<(), broker::Error>>,
    deadline: Instant,
) -> Result<(), broker::Error> {
    // A handler that took all its time leaves none to its broker.
    let end = deadline.max(Instant::now() + LEAST_PATIENCE);
    let tried = tokio::time::timeout_at(end, trying).await;
    tried.unwrap_or_else(|_elapsed| Err(broker::Error::Unavailable("it does not answer".to_owned())))
}

impl Error {
    /// The same, said of the middleware that made the reply, if it was one.
    fn of_middleware(self, middleware: Option<Arc<str>>) -> Self {
        match (self, middleware) {
            (Self::Reply(source), Some(name)) => Self::MiddlewareReply { name, source },
            (error, _) => error,
        }
    }

    /// Puts the error on the record.
    pub(crate) fn record(&self, recorder: &mut Recorder) {
        match self {
            Self::Rejected(error) => recorder.handler_error(Status::Rejected, error),
            // A typed error is the handler's answer to a request; a delivery has nobody to answer.
            Self::Failed(error) if error.expected && recorder.has_caller() => {
                recorder.handler_error(Status::Rejected, error)
            }
            Self::Failed(error) => recorder.handler_error(Status::Failed, error),
            Self::Retry { error, .. } => recorder.handler_error(Status::Retrying, error),
            Self::Host(error) => recorder.failure(host_status(error), self.code(), &error.to_string()),
            Self::Reply(_) | Self::MiddlewareReply { .. } | Self::Emit(_) => {
                recorder.failure(Status::Failed, self.code(), &self.to_string())
            }
            Self::Publish(_) | Self::NoRoom => recorder.failure(Status::Busy, self.code(), &self.to_string()),
        }
    }

    /// Whether the handler meant its caller to have this error.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self, Self::Failed(error) | Self::Rejected(error) | Self::Retry { error, .. } if error.expected)
    }

    /// The traceback of a handler's error, where it has one.
    pub(crate) fn traceback(&self) -> Option<&str> {
        match self {
            Self::Rejected(error) | Self::Failed(error) | Self::Retry { error, .. } => error.traceback.as_deref(),
            _ => None,
        }
    }

    /// A code for programs that stays the same: the handler's own where it gave one.
    pub(crate) fn stable_code(&self) -> &str {
        match self {
            Self::Rejected(error) | Self::Failed(error) | Self::Retry { error, .. } => {
                error.code.as_deref().unwrap_or_else(|| self.code())
            }
            _ => self.code(),
        }
    }

    /// The error body's code for errors of ours.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Rejected(_) => "rejected",
            Self::Failed(_) => "handler_failed",
            Self::Retry { .. } => "retry",
            Self::Host(HostError::TimedOut | HostError::NeverStarted) => "timeout",
            Self::Host(HostError::WorkerDied(_) | HostError::WorkerEnded(_)) => "worker_died",
            Self::Host(HostError::NotLoaded(_) | HostError::NoLongerLoads(_)) => "handler_not_loaded",
            Self::Publish(broker::Error::Unavailable(_)) => "unavailable",
            Self::Host(HostError::Busy) | Self::Publish(_) | Self::NoRoom => "too_busy",
            Self::Host(HostError::TooLarge(_)) => "too_large",
            Self::Host(HostError::Closed) => "shutting_down",
            Self::Reply(_) | Self::MiddlewareReply { .. } => "invalid_reply",
            Self::Emit(error) => error.code(),
        }
    }
}

fn host_status(error: &HostError) -> Status {
    match error {
        HostError::TimedOut | HostError::NeverStarted => Status::TimedOut,
        HostError::WorkerDied(_) | HostError::WorkerEnded(_) => Status::Crashed,
        HostError::NotLoaded(_) | HostError::NoLongerLoads(_) | HostError::TooLarge(_) => Status::Failed,
        HostError::Busy => Status::Busy,
        HostError::Closed => Status::Cancelled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_does_not_answer_is_given_up_at_the_deadline_and_has_some_time_behind_it() {
        let start = Instant::now();
        let unanswered = in_time(std::future::pending(), start + Duration::from_secs(30)).await;
        assert!(matches!(unanswered, Err(broker::Error::Unavailable(_))), "{unanswered:?}");
        assert_eq!(start.elapsed(), Duration::from_secs(30));
        let late = async {
            tokio::time::sleep(LEAST_PATIENCE / 2).await;
            Ok(())
        };
        in_time(late, start).await.unwrap();
    }
}
