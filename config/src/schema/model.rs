//! What is a checked schema? Every name in it resolves, every value is in range.
//!
//! Only the checker builds these types; whoever holds a [`Schema`] need not check anything again.

use std::fmt;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

/// Everything a project declares, in the order of its files and declarations.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Schema {
    /// Enumerations by name.
    pub enums: IndexMap<String, Enum>,
    /// Records (`model`, `type` and `input`) by name; they share one namespace.
    pub records: IndexMap<String, Record>,
    /// HTTP endpoints by name.
    pub apis: IndexMap<String, Api>,
    /// Events by name.
    pub events: IndexMap<String, Event>,
    /// Scheduled jobs by name.
    pub crons: IndexMap<String, Cron>,
    /// WebSocket endpoints by name.
    pub websockets: IndexMap<String, WebSocket>,
}

/// Where a declaration stands, for messages that point at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Location {
    /// Path of the file relative to the project's root.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
}

/// A closed set of strings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Enum {
    /// Name as declared.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// Variants in declaration order; at least one.
    pub variants: Vec<Variant>,
    /// Where it is declared.
    pub location: Location,
}

/// One value of an [`Enum`]; its name is its value on the wire.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Variant {
    /// Name, which is also the JSON string.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
}

/// Which keyword declared a [`Record`]; decides the generated module (`models` or `dto`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordKind {
    /// `model`
    Model,
    /// `type`
    Type,
    /// `input`
    Input,
}

/// A JSON object with declared fields.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Record {
    /// Name as declared.
    pub name: String,
    /// The keyword.
    pub kind: RecordKind,
    /// Doc comment.
    pub doc: Option<String>,
    /// Fields by name, in declaration order.
    pub fields: IndexMap<String, Field>,
    /// Where it is declared.
    pub location: Location,
}

/// One field of a [`Record`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Field {
    /// Name, which is also the JSON key.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// Type without the optional marker.
    pub ty: Type,
    /// `?` or `@optional`: may be missing or `null`.
    pub optional: bool,
    /// `@default`: what a missing value becomes. A field with a default may be missing even without `?`.
    pub default: Option<DefaultValue>,
    /// `@trim`, `@lower`, `@upper`, in source order.
    pub transforms: Vec<Transform>,
    /// Validating attributes, in source order.
    pub rules: Vec<Rule>,
    /// `@id`
    pub id: bool,
    /// `@auto`
    pub auto: bool,
    /// Where it is declared.
    pub location: Location,
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Type {
    /// A signed 64-bit integer.
    Int,
    /// A 64-bit float; integers are accepted.
    Float,
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// RFC 3339 text.
    DateTime,
    /// Any JSON value.
    Json,
    /// Bytes, base64 text in JSON.
    Bytes,
    /// A declared [`Enum`].
    Enum(String),
    /// A declared [`Record`].
    Record(String),
    /// `T[]`
    Array(Box<Type>),
    /// `Map<T>`: string keys.
    Map(Box<Type>),
}

/// The type as it is written in a schema.
impl fmt::Display for Type {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => formatter.write_str("Int"),
            Self::Float => formatter.write_str("Float"),
            Self::String => formatter.write_str("String"),
            Self::Boolean => formatter.write_str("Boolean"),
            Self::DateTime => formatter.write_str("DateTime"),
            Self::Json => formatter.write_str("Json"),
            Self::Bytes => formatter.write_str("Bytes"),
            Self::Enum(name) | Self::Record(name) => formatter.write_str(name),
            Self::Array(item) => write!(formatter, "{item}[]"),
            Self::Map(value) => write!(formatter, "Map<{value}>"),
        }
    }
}

/// What a missing value becomes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DefaultValue {
    /// A JSON value that fits the field's type.
    Value(serde_json::Value),
    /// `@default(now)`: the time of validation, RFC 3339 in UTC with microseconds.
    Now,
    /// `@default(uuid)`: a new UUIDv4.
    Uuid,
}

/// Changes text before it is validated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    /// Without leading and trailing white space.
    Trim,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
}

/// A condition on a value.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// `@min(n)` on numbers.
    Min(f64),
    /// `@max(n)` on numbers.
    Max(f64),
    /// `@minLength(n)` on strings, in Unicode scalar values.
    MinLength(u64),
    /// `@maxLength(n)` on strings, in Unicode scalar values.
    MaxLength(u64),
    /// `@pattern("re")` on strings: a regular expression that must match somewhere in the text.
    Pattern(String),
    /// `@email`
    Email,
    /// `@url`
    Url,
    /// `@uuid`
    Uuid,
    /// `@minItems(n)` on arrays and maps.
    MinItems(u64),
    /// `@maxItems(n)` on arrays and maps.
    MaxItems(u64),
    /// `@unique` on arrays: no two equal items. (On other fields `@unique` is a marker of the original and has no rule.)
    Unique,
}

/// HTTP methods an `api` may declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// GET (HEAD is answered too)
    Get,
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
    /// DELETE
    Delete,
}

impl Method {
    /// The method as it stands in a request line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// A path with parameters: `/orders/{id}` or `/orders/:id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PathPattern {
    /// As written.
    pub source: String,
    /// The parts between slashes.
    pub segments: Vec<Segment>,
}

