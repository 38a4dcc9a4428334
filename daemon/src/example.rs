//! Which request shows that a project works? One that its schema accepts, as a command to paste into a shell.

use std::net::SocketAddr;

use rohas_config::schema::Schema;
use rohas_config::schema::model::{Api, Field, Method, Rule, Segment, Type};
use serde_json::{Map, Value, json};

use crate::trigger::http::path;
use crate::version::{ApiRoute, Version};

/// Records within records beyond this are not filled in.
const MAX_DEPTH: usize = 16;

/// Most values in an example: arrays within arrays have no end. No one wants to read half as many.
const MAX_VALUES: usize = 200;

/// A `curl` command that one of the project's apis accepts; a look at the daemon's health when no such request is known.
pub(crate) fn command(version: &Version, address: SocketAddr) -> String {
    let mut apis: Vec<&ApiRoute> = version.apis.iter().map(|route| &**route).collect();
    apis.sort_by_key(|route| match (route.method, route.path_params.is_empty()) {
        (Method::Get, true) => 0,
        (Method::Post, true) => 1,
        (Method::Post, false) => 2,
        _ => 3,
    });
    let found = apis.into_iter().find_map(|route| request(&version.schema, route, address));
    found.unwrap_or_else(|| format!("curl http://{address}/healthz"))
}

fn request(schema: &Schema, route: &ApiRoute, address: SocketAddr) -> Option<String> {
    let api = &schema.apis[&*route.name];
    if !route.middlewares.is_empty() || asks_for_a_query(schema, api) {
        return None;
    }
    let url = quoted(&format!("http://{address}{}", path_of(api)));
    let Some((ty, shape)) = api.body.as_ref().zip(route.body.as_ref()) else {
        return Some(match api.method {
            Method::Get => format!("curl {url}"),
            other => format!("curl -X {} {url}", other.as_str()),
        });
    };
    let body = Example { schema, left: MAX_VALUES }.value(ty, &[], 0);
    // What the rules ask for beyond what is known here, such as a pattern, is not guessed.
    shape.check(&mut body.clone()).ok()?;
    let body = quoted(&body.to_string());
    Some(format!("curl -X {} {url} -H 'content-type: application/json' -d {body}", api.method.as_str()))
}

fn asks_for_a_query(schema: &Schema, api: &Api) -> bool {
    let record = api.query.as_ref().and_then(|query| schema.records.get(query));
    record.is_some_and(|record| record.fields.values().any(is_required))
}

fn is_required(field: &Field) -> bool {
    !field.optional && field.default.is_none()
}

fn path_of(api: &Api) -> String {
    let segments = api.path.segments.iter().map(|segment| match segment {
        Segment::Literal(text) => path::encoded(text),
        Segment::Param(_) => "1".to_owned(),
    });
    let path: String = segments.map(|segment| format!("/{segment}")).collect();
    if path.is_empty() { "/".to_owned() } else { path }
}

/// An example in the making.
struct Example<'a> {
    schema: &'a Schema,
    /// How many more values it may have; those beyond are null, which few types allow.
    left: usize,
}

impl Example<'_> {
    /// A value of a type under the rules of the field that holds it.
    fn value(&mut self, ty: &Type, rules: &[Rule], depth: usize) -> Value {
        let Some(left) = self.left.checked_sub(1) else { return Value::Null };
        self.left = left;
        match ty {
            Type::Int => json!(number(rules) as i64),
            Type::Float => json!(number(rules)),
            Type::String => json!(text(rules)),
            Type::Boolean => json!(true),
            Type::DateTime => json!("2026-01-31T12:00:00Z"),
            Type::Json | Type::Map(_) => json!({}),
            Type::Bytes => json!("aGVsbG8="),
            Type::Enum(name) => json!(self.schema.enums[name].variants[0].name),
            Type::Record(name) => self.record(name, depth),
            Type::Array(item) => {
                let least =
                    rules.iter().find_map(|rule| if let Rule::MinItems(least) = rule { Some(*least) } else { None });
                (0..least.unwrap_or_default().min(10)).map(|_| self.value(item, rules, depth)).collect()
            }
        }
    }

    fn record(&mut self, name: &str, depth: usize) -> Value {
        if depth == MAX_DEPTH {
            return Value::Null;
        }
        let required = self.schema.records[name].fields.values().filter(|field| is_required(field));
        let members = required.map(|field| (field.name.clone(), self.value(&field.ty, &field.rules, depth + 1)));
        Value::Object(members.collect::<Map<_, _>>())
    }
}

fn number(rules: &[Rule]) -> f64 {
    rules.iter().fold(1.0, |number: f64, rule| match rule {
        Rule::Min(least) => number.max(least.ceil()),
        Rule::Max(most) => number.min(most.floor()),
        _ => number,
    })
}

fn text(rules: &[Rule]) -> String {
    let mut text = rules
        .iter()
        .find_map(|rule| match rule {
            Rule::Email => Some("ann@example.com"),
            Rule::Url => Some("https://example.com/"),
            Rule::Uuid => Some("0192f0c1-2345-7000-8000-000000000001"),
            _ => None,
        })
        .unwrap_or("text")
        .to_owned();
    for rule in rules {
        match rule {
            Rule::MinLength(least) => {
                let missing = usize::try_from(*least).unwrap_or(usize::MAX).saturating_sub(text.len());
                text += &"x".repeat(missing.min(1000));
            }
            Rule::MaxLength(most) => text.truncate(usize::try_from(*most).unwrap_or(usize::MAX)),
            _ => {}
        }
    }
    text
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_./:%=,@".contains(character);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
