//! How does a request become a connection? Checked like a request to an api, then upgraded and handed to a task of its own.

use std::sync::{Arc, LazyLock, Weak};
use std::time::SystemTime;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::BytesMut;
use hyper::upgrade::OnUpgrade;
use rohas_handlers_host::invocation::{Connection, ConnectionInput};
use rohas_telemetry::{Kind, Phase, Status};
use tokio::net::TcpStream;
use uuid::Uuid;

use crate::app::App;
use crate::recorder::Recorder;
use crate::trigger::http::{ClientAddress, ErrorBody, REQUEST_ID, into_socket, parse_query, request_id, trace_of};
use crate::trigger::websocket::calls::Calls;
use crate::trigger::websocket::decoder::{Decoder, Limits};
use crate::trigger::websocket::handshake::{self, Handshake};
use crate::trigger::websocket::origin;
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::pulse::Pulse;
use crate::trigger::websocket::queue::Queue;
use crate::trigger::websocket::registry::Place;
use crate::trigger::websocket::session::Session;
use crate::version::{Version, WebSocketRoute};

/// A connection that has been let in and waits for its upgrade.
struct Opening {
    upgrade: OnUpgrade,
    place: Place,
    peer: Arc<Peer>,
    limits: Limits,
    calls: Calls,
    recorder: Recorder,
}

/// Everything that a client is let in with.
struct Admitted {
    handshake: Handshake,
    place: Place,
    peer: Arc<Peer>,
    connection: ConnectionInput,
    /// Added to the answer.
    headers: HeaderMap,
}

/// What axum does with requests to a WebSocket.
pub(crate) fn endpoint(app: &Weak<App>, version: &Arc<Version>, route: &Arc<WebSocketRoute>) -> MethodRouter {
    // App and version hold this route; strong references back would keep all of them alive for ever.
    let app = Weak::clone(app);
    let (version, route) = (Arc::downgrade(version), Arc::clone(route));
    get(move |request: Request| {
        let parties = (app.upgrade(), version.upgrade());
        let route = Arc::clone(&route);
        async move {
            match parties {
                (Some(app), Some(version)) => handle(&app, &version, &route, request).await,
                _ => shutting_down().into_response(),
            }
        }
    })
}

