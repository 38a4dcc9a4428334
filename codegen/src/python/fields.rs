//! How is a field of a record written in a class?

use rohas_config::schema::model::{DefaultValue, Field, Record, Rule, Type};
use serde_json::Value;

use super::literal;
use super::names;
use super::scope::Scope;

/// Longer lines are broken.
const WIDTH: usize = 110;

/// The lines of a record's fields, without indentation.
pub(super) fn lines(record: &Record, scope: &mut Scope<'_>) -> Vec<String> {
    let attributes = names::field_attributes(record.fields.keys().map(String::as_str));
    scope.enter(attributes.iter().cloned());
    let fields = record.fields.values().zip(&attributes);
    let lines = fields.map(|(field, attribute)| line(field, attribute, scope)).collect();
    scope.leave();
    lines
}

/// A field without default or conditions. Without an assignment older versions of pydantic take a method of the same name for
/// the field's default.
pub(super) fn required(attribute: &str, annotation: &str, scope: &mut Scope<'_>) -> String {
    if names::hides_model_method(attribute) {
        ignored(&format!("{attribute}: {annotation} = {}()", scope.package("pydantic", "Field")))
    } else {
        format!("{attribute}: {annotation}")
    }
}

fn line(field: &Field, attribute: &str, scope: &mut Scope<'_>) -> String {
    let mut annotation = scope.ty(&field.ty);
    if field.optional && field.ty != Type::Json {
        annotation.push_str(" | None");
    }
    let mut arguments = Vec::new();
    let default = default(field, scope);
    arguments.extend(default.as_ref().map(Default::argument));
    arguments.extend(field.rules.iter().filter_map(|rule| constraint(rule, &field.ty)));
    if attribute != field.name {
        let name = literal::text(&field.name);
        arguments.push(format!("validation_alias={name}"));
        arguments.push(format!("serialization_alias={name}"));
    }
    arguments.extend(field.doc.as_deref().map(|doc| format!("description={}", literal::text(doc.trim()))));
    arguments.extend(schema_extra(&field.rules));
    let assigned = match (&default, arguments.len()) {
        (None, 0) => return required(attribute, &annotation, scope),
        (Some(Default::Value(value)), 1) => format!(" = {value}"),
        _ => {
            let prefix = format!("{attribute}: {annotation} = {}", scope.package("pydantic", "Field"));
            format!(" = {}({})", scope.package("pydantic", "Field"), broken(&arguments, prefix.chars().count()))
        }
    };
    let line = format!("{attribute}: {annotation}{assigned}");
    if names::hides_model_method(attribute) { ignored(&line) } else { line }
}

enum Default {
    Value(String),
    Factory(String),
}

impl Default {
    fn argument(&self) -> String {
        match self {
            Self::Value(value) => format!("default={value}"),
            Self::Factory(factory) => format!("default_factory={factory}"),
        }
    }
}

fn default(field: &Field, scope: &mut Scope<'_>) -> Option<Default> {
    match &field.default {
        None if field.optional => Some(Default::Value("None".to_owned())),
        None => None,
        Some(DefaultValue::Now) if field.ty == Type::DateTime => Some(Default::Factory(scope.runtime("now"))),
        Some(DefaultValue::Now) => Some(Default::Factory(scope.runtime("now_text"))),
        Some(DefaultValue::Uuid) => Some(Default::Factory(scope.runtime("new_uuid"))),
        Some(DefaultValue::Value(value)) => Some(value_default(value, &field.ty, scope)),
    }
}

fn value_default(value: &Value, ty: &Type, scope: &mut Scope<'_>) -> Default {
    let expression = literal::typed(value, ty, scope);
    if literal::is_mutable(value) {
        Default::Factory(format!("lambda: {expression}"))
    } else {
        Default::Value(expression)
    }
}

/// What pydantic can check just as the daemon does. E-mail addresses, URLs, UUIDs and uniqueness are checked by the daemon only.
fn constraint(rule: &Rule, ty: &Type) -> Option<String> {
    match rule {
        Rule::Min(bound) => Some(format!("ge={}", number(*bound, ty, f64::ceil))),
        Rule::Max(bound) => Some(format!("le={}", number(*bound, ty, f64::floor))),
        Rule::MinLength(length) | Rule::MinItems(length) => Some(format!("min_length={length}")),
        Rule::MaxLength(length) | Rule::MaxItems(length) => Some(format!("max_length={length}")),
        Rule::Pattern(pattern) => Some(format!("pattern={}", literal::text(pattern))),
        Rule::Email | Rule::Url | Rule::Uuid | Rule::Unique => None,
    }
}

/// An integer field has integer bounds: `@min(0.5)` is `ge=1`.
fn number(bound: f64, ty: &Type, round: fn(f64) -> f64) -> String {
    if *ty == Type::Int { format!("{:.0}", round(bound)) } else { format!("{bound:?}") }
}

fn schema_extra(rules: &[Rule]) -> Option<String> {
    let members: Vec<&str> = rules
        .iter()
        .filter_map(|rule| match rule {
            Rule::Email => Some("\"format\": \"email\""),
            Rule::Url => Some("\"format\": \"uri\""),
            Rule::Uuid => Some("\"format\": \"uuid\""),
            Rule::Unique => Some("\"uniqueItems\": True"),
            _ => None,
        })
        .collect();
    (!members.is_empty()).then(|| format!("json_schema_extra={{{}}}", members.join(", ")))
}

/// Arguments on one line, or one per line when they don't fit behind the prefix.
fn broken(arguments: &[String], prefix: usize) -> String {
    let joined = arguments.join(", ");
    if prefix + joined.chars().count() + 6 <= WIDTH {
        joined
    } else {
        format!("\n    {},\n", arguments.join(",\n    "))
    }
}

/// A comment for type checkers goes to the first line of a statement.
fn ignored(line: &str) -> String {
    let comment = "  # type: ignore[assignment]";
    match line.split_once('\n') {
        Some((first, rest)) => format!("{first}{comment}\n{rest}"),
        None => format!("{line}{comment}"),
    }
}
