//! Which api does a request go to, and what happens to it on the way? axum finds the route; the rest is one visible stack.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, get, on};
use bytes::Bytes;
use rohas_adapters::TraceContext;
use rohas_config::schema::model;
use rohas_handlers_host::Input;
use rohas_handlers_host::invocation::ApiInput;
use rohas_telemetry::{Kind, Phase as Part, Status, TraceId};
use tower::ServiceExt;
use tower_http::cors::{AllowOrigin, Any, CorsLayer};
use uuid::Uuid;

use crate::app::{App, Entered};
use crate::control::view::section;
use crate::detach::Detach;
use crate::dispatch::{self, Room, Work};
use crate::recorder::Recorder;
use crate::reply::Reply;
use crate::trigger::http::connection::Phase;
use crate::trigger::http::guard::REFUSED_METHOD;
use crate::trigger::http::guarded::Origin;
use crate::trigger::http::names::LocalNames;
use crate::trigger::http::path;
use crate::trigger::http::reply::{self, ErrorBody};
use crate::trigger::http::request::{self, BodyLimits, Payload};
use crate::trigger::websocket;
use crate::version::{ApiRoute, Version};

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// A version and its routes. Whoever holds the site keeps the version: its routes only refer to it.
pub(crate) struct Site {
    router: Router,
    /// Whether any api has middlewares, which ask where a request comes from.
    pub(super) is_guarded: bool,
    pub(crate) version: Arc<Version>,
}

