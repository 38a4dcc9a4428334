//! Which handler files does a project have, where are they looked for, and what are the functions in them called?
//!
//! File and function names are the original's, so that its projects run unchanged. One thing differs: a handler's own
//! directory is looked at first, so that the api `Auth` and the middleware `auth` don't take each other's file.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Serialize;

use crate::schema::{
    Schema,
    model::{Location, snake_case},
};

/// Directory of the middlewares, relative to the project's root.
const MIDDLEWARES: &str = "src/middlewares";

/// Directory of the handlers, relative to the project's root.
const HANDLERS: &str = "src/handlers";

/// The language that a project's handlers are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// `python` or `py`
    Python,
    /// `typescript` or `ts`
    TypeScript,
    /// `rust` or `rs`
    Rust,
}

impl Language {
    /// Extension of the handler files, without the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Python => "py",
            Self::TypeScript => "ts",
            Self::Rust => "rs",
        }
    }

    /// Name as written in settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
            Self::Rust => "rust",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The text names no language that handlers can be written in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unsupported language: {0}; write python, typescript or rust")]
pub struct UnsupportedLanguage(String);

impl FromStr for Language {
    type Err = UnsupportedLanguage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "python" | "py" => Ok(Self::Python),
            "typescript" | "ts" => Ok(Self::TypeScript),
            "rust" | "rs" => Ok(Self::Rust),
            _ => Err(UnsupportedLanguage(text.to_owned())),
        }
    }
}

/// What calls a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HandlerKind {
    /// A request to an `api`.
    Api,
    /// A delivery of an `event`.
    Event,
    /// A run of a `cron`.
    Cron,
    /// A connection, message or disconnection of a `ws`.
    #[serde(rename = "websocket")]
    WebSocket,
    /// A request or connection, before its handler.
    Middleware,
    /// A request, after its handler. The function is optional.
    After,
}

impl HandlerKind {
    /// The directory of this kind's files, relative to the project's root.
    #[must_use]
    pub fn directory(self) -> &'static str {
        match self {
            Self::Api => "src/handlers/api",
            Self::Event => "src/handlers/events",
            Self::Cron => "src/handlers/cron",
            Self::WebSocket => "src/handlers/websockets",
            Self::Middleware | Self::After => MIDDLEWARES,
        }
    }

    /// The word for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Event => "event",
            Self::Cron => "cron",
            Self::WebSocket => "ws",
            Self::Middleware | Self::After => "middleware",
        }
    }
}

/// A function that the schema asks for, and where it may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HandlerDecl {
    /// What calls it.
    pub kind: HandlerKind,
    /// Name of its file without the extension: `create_user`.
    pub name: String,
    /// Name of the declaration that asks for it: `CreateUser`; of a middleware, its name as written.
    pub owner: String,
    /// Files to look for, relative to the project's root, in this order. The first one is where a new file goes.
    pub candidates: Vec<PathBuf>,
    /// Functions to look for in the file, in this order. The last one is what a new file defines.
    pub functions: Vec<String>,
    /// Where the schema asks for it.
    pub location: Location,
}

/// All handlers that a schema asks for: one per api and cron, one per event or ws and handler, one per middleware.
#[must_use]
pub fn handlers(schema: &Schema, language: Language) -> Vec<HandlerDecl> {
    let mut list = Collector { language, handlers: Vec::new() };
    for api in schema.apis.values() {
        list.add(HandlerKind::Api, &api.name, &api.name, &api.location);
    }
    for event in schema.events.values() {
        for handler in &event.handlers {
            list.add(HandlerKind::Event, handler, &event.name, &event.location);
        }
    }
    for cron in schema.crons.values() {
        list.add(HandlerKind::Cron, &cron.name, &cron.name, &cron.location);
    }
    for ws in schema.websockets.values() {
        let mut seen = BTreeSet::new();
        let handlers = ws.on_connect.iter().chain(&ws.on_message).chain(&ws.on_disconnect);
        for handler in handlers.filter(|name| seen.insert(*name)) {
            list.add(HandlerKind::WebSocket, handler, &ws.name, &ws.location);
        }
    }
    let apis = schema.apis.values().map(|api| (&api.middlewares, &api.location));
    let websockets = schema.websockets.values().map(|ws| (&ws.middlewares, &ws.location));
    let mut seen = BTreeSet::new();
    for (middlewares, location) in apis.chain(websockets) {
        for middleware in middlewares.iter().filter(|name| seen.insert(*name)) {
            list.add(HandlerKind::Middleware, middleware, middleware, location);
        }
    }
    list.finish()
}

