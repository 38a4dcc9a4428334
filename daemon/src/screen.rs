//! What does the person at the terminal see of a running daemon? In development a few lines each time something happens,
//! in production log records.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use owo_colors::OwoColorize;
use rohas_codegen::Changes;
use rohas_config::project::{HandlerDecl, HandlerKind};
use rohas_config::schema::diagnostic;
use rohas_config::settings::{Adapter, Settings};
use rohas_handlers_host::load::Report;

use crate::project::Sound;
use crate::version::{CronRoute, Version};
use crate::{example, output};

/// Where a daemon's events are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) development: bool,
    pub(crate) color: bool,
}

impl Screen {
    pub(crate) fn serving(self, version: &Version, address: SocketAddr) {
        if !self.development {
            tracing::info!(
                %address,
                apis = version.apis.len(),
                events = version.events.len(),
                websockets = version.websockets.len(),
                crons = version.crons.len(),
                "serving"
            );
            return;
        }
        let mut text = String::new();
        let name = &version.settings.project.name;
        text +=
            &format!("\n  {} serves {} at {}\n", self.strong("rohas"), name, self.strong(&format!("http://{address}")));
        text += &format!("\n{}\n", self.routes(version));
        text += &format!("  Try: {}\n", example::command(version, address));
        text += "  Editing schema, config or handlers reloads. Ctrl-C stops.\n\n";
        show(&text);
    }

    fn routes(self, version: &Version) -> String {
        let mut text = String::new();
        let mut websockets: Vec<_> = version.websockets.values().collect();
        websockets.sort_by(|left, right| left.path.cmp(&right.path));
        let mut crons: Vec<_> = version.crons.values().collect();
        crons.sort_by(|left, right| left.name.cmp(&right.name));
        let paths = version.apis.iter().map(|api| &api.path).chain(websockets.iter().map(|websocket| &websocket.path));
        let names = version.events.keys().chain(crons.iter().map(|cron| &cron.name));
        let width = paths.chain(names).map(|shown| shown.len()).max().unwrap_or_default();
        for api in &version.apis {
            text += &format!("  {:<6} {:<width$}  {}\n", api.method.as_str(), api.path, api.name);
        }
        for websocket in websockets {
            text += &format!("  {:<6} {:<width$}  {}\n", "ws", websocket.path, websocket.name);
        }
        for cron in crons {
            text += &format!("  {:<6} {:<width$}  {}, {}\n", "cron", cron.name, cron.schedule, next_run(cron));
        }
        let mut events: Vec<_> = version.events.values().collect();
        events.sort_by(|left, right| left.name.cmp(&right.name));
        for event in events {
            let handlers: Vec<&str> = event.handlers.iter().map(|handler| &*handler.name).collect();
            let handlers = if handlers.is_empty() { "no handlers".to_owned() } else { handlers.join(", ") };
            text += &format!("  {:<6} {:<width$}  {handlers}\n", "event", event.name);
        }
        let settings = &version.settings;
        let workers = settings.python.workers.count();
        let adapters: BTreeSet<&str> =
            std::iter::once(&settings.adapter).chain(settings.adapters.values()).map(Adapter::name).collect();
        let adapters = Vec::from_iter(adapters).join(", ");
        text +=
            &format!("\n  {workers} Python {}, events: {adapters}\n", if workers == 1 { "worker" } else { "workers" });
        text
    }

    pub(crate) fn warnings(self, sound: &Sound) {
        if self.development && !sound.warnings.is_empty() {
            show(&diagnostic::render(&sound.warnings, self.color));
            return;
        }
        for warning in &sound.warnings {
            tracing::warn!("{warning}");
        }
    }

    /// Shows why nothing is served; `summary` is a sentence.
    pub(crate) fn waiting(self, text: &str, summary: &str) {
        show(&format!("{text}  {} Waiting for an edit; nothing is served yet.\n", self.bad(summary)));
    }

    pub(crate) fn still_loading(self) {
        if self.development {
            line(format_args!("  The handlers are still being imported. An edit is taken up at once."));
        } else {
            tracing::info!("the handlers are still being imported");
        }
    }

    pub(crate) fn generated(self, changes: &Changes) {
        if !changes.is_empty() {
            tracing::info!(written = changes.written.len(), removed = changes.removed.len(), "code was generated");
        }
        for path in &changes.foreign {
            tracing::warn!(path = %path.display(), "this file is not rohas's; src/generated is for generated files only");
        }
    }

