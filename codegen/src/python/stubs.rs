//! Which files does a user get once, to go on from?

use std::collections::BTreeSet;

use indexmap::IndexMap;
use rohas_config::schema::Schema;
use rohas_config::schema::model::{Api, Cron, Event, WebSocket};

use super::literal;
use super::names::{self, ClassPath, HandlerKind};
use crate::file::{File, Project};

/// A stub for every handler and middleware that the schema names.
pub(super) fn files(schema: &Schema) -> Vec<File> {
    let mut stubs: IndexMap<String, File> = IndexMap::new();
    let apis = schema.apis.values().map(api);
    let events = event_handlers(schema).into_iter().map(|(name, events)| event(name, &events));
    let crons = schema.crons.values().map(cron);
    let websockets = schema.websockets.values().flat_map(websocket);
    let middlewares = middlewares(schema).into_iter().map(middleware);
    for file in apis.chain(events).chain(crons).chain(websockets).chain(middlewares) {
        stubs.entry(file.path.clone()).or_insert(file);
    }
    stubs.into_values().collect()
}

/// What a Python project has beside its sources.
pub(super) fn project_files(project: &Project) -> Vec<File> {
    let pyproject = include_str!("templates/pyproject.toml.txt").replace("PROJECT", &distribution_name(&project.name));
    vec![
        File::if_absent(".editorconfig", include_str!("templates/editorconfig.txt"), Vec::new()),
        File::if_absent(".gitignore", include_str!("templates/gitignore.txt"), Vec::new()),
        File::if_absent("pyproject.toml", pyproject, Vec::new()),
        // Whoever has a pyproject.toml of their own keeps the dependencies there.
        File::if_absent("requirements.txt", "pydantic>=2\n", vec!["pyproject.toml".to_owned()]),
    ]
}

struct Stub<'a> {
    kind: HandlerKind,
    name: &'a str,
    imports: BTreeSet<String>,
    parameters: String,
    result: &'a str,
    doc: String,
    body: String,
}

impl Stub<'_> {
    fn into_file(mut self) -> File {
        let source = names::handler(self.kind, self.name);
        if !self.parameters.is_empty() {
            self.imports.insert("from generated.state import State".to_owned());
        }
        let (typing, generated): (Vec<&str>, Vec<&str>) =
            self.imports.iter().map(String::as_str).partition(|line| line.starts_with("from typing"));
        let groups: Vec<String> =
            [typing, generated].iter().filter(|group| !group.is_empty()).map(|group| group.join("\n")).collect();
        let function = self.function(&source.functions);
        let doc = literal::docstring(&self.doc, "    ");
        let Self { parameters, result, body, .. } = &self;
        let text = format!(
            "{}\n\n\nasync def {function}({parameters}) -> {result}:\n    {doc}\n    {body}\n",
            groups.join("\n\n")
        );
        File::if_absent(source.stub(), text, source.files)
    }

    /// Events and WebSockets: the name as the schema has it, unless Python reserves it.
    fn function<'f>(&self, functions: &'f [String]) -> &'f str {
        let by_name = functions.iter().rfind(|function| !names::is_keyword(function));
        by_name.map_or("handler", String::as_str)
    }
}

fn api(api: &Api) -> File {
    let (request, response) = (names::request_class(api), names::response_class(api));
    let route = format!("{} {}", api.method.as_str(), api.path.source);
    Stub {
        kind: HandlerKind::Api,
        name: &api.name,
        imports: BTreeSet::from([format!("from {} import {}, {}", request.module, request.class, response.class)]),
        parameters: format!("req: {}, state: State", request.class),
        result: &response.class,
        doc: with_doc(route.clone(), api.doc.as_deref()),
        body: format!(
            "raise NotImplementedError({})",
            literal::text(&format!("the handler of {route} is not written yet"))
        ),
    }
    .into_file()
}

fn event_handlers(schema: &Schema) -> IndexMap<&str, Vec<&Event>> {
    let mut handlers: IndexMap<&str, Vec<&Event>> = IndexMap::new();
    for event in schema.events.values() {
        for handler in &event.handlers {
            handlers.entry(handler).or_default().push(event);
        }
    }
    handlers
}

