//! Is a single value right, and what does it become?

use std::borrow::Cow;

use indexmap::IndexSet;
use serde_json::{Number, Value};

use super::check::noun;
use super::{Node, Range, Text, formats};
use crate::schema::model::Transform;

/// Longest text that a message repeats.
const QUOTED: usize = 40;

/// Most names of an enum that a message lists.
const LISTED: usize = 20;

/// Takes what is wrong: the code and the message, which is a function because not everybody wants it.
pub(super) trait Report {
    fn report(&mut self, code: &'static str, message: impl FnOnce() -> String);
}

/// Checks a value that has no parts; `Some` is what it becomes.
pub(super) fn check(node: &Node, value: &Value, report: &mut impl Report) -> Option<Value> {
    match (node, value) {
        (Node::Int(range), Value::Number(number)) => int(*range, number, report),
        (Node::Float(range), Value::Number(number)) => {
            in_range(*range, number, report);
            None
        }
        (Node::String(rules), Value::String(text)) => string(rules, text, report),
        (Node::Enum(variants), Value::String(text)) => {
            one_of(variants, text, report);
            None
        }
        (Node::DateTime, Value::String(text)) => {
            if !formats::is_datetime(text) {
                report.report("datetime", || "must be a date and time such as 2026-01-31T12:00:00Z".to_owned());
            }
            None
        }
        (Node::Bytes, Value::String(text)) => {
            if !formats::is_base64(text) {
                report.report("base64", || "must be bytes as base64".to_owned());
            }
            None
        }
        (Node::Boolean, Value::Bool(_)) | (Node::Json, _) => None,
        (node, found) => {
            report.report("type", || format!("expected {}, found {}", expected(node), describe(found)));
            None
        }
    }
}

/// What a value is, for a message.
pub(super) fn describe(value: &Value) -> Cow<'static, str> {
    match value {
        Value::Null => "null".into(),
        Value::Bool(boolean) => boolean.to_string().into(),
        Value::Number(number) => format!("the number {number}").into(),
        Value::String(text) if text.len() <= QUOTED => format!("the string {text:?}").into(),
        Value::String(_) => "a string".into(),
        Value::Array(_) => "an array".into(),
        Value::Object(_) => "an object".into(),
    }
}

fn expected(node: &Node) -> &'static str {
    match node {
        Node::Int(_) => "an integer",
        Node::Float(_) => "a number",
        Node::Boolean => "true or false",
        Node::DateTime => "a date and time as a string",
        Node::Bytes => "bytes as a base64 string",
        Node::String(_) | Node::Enum(_) => "a string",
        Node::Json => "any value",
        Node::Record(_) | Node::Map(_) => "an object",
        Node::Array(_) => "an array",
    }
}

/// A float without a fraction becomes the integer that it is.
fn int(range: Range, number: &Number, report: &mut impl Report) -> Option<Value> {
    if number.is_i64() {
        in_range(range, number, report);
        return None;
    }
    if number.is_u64() {
        report.report("type", || format!("expected an integer of 64 bits, found {number}"));
        return None;
    }
    let Some(integer) = number.as_f64().and_then(whole) else {
        report.report("type", || format!("expected an integer, found the number {number}"));
        return None;
    };
    let integer = Number::from(integer);
    in_range(range, &integer, report);
    Some(Value::Number(integer))
}

/// The integer that a float stands for; none when it has a fraction or is beyond 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the bounds and the fraction are checked before")]
fn whole(float: f64) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    (float.fract() == 0.0 && (-BOUND..BOUND).contains(&float)).then_some(float as i64)
}

fn in_range(range: Range, number: &Number, report: &mut impl Report) {
    if let Some(min) = range.min.filter(|min| is_less(number, *min)) {
        report.report("min", || format!("must be at least {min}"));
    }
    if let Some(max) = range.max.filter(|max| is_greater(number, *max)) {
        report.report("max", || format!("must be at most {max}"));
    }
}

