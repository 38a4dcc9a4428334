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
        hiding(&format!("{attribute}: {annotation} = {}()", scope.package("pydantic", "Field")), annotation)
    } else {
        format!("{attribute}: {annotation}")
    }
}

fn line(field: &Field, attribute: &str, scope: &mut Scope<'_>) -> String {
    let (own, item): (Vec<&Rule>, Vec<&Rule>) = field.rules.iter().partition(|rule| is_own(rule, &field.ty));
    let mut annotation = annotation(&field.ty, &item, scope);
    if field.optional && field.ty != Type::Json {
        annotation.push_str(" | None");
    }
    let default = default(field, scope);
    let mut arguments: Vec<String> = default.as_ref().map(Default::argument).into_iter().collect();
    arguments.extend(constraints(&own, &field.ty));
    if attribute != field.name {
        let name = literal::text(&field.name);
        arguments.push(format!("validation_alias={name}"));
        arguments.push(format!("serialization_alias={name}"));
    }
    arguments.extend(field.doc.as_deref().map(|doc| format!("description={}", literal::text(doc.trim()))));
    let assigned = match (&default, arguments.len()) {
        (None, 0) => return required(attribute, &annotation, scope),
        (Some(Default::Value(value)), 1) => format!(" = {value}"),
        _ => {
            let prefix = format!("{attribute}: {annotation} = {}", scope.package("pydantic", "Field"));
            format!(" = {}({})", scope.package("pydantic", "Field"), broken(&arguments, prefix.chars().count()))
        }
    };
    let line = format!("{attribute}: {annotation}{assigned}");
    if names::hides_model_method(attribute) { hiding(&line, &annotation) } else { line }
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

/// The rules of an array or a map that aren't about the number of its items are about the items.
fn is_own(rule: &Rule, ty: &Type) -> bool {
    let is_collection = matches!(ty, Type::Array(_) | Type::Map(_));
    !is_collection || matches!(rule, Rule::MinItems(_) | Rule::MaxItems(_) | Rule::Unique)
}

/// A type whose innermost items obey some rules.
fn annotation(ty: &Type, rules: &[&Rule], scope: &mut Scope<'_>) -> String {
    if rules.is_empty() {
        return scope.ty(ty);
    }
    match ty {
        Type::Array(item) => format!("{}[{}]", scope.visible("list"), annotation(item, rules, scope)),
        Type::Map(item) => {
            format!("{}[{}, {}]", scope.visible("dict"), scope.visible("str"), annotation(item, rules, scope))
        }
        _ => {
            let (marker, field) = (scope.package("typing", "Annotated"), scope.package("pydantic", "Field"));
            format!("{marker}[{}, {field}({})]", scope.ty(ty), constraints(rules, ty).join(", "))
        }
    }
}

/// What pydantic can check just as the daemon does. E-mail addresses, URLs, UUIDs, uniqueness and all patterns but the first are
/// checked by the daemon only.
fn constraints(rules: &[&Rule], ty: &Type) -> Vec<String> {
    let is_pattern = |rule: &&&Rule| matches!(rule, Rule::Pattern(_));
    let first_pattern = rules.iter().find(is_pattern);
    let others = rules.iter().filter(|rule| !is_pattern(rule));
    let constraints = others.chain(first_pattern).filter_map(|rule| constraint(rule, ty));
    constraints.chain(schema_extra(rules)).collect()
}

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

fn schema_extra(rules: &[&Rule]) -> Option<String> {
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

/// The line of a field that hides a method, with a word to the type checkers. Fields of any type need none.
fn hiding(line: &str, annotation: &str) -> String {
    if annotation.ends_with(".Any") {
        return line.to_owned();
    }
    let comment = "  # type: ignore[assignment]";
    match line.split_once('\n') {
        Some((first, rest)) => format!("{first}{comment}\n{rest}"),
        None => format!("{line}{comment}"),
    }
}
