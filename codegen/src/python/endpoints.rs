//! Which modules do apis, events, crons and WebSockets become?

use indexmap::IndexMap;
use rohas_config::schema::Schema;
use rohas_config::schema::model::{Api, Cron, Event, WebSocket};

use super::fields;
use super::layout::{Folder, Layout, Module};
use super::literal;
use super::names;
use super::render::{self, Body, Class, Init};
use super::scope::Scope;
use crate::file::File;

/// All modules below `api`, `events`, `cron` and `websockets`.
pub(super) fn files(schema: &Schema, layout: &Layout) -> Vec<File> {
    let mut files = modules(layout, Folder::Api, &schema.apis, api_classes, api);
    files.extend(modules(layout, Folder::Events, &schema.events, event_classes, event));
    files.extend(modules(layout, Folder::Cron, &schema.crons, cron_classes, cron));
    files.extend(modules(layout, Folder::Websockets, &schema.websockets, websocket_classes, websocket));
    files
}

/// Names that differ only in their spelling (`createUser`, `CreateUser`) share a module.
fn modules<T>(
    layout: &Layout,
    folder: Folder,
    declared: &IndexMap<String, T>,
    classes: fn(&str) -> Vec<String>,
    write: fn(&T, &mut Scope<'_>, &mut Body),
) -> Vec<File> {
    let mut modules: IndexMap<Module, Vec<(&String, &T)>> = IndexMap::new();
    for entry in declared {
        modules.entry(Module::new(folder, entry.0)).or_default().push(entry);
    }
    let file = |(module, declared): (Module, Vec<(&String, &T)>)| {
        let own = declared.iter().flat_map(|(name, _)| classes(name));
        let mut scope = Scope::new(layout, module.clone(), own);
        let mut body = Body::default();
        for (_, declaration) in declared {
            write(declaration, &mut scope, &mut body);
        }
        render::module(&module, &scope, &body)
    };
    modules.into_iter().map(file).collect()
}

fn api_classes(name: &str) -> Vec<String> {
    vec![format!("{name}Request"), format!("{name}Response"), format!("{name}Handler")]
}

fn event_classes(name: &str) -> Vec<String> {
    vec![names::class(name), format!("{name}Handler")]
}

fn cron_classes(name: &str) -> Vec<String> {
    vec![format!("{name}Handler")]
}

fn websocket_classes(name: &str) -> Vec<String> {
    ["Message", "Connection", "ConnectionHandler", "MessageHandler"].map(|suffix| format!("{name}{suffix}")).to_vec()
}

fn api(api: &Api, scope: &mut Scope<'_>, body: &mut Body) {
    let route = format!("{} {}", api.method.as_str(), api.path.source);
    body.doc = joined(&[&route, api.doc.as_deref().unwrap_or_default()]);
    body.parts.push(request(api, &route, scope));
    body.parts.push(response(api, &route, scope));
    let (request, response) = (names::request_class(api).class, names::response_class(api).class);
    let alias = alias(&api.name, "Handler", "Handler", &[&request, &response], scope);
    body.parts.push(alias);
}

fn request(api: &Api, route: &str, scope: &mut Scope<'_>) -> String {
    let params: Vec<&str> = api.path.params().collect();
    let attributes = names::param_attributes(params.iter().copied());
    let hidden = attributes.iter().cloned().chain(["body", "query", "headers", "query_params"].map(str::to_owned));
    scope.enter(hidden);
    let string = scope.visible("str");
    let mut parameters: Vec<String> = attributes.iter().map(|attribute| format!("{attribute}: {string}")).collect();
    let mut fields: Vec<String> =
        attributes.iter().map(|attribute| fields::required(attribute, &string, scope)).collect();
    let body = api.body.as_ref().map(|ty| format!("body: {}", scope.ty(ty)));
    let query = api.query.as_ref().map(|name| format!("query: {}", scope.declared(name)));
    fields.extend(body.iter().chain(&query).cloned());
    parameters.extend(body.into_iter().chain(query));
    let mapping = scope.package("typing", "Mapping");
    parameters.extend(["query_params", "headers"].map(|name| format!("{name}: {mapping}[{string}, {string}] = ...")));
    let typing = scope.visible("typing");
    scope.leave();
    render::class(&Class {
        name: format!("{}Request", api.name),
        base: scope.runtime("Request"),
        doc: format!("What the handler of {route} receives."),
        constants: path_params(&params, &attributes),
        fields,
        init: Some(Init { typing, parameters }),
    })
}

fn path_params(params: &[&str], attributes: &[String]) -> Vec<String> {
    if params.is_empty() {
        return Vec::new();
    }
    let pair =
        |(param, attribute): (&&str, &String)| format!("({}, {}),", literal::text(param), literal::text(attribute));
    let pairs: Vec<String> = params.iter().zip(attributes).map(pair).collect();
    vec![format!("PATH_PARAMS = ({})", pairs.join(" "))]
}

fn response(api: &Api, route: &str, scope: &mut Scope<'_>) -> String {
    scope.enter(["data", "headers", "status"].map(str::to_owned));
    let data = scope.ty(&api.response);
    scope.leave();
    render::class(&Class {
        name: format!("{}Response", api.name),
        base: scope.runtime("Response"),
        doc: format!("What the handler of {route} replies; ``status`` is {} unless it is set.", api.status),
        fields: vec![format!("data: {data}")],
        ..Class::default()
    })
}

fn event(event: &Event, scope: &mut Scope<'_>, body: &mut Body) {
    scope.enter(["event_id", "key", "payload", "timestamp"].map(str::to_owned));
    let fields = vec![format!("payload: {}", scope.ty(&event.payload)), timestamp(scope)];
    scope.leave();
    body.parts.push(render::class(&Class {
        name: names::class(&event.name),
        base: scope.runtime("Event"),
        doc: event.doc.clone().unwrap_or_default(),
        fields,
        ..Class::default()
    }));
    let any = scope.package("typing", "Any");
    let alias = alias(&event.name, "Handler", "Handler", &[&names::class(&event.name), &any], scope);
    body.parts.push(alias);
}

fn cron(cron: &Cron, scope: &mut Scope<'_>, body: &mut Body) {
    let timezone = cron.timezone.as_deref().unwrap_or("UTC");
    body.doc = joined(&[&format!("{} ({timezone})", cron.schedule), cron.doc.as_deref().unwrap_or_default()]);
    let any = scope.package("typing", "Any");
    let request = scope.package("typing", "Dict");
    let alias = alias(&cron.name, "Handler", "Handler", &[&format!("{request}[str, {any}]"), &any], scope);
    body.parts.push(alias);
}

fn websocket(websocket: &WebSocket, scope: &mut Scope<'_>, body: &mut Body) {
    let name = &websocket.name;
    body.doc = joined(&[&websocket.path.source, websocket.doc.as_deref().unwrap_or_default()]);
    scope.enter(["data", "timestamp"].map(str::to_owned));
    let any = scope.package("typing", "Any");
    let data = match &websocket.message {
        Some(ty) => scope.ty(ty),
        None => any.clone(),
    };
    let fields = vec![format!("data: {data}"), timestamp(scope)];
    scope.leave();
    let (message, connection) = (format!("{name}Message"), format!("{name}Connection"));
    body.parts.push(render::class(&Class {
        name: message.clone(),
        base: scope.runtime("Message"),
        doc: format!("A message on {}.", websocket.path.source),
        fields,
        ..Class::default()
    }));
    body.parts.push(render::class(&Class {
        name: connection.clone(),
        base: scope.runtime("Connection"),
        doc: format!("A client of {}.", websocket.path.source),
        ..Class::default()
    }));
    let on_connection = alias(name, "ConnectionHandler", "Handler", &[&connection, &any], scope);
    let on_message = alias(name, "MessageHandler", "MessageHandler", &[&message, &connection], scope);
    body.parts.push(format!("{on_connection}\n{on_message}"));
}

fn timestamp(scope: &mut Scope<'_>) -> String {
    let (class, field, now) =
        (scope.package("datetime", "datetime"), scope.package("pydantic", "Field"), scope.runtime("now"));
    format!("timestamp: {class} = {field}(default_factory={now})")
}

fn alias(name: &str, suffix: &str, generic: &str, arguments: &[&str], scope: &mut Scope<'_>) -> String {
    let (marker, generic) = (scope.package("typing", "TypeAlias"), scope.runtime(generic));
    format!("{name}{suffix}: {marker} = {generic}[{}]", arguments.join(", "))
}

fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty()).collect();
    parts.join("\n\n")
}