/// Integers are compared as such: as floats, large ones would equal their neighbours.
fn is_less(number: &Number, bound: f64) -> bool {
    match (number.as_i64(), whole(bound)) {
        (Some(integer), Some(bound)) => integer < bound,
        _ => number.as_f64().is_some_and(|float| float < bound),
    }
}

fn is_greater(number: &Number, bound: f64) -> bool {
    match (number.as_i64(), whole(bound)) {
        (Some(integer), Some(bound)) => integer > bound,
        _ => number.as_f64().is_some_and(|float| float > bound),
    }
}

fn one_of(variants: &IndexSet<String>, text: &str, report: &mut impl Report) {
    if variants.contains(text) {
        return;
    }
    report.report("enum", || {
        let mut message = String::from("must be one of ");
        for (index, variant) in variants.iter().take(LISTED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            message.push_str(&format!("{separator}{variant:?}"));
        }
        if variants.len() > LISTED {
            message.push_str(&format!(" and {} more", variants.len() - LISTED));
        }
        if let Some(near) = nearest(variants, text) {
            message.push_str(&format!("; did you mean {near:?}?"));
        }
        message
    });
}

fn nearest<'v>(variants: &'v IndexSet<String>, text: &str) -> Option<&'v str> {
    if text.len() > 2 * QUOTED {
        return None;
    }
    let lower = text.to_lowercase();
    let allowed = (text.chars().count() / 3).clamp(1, 4);
    variants
        .iter()
        .map(|variant| (strsim::damerau_levenshtein(&lower, &variant.to_lowercase()), variant))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, variant)| variant.as_str())
}

fn string(rules: &Text, text: &str, report: &mut impl Report) -> Option<Value> {
    let text = transform(&rules.transforms, text);
    let is_shorter = |min: u64| !has_chars(&text, min);
    if is_shorter(rules.min_length) {
        report.report("min_length", || format!("must have at least {}", noun(rules.min_length, "character")));
    }
    if let Some(max) = rules.max_length.filter(|max| has_chars(&text, max.saturating_add(1))) {
        report.report("max_length", || format!("must have at most {}", noun(max, "character")));
    }
    for pattern in rules.patterns.iter().filter(|pattern| !pattern.is_match(&text)) {
        report.report("pattern", || format!("must match the pattern {pattern}"));
    }
    if rules.email && !formats::is_email(&text) {
        report.report("email", || "must be an email address".to_owned());
    }
    if rules.url && !formats::is_url(&text) {
        report.report("url", || "must be an http or https URL".to_owned());
    }
    if rules.uuid && !formats::is_uuid(&text) {
        report.report("uuid", || "must be a UUID".to_owned());
    }
    match text {
        Cow::Borrowed(_) => None,
        Cow::Owned(text) => Some(Value::String(text)),
    }
}

/// Whether a text has at least so many Unicode scalar values; a long text is not counted to its end.
fn has_chars(text: &str, count: u64) -> bool {
    let Ok(count) = usize::try_from(count) else { return false };
    match count.checked_sub(1) {
        None => true,
        // A text has at most as many characters as bytes.
        Some(_) if text.len() < count => false,
        Some(last) => text.chars().nth(last).is_some(),
    }
}

/// Applies transformations; what they leave as it is stays borrowed.
fn transform<'t>(transforms: &[Transform], text: &'t str) -> Cow<'t, str> {
    let mut text = Cow::Borrowed(text);
    for transform in transforms {
        let new = match transform {
            Transform::Trim => Some(text.trim()).filter(|trimmed| trimmed.len() < text.len()).map(str::to_owned),
            Transform::Lower => (!is_lower(&text)).then(|| text.to_lowercase()),
            Transform::Upper => (!is_upper(&text)).then(|| text.to_uppercase()),
        };
        if let Some(new) = new {
            text = Cow::Owned(new);
        }
    }
    text
}

fn is_lower(text: &str) -> bool {
    text.chars().all(|character| character.to_lowercase().eq([character]))
}

fn is_upper(text: &str) -> bool {
    text.chars().all(|character| character.to_uppercase().eq([character]))
}
