//! What is one version of a project? Everything that a reload swaps at once: routes, shapes, delivery rules, handlers.
//!
//! A version never changes. Work holds an `Arc` of the version it started on; when the last one is dropped, so is the
//! version's host, which ends its workers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rohas_config::project::{HandlerDecl, HandlerKind};
use rohas_config::schema::model::{
    Api, Backoff, CatchUp, Cron, Event, Method, Overlap, Schema, Type, WebSocket, snake_case,
};
use rohas_config::schema::shape::Shape;
use rohas_config::schema::timing::Timing;
use rohas_config::settings::Settings;
use rohas_handlers_host::Host;
use rohas_handlers_host::load::Report;

use crate::trigger::cron::event_name;
use crate::trigger::middleware::Vain;

/// Time limit of a cron job that declares none.
const CRON_TIMEOUT: Duration = Duration::from_mins(5);

/// So many runs of a cron job go on at a time at most, where they may overlap.
const MOST_OVERLAPPING: usize = 100;

/// One version of a project, ready to serve.
pub(crate) struct Version {
    /// Counted from 1 since the daemon's start.
    pub(crate) number: u64,
    pub(crate) settings: Arc<Settings>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) apis: Vec<Arc<ApiRoute>>,
    pub(crate) events: EventRoutes,
    pub(crate) websockets: WebSocketRoutes,
    pub(crate) crons: CronRoutes,
    pub(crate) handlers: Vec<HandlerDecl>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) development: bool,
    /// What its middlewares have returned in vain.
    pub(crate) vain: Vain,
}

/// A handler as the host knows it.
#[derive(Debug, Clone)]
pub(crate) struct HandlerRef {
    pub(crate) index: u32,
    pub(crate) name: Arc<str>,
}

/// A middleware as the host knows it. Its parts are named after their functions, as what they emit is.
#[derive(Debug, Clone)]
pub(crate) struct MiddlewareRef {
    /// As declared.
    pub(crate) name: Arc<str>,
    pub(crate) before: HandlerRef,
    /// What its file may have too.
    pub(crate) after: Option<HandlerRef>,
}

/// What is needed to serve one api.
pub(crate) struct ApiRoute {
    pub(crate) name: Arc<str>,
    pub(crate) handler: HandlerRef,
    pub(crate) method: Method,
    /// The path as declared.
    pub(crate) path: Arc<str>,
    pub(crate) path_params: Vec<String>,
    pub(crate) body: Option<Shape>,
    pub(crate) query: Option<Shape>,
    pub(crate) response: Shape,
    pub(crate) status: StatusCode,
    pub(crate) triggers: Vec<Arc<str>>,
    pub(crate) timeout: Duration,
    /// Those that stand before the handler, in order.
    pub(crate) middlewares: Vec<MiddlewareRef>,
}

/// What is needed to publish and deliver one event.
pub(crate) struct EventRoute {
    pub(crate) name: Arc<str>,
    pub(crate) payload: Shape,
    /// Whether the payload is a record or free JSON: then an object is taken as it is, never unwrapped.
    pub(crate) structured: bool,
    pub(crate) key: Option<String>,
    pub(crate) handlers: Vec<HandlerRef>,
    pub(crate) triggers: Vec<Arc<str>>,
    pub(crate) delivery: DeliveryRules,
    pub(crate) version: u32,
}

/// What is needed to serve one WebSocket.
pub(crate) struct WebSocketRoute {
    pub(crate) name: Arc<str>,
    pub(crate) titles: Titles,
    /// The path as declared.
    pub(crate) path: Arc<str>,
    pub(crate) path_params: Vec<String>,
    pub(crate) message: Option<Shape>,
    /// Whether messages may be binary: those of type `Bytes`, and those of no declared type.
    pub(crate) binary: bool,
    pub(crate) on_connect: Vec<HandlerRef>,
    pub(crate) on_message: Vec<HandlerRef>,
    pub(crate) on_disconnect: Vec<HandlerRef>,
    pub(crate) triggers: Vec<Arc<str>>,
    /// Whether what `on_message` handlers return goes to all clients.
    pub(crate) broadcast: bool,
    pub(crate) middlewares: Vec<MiddlewareRef>,
}

