//! What may commands ask of the daemon? Its status, its traces, to publish an event, and whatever `requests` has.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as PathParam, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::StreamExt as _;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio::time::timeout;

use crate::app::App;
use crate::control::requests::{
    self, Find, Identify, List, Pause, Prune, Purge, Redrive, Replay, Request, Subscriptions, Watch,
};
use crate::control::view::Seen;
use crate::control::{self, PublishOptions, Status, TraceQuery};
use crate::publish::{self, ByHand};
use crate::trigger::cron;
use crate::trigger::http::{ACCEPT_PAUSE, ErrorBody};

/// How long an event published by hand waits for room. It stands in line with what requests emit: the room that is kept for handlers is theirs.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(5);

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
            .route("/cron/{job}/run", post(run_cron))
            .route(Watch::PATH, post(tail))
            .route(Subscriptions::PATH, post(answer::<Subscriptions>))
            .route(Pause::PATH, post(answer::<Pause>))
            .route(Prune::PATH, post(answer::<Prune>))
            .route(Replay::PATH, post(answer::<Replay>))
            .route(List::PATH, post(answer::<List>))
            .route(Identify::PATH, post(answer::<Identify>))
            .route(Find::PATH, post(answer::<Find>))
            .route(Redrive::PATH, post(answer::<Redrive>))
            .route(Purge::PATH, post(answer::<Purge>))
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
    let app = &context.app;
    let overview = match (Subscriptions {}).answer(&app.brokers).await {
        Ok(overview) => overview,
        Err(error) => return refusal(&error).into_response(),
    };
    let (app, address) = (Arc::clone(app), context.address);
    blocking(move || {
        Ok(Status {
            pid: std::process::id(),
            rohas: env!("CARGO_PKG_VERSION").to_owned(),
            address: format!("http://{address}"),
            version: app.version_number(),
            ready: app.not_ready().is_none(),
            requests: app.requests.count(),
            overview,
            telemetry: app.telemetry.stats(),
        })
    })
    .await
}

/// Answers a request about messages.
async fn answer<R: Request>(State(context): State<Context>, body: Bytes) -> Response {
    let request = match serde_json::from_slice::<R>(&body) {
        Ok(request) => request,
        Err(error) => return unreadable(&error),
    };
    match request.answer(&context.app.brokers).await {
        Ok(answer) => axum::Json(answer).into_response(),
        Err(error) => refusal(&error).into_response(),
    }
}

fn unreadable(error: &serde_json::Error) -> Response {
    ErrorBody::new(StatusCode::BAD_REQUEST, "bad_query", error.to_string()).into_response()
}

fn refusal(error: &requests::Error) -> ErrorBody {
    use rohas_adapters::broker::Error as Broker;
    let (status, code) = match error {
        requests::Error::Broker(Broker::Unsupported { .. }) => (StatusCode::NOT_IMPLEMENTED, "unsupported"),
        requests::Error::Broker(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        requests::Error::Prefix { .. } | requests::Error::Ambiguous { .. } => (StatusCode::BAD_REQUEST, "bad_id"),
        requests::Error::Declared(_) => (StatusCode::CONFLICT, "declared"),
        requests::Error::Subscription { .. } | requests::Error::DeadLetter { .. } | requests::Error::Carrier(_) => {
            (StatusCode::NOT_FOUND, "not_found")
        }
    };
    ErrorBody::new(status, code, error.to_string())
}

/// Shows messages as they are published, a line of JSON each, until the reader goes or the daemon drains.
async fn tail(State(context): State<Context>, body: Bytes) -> Response {
    let watch = match serde_json::from_slice::<Watch>(&body) {
        Ok(watch) => watch,
        Err(error) => return unreadable(&error),
    };
    if let Some(event) = &watch.event
        && let Err(error) = publish::route(&context.app.current().events, event)
    {
        return ErrorBody::new(StatusCode::NOT_FOUND, error.code(), error.to_string()).into_response();
    }
    match watch.begin(&context.app.brokers).await {
        Ok(seeing) => Body::from_stream(seeing.map(|seen| line(&seen))).into_response(),
        Err(error) => refusal(&error).into_response(),
    }
}

fn line(seen: &Seen) -> serde_json::Result<Bytes> {
    let mut line = serde_json::to_vec(seen)?;
    line.push(b'\n');
    Ok(line.into())
}

async fn publish_event(
    State(context): State<Context>,
    PathParam(event): PathParam<String>,
    Query(options): Query<PublishOptions>,
    body: Bytes,
) -> Response {
    let app = &context.app;
    let ByHand { publication, published, recorder } =
        match publish::by_hand(&app.current().events, &event, &body, &options) {
            Ok(by_hand) => by_hand,
            Err(error) => {
                return ErrorBody::new(StatusCode::UNPROCESSABLE_ENTITY, error.code(), error.to_string())
                    .into_response();
            }
        };
    match timeout(PUBLISH_PATIENCE, app.brokers.publish(vec![publication])).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return refusal(&error.into()).into_response(),
        Err(_elapsed) => {
            let text = "the queues of its handlers are full; try again later".to_owned();
            return ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", text).into_response();
        }
    }
    recorder.finish(&app.telemetry);
    axum::Json(published).into_response()
}

async fn run_cron(State(context): State<Context>, PathParam(job): PathParam<String>) -> Response {
    let app = &context.app;
    let version = app.current();
    let Some(cron) = version.crons.values().find(|cron| *cron.name == *job) else {
        let mut known: Vec<&str> = version.crons.values().map(|cron| &*cron.name).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let text = format!("there is no cron job {job}; the schema declares {known}");
        return ErrorBody::new(StatusCode::NOT_FOUND, "unknown_job", text).into_response();
    };
    match cron::fire_now(&app.brokers, cron).await {
        Ok(published) => axum::Json(published).into_response(),
        Err(error) => ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", error.to_string()).into_response(),
    }
}

async fn traces(State(context): State<Context>, body: Bytes) -> Response {
    let query = match serde_json::from_slice::<TraceQuery>(&body) {
        Ok(query) => query,
        Err(error) => return unreadable(&error),
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
