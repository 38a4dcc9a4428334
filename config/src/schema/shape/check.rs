//! How is a value walked along its shape? Depth first, in the order of the document.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::fault::{Faults, Trail};
use super::scalar::{self, Report, describe};
use super::{Changed, Fault, Items, Node, RecordShape, Shape};
use crate::schema::model::DefaultValue;

pub(super) fn check(shape: &Shape, value: &mut Value) -> Result<Changed, Vec<Fault>> {
    let mut walk = Walk { shape, faults: Faults::default(), changed: Changed::No };
    walk.value(&shape.root, value, Trail::Root);
    walk.faults.finish()?;
    Ok(walk.changed)
}

struct Walk<'s> {
    shape: &'s Shape,
    faults: Faults,
    changed: Changed,
}

impl Walk<'_> {
    fn value(&mut self, node: &Node, value: &mut Value, trail: Trail<'_>) {
        match (node, value) {
            (Node::Record(index), Value::Object(object)) => {
                self.record(&self.shape.records[*index], object, trail);
            }
            (Node::Map(items), Value::Object(object)) => self.map(items, object, trail),
            (Node::Array(items), Value::Array(array)) => self.array(items, array, trail),
            (Node::Record(_) | Node::Map(_), other) => self.mismatch("an object", other, trail),
            (Node::Array(_), other) => self.mismatch("an array", other, trail),
            (scalar, value) => {
                let mut report = AtTrail { faults: &mut self.faults, trail };
                if let Some(new) = scalar::check(scalar, value, &mut report) {
                    *value = new;
                    self.changed = Changed::Yes;
                }
            }
        }
    }

    /// Walks the fields in the order of the document. Documents mostly have the declared order, so the next declared
    /// field is tried before the name is looked up.
    fn record(&mut self, record: &RecordShape, object: &mut Map<String, Value>, trail: Trail<'_>) {
        let mut next = 0;
        let mut met = 0;
        for (key, value) in object.iter_mut() {
            let expected = record.fields.get_index(next).filter(|(name, _)| *name == key).map(|_| next);
            let Some(index) = expected.or_else(|| record.fields.get_index_of(key)) else { continue };
            next = index + 1;
            met += 1;
            let field = &record.fields[index];
            let trail = Trail::Key(&trail, key);
            match value {
                Value::Null if field.optional => {}
                Value::Null if !matches!(field.node, Node::Json) => {
                    self.faults.report(trail, "required", || "is required and must not be null".to_owned());
                }
                value => self.value(&field.node, value, trail),
            }
        }
        if met < record.fields.len() {
            self.missing(record, object, trail);
        }
    }

    fn missing(&mut self, record: &RecordShape, object: &mut Map<String, Value>, trail: Trail<'_>) {
        for (name, field) in &record.fields {
            if field.default.is_none() && field.optional || object.contains_key(name) {
                continue;
            }
            let trail = Trail::Key(&trail, name);
            let Some(default) = &field.default else {
                self.faults.report(trail, "required", || "is required".to_owned());
                continue;
            };
            let mut value = evaluate(default);
            self.changed = Changed::Yes;
            if !(value.is_null() && field.optional) {
                self.value(&field.node, &mut value, trail);
            }
            object.insert(name.clone(), value);
        }
    }

    fn array(&mut self, items: &Items, array: &mut [Value], trail: Trail<'_>) {
        self.count(items, array.len(), trail);
        for (index, value) in array.iter_mut().enumerate() {
            self.value(&items.item, value, Trail::Index(&trail, index));
        }
        if items.unique {
            for (index, first) in duplicates(items, array) {
                let trail = Trail::Index(&trail, index);
                self.faults.report(trail, "unique", || format!("must differ from item {first}"));
            }
        }
    }

    fn map(&mut self, items: &Items, object: &mut Map<String, Value>, trail: Trail<'_>) {
        self.count(items, object.len(), trail);
        for (key, value) in object.iter_mut() {
            self.value(&items.item, value, Trail::Key(&trail, key));
        }
    }

    fn count(&mut self, items: &Items, count: usize, trail: Trail<'_>) {
        match miscount(items, count) {
            Some(Miscount::Few) => {
                self.faults.report(trail, "min_items", || format!("must have at least {}", noun(items.min, "item")));
            }
            Some(Miscount::Many(max)) => {
                self.faults.report(trail, "max_items", || format!("must have at most {}", noun(max, "item")));
            }
            None => {}
        }
    }

    fn mismatch(&mut self, expected: &str, found: &Value, trail: Trail<'_>) {
        self.faults.report(trail, "type", || format!("expected {expected}, found {}", describe(found)));
    }
}