    /// Shows which handlers did not load; true when there are any.
    pub(crate) fn load_errors(self, handlers: &[HandlerDecl], report: &Report) -> bool {
        let mut broken = false;
        for (handler, loaded) in handlers.iter().zip(&report.handlers) {
            let Some(error) = &loaded.error else { continue };
            broken = true;
            if self.development {
                line(format_args!("  {} {} {}: {error}", self.bad("handler error:"), handler.owner, handler.name));
            } else {
                tracing::error!(owner = handler.owner, handler = handler.name, "a handler does not load: {error}");
            }
        }
        broken
    }

    /// Shows what loaded and will not do what it seems to be there for.
    pub(crate) fn load_warnings(self, version: &Version) {
        let (handlers, report) = (&version.handlers, version.host.report());
        for (handler, loaded) in handlers.iter().zip(&report.handlers) {
            if let Some(warning) = &loaded.warning {
                self.load_warning(format_args!("middleware {}: {warning}", handler.owner));
            }
            let of_an_api = |name: &String| version.schema.apis.values().any(|api| api.middlewares.contains(name));
            if handler.kind == HandlerKind::After && loaded.ok && !of_an_api(&handler.owner) {
                let function = handler.functions.first().map_or("-", String::as_str);
                self.load_warning(format_args!(
                    "middleware {}: {function} is never called: only WebSockets use this middleware, and nothing comes after their upgrade",
                    handler.owner
                ));
            }
        }
    }

    fn load_warning(self, text: fmt::Arguments<'_>) {
        if self.development {
            line(format_args!("  {} {text}", self.bad("warning:")));
        } else {
            tracing::warn!("{text}");
        }
    }

    pub(crate) fn reloaded(self, version: &Version, took: Duration) {
        line(format_args!("  {} version {} in {} ms", self.good("reloaded:"), version.number, took.as_millis()));
    }

    pub(crate) fn kept(self, text: &str) {
        show(text);
        line(format_args!("  {} the last good version goes on.", self.bad("not reloaded:")));
    }

    /// Settings that a reload cannot change.
    pub(crate) fn needs_restart(self, present: &Settings, next: &Settings) {
        let differs = [
            ("server.host", present.server.host != next.server.host),
            ("server.port", present.server.port != next.server.port),
            ("server.max_connections", present.server.max_connections != next.server.max_connections),
            ("server.header_timeout", present.server.header_timeout != next.server.header_timeout),
            ("server.idle_timeout", present.server.idle_timeout != next.server.idle_timeout),
            ("websocket.max_in_flight", present.websocket.max_in_flight != next.websocket.max_in_flight),
            ("adapter", present.adapter != next.adapter || present.adapters != next.adapters),
            ("telemetry", present.telemetry != next.telemetry),
        ];
        for (setting, _) in differs.iter().filter(|(_, differs)| *differs) {
            tracing::warn!(setting, "this setting has changed and needs a restart to take effect");
        }
    }

    pub(crate) fn draining(self, requests: usize) {
        if self.development {
            line(format_args!("  stopping; {requests} requests are being finished"));
        } else {
            tracing::info!(requests, "draining");
        }
    }

    pub(crate) fn cut_off(self, unfinished: usize) {
        tracing::warn!(unfinished, "the drain grace is over; unfinished work is cut off");
    }

    fn strong(self, text: &str) -> String {
        if self.color { text.bold().to_string() } else { text.to_owned() }
    }

    fn good(self, text: &str) -> String {
        if self.color { text.green().to_string() } else { text.to_owned() }
    }

    fn bad(self, text: &str) -> String {
        if self.color { text.red().to_string() } else { text.to_owned() }
    }
}

/// When a job runs next, in its time zone.
fn next_run(cron: &CronRoute) -> String {
    let zone = cron.timezone.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
    let next = cron.timing.next_after(Timestamp::now());
    next.map_or_else(
        || "never again".to_owned(),
        |next| format!("next {}", next.to_zoned(zone).strftime("%Y-%m-%d %H:%M:%S %:z")),
    )
}

fn line(text: fmt::Arguments<'_>) {
    show(&format!("{text}\n"));
}

/// A daemon goes on when nobody looks any more, as after `rohas dev | head`.
fn show(text: &str) {
    output::stdout().push(text.as_bytes());
}
