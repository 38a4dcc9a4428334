//! In which order do the middlewares of a request run, and what does each do to it? Each before-part in the declared order until
//! one answers or refuses; then, in reverse order, the after-parts of those whose before-part went well.

use std::sync::Arc;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use rohas_handlers_host::invocation::{AfterInput, ContextInput, MiddlewareContext, MiddlewareInput};
use rohas_handlers_host::{Completed, HandlerError, Input};
use rohas_telemetry::{Phase, Status};
use tokio::time::Instant;
use uuid::Uuid;

use crate::brokers::Brokers;
use crate::dispatch::{self, Error, Room, Step, Work, read_reply};
use crate::recorder::Recorder;
use crate::reply::Reply;
use crate::trigger::http::ErrorBody;
use crate::trigger::middleware::said::{Changes, Said};
use crate::version::{HandlerRef, MiddlewareRef, Version};

/// What middlewares may change.
pub(crate) struct Subject {
    /// The payload as JSON; empty when there is none.
    pub(crate) payload: Bytes,
    pub(crate) query: Vec<(String, String)>,
    /// Whether there can be a payload.
    pub(crate) takes_payload: bool,
}

/// The middlewares of one request.
pub(crate) struct Chain<'a> {
    version: &'a Version,
    brokers: &'a Brokers,
    middlewares: &'a [MiddlewareRef],
    context: Arc<ContextInput>,
    /// Id of the request, which is what their emits are caused by.
    cause: Uuid,
    deadline: Instant,
    /// How many before-parts went well.
    passed: usize,
    /// What they add to the answer, whatever that will be.
    headers: HeaderMap,
}

impl<'a> Chain<'a> {
    /// A chain for a request that must be answered until `deadline`.
    pub(crate) fn new(
        (version, brokers): (&'a Version, &'a Brokers),
        middlewares: &'a [MiddlewareRef],
        context: &MiddlewareContext,
        (cause, deadline): (Uuid, Instant),
    ) -> Self {
        let context = Arc::new(ContextInput::new(context));
        Self { version, brokers, middlewares, context, cause, deadline, passed: 0, headers: HeaderMap::new() }
    }

    /// Runs the before-parts. `change` applies what one of them changes, or says why that does not fit. Gives the answer of
    /// the one that answers in the handler's stead.
    ///
    /// # Errors
    /// When one of them refuses the request or fails; that is on the record.
    pub(crate) async fn before(
        &mut self,
        subject: &mut Subject,
        mut change: impl FnMut(&mut Subject, Changes) -> Result<(), ErrorBody>,
        recorder: &mut Recorder,
    ) -> Result<Option<Reply>, ErrorBody> {
        let middlewares = self.middlewares;
        for middleware in middlewares {
            let input =
                MiddlewareInput { context: Arc::clone(&self.context), query: subject.query.clone(), after: None };
            let work = self.work(&middleware.before, input, subject.payload.clone());
            let name = Some(Arc::clone(&middleware.name));
            let step = Step { phase: Phase::Middleware, name, read: Said::read };
            let said = dispatch::step(work, step, self.brokers, recorder).await;
            let said = said.map_err(|error| self.refused(&middleware.name, error, recorder))?;
            let (changes, headers, ignored) = match said {
                Said::Answer(reply) => {
                    self.passed += 1;
                    return Ok(Some(reply));
                }
                Said::Pass { changes, headers, ignored } => (changes, headers, ignored),
            };
            for key in &ignored {
                self.version.vain.tell(&middleware.name, key, "it means nothing");
            }
            let changes = changes.and_then(|changes| self.applicable(changes, subject, &middleware.name));
            for (name, value) in &headers {
                self.headers.append(name, value.clone());
            }
            if let Some(changes) = changes {
                change(subject, changes).inspect_err(|error| {
                    recorder.failure(Status::Rejected, &error.code, &error.error);
                    recorder.blame(&culprit(&middleware.name));
                })?;
            }
            self.passed += 1;
        }
        Ok(None)
    }

    /// Runs the after-parts on an answer, as far as there is time left. One that fails makes it an error for those that
    /// follow.
    pub(crate) async fn after(&self, subject: &Subject, mut answer: Reply, recorder: &mut Recorder) -> Reply {
        self.dress(&mut answer.head.headers);
        let passed = self.middlewares[..self.passed].iter().rev();
        for after in passed.filter_map(|middleware| middleware.after.as_ref()) {
            // Whoever took all the time has been answered for already.
            if Instant::now() >= self.deadline {
                break;
            }
            let (input, body) = self.after_input(subject, answer);
            let step = Step { phase: Phase::Middleware, name: Some(Arc::clone(&after.name)), read: read_answer };
            let outcome = dispatch::step(self.work(after, input, body), step, self.brokers, recorder).await;
            answer = match outcome {
                Ok((answer, false)) => answer,
                Ok((answer, true)) => self.dress_another(answer),
                Err(error) => self.dress_another(self.failed(&after.name, &error, recorder).into_reply()),
            };
        }
        answer
    }