/// What middlewares do after a handler: one optional function in the file of each, whose absence is no fault.
#[must_use]
pub fn afters(schema: &Schema, language: Language) -> Vec<HandlerDecl> {
    let middlewares = handlers(schema, language).into_iter().filter(|handler| handler.kind == HandlerKind::Middleware);
    let after = |middleware: HandlerDecl| HandlerDecl {
        kind: HandlerKind::After,
        functions: functions(language, HandlerKind::After, &middleware.owner),
        ..middleware
    };
    middlewares.map(after).collect()
}

/// The file of a handler: the first candidate that exists, relative to the root.
#[must_use]
pub fn resolve(root: &Path, handler: &HandlerDecl) -> Option<PathBuf> {
    handler.candidates.iter().find(|candidate| root.join(candidate).is_file()).cloned()
}

struct Collector {
    language: Language,
    handlers: Vec<HandlerDecl>,
}

impl Collector {
    fn add(&mut self, kind: HandlerKind, name: &str, owner: &str, location: &Location) {
        self.handlers.push(HandlerDecl {
            kind,
            name: file_name(self.language, kind, name),
            owner: owner.to_owned(),
            candidates: candidates(self.language, kind, name),
            functions: functions(self.language, kind, name),
            location: location.clone(),
        });
    }

    /// Nobody falls back to a file that is another one's own.
    fn finish(mut self) -> Vec<HandlerDecl> {
        let own: BTreeSet<PathBuf> =
            self.handlers.iter().filter_map(|handler| handler.candidates.first().cloned()).collect();
        for handler in &mut self.handlers {
            let first = handler.candidates.first().cloned();
            handler.candidates.retain(|candidate| Some(candidate) == first.as_ref() || !own.contains(candidate));
        }
        self.handlers
    }
}

/// Event handlers are named in the schema as their files are; the others after what declares them.
pub(crate) fn file_name(language: Language, kind: HandlerKind, name: &str) -> String {
    match (language, kind) {
        (_, HandlerKind::Event) => name.to_owned(),
        (_, HandlerKind::Cron) => snake_case(name),
        (Language::TypeScript, _) => name.to_owned(),
        (Language::Python | Language::Rust, _) => snake_case(name),
    }
}

fn candidates(language: Language, kind: HandlerKind, declared: &str) -> Vec<PathBuf> {
    let name = file_name(language, kind, declared);
    let snake = snake_case(declared);
    let flat = [
        (kind.directory(), &name),
        (MIDDLEWARES, &snake),
        (MIDDLEWARES, &name),
        (HandlerKind::Api.directory(), &name),
        (HandlerKind::Event.directory(), &name),
        (HandlerKind::WebSocket.directory(), &name),
        (HandlerKind::Cron.directory(), &snake),
        (HandlerKind::Cron.directory(), &name),
        (HANDLERS, &name),
    ];
    let mut paths: Vec<PathBuf> = Vec::new();
    for (directory, name) in flat {
        let path = Path::new(directory).join(format!("{name}.{}", language.extension()));
        if !paths.contains(&path) {
            paths.push(path);
        }
    }
    // A stub of the original has the name as written, which its lookup then missed.
    if matches!(kind, HandlerKind::Cron | HandlerKind::WebSocket) {
        paths.insert(1, Path::new(kind.directory()).join(format!("{declared}.{}", language.extension())));
    }
    let mut seen = BTreeSet::new();
    paths.retain(|path| seen.insert(path.clone()));
    paths
}

fn functions(language: Language, kind: HandlerKind, declared: &str) -> Vec<String> {
    let name = file_name(language, kind, declared);
    let snake = snake_case(declared);
    match (language, kind) {
        (_, HandlerKind::WebSocket) if name != declared => {
            vec![format!("handle_{name}"), format!("handle_{declared}"), declared.to_owned(), name]
        }
        (_, HandlerKind::Event | HandlerKind::WebSocket) => vec![format!("handle_{name}"), name],
        (Language::TypeScript, HandlerKind::Middleware) => vec![format!("{name}Middleware"), format!("handle_{name}")],
        (Language::TypeScript, HandlerKind::After) => vec![format!("{name}After")],
        (Language::TypeScript, _) => vec![format!("handle{declared}"), format!("handle_{declared}")],
        (Language::Python | Language::Rust, HandlerKind::Middleware) => vec![format!("{snake}_middleware")],
        (Language::Python | Language::Rust, HandlerKind::After) => vec![format!("{snake}_after")],
        (Language::Python | Language::Rust, _) => vec![format!("handle_{snake}")],
    }
}