/// What a WebSocket's records are called.
pub(crate) struct Titles {
    pub(crate) connect: Arc<str>,
    pub(crate) message: Arc<str>,
    pub(crate) disconnect: Arc<str>,
}

/// All WebSockets by name.
pub(crate) type WebSocketRoutes = HashMap<Arc<str>, Arc<WebSocketRoute>>;

/// All events by name.
pub(crate) type EventRoutes = HashMap<Arc<str>, Arc<EventRoute>>;

/// What is needed to fire and run one cron job.
pub(crate) struct CronRoute {
    pub(crate) name: Arc<str>,
    /// Name of the event that a firing is.
    pub(crate) event: Arc<str>,
    pub(crate) handler: HandlerRef,
    pub(crate) schedule: Arc<str>,
    pub(crate) timezone: Option<Arc<str>>,
    pub(crate) timing: Timing,
    pub(crate) jitter: Duration,
    pub(crate) overlap: Overlap,
    pub(crate) catch_up: CatchUp,
    pub(crate) triggers: Vec<Arc<str>>,
    pub(crate) delivery: DeliveryRules,
}

/// All cron jobs by the names of the events that their firings are.
pub(crate) type CronRoutes = HashMap<Arc<str>, Arc<CronRoute>>;

/// How an event is delivered to each of its handlers.
#[derive(Debug, Clone)]
pub(crate) struct DeliveryRules {
    pub(crate) attempts: u32,
    pub(crate) backoff: Backoff,
    pub(crate) delay: Duration,
    pub(crate) max_delay: Duration,
    pub(crate) timeout: Duration,
    pub(crate) concurrency: usize,
    /// Most messages of a subscription that are in memory at a time.
    pub(crate) buffer_size: usize,
    pub(crate) dedupe: Duration,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Version {
    /// Puts a version together from what was checked and loaded. `handlers` are the handlers that the host was given, in its order.
    pub(crate) fn new(
        number: u64,
        project: (Arc<Settings>, Arc<Schema>),
        handlers: Vec<HandlerDecl>,
        host: Arc<dyn Host>,
        development: bool,
    ) -> Self {
        let (settings, schema) = project;
        let table = HandlerTable::new(&handlers, &host.report());
        let apis = schema.apis.values().filter_map(|api| api_route(&schema, &settings, api, &table)).map(Arc::new);
        let websockets = schema.websockets.values().filter_map(|websocket| websocket_route(&schema, websocket, &table));
        Self {
            number,
            apis: apis.collect(),
            events: event_routes(&settings, &schema, &handlers),
            websockets: websockets.map(|route| (Arc::clone(&route.name), Arc::new(route))).collect(),
            crons: cron_routes(&settings, &schema, &table),
            settings: Arc::clone(&settings),
            schema: Arc::clone(&schema),
            handlers,
            host,
            development,
            vain: Vain::default(),
        }
    }
}

/// What is needed to publish and deliver each event. `handlers` are those of the host, in its order.
pub(crate) fn event_routes(settings: &Settings, schema: &Schema, handlers: &[HandlerDecl]) -> EventRoutes {
    let table = HandlerTable::new(handlers, &Report::default());
    let route = |event| {
        let route = event_route(schema, settings, event, &table);
        (Arc::clone(&route.name), Arc::new(route))
    };
    schema.events.values().map(route).collect()
}

fn cron_routes(settings: &Settings, schema: &Schema, table: &HandlerTable<'_>) -> CronRoutes {
    let route = |cron| {
        let route = cron_route(settings, cron, table)?;
        Some((Arc::clone(&route.event), Arc::new(route)))
    };
    schema.crons.values().filter_map(route).collect()
}

struct HandlerTable<'a>(HashMap<(HandlerKind, &'a str, &'a str), HandlerRef>);

impl<'a> HandlerTable<'a> {
    /// Without the optional functions that the report says to be absent.
    fn new(handlers: &'a [HandlerDecl], report: &Report) -> Self {
        let absent =
            |index: u32| usize::try_from(index).is_ok_and(|at| report.handlers.get(at).is_some_and(|it| it.absent));
        let entry = |(index, handler): (u32, &'a HandlerDecl)| {
            let name = match handler.kind {
                HandlerKind::Middleware | HandlerKind::After => handler.functions.first().unwrap_or(&handler.name),
                _ => &handler.name,
            };
            let reference = HandlerRef { index, name: name.as_str().into() };
            ((handler.kind, handler.owner.as_str(), handler.name.as_str()), reference)
        };
        Self((0..).zip(handlers).filter(|(index, _)| !absent(*index)).map(entry).collect())
    }

