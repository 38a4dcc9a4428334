//! What do handlers do about a connection? Its opening, each message and its end take the way through dispatch, and what comes
//! of them goes back to the client, or to all.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use rohas_adapters::TraceContext;
use rohas_handlers_host::invocation::{ConnectionInput, WebSocketInput, WebSocketPhase};
use rohas_handlers_host::{HostError, Input};
use rohas_telemetry::{Kind, Phase, Status, TraceId};
use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use crate::app::App;
use crate::dispatch::{self, Room, Work};
use crate::recorder::Recorder;
use crate::reply::Reply;
use crate::trigger::http::ErrorBody;
use crate::trigger::websocket::close::{Close, FAILED};
use crate::trigger::websocket::message::{Message, Payload, validate};
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::registry::{self, Audience};
use crate::version::{HandlerRef, Version, WebSocketRoute};

/// Pause before a host that is busy is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// The calls of one connection. It outlives reloads: each call runs on the version that is present, and its last on the last version
/// that had its WebSocket.
#[derive(Clone)]
pub(super) struct Calls {
    /// Gone when the daemon has drained.
    app: Weak<App>,
    peer: Arc<Peer>,
    connection: Arc<ConnectionInput>,
}

/// One call's surroundings.
struct Scene {
    app: Arc<App>,
    version: Arc<Version>,
    route: Arc<WebSocketRoute>,
}

/// What a handler is to be called with.
#[derive(Clone)]
struct Call<'a> {
    handler: &'a HandlerRef,
    triggers: &'a [Arc<str>],
    phase: WebSocketPhase,
    body: Bytes,
}

impl Calls {
    pub(super) fn new(app: &Arc<App>, peer: &Arc<Peer>, connection: Arc<ConnectionInput>) -> Self {
        Self { app: Arc::downgrade(app), peer: Arc::clone(peer), connection }
    }

    /// The present version's declaration of the WebSocket, if it has one.
    fn scene(&self) -> Option<Scene> {
        let app = self.app.upgrade()?;
        let version = app.current();
        self.on(app, version)
    }

    /// The same of the last version that had it.
    fn last_scene(&self) -> Option<Scene> {
        self.scene().or_else(|| {
            let app = self.app.upgrade()?;
            let version = app.websockets.former(&self.peer.websocket)?;
            self.on(app, version)
        })
    }

    fn on(&self, app: Arc<App>, version: Arc<Version>) -> Option<Scene> {
        let route = Arc::clone(version.websockets.get(&self.peer.websocket)?);
        Some(Scene { app, version, route })
    }

    /// The client has connected. What the handlers return is for it alone; one that fails ends the connection.
    pub(super) async fn opened(self, mut recorder: Recorder) -> Result<(), Close> {
        let Some(scene) = self.last_scene() else {
            self.never_opened(recorder);
            return Err(registry::no_longer_served());
        };
        let _permit = scene.admit(&mut recorder).await;
        // One that was let in while its WebSocket was taken away is opened all the same, and closed at once.
        let is_served = scene.app.current().websockets.contains_key(&self.peer.websocket);
        let mut outcome = if is_served { Ok(()) } else { Err(registry::no_longer_served()) };
        for handler in &scene.route.on_connect {
            let call = Call { handler, triggers: &[], phase: WebSocketPhase::Opened, body: Bytes::new() };
            match self.run(&scene, call, &mut recorder).await {
                Ok(reply) => self.answer(&reply),
                Err(error) => {
                    self.complain(error, &recorder);
                    outcome = Err(Close::new(FAILED, "the connection's first handler failed"));
                    break;
                }
            }
        }
        self.peer.queue.opened();
        recorder.finish(&scene.app.telemetry);
        outcome
    }

    /// The client has sent a message. What the handlers return is for it, or for all when the WebSocket is one that broadcasts.
    pub(super) async fn message(self, message: Message) -> Result<(), Close> {
        let time = SystemTime::now();
        let Some(scene) = self.scene() else { return Err(registry::no_longer_served()) };
        let route = &scene.route;
        let mut recorder = root(Kind::WebSocketMessage, &route.titles.message);
        let payload = validate(route, message);
        recorder.lap(Phase::Validate);
        match payload {
            Err(error) => {
                if let Some(handler) = route.on_message.first() {
                    recorder.handler(&handler.name);
                }
                recorder.failure(Status::Rejected, &error.code, &error.error);
                self.complain(error, &recorder);
            }
            Ok(Payload { binary, data }) => {
                let _permit = scene.admit(&mut recorder).await;
                for handler in &route.on_message {
                    let phase = WebSocketPhase::Message { time, binary };
                    let call = Call { handler, triggers: &route.triggers, phase, body: data.clone() };
                    match self.run(&scene, call, &mut recorder).await {
                        Ok(reply) if route.broadcast => broadcast(&scene, &reply).await,
                        Ok(reply) => self.answer(&reply),
                        Err(error) => self.complain(error, &recorder),
                    }
                }
            }
        }
        recorder.finish(&scene.app.telemetry);
        Ok(())
    }

