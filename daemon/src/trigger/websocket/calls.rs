//! What do handlers do about a connection? Its opening, each message and its end take the way through dispatch, and what comes
//! of them goes back to the client, or to all.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use rohas_adapters::TraceContext;
use rohas_handlers_host::Input;
use rohas_handlers_host::invocation::{ConnectionInput, WebSocketInput, WebSocketPhase};
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

/// The calls of one connection. It outlives reloads: each call runs on the version that is present.
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
        let route = Arc::clone(version.websockets.get(&self.peer.websocket)?);
        Some(Scene { app, version, route })
    }

    /// The client has connected. What the handlers return is for it alone; one that fails ends the connection.
    pub(super) async fn opened(self, mut recorder: Recorder) -> Result<(), Close> {
        let Some(scene) = self.scene() else { return Err(registry::no_longer_served()) };
        let _permit = scene.admit(&mut recorder).await;
        let mut outcome = Ok(());
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
        let Some(scene) = self.scene() else { return };
        let mut recorder = root(Kind::WebSocketDisconnect, &scene.route.titles.disconnect);
        let _permit = scene.admit(&mut recorder).await;
        for handler in &scene.route.on_disconnect {
            let phase = WebSocketPhase::Closed { code: close.code, reason: close.reason.clone().into() };
            let call = Call { handler, triggers: &[], phase, body: Bytes::new() };
            // Recorded and logged where it happened.
            drop(self.run(&scene, call, &mut recorder).await);
        }
        recorder.finish(&scene.app.telemetry);
    }

    async fn run(&self, scene: &Scene, call: Call<'_>, recorder: &mut Recorder) -> Result<Reply, ErrorBody> {
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
        dispatch::run(work, &scene.app.brokers, recorder).await.map_err(|error| {
            error.record(recorder);
            if !error.is_expected() {
                tracing::warn!(websocket = %scene.route.name, handler = %call.handler.name, %error, "a WebSocket's handler failed");
            }
            ErrorBody::of(&error, scene.version.development)
        })
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
