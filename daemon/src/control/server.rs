//! What may commands ask of the daemon? Its status, its traces, and to publish an event.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as PathParam, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rohas_adapters::broker;
use rohas_telemetry::Kind;
use tokio::net::UnixListener;
use uuid::Uuid;

use crate::app::App;
use crate::control::{self, Published, Status, Subscription, TraceQuery};
use crate::publish::{self, Cause};
use crate::recorder::Recorder;
use crate::trigger::http::{ACCEPT_PAUSE, ErrorBody};

/// Longest path of a Unix socket on Linux.
const MAX_PATH: usize = 107;

/// The bound control socket; its file goes with it.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    address: SocketAddr,
}

#[derive(Clone)]
struct Context {
    app: Arc<App>,
    address: SocketAddr,
}

impl Socket {
    /// Binds the project's socket. Only called with the project's lock held, so a file that is there is a dead daemon's.
    pub(crate) fn bind(root: &Path, address: SocketAddr) -> Result<Self, (PathBuf, io::Error)> {
        let path = control::path(root);
        let failed = |error| (path.clone(), error);
        if path.as_os_str().len() > MAX_PATH {
            let text = format!("its path is longer than the {MAX_PATH} bytes that a socket may have");
            return Err(failed(io::Error::other(text)));
        }
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = UnixListener::bind(&path).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path, address })
    }

    /// Serves until the daemon drains.
    pub(crate) async fn run(self, app: Arc<App>) {
        let router = Router::new()
            .route("/status", get(status))
            .route("/events/{event}", post(publish_event))
            .route("/traces", post(traces))
            .route("/traces/{id}", get(trace))
            .with_state(Context { app: Arc::clone(&app), address: self.address });
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = app.intake.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a command could not connect");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let service = TowerToHyperService::new(router.clone());
            let intake = app.intake.clone();
            app.tracker.spawn(async move {
                let mut builder = hyper::server::conn::http1::Builder::new();
                let serving = builder.keep_alive(false).serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    outcome = serving => if let Err(error) = outcome {
                        tracing::debug!(%error, "a command's connection failed");
                    },
                    () = intake.cancelled() => {}
                }
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the control socket was already gone");
        }
    }
}

async fn status(State(context): State<Context>) -> Response {
    match context.app.brokers.status().await {
        Ok(subscriptions) => blocking(move || Ok(standing(&context, subscriptions))).await,
        Err(error) => {
            ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "broker_unavailable", error.to_string()).into_response()
        }
    }
}

fn standing(context: &Context, subscriptions: Vec<broker::Status>) -> Status {
    let app = &context.app;
    let subscriptions = subscriptions.into_iter().map(|status| Subscription {
        event: status.subscription.event.to_string(),
        handler: status.subscription.handler.to_string(),
        waiting: status.waiting + status.delayed,
        in_flight: status.in_flight,
        dead_letters: status.dead,
    });
    Status {
        pid: std::process::id(),
        rohas: env!("CARGO_PKG_VERSION").to_owned(),
        address: format!("http://{}", context.address),
        version: app.current().number,
        ready: app.not_ready().is_none(),
        requests: app.requests.count(),
        subscriptions: subscriptions.collect(),
        telemetry: app.telemetry.stats(),
    }
}

async fn publish_event(State(context): State<Context>, PathParam(event): PathParam<String>, body: Bytes) -> Response {
    let app = &context.app;
    let version = app.current();
    let source = Arc::<str>::from("rohas events publish");
    let trace =
        rohas_adapters::TraceContext { trace_id: *rohas_telemetry::TraceId::random().as_bytes(), parent: [0; 8] };
    let name: Arc<str> = event.as_str().into();
    let mut recorder = Recorder::begin(Kind::Publish, &name, trace);
    let cause = Cause { id: Uuid::now_v7(), handler: &source, trace: recorder.context(), hops: 0, incoming: None };
    let published = Published {
        id: cause.id.to_string(),
        event,
        trace_id: rohas_telemetry::TraceId::from_bytes(trace.trace_id).to_string(),
    };
    let publication = match publish::root(&version, &published.event, &body, &cause) {
        Ok(publication) => publication,
        Err(error) => {
            return ErrorBody::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string()).into_response();
        }
    };
    if let Err(error) = app.brokers.try_publish(vec![publication]).await {
        return ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", error.to_string()).into_response();
    }
    recorder.emit(&name, cause.id);
    recorder.finish(&app.telemetry);
    axum::Json(published).into_response()
}

async fn traces(State(context): State<Context>, body: Bytes) -> Response {
    let query = match serde_json::from_slice::<TraceQuery>(&body) {
        Ok(query) => query,
        Err(error) => {
            return ErrorBody::new(StatusCode::BAD_REQUEST, "bad_query", error.to_string()).into_response();
        }
    };
    let telemetry = context.app.telemetry.clone();
    blocking(move || telemetry.list(&query.into())).await
}

async fn trace(State(context): State<Context>, PathParam(prefix): PathParam<String>) -> Response {
    let telemetry = context.app.telemetry.clone();
    blocking(move || telemetry.trace(telemetry.find(&prefix)?)).await
}

/// Runs a query, which reads the disk, on a thread that may block.
async fn blocking<T: serde::Serialize + Send + 'static>(
    query: impl FnOnce() -> Result<T, rohas_telemetry::Error> + Send + 'static,
) -> Response {
    match tokio::task::spawn_blocking(query).await {
        Ok(Ok(found)) => axum::Json(found).into_response(),
        Ok(Err(error)) => ErrorBody::new(StatusCode::NOT_FOUND, "telemetry", error.to_string()).into_response(),
        Err(error) => {
            tracing::error!(%error, "a query was lost");
            Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR).body(Body::empty()).unwrap_or_default()
        }
    }
}