    /// The connection has ended. Nothing can be said any more; all handlers are told.
    pub(super) async fn closed(self, close: Close) {
        let Some(scene) = self.last_scene() else { return };
        let mut recorder = root(Kind::WebSocketDisconnect, &scene.route.titles.disconnect);
        let _permit = scene.admit(&mut recorder).await;
        for handler in &scene.route.on_disconnect {
            let phase = WebSocketPhase::Closed { code: close.code, reason: close.reason.clone().into() };
            let call = Call { handler, triggers: &[], phase, body: Bytes::new() };
            // Recorded and logged where it happened.
            drop(self.run_at_last(&scene, call, &mut recorder).await);
        }
        recorder.finish(&scene.app.telemetry);
    }

    async fn run(&self, scene: &Scene, call: Call<'_>, recorder: &mut Recorder) -> Result<Reply, ErrorBody> {
        let handler = call.handler;
        self.dispatch(scene, call, recorder).await.map_err(|error| failed(scene, handler, &error, recorder))
    }

    /// Runs a handler that must be run, however long that takes, unless the time of a drain is over before.
    async fn run_at_last(&self, scene: &Scene, call: Call<'_>, recorder: &mut Recorder) -> Result<Reply, ErrorBody> {
        let handler = call.handler;
        let outcome = tokio::select! {
            biased;
            outcome = self.dispatch_in_turn(scene, call, recorder) => outcome,
            () = scene.app.websockets.is_cut() => Err(HostError::Closed.into()),
        };
        outcome.map_err(|error| failed(scene, handler, &error, recorder))
    }

    async fn dispatch_in_turn(
        &self,
        scene: &Scene,
        call: Call<'_>,
        recorder: &mut Recorder,
    ) -> Result<Reply, dispatch::Error> {
        loop {
            match self.dispatch(scene, call.clone(), recorder).await {
                Err(dispatch::Error::Host(HostError::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
                outcome => return outcome,
            }
        }
    }

    async fn dispatch(&self, scene: &Scene, call: Call<'_>, recorder: &mut Recorder) -> Result<Reply, dispatch::Error> {
        let work = Work {
            version: &scene.version,
            handler: call.handler,
            triggers: call.triggers,
            cause: Uuid::now_v7(),
            hops: 0,
            attempt: 1,
            alone: false,
            timeout: scene.version.settings.websocket.handler_timeout,
            input: Input::WebSocket(WebSocketInput { connection: Arc::clone(&self.connection), phase: call.phase }),
            body: call.body,
            room: Room::Await,
        };
        dispatch::run(work, &scene.app.brokers, recorder).await
    }

    /// Ends the record of a connection that no version knows.
    fn never_opened(&self, mut recorder: Recorder) {
        if let Some(app) = self.app.upgrade() {
            let close = registry::no_longer_served();
            recorder.failure(Status::Cancelled, "no_longer_served", &close.reason);
            recorder.finish(&app.telemetry);
        }
    }

    fn answer(&self, reply: &Reply) {
        if let (Some(message), Some(app)) = (message_of(reply), self.app.upgrade()) {
            self.peer.answer(message, app.websockets.now());
        }
    }

    /// Tells the client what went wrong.
    fn complain(&self, mut error: ErrorBody, recorder: &Recorder) {
        error.trace_id = Some(TraceId::from_bytes(recorder.context().trace_id).to_string());
        self.peer.queue.answer(Message::text(error.to_json().into()));
    }
}

impl Scene {
    /// Waits until there is room for the handlers of one more message.
    async fn admit(&self, recorder: &mut Recorder) -> Option<SemaphorePermit<'_>> {
        let slots = &self.app.messages;
        if let Ok(permit) = slots.try_acquire() {
            return Some(permit);
        }
        // It is never closed.
        let permit = slots.acquire().await.ok();
        recorder.lap(Phase::Queue);
        permit
    }
}

/// Records and logs that a handler failed; gives what its client is told.
fn failed(scene: &Scene, handler: &HandlerRef, error: &dispatch::Error, recorder: &mut Recorder) -> ErrorBody {
    error.record(recorder);
    if !error.is_expected() {
        tracing::warn!(websocket = %scene.route.name, handler = %handler.name, %error, "a WebSocket's handler failed");
    }
    ErrorBody::of(error, scene.version.development)
}

async fn broadcast(scene: &Scene, reply: &Reply) {
    if let Some(message) = message_of(reply) {
        scene.app.websockets.broadcast(&scene.route.name, Audience::default(), &message).await;
    }
}

/// A record that begins a trace.
fn root(kind: Kind, name: &Arc<str>) -> Recorder {
    Recorder::begin(kind, name, TraceContext { trace_id: *TraceId::random().as_bytes(), parent: [0; 8] })
}

/// What a handler returned as a message; nothing for nothing. Copied, because it is a part of what was read from a worker.
fn message_of(reply: &Reply) -> Option<Message> {
    let binary = reply.is_binary();
    let nothing = !binary && *reply.body == *b"null";
    (!nothing).then(|| Message { binary, data: Bytes::copy_from_slice(&reply.body) })
}