/// One part of a [`PathPattern`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Segment {
    /// Literal text, without percent-encoding. The empty literal at the end stands for a trailing slash.
    Literal(String),
    /// A parameter: one whole segment.
    Param(String),
}

impl PathPattern {
    /// Names of the parameters, in order.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Param(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }
}

/// An HTTP endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Api {
    /// Name as declared.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// `method:`
    pub method: Method,
    /// `path:`
    pub path: PathPattern,
    /// `body:`
    pub body: Option<Type>,
    /// `query:`, the name of a record whose fields are scalars, enums or arrays of them.
    pub query: Option<String>,
    /// `response:`
    pub response: Type,
    /// `status:`, 200 when missing.
    pub status: u16,
    /// `triggers:`, names of events.
    pub triggers: Vec<String>,
    /// `middlewares:`, in order.
    pub middlewares: Vec<String>,
    /// `timeout:`
    #[serde(serialize_with = "duration_ms")]
    pub timeout: Option<Duration>,
    /// Where it is declared.
    pub location: Location,
}

/// A broker transport named by the original's `type:` property of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// `sqs`
    Sqs,
    /// `eventbridge`
    EventBridge,
}

/// Something that happened, and who handles it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// Name as declared.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// `payload:`; [`Type::Json`] when missing.
    pub payload: Type,
    /// `handler:`, names of handler files, in order; may be empty.
    pub handlers: Vec<String>,
    /// `triggers:`, names of events emitted after each handler's success.
    pub triggers: Vec<String>,
    /// `key:`, a top-level scalar field of the payload: same key, same order.
    pub key: Option<String>,
    /// `adapter:`, a name in `[adapters.*]` of the settings.
    pub adapter: Option<String>,
    /// `type:`
    pub transport: Option<Transport>,
    /// `retry:`
    pub retry: Option<Retry>,
    /// `timeout:` of one attempt.
    #[serde(serialize_with = "duration_ms")]
    pub timeout: Option<Duration>,
    /// `concurrency:` per subscription; at least 1.
    pub concurrency: Option<u32>,
    /// `dedupe:` window.
    #[serde(serialize_with = "duration_ms")]
    pub dedupe: Option<Duration>,
    /// `version:`, 1 when missing.
    pub version: u32,
    /// Where it is declared.
    pub location: Location,
}

/// `retry: { ... }`; what is missing comes from the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: Option<u32>,
    /// How the delay grows.
    pub backoff: Option<Backoff>,
    /// First delay.
    #[serde(serialize_with = "duration_ms")]
    pub delay: Option<Duration>,
    /// Upper bound of a delay.
    #[serde(serialize_with = "duration_ms")]
    pub max_delay: Option<Duration>,
}

/// How retry delays grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Backoff {
    /// Doubles each time.
    Exponential,
    /// Grows by `delay` each time.
    Linear,
    /// Stays the same.
    Fixed,
}

/// A scheduled job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cron {
    /// Name as declared.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// `schedule:`, checked; five or six fields.
    pub schedule: String,
    /// `timezone:`, an IANA name; UTC when missing.
    pub timezone: Option<String>,
    /// `jitter:`, by how much at most a run begins later than the schedule says; none when missing.
    #[serde(serialize_with = "duration_ms")]
    pub jitter: Option<Duration>,
    /// `overlap:`
    pub overlap: Overlap,
    /// `catchUp:`
    pub catch_up: CatchUp,
    /// `timeout:` of one run.
    #[serde(serialize_with = "duration_ms")]
    pub timeout: Option<Duration>,
    /// `triggers:`
    pub triggers: Vec<String>,
    /// Where it is declared.
    pub location: Location,
}

/// What happens when a run is due while the last one still runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// The new run is left out.
    #[default]
    Skip,
    /// The new run waits.
    Queue,
    /// Both run.
    Allow,
}

/// What happens to runs that fell into a downtime.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// They are left out.
    #[default]
    None,
    /// The latest one is run.
    Latest,
    /// All are run, in order.
    All,
}

/// A WebSocket endpoint.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WebSocket {
    /// Name as declared.
    pub name: String,
    /// Doc comment.
    pub doc: Option<String>,
    /// `path:`
    pub path: PathPattern,
    /// `message:`
    pub message: Option<Type>,
    /// `onConnect:`
    pub on_connect: Vec<String>,
    /// `onMessage:`
    pub on_message: Vec<String>,
    /// `onDisconnect:`
    pub on_disconnect: Vec<String>,
    /// `triggers:`
    pub triggers: Vec<String>,
    /// `broadcast:`
    pub broadcast: bool,
    /// `middlewares:`
    pub middlewares: Vec<String>,
    /// Where it is declared.
    pub location: Location,
}

/// File, module and function names from declared names: every upper-case letter but the first character gets an
/// underscore before it and becomes lower case, so `HelloWorldWS` is `hello_world_w_s` (as the original does it).
#[must_use]
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for (index, character) in name.chars().enumerate() {
        if character.is_uppercase() && index > 0 {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
fn duration_ms<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_is_the_originals() {
        for (name, snake) in [
            ("HelloWorldWS", "hello_world_w_s"),
            ("WebSocketMessage", "web_socket_message"),
            ("GetUser2FA", "get_user2_f_a"),
            ("rateLimit", "rate_limit"),
            ("Get_User", "get__user"),
        ] {
            assert_eq!(snake_case(name), snake);
        }
    }
}