fn event(name: &str, events: &[&Event]) -> File {
    let classes: Vec<ClassPath> = events.iter().map(|event| names::event_class(event)).collect();
    let imports = classes.iter().map(|class| format!("from {} import {}", class.module, class.class)).collect();
    let ty = classes.iter().map(|class| class.class.as_str()).collect::<Vec<_>>().join(" | ");
    let all = events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>().join(", ");
    Stub {
        kind: HandlerKind::Event,
        name,
        imports,
        parameters: format!("event: {ty}, state: State"),
        result: "None",
        doc: with_doc(format!("Handles {all}."), events.first().and_then(|event| event.doc.as_deref())),
        body: format!("print(f\"{name}: {{event.payload!r}}\")"),
    }
    .into_file()
}

fn cron(cron: &Cron) -> File {
    let timezone = cron.timezone.as_deref().unwrap_or("UTC");
    Stub {
        kind: HandlerKind::Cron,
        name: &cron.name,
        imports: BTreeSet::from(["from typing import Any".to_owned()]),
        parameters: "req: dict[str, Any], state: State".to_owned(),
        result: "None",
        doc: with_doc(format!("Runs at {} ({timezone}).", cron.schedule), cron.doc.as_deref()),
        body: format!("state.logger.info({})", literal::text(&format!("{} runs", cron.name))),
    }
    .into_file()
}

fn websocket(websocket: &WebSocket) -> Vec<File> {
    let (message, connection) = (names::message_class(websocket), names::connection_class(websocket));
    let path = &websocket.path.source;
    let stub = |name: &str, parameters: String, imported: &str, what: &str| {
        let import = format!("from {} import {imported}", message.module);
        Stub {
            kind: HandlerKind::WebSocket,
            name,
            imports: BTreeSet::from([import]),
            parameters: format!("{parameters}connection: {}, state: State", connection.class),
            result: "None",
            doc: format!("{what} {path}."),
            body: format!("print(f\"{name}: {{connection.id}}\")"),
        }
        .into_file()
    };
    let alone = connection.class.as_str();
    let both = format!("{alone}, {}", message.class);
    let connected = websocket.on_connect.iter().map(|name| stub(name, String::new(), alone, "A client connected to"));
    let messages = websocket.on_message.iter();
    let messages =
        messages.map(|name| stub(name, format!("message: {}, ", message.class), &both, "A client sent a message on"));
    let gone = websocket.on_disconnect.iter().map(|name| stub(name, String::new(), alone, "A client left"));
    connected.chain(messages).chain(gone).collect()
}

fn middlewares(schema: &Schema) -> BTreeSet<&str> {
    let apis = schema.apis.values().flat_map(|api| &api.middlewares);
    apis.chain(schema.websockets.values().flat_map(|websocket| &websocket.middlewares)).map(String::as_str).collect()
}

fn middleware(name: &str) -> File {
    Stub {
        kind: HandlerKind::Middleware,
        name,
        imports: BTreeSet::from(["from typing import Any".to_owned()]),
        parameters: "context: dict[str, Any], state: State".to_owned(),
        result: "dict[str, Any] | None",
        doc: "Runs before the handler.\n\nReturn None to let the request pass as it is, a dict with `payload` or `query_params` to change it, \
              or raise an error\nto reject it: those of `generated.errors` set the status, any other means 400."
            .to_owned(),
        body: "return None".to_owned(),
    }
    .into_file()
}

fn with_doc(first: String, doc: Option<&str>) -> String {
    match doc {
        Some(doc) => format!("{first}\n\n{}", doc.trim()),
        None => first,
    }
}

/// Packaging tools allow letters, digits and `.-_` inside a name.
fn distribution_name(name: &str) -> String {
    let kept: String = name
        .chars()
        .map(|character| if character.is_ascii_alphanumeric() || "-_.".contains(character) { character } else { '-' })
        .collect();
    let kept = kept.trim_matches(|character: char| !character.is_ascii_alphanumeric());
    if kept.is_empty() { "rohas-app".to_owned() } else { kept.to_owned() }
}
