//! What does a parameter that arrives as text stand for?

use serde_json::{Map, Number, Value};

use super::{Node, Shape};

/// The value that a text stands for where a type is expected; `None` when it cannot be one.
pub(super) fn convert(node: &Node, text: &str) -> Option<Value> {
    match node {
        Node::Int(_) => text.parse::<i64>().ok().map(Value::from),
        Node::Float(_) => float(text).map(Value::Number),
        Node::Boolean => boolean(text).map(Value::Bool),
        Node::String(_) | Node::Enum(_) | Node::DateTime | Node::Bytes | Node::Json => {
            Some(Value::String(text.to_owned()))
        }
        Node::Record(_) | Node::Array(_) | Node::Map(_) => None,
    }
}

/// The object that parameters make up. What cannot be converted stays text, so that the check names it.
pub(super) fn object<'p>(shape: &Shape, params: impl IntoIterator<Item = (&'p str, &'p str)>) -> Value {
    let mut object = Map::new();
    for (name, text) in params {
        let Some(field) = shape.field(name) else { continue };
        let Node::Array(items) = &field.node else {
            object.insert(name.to_owned(), value(&field.node, text));
            continue;
        };
        let array = object.entry(name).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(array) = array {
            array.push(value(&items.item, text));
        }
    }
    Value::Object(object)
}

fn value(node: &Node, text: &str) -> Value {
    convert(node, text).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// An integer stays one, so that large ones keep their digits.
fn float(text: &str) -> Option<Number> {
    match text.parse::<i64>() {
        Ok(integer) => Some(Number::from(integer)),
        // Infinity and "not a number", which Rust can read, are no JSON numbers.
        Err(_) => text.parse::<f64>().ok().and_then(Number::from_f64),
    }
}

/// The words that pydantic takes too, in any case.
fn boolean(text: &str) -> Option<bool> {
    let is = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(&["true", "1", "yes", "on"]) {
        Some(true)
    } else if is(&["false", "0", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}
