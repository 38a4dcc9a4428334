//! How does a request become a connection? Checked like a request to an api, then upgraded and handed to a task of its own.

use std::sync::{Arc, LazyLock, Weak};
use std::time::SystemTime;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use bytes::{Bytes, BytesMut};
use hyper::upgrade::OnUpgrade;
use rohas_config::settings::Network;
use rohas_handlers_host::invocation::{Connection, ConnectionInput, MiddlewareContext, MiddlewareTarget};
use rohas_telemetry::{Kind, Phase, Status};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_util::io::InspectReader;
use uuid::Uuid;

use crate::app::App;
use crate::detach::Detach;
use crate::recorder::Recorder;
use crate::reply::Reply;
use crate::trigger::http::{
    ClientAddress, ErrorBody, REQUEST_ID, into_socket, of_handler, parse_query, request_id, trace_of,
};
use crate::trigger::middleware::{Chain, Changes, Subject, client_address};
use crate::trigger::websocket::calls::Calls;
use crate::trigger::websocket::handshake::{self, Handshake};
use crate::trigger::websocket::origin;
use crate::trigger::websocket::peer::Peer;
use crate::trigger::websocket::pulse::Pulse;
use crate::trigger::websocket::queue::Queue;
use crate::trigger::websocket::registry::Place;
use crate::trigger::websocket::session::{self, Session};
use crate::version::{Version, WebSocketRoute};

/// A connection that has been let in and waits for its upgrade.
struct Opening {
    upgrade: OnUpgrade,
    place: Place,
    peer: Arc<Peer>,
    config: WebSocketConfig,
    calls: Calls,
    recorder: Recorder,
}

/// Everything that a client is let in with.
struct Admitted {
    handshake: Handshake,
    place: Place,
    peer: Arc<Peer>,
    connection: Connection,
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
                (Some(app), Some(version)) => {
                    let tracker = app.tracker.clone();
                    // A client that goes away keeps neither what a middleware emits from being published nor the record from being written.
                    Detach::new(async move { handle(&app, &version, &route, request).await }, tracker).await
                }
                _ => shutting_down().into_response(),
            }
        }
    })
}

