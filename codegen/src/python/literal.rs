//! How are texts, docstrings and default values written in Python?

use std::fmt::Write;

use rohas_config::schema::model::Type;
use serde_json::Value;

use super::names;
use super::scope::Scope;

/// A text in double quotes.
pub(super) fn text(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    for character in text.chars() {
        push_escaped(&mut literal, character);
    }
    literal.push('"');
    literal
}

/// A docstring at an indentation: one line when the text has one.
pub(super) fn docstring(text: &str, indent: &str) -> String {
    let escaped = text.trim().replace('\\', "\\\\").replace("\"\"\"", "\\\"\\\"\\\"");
    let lines: Vec<&str> = escaped.lines().map(str::trim_end).collect();
    let [first, rest @ ..] = lines.as_slice() else { return "\"\"\"\"\"\"".to_owned() };
    if rest.is_empty() {
        let end = if first.ends_with('"') { " " } else { "" };
        return format!("\"\"\"{first}{end}\"\"\"");
    }
    let mut doc = format!("\"\"\"{first}\n");
    for line in rest {
        let indent = if line.is_empty() { "" } else { indent };
        doc.push_str(indent);
        doc.push_str(line);
        doc.push('\n');
    }
    doc.push_str(indent);
    doc.push_str("\"\"\"");
    doc
}

/// A JSON value as plain Python.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(string) => text(string),
        Value::Array(items) => format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", text(name), json(value))).collect();
            format!("{{{}}}", members.join(", "))
        }
    }
}

/// A JSON value that fits a type, as an expression of that type.
pub(super) fn typed(value: &Value, ty: &Type, scope: &mut Scope<'_>) -> String {
    match (ty, value) {
        (Type::Float, Value::Number(number)) if number.is_i64() || number.is_u64() => format!("{number}.0"),
        (Type::DateTime, Value::String(time)) => format!("{}({})", scope.runtime("date_time"), text(time)),
        (Type::Bytes, Value::String(bytes)) => format!("{}({})", scope.runtime("from_base64"), text(bytes)),
        (Type::Enum(name), Value::String(variant)) => member(&scope.declared(name), variant),
        (Type::Record(name), Value::Object(_)) => format!("{}.model_validate({})", scope.declared(name), json(value)),
        (Type::Array(item), Value::Array(values)) => {
            let values: Vec<String> = values.iter().map(|value| typed(value, item, scope)).collect();
            format!("[{}]", values.join(", "))
        }
        (Type::Map(item), Value::Object(members)) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", text(name), typed(value, item, scope))).collect();
            format!("{{{}}}", members.join(", "))
        }
        _ => json(value),
    }
}

/// Whether instances would share a default of this type, so that each must get its own.
pub(super) fn is_mutable(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

fn member(class: &str, variant: &str) -> String {
    let is_renamed = names::enum_members([variant]).iter().any(|member| member != variant);
    if is_renamed { format!("{class}({})", text(variant)) } else { format!("{class}.{variant}") }
}

fn push_escaped(literal: &mut String, character: char) {
    match character {
        '"' => literal.push_str("\\\""),
        '\\' => literal.push_str("\\\\"),
        '\n' => literal.push_str("\\n"),
        '\r' => literal.push_str("\\r"),
        '\t' => literal.push_str("\\t"),
        _ if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') => {
            write!(literal, "\\u{:04x}", u32::from(character)).expect("writing to a String can't fail");
        }
        _ => literal.push(character),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(text("a\"b\\c\n\u{7}ü{x}"), r#""a\"b\\c\n\u0007ü{x}""#);
    }

    #[test]
    fn docstrings_keep_their_lines_and_never_end_early() {
        assert_eq!(docstring(" One. ", ""), r#""""One.""""#);
        assert_eq!(docstring("Say \"x\"", ""), r#""""Say "x" """"#);
        assert_eq!(docstring("a \"\"\" \\ b", ""), r#""""a \"\"\" \\ b""""#);
        assert_eq!(docstring("One.\n\nTwo.", "    "), "\"\"\"One.\n\n    Two.\n    \"\"\"");
    }

    #[test]
    fn json_is_plain_python() {
        let value = json!({"a": [null, true, false, 1, -2.5, "x"], "b": {}});
        assert_eq!(json(&value), r#"{"a": [None, True, False, 1, -2.5, "x"], "b": {}}"#);
    }
}
