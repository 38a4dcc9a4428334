//! Which HTTP endpoint does an `api` declare?

use super::{Checker, Decl, handlers::Mention, properties::Properties};
use crate::{
    project::HandlerKind,
    schema::{
        diagnostic::{Code, Fault},
        model::{Api, Method, PathPattern, Type},
        syntax::{Entry, ValueKind},
    },
};

const KNOWN: [&str; 9] =
    ["method", "path", "query", "body", "response", "status", "triggers", "middlewares", "timeout"];

const METHODS: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

/// Other members of the request that handlers see; a path parameter of this name would hide them.
const REQUEST_MEMBERS: [&str; 6] = ["body", "query_params", "path_params", "headers", "cookies", "query"];

impl Checker<'_> {
    pub(super) fn api(&mut self, decl: Decl<'_>) {
        let given = self.properties(decl, &decl.node.entries, &KNOWN);
        let method = self.required(decl, given.get("method"), ("method", "GET"));
        let method = method.and_then(|entry| self.method(decl, entry));
        let path = self.required(decl, given.get("path"), ("path", "\"/...\""));
        let path = path.and_then(|entry| self.path(decl, entry));
        let response = self.required(decl, given.get("response"), ("response", "Json"));
        let response = response.and_then(|entry| self.property_type(decl, entry, "ResponseData"));
        let body = given.get("body").and_then(|entry| self.property_type(decl, entry, "Body"));
        if let (Some(Method::Get), Some(entry)) = (method, given.get("body")) {
            self.body_ignored(decl, entry);
        }
        let query = given.get("query").and_then(|entry| self.query(decl, entry));
        let status = given.get("status").and_then(|entry| self.count(decl, entry, 200..=599));
        let triggers = self.events(decl, given.get("triggers"));
        let middlewares = self.middlewares(decl, &given);
        let timeout = given.get("timeout").and_then(|entry| self.duration(decl, entry));
        if let (Some(path), Some(entry)) = (&path, given.get("path")) {
            self.shadowed_parameters(decl, path, entry);
        }
        self.mention(Mention::own(HandlerKind::Api, decl));
        let (Some(method), Some(path), Some(response)) = (method, path, response) else { return };
        self.route(decl, method, &path);
        let location = self.location(decl.name_place());
        let name = decl.name().to_owned();
        let api = Api {
            name: name.clone(),
            doc: decl.node.doc.clone(),
            method,
            path,
            body,
            query,
            response,
            status: status.and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
            triggers,
            middlewares,
            timeout,
            location,
        };
        self.schema.apis.insert(name, api);
    }

    /// The entry, or a report that it is missing. `example` is the property's name and a value.
    pub(super) fn required<'e>(
        &mut self,
        decl: Decl<'_>,
        entry: Option<&'e Entry>,
        example: (&str, &str),
    ) -> Option<&'e Entry> {
        if entry.is_none() {
            self.missing(decl, example.0, example.1);
        }
        entry
    }

    fn method(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<Method> {
        let value = entry.value.as_ref()?;
        let Some(word) = value.as_word() else {
            self.bad_value(decl, entry, "GET, POST, PUT, PATCH or DELETE");
            return None;
        };
        let known = METHODS.into_iter().find(|method| method.as_str() == word.text);
        if known.is_none() {
            let upper = word.text.to_ascii_uppercase();
            let help = match upper.as_str() {
                "HEAD" => "declare GET: HEAD is answered like it, without a body".to_owned(),
                "OPTIONS" => "OPTIONS is answered for every path without being declared".to_owned(),
                _ if METHODS.iter().any(|method| method.as_str() == upper) => format!("write `{upper}`"),
                _ => "write GET, POST, PUT, PATCH or DELETE".to_owned(),
            };
            let message = format!("the `method` of {} can't be `{}`", decl.describe(), word.text);
            self.report(Fault::new(Code::BadMethod, decl.place(value.span), message).help(help));
        }
        known
    }

    fn body_ignored(&mut self, decl: Decl<'_>, entry: &Entry) {
        let message = format!("{} answers GET, and GET requests have no body", decl.describe());
        let fault = Fault::new(Code::BodyIgnored, decl.place(entry.span), message);
        self.report(fault.help("declare `query:`, or another method"));
    }

    /// `query:` names a record whose fields fit into a query string.
    fn query(&mut self, decl: Decl<'_>, entry: &Entry) -> Option<String> {
        let place = decl.place(entry.value.as_ref()?.span);
        let before = self.faults.len();
        let ty = self.property_type(decl, entry, "Query")?;
        if self.faults.len() != before {
            return None;
        }
        let Type::Record(name) = ty else {
            let message = format!("the `query` of {} must be a record, not {}", decl.describe(), ty);
            let fault = Fault::new(Code::BadQuery, place, message);
            self.report(fault.help("declare an input with one field per query parameter"));
            return None;
        };
        let fields = self.schema.records.get(&name).map(|record| record.fields.values());
        let unfit = |ty: &Type| match ty {
            Type::Array(item) => !is_scalar(item),
            other => !is_scalar(other),
        };
        let unfit: Vec<(String, Type)> = fields
            .into_iter()
            .flatten()
            .filter(|field| unfit(&field.ty))
            .map(|field| (field.name.clone(), field.ty.clone()))
            .collect();
        for (field, ty) in unfit {
            let message =
                format!("`{name}` can't be the `query` of {}: its field `{field}` is {}", decl.describe(), ty);
            let mut fault = Fault::new(Code::BadQuery, place, message);
            if let Some(field) = self.fields.get(&(name.clone(), field)) {
                fault = fault.related(*field, "this field");
            }
            self.report(fault.help("query parameters are scalars, enums, or arrays of them"));
        }
        Some(name)
    }

    pub(super) fn middlewares(&mut self, decl: Decl<'_>, given: &Properties<'_>) -> Vec<String> {
        let Some(entry) = given.get("middlewares") else { return Vec::new() };
        let mut middlewares = Vec::new();
        for (name, place) in self.names(decl, entry) {
            self.mention(Mention { kind: HandlerKind::Middleware, owner: name.clone(), name: name.clone(), place });
            middlewares.push(name);
        }
        middlewares
    }

    fn shadowed_parameters(&mut self, decl: Decl<'_>, path: &PathPattern, entry: &Entry) {
        let Some(ValueKind::Text(_)) = entry.value.as_ref().map(|value| &value.kind) else { return };
        for name in path.params().filter(|name| REQUEST_MEMBERS.contains(name)) {
            let message = format!(
                "the path parameter `{name}` of {} has the name of another member of the request",
                decl.describe()
            );
            let fault = Fault::new(Code::ShadowedParameter, decl.place(entry.span), message);
            self.report(
                fault.help(format!("rename it; as it is, handlers find it only as `req.path_params[\"{name}\"]`")),
            );
        }
    }
}

/// What a query string or a key can hold.
pub(super) fn is_scalar(ty: &Type) -> bool {
    matches!(ty, Type::Int | Type::Float | Type::String | Type::Boolean | Type::DateTime | Type::Enum(_))
}
