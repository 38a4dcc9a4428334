//! How are values, types and attributes printed on one line?

use super::Printer;
use crate::schema::syntax::{Attribute, Entry, TypeExpr, Value, ValueKind};

impl Printer<'_> {
    pub(super) fn push_text(&mut self, text: &str) {
        self.out.push_str(&quoted(text));
    }
}

pub(super) fn is_container(value: &Value) -> bool {
    matches!(value.kind, ValueKind::List(_) | ValueKind::Object(_))
}

pub(super) fn flat(value: &Value) -> String {
    match &value.kind {
        ValueKind::Type(expr) => type_expr(expr),
        ValueKind::Call { name, arguments } => format!("{}({})", name.text, separated(arguments)),
        ValueKind::Text(text) => quoted(text),
        ValueKind::Number(text) | ValueKind::Quantity(text) => text.clone(),
        ValueKind::List(items) => format!("[{}]", separated(items)),
        ValueKind::Object(entries) if entries.is_empty() => "{}".to_owned(),
        ValueKind::Object(entries) => {
            let entries: Vec<String> = entries.iter().map(flat_entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
    }
}

/// A member of an object, or a variant.
pub(super) fn flat_entry(entry: &Entry) -> String {
    let mut text = key(entry);
    if let Some(value) = &entry.value {
        text.push_str(": ");
        text.push_str(&flat(value));
    }
    for marked in &entry.attributes {
        text.push(' ');
        text.push_str(&attribute(marked));
    }
    text
}

pub(super) fn key(entry: &Entry) -> String {
    if entry.quoted { quoted(&entry.name.text) } else { entry.name.text.clone() }
}

pub(super) fn attribute(attribute: &Attribute) -> String {
    if attribute.arguments.is_empty() {
        return format!("@{}", attribute.name.text);
    }
    format!("@{}({})", attribute.name.text, separated(&attribute.arguments))
}

fn separated(values: &[Value]) -> String {
    values.iter().map(flat).collect::<Vec<_>>().join(", ")
}

fn type_expr(expr: &TypeExpr) -> String {
    let argument = expr.argument.as_ref().map(|argument| format!("<{}>", type_expr(argument))).unwrap_or_default();
    let optional = if expr.optional { "?" } else { "" };
    format!("{}{argument}{}{optional}", expr.name.text, "[]".repeat(expr.arrays))
}

/// A text has no escapes, so one that holds a double quote was written, and is printed, with single quotes.
fn quoted(text: &str) -> String {
    let quote = if text.contains('"') { '\'' } else { '"' };
    format!("{quote}{text}{quote}")
}