/// One request's way: record, check, let in, answer, upgrade.
async fn handle(app: &Arc<App>, version: &Version, route: &Arc<WebSocketRoute>, request: Request) -> Response {
    static GET: LazyLock<Arc<str>> = LazyLock::new(|| "GET".into());
    let (mut parts, _body) = request.into_parts();
    let mut recorder = Recorder::begin(Kind::WebSocketConnect, &route.titles.connect, trace_of(&parts));
    let request_id = request_id(&parts, &recorder);
    let admitted = admit(app, version, route, &mut parts).await;
    recorder.lap(Phase::Validate);
    let mut response = match admitted {
        Ok(admitted) => {
            let Admitted { handshake, place, peer, connection, headers } = admitted;
            let (upgrade, accept) = handshake.into_parts();
            recorder.http(&GET, &route.path, StatusCode::SWITCHING_PROTOCOLS.as_u16());
            let settings = &version.settings.websocket;
            let limits = Limits { message: settings.max_message.as_u64(), frame: settings.max_frame.as_u64() };
            let calls = Calls::new(app, &peer, Arc::new(connection));
            app.tracker.spawn(open(Arc::downgrade(app), Opening { upgrade, place, peer, limits, calls, recorder }));
            handshake::switching(accept, headers)
        }
        Err(mut error) => {
            let busy = error.status == StatusCode::SERVICE_UNAVAILABLE;
            recorder.failure(if busy { Status::Busy } else { Status::Rejected }, &error.code, &error.error);
            recorder.http(&GET, &route.path, error.status.as_u16());
            error.trace_id = Some(recorder.trace_id().to_string());
            recorder.finish(&app.telemetry);
            refused(error)
        }
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// Everything that can be refused before the upgrade.
async fn admit(
    app: &Arc<App>,
    version: &Version,
    route: &WebSocketRoute,
    parts: &mut Parts,
) -> Result<Admitted, ErrorBody> {
    let handshake = Handshake::check(parts)?;
    origin::check(&parts.headers, &version.settings.server.cors_origins, version.development)?;
    let settings = &version.settings.websocket;
    if app.intake.is_cancelled() {
        return Err(shutting_down());
    }
    let most = usize::try_from(settings.max_connections.get()).unwrap_or(usize::MAX);
    let place = app.websockets.admit(most).ok_or_else(|| {
        let text = "as many WebSockets are open as websocket.max_connections allows; try again later";
        let busy = ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", text);
        ErrorBody { retry_after: Some(1), ..busy }
    })?;
    let peer = Arc::new(Peer {
        id: Uuid::new_v4(),
        websocket: Arc::clone(&route.name),
        queue: Queue::new(settings.send_queue.as_usize()),
        pulse: Pulse::new(app.websockets.now()),
    });
    let connection = connection(route, &peer, parts).await?;
    let headers = run_middlewares(route)?;
    Ok(Admitted { handshake, place, peer, connection, headers })
}

/// Middlewares stand here: the request is in order and nothing has been promised. They may still refuse it, and their headers
/// go with the answer.
fn run_middlewares(route: &WebSocketRoute) -> Result<HeaderMap, ErrorBody> {
    if route.middlewares.is_empty() {
        return Ok(HeaderMap::new());
    }
    let text = format!(
        "this WebSocket asks for the middlewares {}, which this version of rohas does not run",
        route.middlewares.join(", ")
    );
    Err(ErrorBody::new(StatusCode::NOT_IMPLEMENTED, "middlewares_unavailable", text))
}

/// What handlers are told of the connection.
async fn connection(route: &WebSocketRoute, peer: &Peer, parts: &mut Parts) -> Result<ConnectionInput, ErrorBody> {
    let path_params = match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => {
            let values = params.iter().map(|(_, value)| value.to_owned());
            route.path_params.iter().cloned().zip(values).collect()
        }
        Err(_) if route.path_params.is_empty() => Vec::new(),
        Err(error) => {
            let text = format!("the path cannot be decoded: {error}");
            return Err(ErrorBody::new(StatusCode::BAD_REQUEST, "malformed_path", text));
        }
    };
    Ok(ConnectionInput::new(&Connection {
        id: peer.id.to_string().into(),
        path: Arc::clone(&route.path),
        connected_at: SystemTime::now(),
        path_params,
        query: parse_query(parts),
        headers: std::mem::take(&mut parts.headers),
        client: parts.extensions.get::<ClientAddress>().map(|client| client.0),
    }))
}

/// Waits for the upgrade and runs the connection to its end.
async fn open(app: Weak<App>, opening: Opening) {
    let Opening { upgrade, place, peer, limits, calls, mut recorder } = opening;
    let Some(socket) = upgraded(upgrade).await else {
        if let Some(app) = app.upgrade() {
            recorder.failure(Status::Cancelled, "client_gone", "the client went away before the upgrade");
            recorder.finish(&app.telemetry);
        }
        return;
    };
    let running = Box::pin(calls.clone().opened(recorder));
    Session::new(socket, Decoder::new(limits), place.register(peer), (calls, running)).await;
}

/// The socket below a connection that no longer carries HTTP, and what was read from it since.
async fn upgraded(upgrade: OnUpgrade) -> Option<(TcpStream, BytesMut)> {
    into_socket(upgrade.await.ok()?)
}

fn shutting_down() -> ErrorBody {
    ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "the daemon is shutting down")
}

/// An error's answer. One that asks for an upgrade says to what.
fn refused(error: ErrorBody) -> Response {
    let asks = error.status == StatusCode::UPGRADE_REQUIRED;
    let mut response = error.into_response();
    if asks {
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    response
}