    /// The one of a declaration that has one of this kind.
    fn only(&self, kind: HandlerKind, owner: &str) -> Option<HandlerRef> {
        let found = self.0.iter().find(|((of, name, _), _)| *of == kind && *name == owner);
        found.map(|(_, handler)| handler.clone())
    }

    /// `None` when one of them is unknown: nothing is served without its guards.
    fn middlewares(&self, names: &[String]) -> Option<Vec<MiddlewareRef>> {
        let middleware = |name: &String| {
            let before = self.only(HandlerKind::Middleware, name)?;
            Some(MiddlewareRef { name: name.as_str().into(), before, after: self.only(HandlerKind::After, name) })
        };
        names.iter().map(middleware).collect()
    }

    fn event(&self, owner: &str, name: &str) -> Option<HandlerRef> {
        self.0.get(&(HandlerKind::Event, owner, name)).cloned()
    }

    /// Files are named in snake case, or as the schema names them.
    fn websocket(&self, owner: &str, names: &[String]) -> Vec<HandlerRef> {
        let find = |name: &String| {
            let named = |name: &str| self.0.get(&(HandlerKind::WebSocket, owner, name)).cloned();
            named(&snake_case(name)).or_else(|| named(name))
        };
        names.iter().filter_map(find).collect()
    }
}

fn api_route(schema: &Schema, settings: &Settings, api: &Api, table: &HandlerTable<'_>) -> Option<ApiRoute> {
    Some(ApiRoute {
        name: api.name.as_str().into(),
        handler: table.only(HandlerKind::Api, &api.name)?,
        method: api.method,
        path: api.path.source.as_str().into(),
        path_params: api.path.params().map(str::to_owned).collect(),
        body: api.body.as_ref().map(|ty| Shape::compile(schema, ty)),
        query: api.query.as_ref().map(|record| Shape::compile(schema, &Type::Record(record.clone()))),
        response: Shape::compile(schema, &api.response),
        status: StatusCode::from_u16(api.status).expect("the checker has seen to it that it is one"),
        triggers: names(&api.triggers),
        timeout: api.timeout.unwrap_or(settings.server.request_timeout),
        middlewares: table.middlewares(&api.middlewares)?,
    })
}

fn websocket_route(schema: &Schema, websocket: &WebSocket, table: &HandlerTable<'_>) -> Option<WebSocketRoute> {
    let name = &websocket.name;
    Some(WebSocketRoute {
        titles: Titles {
            connect: format!("{name} (connect)").into(),
            message: format!("{name} (message)").into(),
            disconnect: format!("{name} (disconnect)").into(),
        },
        path: websocket.path.source.as_str().into(),
        path_params: websocket.path.params().map(str::to_owned).collect(),
        message: websocket.message.as_ref().map(|ty| Shape::compile(schema, ty)),
        binary: matches!(websocket.message, None | Some(Type::Bytes)),
        on_connect: table.websocket(name, &websocket.on_connect),
        on_message: table.websocket(name, &websocket.on_message),
        on_disconnect: table.websocket(name, &websocket.on_disconnect),
        triggers: names(&websocket.triggers),
        broadcast: websocket.broadcast,
        middlewares: table.middlewares(&websocket.middlewares)?,
        name: name.as_str().into(),
    })
}

fn event_route(schema: &Schema, settings: &Settings, event: &Event, table: &HandlerTable<'_>) -> EventRoute {
    EventRoute {
        name: event.name.as_str().into(),
        payload: Shape::compile(schema, &event.payload),
        structured: matches!(event.payload, Type::Record(_) | Type::Json | Type::Map(_)),
        key: event.key.clone(),
        handlers: event.handlers.iter().filter_map(|handler| table.event(&event.name, handler)).collect(),
        triggers: names(&event.triggers),
        delivery: delivery_rules(settings, event),
        version: event.version,
    }
}

fn cron_route(settings: &Settings, cron: &Cron, table: &HandlerTable<'_>) -> Option<CronRoute> {
    let timing = Timing::parse(&cron.schedule, cron.timezone.as_deref());
    Some(CronRoute {
        name: cron.name.as_str().into(),
        event: event_name(&cron.name).into(),
        handler: table.only(HandlerKind::Cron, &cron.name)?,
        schedule: cron.schedule.as_str().into(),
        timezone: cron.timezone.as_deref().map(Into::into),
        timing: timing.expect("the checker has read schedule and time zone"),
        jitter: cron.jitter.unwrap_or_default(),
        overlap: cron.overlap,
        catch_up: cron.catch_up,
        triggers: names(&cron.triggers),
        delivery: DeliveryRules {
            attempts: 1,
            timeout: cron.timeout.unwrap_or(CRON_TIMEOUT),
            concurrency: if cron.overlap == Overlap::Allow { MOST_OVERLAPPING } else { 1 },
            ..default_rules(settings)
        },
    })
}

fn default_rules(settings: &Settings) -> DeliveryRules {
    let defaults = &settings.events;
    DeliveryRules {
        attempts: defaults.attempts.get(),
        backoff: defaults.backoff,
        delay: defaults.delay,
        max_delay: defaults.max_delay,
        timeout: defaults.timeout,
        concurrency: usize::try_from(defaults.concurrency.get()).unwrap_or(usize::MAX),
        buffer_size: usize::try_from(settings.adapter.buffer_size().get()).unwrap_or(usize::MAX),
        dedupe: defaults.dedupe,
    }
}

fn delivery_rules(settings: &Settings, event: &Event) -> DeliveryRules {
    let defaults = &settings.events;
    let retry = event.retry.unwrap_or_default();
    let concurrency = event.concurrency.unwrap_or(defaults.concurrency.get());
    let delay = retry.delay.unwrap_or(defaults.delay);
    let adapter = event.adapter.as_ref().and_then(|name| settings.adapters.get(name)).unwrap_or(&settings.adapter);
    DeliveryRules {
        attempts: retry.attempts.unwrap_or(defaults.attempts.get()),
        backoff: retry.backoff.unwrap_or(defaults.backoff),
        delay,
        max_delay: retry.max_delay.unwrap_or(defaults.max_delay).max(delay),
        timeout: event.timeout.unwrap_or(defaults.timeout),
        concurrency: usize::try_from(concurrency).unwrap_or(usize::MAX).max(1),
        buffer_size: usize::try_from(adapter.buffer_size().get()).unwrap_or(usize::MAX),
        dedupe: event.dedupe.unwrap_or(defaults.dedupe),
    }
}

fn names(names: &[String]) -> Vec<Arc<str>> {
    names.iter().map(|name| name.as_str().into()).collect()
}
