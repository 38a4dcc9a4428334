//! Does a JSON value fit a declared type? Compiled once when a schema is loaded, used for every message.
//!
//! `compile` turns a type into nodes, `check` walks a value along them (default, transform, validate), `scalar` and
//! `formats` judge single values, `text` converts parameters that arrive as text, `fault` says what did not fit.
//!
//! A value that fits and needs no change costs no allocation. Fields that are not declared are kept as they are.

mod check;
mod compile;
mod fault;
mod formats;
mod scalar;
mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use regex::Regex;
use serde_json::Value;

pub use fault::{Fault, PathItem};

use super::model::{DefaultValue, Schema, Transform, Type};

/// A declared type, ready to check values.
///
/// # Examples
///
/// ```
/// use rohas_config::schema::{Schema, model::Type, shape::{Changed, Shape}};
///
/// let shape = Shape::compile(&Schema::default(), &Type::Array(Box::new(Type::Int)));
/// let mut value = serde_json::json!([1, 2.0, "three"]);
/// let faults = shape.check(&mut value).unwrap_err();
/// assert_eq!(serde_json::to_value(&faults[0].path).unwrap(), serde_json::json!([2]));
///
/// let mut value = serde_json::json!([1, 2]);
/// assert_eq!(shape.check(&mut value), Ok(Changed::No));
/// ```
#[derive(Debug, Clone)]
pub struct Shape {
    /// Every record that the type reaches; a record refers to another, or to itself, by its index.
    records: Arc<[RecordShape]>,
    root: Node,
}

/// Whether a check has altered the value by a default, a transformation or a normalised number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// The value is what it was; whoever has its original bytes can use them.
    No,
    /// The value has to be written anew.
    Yes,
}

/// One type with the rules that hold for its values.
#[derive(Debug, Clone)]
enum Node {
    Int(Range),
    Float(Range),
    String(Text),
    Boolean,
    DateTime,
    Json,
    Bytes,
    Enum(Arc<IndexSet<String>>),
    Record(usize),
    Array(Box<Items>),
    Map(Box<Items>),
}

#[derive(Debug, Clone, Copy, Default)]
struct Range {
    min: Option<f64>,
    max: Option<f64>,
}

#[derive(Debug, Clone, Default)]
struct Text {
    transforms: Vec<Transform>,
    min_length: u64,
    max_length: Option<u64>,
    patterns: Vec<Regex>,
    email: bool,
    url: bool,
    uuid: bool,
}

/// What an array or map holds. Rules for text and numbers on such a field hold for its items.
#[derive(Debug, Clone)]
struct Items {
    item: Node,
    min: u64,
    max: Option<u64>,
    unique: bool,
}

#[derive(Debug)]
struct RecordShape {
    fields: IndexMap<String, FieldShape>,
}

#[derive(Debug)]
struct FieldShape {
    node: Node,
    optional: bool,
    default: Option<DefaultValue>,
}

impl Shape {
    /// Compiles a type of a schema. The schema is one that the checker has built: its names resolve.
    #[must_use]
    pub fn compile(schema: &Schema, ty: &Type) -> Self {
        compile::compile(schema, ty)
    }

    /// Fills in defaults, transforms and validates, in this order for each field.
    ///
    /// # Errors
    ///
    /// All faults in the order of the document, a missing field behind the fields of its object; of more than a
    /// hundred the rest is only counted. The value may have been changed in part.
    pub fn check(&self, value: &mut Value) -> Result<Changed, Vec<Fault>> {
        check::check(self, value)
    }

    /// Whether [`Shape::check`] would accept the value, without changing it.
    #[must_use]
    pub fn fits(&self, value: &Value) -> bool {
        check::fits(self, &self.root, value)
    }

    /// Whether the type is a record that declares this field.
    #[must_use]
    pub fn has_field(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// Converts text, such as a path parameter, to the type of a field; `None` when the record has no such field or the
    /// text cannot be of its type.
    #[must_use]
    pub fn convert_text(&self, field: &str, text: &str) -> Option<Value> {
        text::convert(&self.field(field)?.node, text)
    }

    /// Builds a value of a record from parameters that arrive as text, such as those of a query, and checks it.
    ///
    /// A repeated name fills an array; of a scalar the last one counts. Names that are not declared are left out.
    ///
    /// # Errors
    ///
    /// All faults, as of [`Shape::check`].
    pub fn check_text_params<'p>(
        &self,
        params: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Value, Vec<Fault>> {
        let mut value = text::object(self, params);
        self.check(&mut value).map(|_changed| value)
    }

    fn field(&self, name: &str) -> Option<&FieldShape> {
        match &self.root {
            Node::Record(index) => self.records[*index].fields.get(name),
            _ => None,
        }
    }
}