impl Site {
    pub(crate) fn new(app: &Weak<App>, version: Arc<Version>) -> Self {
        let mut paths: BTreeMap<String, MethodRouter> = BTreeMap::new();
        for route in &version.apis {
            let endpoint = endpoint(app, &version, route);
            let path = route_path(&version.schema.apis[&*route.name].path);
            let methods = paths.remove(&path).unwrap_or_default();
            paths.insert(path, methods.merge(endpoint));
        }
        for route in version.websockets.values() {
            let path = route_path(&version.schema.websockets[&*route.name].path);
            let allowed = allowed(&version, &path);
            let refuse = move |method: Method| async move { ([(header::ALLOW, allowed)], not_allowed(&method)) };
            let endpoint = websocket::endpoint(app, &version, route).fallback(refuse);
            let methods = paths.remove(&path).unwrap_or_default();
            paths.insert(path, methods.merge(endpoint));
        }
        let mut router = Router::new();
        for (path, methods) in paths {
            router = router.route(&path, methods);
        }
        let ready = Weak::clone(app);
        let router = router
            .route("/healthz", get(|| async { reply::json(StatusCode::OK, Body::from(r#"{"status":"ok"}"#)) }))
            .route("/readyz", get(move || async move { readiness(ready.upgrade()).await }))
            .method_not_allowed_fallback(|method: Method| async move { not_allowed(&method) })
            .fallback(|request: Request| async move {
                let text = format!("nothing is served at {}", request.uri().path());
                ErrorBody::new(StatusCode::NOT_FOUND, "not_found", text).into_response()
            });
        let is_guarded = version.apis.iter().any(|route| !route.middlewares.is_empty());
        Self { router: with_cors(router, &version), is_guarded, version }
    }

    /// Answers one request. `names` are those that it may call the daemon by, if that matters.
    pub(super) async fn respond(&self, mut request: Request, phase: &Phase, names: Option<&LocalNames>) -> Response {
        let given = given_request_id(request.headers()).cloned();
        let mut response = if let Some(refusal) = phase.refusal().filter(|_| request.method() == REFUSED_METHOD) {
            refusal.error().into_response()
        } else if let Some(Err(error)) = names.map(|names| names.check(request.headers())) {
            error.into_response()
        } else {
            path::normalize(request.uri_mut());
            match self.router.clone().oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        };
        // Only errors say so, and because the client is still sending; a handler's header of that name is left out.
        if response.headers().get(header::CONNECTION).is_some_and(|connection| connection == "close") {
            phase.linger();
        }
        // Apis have set it to their trace; what is answered without one gets an id all the same.
        let id = response.headers_mut().entry(REQUEST_ID);
        id.or_insert_with(|| given.unwrap_or_else(|| header_value(TraceId::random())));
        response
    }
}

/// axum's form of a path. Parameters are named by position: apis of one path may name them differently.
fn route_path(pattern: &model::PathPattern) -> String {
    let mut text = String::new();
    let mut params = 0;
    for segment in &pattern.segments {
        text.push('/');
        match segment {
            model::Segment::Literal(literal) => text.push_str(&path::encoded(literal)),
            model::Segment::Param(_) => {
                text.push_str(&format!("{{p{params}}}"));
                params += 1;
            }
        }
    }
    if text.is_empty() { "/".to_owned() } else { text }
}

fn not_allowed(method: &Method) -> Response {
    let text = format!("{method} is not allowed here; the allow header says what is");
    ErrorBody::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text).into_response()
}

/// The methods of a WebSocket's path: its own, and those of the apis there. axum would add HEAD, which asks for no upgrade.
fn allowed(version: &Version, path: &str) -> HeaderValue {
    let apis = version.apis.iter().filter(|route| route_path(&version.schema.apis[&*route.name].path) == path);
    let methods: Vec<&str> = std::iter::once("GET").chain(apis.map(|route| route.method.as_str())).collect();
    HeaderValue::try_from(methods.join(",")).expect("names of methods are ASCII")
}

fn with_cors(router: Router, version: &Version) -> Router {
    let server = &version.settings.server;
    if !server.enable_cors {
        return router;
    }
    let origin = if server.cors_origins.is_empty() {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(server.cors_origins.iter().filter_map(|origin| HeaderValue::from_str(origin.as_str()).ok()))
    };
    router.layer(CorsLayer::new().allow_origin(origin).allow_methods(Any).allow_headers(Any).expose_headers(Any))
}

async fn readiness(app: Option<Arc<App>>) -> Response {
    let refuse = |reason: &str| ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", reason).into_response();
    let Some(app) = app else { return refuse("it is shutting down") };
    if let Some(reason) = app.not_ready() {
        return refuse(reason);
    }
    match app.brokers.away().await.first() {
        None => reply::json(StatusCode::OK, Body::from(r#"{"status":"ready"}"#)),
        Some((name, error)) => refuse(&format!("[{}]: {error}", section(name))),
    }
}

fn endpoint(app: &Weak<App>, version: &Arc<Version>, route: &Arc<ApiRoute>) -> MethodRouter {
    let filter = match route.method {
        model::Method::Get => MethodFilter::GET,
        model::Method::Post => MethodFilter::POST,
        model::Method::Put => MethodFilter::PUT,
        model::Method::Patch => MethodFilter::PATCH,
        model::Method::Delete => MethodFilter::DELETE,
    };
    // App and version hold this route; strong references back would keep all of them alive for ever.
    let app = Weak::clone(app);
    let (version, route) = (Arc::downgrade(version), Arc::clone(route));
    on(filter, move |request: Request| {
        let parties = (app.upgrade(), version.upgrade());
        let route = Arc::clone(&route);
        async move {
            match parties {
                (Some(app), Some(version)) => handle(app, version, route, request).await,
                _ => {
                    let text = "the daemon is shutting down";
                    ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", text).into_response()
                }
            }
        }
    })
}

/// One request's way: record, admit, read, validate, dispatch, answer.
async fn handle(app: Arc<App>, version: Arc<Version>, route: Arc<ApiRoute>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let context = trace_of(&parts);
    let mut recorder = Recorder::begin(Kind::Request, &route.name, context);
    let request_id = request_id(&parts, &recorder);
    let method = parts.method.clone();

    let prepared = prepare(&app, &version, &route, &mut parts, body).await;
    recorder.lap(Part::Validate);
    let exchange = Exchange { app, version, route, recorder, request_id, method };
    let (entered, input, payload) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return exchange.refuse(error),
    };
    let origin = (!exchange.route.middlewares.is_empty()).then(|| Origin::of(&parts, &input, &exchange.version));
    // Once a handler has begun, a client that goes away keeps neither its emits from being published nor its record from
    // being written.
    let tracker = exchange.app.tracker.clone();
    Detach::new(exchange.run(entered, origin, input, payload), tracker).await
}

/// A request that has found its api.
pub(super) struct Exchange {
    pub(super) app: Arc<App>,
    pub(super) version: Arc<Version>,
    pub(super) route: Arc<ApiRoute>,
    pub(super) recorder: Recorder,
    request_id: HeaderValue,
    pub(super) method: Method,
}

impl Exchange {
    fn refuse(mut self, error: ErrorBody) -> Response {
        self.recorder.handler(&self.route.handler.name);
        let busy = error.status == StatusCode::SERVICE_UNAVAILABLE;
        self.recorder.failure(if busy { Status::Busy } else { Status::Rejected }, &error.code, &error.error);
        self.answer(Err(error))
    }

    async fn run(mut self, _entered: Entered, origin: Option<Origin>, input: ApiInput, payload: Payload) -> Response {
        let answer = match origin {
            None => self.handle((Uuid::now_v7(), self.route.timeout), input, payload.bytes).await,
            // In a box of its own, so that apis without middlewares need no room for it.
            Some(origin) => Ok(Box::pin(self.guarded(origin, input, payload)).await),
        };
        let response = answer.map(|reply| reply::of_handler(reply, self.route.status, &self.method));
        self.answer(response)
    }

    /// Runs the handler. `cause` and the time that it has are those of the whole request.
    pub(super) async fn handle(
        &mut self,
        (cause, timeout): (Uuid, Duration),
        input: ApiInput,
        body: Bytes,
    ) -> Result<Reply, ErrorBody> {
        let work = Work {
            version: &self.version,
            handler: &self.route.handler,
            triggers: &self.route.triggers,
            cause,
            hops: 0,
            attempt: 1,
            alone: false,
            timeout,
            input: Input::Api(input),
            body,
            room: Room::Await,
        };
        let outcome = dispatch::run(work, &self.app.brokers, &mut self.recorder).await;
        let reply = outcome.map_err(|error| self.failed(&error))?;
        if self.version.development {
            warn_about_reply(&self.route, &reply);
        }
        Ok(reply)
    }

    fn failed(&mut self, error: &dispatch::Error) -> ErrorBody {
        error.record(&mut self.recorder);
        if !error.is_expected() {
            tracing::warn!(api = %self.route.name, %error, "a request failed");
        }
        ErrorBody::of(error, self.version.development)
    }

    pub(super) fn trace_id(&self) -> String {
        TraceId::from_bytes(self.recorder.context().trace_id).to_string()
    }

    fn answer(mut self, outcome: Result<Response, ErrorBody>) -> Response {
        let mut response = outcome.unwrap_or_else(|mut error| {
            error.trace_id = Some(self.trace_id());
            error.into_response()
        });
        response.headers_mut().insert(REQUEST_ID, self.request_id);
        self.recorder.http(method_name(self.route.method), &self.route.path, response.status().as_u16());
        self.recorder.finish(&self.app.telemetry);
        response
    }
}

/// Everything that can be refused before the handler is entered.
async fn prepare(
    app: &Arc<App>,
    version: &Version,
    route: &ApiRoute,
    parts: &mut Parts,
    body: Body,
) -> Result<(Entered, ApiInput, Payload), ErrorBody> {
    let most = usize::try_from(version.settings.server.max_in_flight.get()).unwrap_or(usize::MAX);
    let busy = || {
        let text = "too many requests are running; try again later";
        let busy = ErrorBody::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", text);
        ErrorBody { retry_after: Some(1), ..busy }
    };
    if app.requests.count() >= most {
        return Err(busy().closing());
    }
    let path_params = match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => params.iter().map(|(_, value)| value.to_owned()).collect(),
        Err(_) if route.path_params.is_empty() => Vec::new(),
        Err(error) => {
            let text = format!("the path cannot be decoded: {error}");
            return Err(ErrorBody::new(StatusCode::BAD_REQUEST, "malformed_path", text));
        }
    };
    let server = &version.settings.server;
    let limits = BodyLimits { bytes: server.max_body.as_usize(), time: server.body_timeout };
    let body = request::read_body(&parts.headers, body, limits).await?;
    if route.body.is_some() {
        request::check_content_type(&parts.headers, &body)?;
    }
    let query = request::parse_query(parts);
    let payload = request::validate(route, body, &path_params, &query)?;
    let headers = std::mem::take(&mut parts.headers);
    let input =
        ApiInput { path_params, query, headers, has_body: payload.has_body, query_length: payload.query_length };
    // Only now, so that clients who take their time with a body take no place from others.
    let entered = app.enter_request(most).ok_or_else(busy)?;
    Ok((entered, input, payload))
}

/// Replies are checked against the schema in development only, where a mismatch is a warning.
fn warn_about_reply(route: &ApiRoute, reply: &Reply) {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&reply.body) else { return };
    let fits = route.response.fits(&body) || body.get("data").is_some_and(|data| route.response.fits(data));
    if !fits && reply.head.status.is_none_or(|status| status.is_success()) {
        tracing::warn!(api = %route.name, "the reply does not fit the response type that the schema declares");
    }
}

fn method_name(method: model::Method) -> &'static Arc<str> {
    static NAMES: LazyLock<[Arc<str>; 5]> = LazyLock::new(|| ["GET", "POST", "PUT", "PATCH", "DELETE"].map(Arc::from));
    &NAMES[match method {
        model::Method::Get => 0,
        model::Method::Post => 1,
        model::Method::Put => 2,
        model::Method::Patch => 3,
        model::Method::Delete => 4,
    }]
}

pub(crate) fn trace_of(parts: &Parts) -> TraceContext {
    let given = parts.headers.get(TRACEPARENT).and_then(|value| TraceContext::parse(value.to_str().ok()?));
    given.unwrap_or_else(|| TraceContext { trace_id: *TraceId::random().as_bytes(), parent: [0; 8] })
}

/// The client's request id if it is short and printable, else the trace id.
pub(crate) fn request_id(parts: &Parts, recorder: &Recorder) -> HeaderValue {
    let trace = || header_value(TraceId::from_bytes(recorder.context().trace_id));
    given_request_id(&parts.headers).cloned().unwrap_or_else(trace)
}

fn given_request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(REQUEST_ID).filter(|id| !id.is_empty() && id.len() <= MAX_REQUEST_ID && id.to_str().is_ok())
}

fn header_value(trace: TraceId) -> HeaderValue {
    HeaderValue::try_from(trace.to_string()).unwrap_or(HeaderValue::from_static("-"))
}