    /// What before-parts add to the answer.
    pub(crate) fn into_headers(self) -> HeaderMap {
        self.headers
    }

    /// Time that is left for the request.
    pub(crate) fn time_left(&self) -> std::time::Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Leaves out a payload where there can be none.
    fn applicable(&self, changes: Changes, subject: &Subject, name: &Arc<str>) -> Option<Changes> {
        let Changes { payload, query } = changes;
        let payload = payload.filter(|payload| {
            // One that returns its whole context returns that there is none.
            if !subject.takes_payload && !payload.is_null() {
                self.version.vain.tell(name, "payload", "neither a WebSocket nor an api without `body:` has a payload");
            }
            subject.takes_payload
        });
        (payload.is_some() || query.is_some()).then_some(Changes { payload, query })
    }

    fn work(&self, handler: &'a HandlerRef, input: MiddlewareInput, body: Bytes) -> Work<'a> {
        Work {
            version: self.version,
            handler,
            triggers: &[],
            cause: self.cause,
            hops: 0,
            attempt: 1,
            alone: false,
            timeout: self.time_left(),
            input: Input::Middleware(input),
            body,
            room: Room::Await,
        }
    }

    fn after_input(&self, subject: &Subject, answer: Reply) -> (MiddlewareInput, Bytes) {
        let mut body = BytesMut::with_capacity(subject.payload.len() + answer.body.len());
        body.extend_from_slice(&subject.payload);
        body.extend_from_slice(&answer.body);
        let after = AfterInput {
            payload_length: subject.payload.len(),
            status: answer.head.status.unwrap_or(StatusCode::OK).as_u16(),
            headers: answer.head.headers,
        };
        let input =
            MiddlewareInput { context: Arc::clone(&self.context), query: subject.query.clone(), after: Some(after) };
        (input, body.freeze())
    }

    /// Adds the headers that before-parts asked for. A body has one type, which is that of whoever wrote it.
    pub(crate) fn dress(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            if name != header::CONTENT_TYPE || !headers.contains_key(name) {
                headers.append(name, value.clone());
            }
        }
    }

    /// The same for an answer that takes the place of one that had them, and that may have been made from that one's headers.
    fn dress_another(&self, mut answer: Reply) -> Reply {
        let own = answer.head.headers.clone();
        for (name, value) in self.headers.iter().filter(|(name, _)| !own.contains_key(*name)) {
            answer.head.headers.append(name, value.clone());
        }
        answer
    }

    /// What a before-part that raised an exception comes to for the client.
    fn refused(&self, name: &str, error: Error, recorder: &mut Recorder) -> ErrorBody {
        let refusal = match rejection(error) {
            Ok(refusal) => refusal,
            Err(error) => return self.failed(name, &error, recorder),
        };
        tracing::warn!(
            middleware = name,
            trace_id = %recorder.trace_id(),
            error = %refusal,
            "a middleware refused a request with an exception that is none of generated.errors"
        );
        self.on_record(name, &refusal, recorder)
    }

    fn failed(&self, name: &str, error: &Error, recorder: &mut Recorder) -> ErrorBody {
        if !error.is_expected() {
            tracing::warn!(middleware = name, trace_id = %recorder.trace_id(), %error, "a middleware failed");
        }
        self.on_record(name, error, recorder)
    }

    fn on_record(&self, name: &str, error: &Error, recorder: &mut Recorder) -> ErrorBody {
        error.record(recorder);
        // This one names it by itself.
        if !matches!(error, Error::MiddlewareReply { .. }) {
            recorder.blame(&culprit(name));
        }
        ErrorBody { trace_id: Some(recorder.trace_id().to_string()), ..ErrorBody::of(error, self.version.development) }
    }
}

/// Reads the answer that an after-part leaves, and whether it is another one than it was shown.
fn read_answer(completed: Completed) -> Result<(Reply, bool), Error> {
    let replaces = completed.replaces;
    Ok((read_reply(completed)?, replaces))
}

fn culprit(name: &str) -> String {
    format!("middleware {name}")
}

/// Any exception of a before-part refuses the request, with its message.
///
/// # Errors
/// When it is something else: errors with a code have a status of their own, or say that the middleware is wrong.
fn rejection(error: Error) -> Result<Error, Error> {
    match error {
        Error::Failed(error) if !error.expected && error.code.is_none() => {
            let message = if error.message.is_empty() { error.kind.clone() } else { error.message };
            let code = Some("rejected".to_owned());
            Ok(Error::Rejected(HandlerError { message, code, status: None, expected: true, ..error }))
        }
        other => Err(other),
    }
}
