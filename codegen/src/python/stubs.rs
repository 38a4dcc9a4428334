//! Which files does a user get once, to go on from?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use rohas_config::project::{self, HandlerDecl, HandlerKind, Language};
use rohas_config::schema::Schema;
use rohas_config::schema::model::{Api, Cron, Event, WebSocket, snake_case};

use super::literal;
use super::names::{self, ClassPath};
use crate::file::{File, Project};

/// A stub for every handler and middleware that the schema names.
pub(super) fn files(schema: &Schema) -> Vec<File> {
    let handlers = project::handlers(schema, Language::Python);
    let mut by_path: IndexMap<&Path, Vec<&HandlerDecl>> = IndexMap::new();
    for handler in &handlers {
        // Several events may name one handler: its file is written for all of them.
        by_path.entry(handler.candidates.first().map_or(Path::new(""), PathBuf::as_path)).or_default().push(handler);
    }
    by_path.into_values().filter_map(|handlers| file(schema, &handlers)).collect()
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

fn file(schema: &Schema, handlers: &[&HandlerDecl]) -> Option<File> {
    let handler = *handlers.first()?;
    let stub = match handler.kind {
        HandlerKind::Api => api(schema.apis.get(&handler.owner)?),
        HandlerKind::Event => {
            let same_kind = handlers.iter().filter(|other| other.kind == handler.kind);
            let events: Vec<&Event> = same_kind.filter_map(|other| schema.events.get(&other.owner)).collect();
            event(&handler.name, &events)
        }
        HandlerKind::Cron => cron(schema.crons.get(&handler.owner)?),
        HandlerKind::WebSocket => websocket(&handler.name, schema.websockets.get(&handler.owner)?),
        HandlerKind::Middleware => middleware(),
        HandlerKind::After => return None,
    };
    let candidates: Vec<String> = handler.candidates.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    Some(File::if_absent(candidates.first()?.clone(), stub.text(&handler.functions), candidates))
}

/// One function and what it needs.
struct Stub {
    imports: BTreeSet<String>,
    parameters: String,
    result: String,
    doc: String,
    body: String,
}

impl Stub {
    fn text(&self, functions: &[String]) -> String {
        let state = "from generated.state import State".to_owned();
        let imports = self.imports.iter().chain([&state]).collect::<BTreeSet<_>>();
        let (typing, generated): (Vec<&String>, Vec<&String>) =
            imports.into_iter().partition(|line| line.starts_with("from typing"));
        let groups = [typing, generated].into_iter().filter(|group| !group.is_empty());
        let groups: Vec<String> =
            groups.map(|group| group.into_iter().cloned().collect::<Vec<_>>().join("\n")).collect();
        // Events and WebSockets: the name as the schema has it, which comes last, unless Python reserves it.
        let function = functions.iter().rfind(|function| !names::is_keyword(function));
        let function = function.map_or("handler", String::as_str);
        let Self { parameters, result, body, .. } = self;
        let doc = literal::docstring(&self.doc, "    ");
        format!(
            "{}\n\n\nasync def {function}({parameters}, state: State) -> {result}:\n    {doc}\n    {body}\n",
            groups.join("\n\n")
        )
    }
}

fn api(api: &Api) -> Stub {
    let (request, response) = (names::request_class(api), names::response_class(api));
    let route = format!("{} {}", api.method.as_str(), api.path.source);
    let body = literal::text(&format!("the handler of {route} is not written yet"));
    Stub {
        imports: BTreeSet::from([format!("from {} import {}, {}", request.module, request.class, response.class)]),
        parameters: format!("req: {}", request.class),
        result: response.class,
        doc: with_doc(route, api.doc.as_deref()),
        body: format!("raise NotImplementedError({body})"),
    }
}

fn event(name: &str, events: &[&Event]) -> Stub {
    let classes: Vec<ClassPath> = events.iter().map(|event| names::event_class(event)).collect();
    let ty = classes.iter().map(|class| class.class.as_str()).collect::<Vec<_>>().join(" | ");
    let all = events.iter().map(|event| event.name.as_str()).collect::<Vec<_>>().join(", ");
    Stub {
        imports: classes.iter().map(|class| format!("from {} import {}", class.module, class.class)).collect(),
        parameters: format!("event: {ty}"),
        result: "None".to_owned(),
        doc: with_doc(format!("Handles {all}."), events.first().and_then(|event| event.doc.as_deref())),
        body: format!("print(f\"{name}: {{event.payload!r}}\")"),
    }
}

fn cron(cron: &Cron) -> Stub {
    let timezone = cron.timezone.as_deref().unwrap_or("UTC");
    Stub {
        imports: BTreeSet::from(["from typing import Any".to_owned()]),
        parameters: "req: dict[str, Any]".to_owned(),
        result: "None".to_owned(),
        doc: with_doc(format!("Runs at {} ({timezone}).", cron.schedule), cron.doc.as_deref()),
        body: format!("state.logger.info({})", literal::text(&format!("{} runs", cron.name))),
    }
}

fn websocket(name: &str, websocket: &WebSocket) -> Stub {
    let (message, connection) = (names::message_class(websocket), names::connection_class(websocket));
    let is_named = |handlers: &[String]| handlers.iter().any(|handler| snake_case(handler) == name);
    let connection_only = format!("connection: {}", connection.class);
    let (classes, parameters, what) = if is_named(&websocket.on_connect) {
        (connection.class, connection_only, "A client connected to")
    } else if is_named(&websocket.on_message) {
        let parameters = format!("message: {}, {connection_only}", message.class);
        (format!("{}, {}", connection.class, message.class), parameters, "A client sent a message on")
    } else {
        (connection.class, connection_only, "A client left")
    };
    Stub {
        imports: BTreeSet::from([format!("from {} import {classes}", connection.module)]),
        parameters,
        result: "None".to_owned(),
        doc: format!("{what} {}.", websocket.path.source),
        body: format!("print(f\"{name}: {{connection.id}}\")"),
    }
}

fn middleware() -> Stub {
    Stub {
        imports: BTreeSet::from([
            "from generated.responses import Reply".to_owned(),
            "from typing import Any".to_owned(),
        ]),
        parameters: "context: dict[str, Any]".to_owned(),
        result: "dict[str, Any] | Reply | None".to_owned(),
        doc: "Runs before the handler.\n\nReturn None to let the request pass as it is, a dict with `payload` or `query_params` to change it or with \
              `response_headers`\nto add to the answer, or a Reply to answer without the handler. Raise an error to reject it: those of \
              `generated.errors` set the\nstatus, any other means 400. A function `<name>_after(context, response, state)` in this file runs after the handler."
            .to_owned(),
        body: "return None".to_owned(),
    }
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