/// One request's way: record, check, let in, answer, upgrade.
async fn handle(app: &Arc<App>, version: &Version, route: &Arc<WebSocketRoute>, request: Request) -> Response {
    let (mut parts, _body) = request.into_parts();
    let mut recorder = Recorder::begin(Kind::WebSocketConnect, &route.titles.connect, trace_of(&parts));
    let request_id = request_id(&parts, &recorder);
    let admitted = admit(app, version, route, &mut parts).await;
    recorder.lap(Phase::Validate);
    let mut response = match admitted {
        Ok(admitted) => pass(app, version, (route, &parts), admitted, recorder).await,
        Err(mut error) => {
            let busy = error.status == StatusCode::SERVICE_UNAVAILABLE;
            recorder.failure(if busy { Status::Busy } else { Status::Rejected }, &error.code, &error.error);
            error.trace_id = Some(recorder.trace_id().to_string());
            let status = error.status;
            record(app, route, recorder, status);
            refused(error)
        }
    };
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

/// Runs the middlewares, and lets the connection open unless one of them refuses or answers the request.
async fn pass(
    app: &Arc<App>,
    version: &Version,
    (route, parts): (&Arc<WebSocketRoute>, &Parts),
    admitted: Admitted,
    mut recorder: Recorder,
) -> Response {
    let Admitted { handshake, place, peer, connection } = admitted;
    let input = Arc::new(ConnectionInput::new(&connection));
    let (headers, input) = match guard(app, version, (route, parts), (connection, input), &mut recorder).await {
        Ok(passed) => passed,
        Err(answer) => {
            let response = of_handler(answer, StatusCode::OK, &parts.method);
            record(app, route, recorder, response.status());
            return response;
        }
    };
    let (upgrade, accept) = handshake.into_parts();
    recorder.http(get_method(), &route.path, StatusCode::SWITCHING_PROTOCOLS.as_u16());
    let config = session::config(&version.settings.websocket);
    let calls = Calls::new(app, &peer, input);
    app.tracker.spawn(open(Arc::downgrade(app), Opening { upgrade, place, peer, config, calls, recorder }));
    handshake::switching(accept, headers)
}

/// Runs the middlewares: the request is in order and nothing has been promised. Gives the headers that go with the answer and the connection
/// with the query parameters that they leave, or the answer of one that refuses the request or answers it.
async fn guard(
    app: &App,
    version: &Version,
    (route, parts): (&WebSocketRoute, &Parts),
    (connection, input): (Connection, Arc<ConnectionInput>),
    recorder: &mut Recorder,
) -> Result<(HeaderMap, Arc<ConnectionInput>), Reply> {
    if route.middlewares.is_empty() {
        return Ok((HeaderMap::new(), input));
    }
    let context = MiddlewareContext {
        target: MiddlewareTarget::WebSocket { name: Arc::clone(&route.name), connection: Arc::clone(&input) },
        method: parts.method.clone(),
        path: parts.uri.path().into(),
        path_params: connection.path_params,
        headers: connection.headers,
        client: connection.client,
    };
    let cause = (Uuid::now_v7(), Instant::now() + version.settings.server.request_timeout);
    let mut chain = Chain::new((version, &app.brokers), &route.middlewares, &context, cause);
    let mut subject = Subject { payload: Bytes::new(), query: connection.query, takes_payload: false };
    let mut is_changed = false;
    let change = |subject: &mut Subject, changes: Changes| {
        if let Some(query) = changes.query {
            subject.query = query;
            is_changed = true;
        }
        Ok(())
    };
    let mut answer = match chain.before(&mut subject, change, recorder).await {
        Ok(None) if is_changed => {
            let MiddlewareContext { path_params, headers, .. } = context;
            let connection = Connection { path_params, headers, query: subject.query, ..connection };
            return Ok((chain.into_headers(), Arc::new(ConnectionInput::new(&connection))));
        }
        Ok(None) => return Ok((chain.into_headers(), input)),
        Ok(Some(answer)) => answer,
        Err(error) => ErrorBody { trace_id: Some(recorder.trace_id().to_string()), ..error }.into_reply(),
    };
    chain.dress(&mut answer.head.headers);
    Err(answer)
}

fn record(app: &App, route: &WebSocketRoute, mut recorder: Recorder, status: StatusCode) {
    recorder.http(get_method(), &route.path, status.as_u16());
    recorder.finish(&app.telemetry);
}

fn get_method() -> &'static Arc<str> {
    static GET: LazyLock<Arc<str>> = LazyLock::new(|| "GET".into());
    &GET
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
    let connection = connection(route, &peer, parts, &version.settings.server.trusted_proxies).await?;
    Ok(Admitted { handshake, place, peer, connection })
}

/// What handlers are told of the connection.
async fn connection(
    route: &WebSocketRoute,
    peer: &Peer,
    parts: &mut Parts,
    trusted: &[Network],
) -> Result<Connection, ErrorBody> {
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
    let client = parts.extensions.get::<ClientAddress>();
    let client = client.map(|ClientAddress(peer)| client_address(*peer, &parts.headers, trusted));
    Ok(Connection {
        id: peer.id.to_string().into(),
        path: Arc::clone(&route.path),
        connected_at: SystemTime::now(),
        path_params,
        query: parse_query(parts),
        headers: std::mem::take(&mut parts.headers),
        client,
    })
}

/// Waits for the upgrade and runs the connection to its end.
async fn open(app: Weak<App>, opening: Opening) {
    let Opening { upgrade, place, peer, config, calls, mut recorder } = opening;
    let Some((stream, rest)) = upgraded(upgrade).await else {
        if let Some(app) = app.upgrade() {
            recorder.failure(Status::Cancelled, "client_gone", "the client went away before the upgrade");
            recorder.finish(&app.telemetry);
        }
        return;
    };
    let running = Box::pin(calls.clone().opened(recorder));
    let registered = place.register(peer);
    // A client that sends something is there, even when it is a part of a long frame.
    let stream = InspectReader::new(stream, registered.hear());
    let socket = WebSocketStream::from_partially_read(stream, rest.into(), Role::Server, Some(config)).await;
    Session::new(socket, registered, (calls, running)).run().await;
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