/// Reports the faults of one value with its place.
struct AtTrail<'f> {
    faults: &'f mut Faults,
    trail: Trail<'f>,
}

impl Report for AtTrail<'_> {
    fn report(&mut self, code: &'static str, message: impl FnOnce() -> String) {
        self.faults.report(self.trail, code, message);
    }
}

/// Remembers only whether there was a fault.
struct Passed(bool);

impl Report for Passed {
    fn report(&mut self, _code: &'static str, _message: impl FnOnce() -> String) {
        self.0 = false;
    }
}

/// Whether a value would pass, without a word about why not.
pub(super) fn fits(shape: &Shape, node: &Node, value: &Value) -> bool {
    match (node, value) {
        (Node::Record(index), Value::Object(object)) => {
            shape.records[*index].fields.iter().all(|(name, field)| match object.get(name) {
                None => field.optional || field.default.is_some(),
                Some(Value::Null) => field.optional || matches!(field.node, Node::Json),
                Some(value) => fits(shape, &field.node, value),
            })
        }
        (Node::Map(items), Value::Object(object)) => {
            miscount(items, object.len()).is_none() && object.values().all(|value| fits(shape, &items.item, value))
        }
        (Node::Array(items), Value::Array(array)) => {
            miscount(items, array.len()).is_none()
                && array.iter().all(|value| fits(shape, &items.item, value))
                && (!items.unique || stay_different(items, array))
        }
        (Node::Record(_) | Node::Map(_) | Node::Array(_), _) => false,
        (scalar, value) => {
            let mut passed = Passed(true);
            scalar::check(scalar, value, &mut passed);
            passed.0
        }
    }
}

/// Items are compared as they are after their transformation.
fn stay_different(items: &Items, array: &[Value]) -> bool {
    let transformed: Vec<Value> = array
        .iter()
        .map(|value| scalar::check(&items.item, value, &mut Passed(true)).unwrap_or_else(|| value.clone()))
        .collect();
    duplicates(items, &transformed).is_empty()
}

enum Miscount {
    Few,
    Many(u64),
}

fn miscount(items: &Items, count: usize) -> Option<Miscount> {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    match items.max {
        _ if count < items.min => Some(Miscount::Few),
        Some(max) if count > max => Some(Miscount::Many(max)),
        _ => None,
    }
}

/// `1 item`, `2 items`.
pub(super) fn noun(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The items that equal an earlier one, each with the first that it equals.
fn duplicates(items: &Items, array: &[Value]) -> Vec<(usize, usize)> {
    let mut first_seen = HashMap::with_capacity(array.len());
    let mut repeated = Vec::new();
    for (index, value) in array.iter().enumerate() {
        match first_seen.entry(comparable(items, value)) {
            Entry::Vacant(entry) => {
                entry.insert(index);
            }
            Entry::Occupied(entry) => repeated.push((index, *entry.get())),
        }
    }
    repeated
}

#[derive(PartialEq, Eq, Hash)]
enum Comparable<'v> {
    /// Of floats `1` and `1.0` are one number, and so are `0.0` and `-0.0`.
    Float(u64),
    Other(&'v Value),
}

fn comparable<'v>(items: &Items, value: &'v Value) -> Comparable<'v> {
    match (&items.item, value.as_f64()) {
        (Node::Float(_), Some(0.0)) => Comparable::Float(0),
        (Node::Float(_), Some(float)) => Comparable::Float(float.to_bits()),
        _ => Comparable::Other(value),
    }
}

fn evaluate(default: &DefaultValue) -> Value {
    match default {
        DefaultValue::Value(value) => value.clone(),
        DefaultValue::Now => {
            Value::String(DateTimePrinter::new().precision(Some(6)).timestamp_to_string(&Timestamp::now()))
        }
        DefaultValue::Uuid => Value::String(Uuid::new_v4().to_string()),
    }
}
