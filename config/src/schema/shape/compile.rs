//! How does a declared type become a shape?

use std::sync::Arc;

use indexmap::IndexMap;
use regex::Regex;

use super::{FieldShape, Items, Node, Range, RecordShape, Shape, Text};
use crate::schema::model::{Field, Record, Rule, Schema, Transform, Type};

pub(super) fn compile(schema: &Schema, ty: &Type) -> Shape {
    let mut compiler = Compiler { schema, records: IndexMap::new() };
    let root = compiler.node(ty, &[], &[]);
    let mut shapes = Vec::new();
    // Compiling a record may find further ones, which are put behind it.
    while let Some((_, record)) = compiler.records.get_index(shapes.len()) {
        shapes.push(compiler.record(record));
    }
    Shape { records: shapes.into(), root }
}

struct Compiler<'s> {
    schema: &'s Schema,
    /// Records that are reached, by name; a record's place here is its place in the shape.
    records: IndexMap<&'s str, &'s Record>,
}

impl<'s> Compiler<'s> {
    fn record(&mut self, record: &'s Record) -> RecordShape {
        RecordShape { fields: record.fields.values().map(|field| (field.name.clone(), self.field(field))).collect() }
    }

    fn field(&mut self, field: &'s Field) -> FieldShape {
        FieldShape {
            node: self.node(&field.ty, &field.transforms, &field.rules),
            optional: field.optional,
            default: field.default.clone(),
        }
    }

    fn node(&mut self, ty: &Type, transforms: &[Transform], rules: &[Rule]) -> Node {
        match ty {
            Type::Int => Node::Int(range(rules)),
            Type::Float => Node::Float(range(rules)),
            Type::String => Node::String(text(transforms, rules)),
            Type::Boolean => Node::Boolean,
            Type::DateTime => Node::DateTime,
            Type::Json => Node::Json,
            Type::Bytes => Node::Bytes,
            Type::Enum(name) => {
                let declared = self.schema.enums.get(name).expect("the checker resolves every name");
                Node::Enum(Arc::new(declared.variants.iter().map(|variant| variant.name.clone()).collect()))
            }
            Type::Record(name) => Node::Record(self.index_of(name)),
            Type::Array(item) => Node::Array(Box::new(self.items(item, transforms, rules))),
            Type::Map(item) => Node::Map(Box::new(self.items(item, transforms, rules))),
        }
    }

    fn index_of(&mut self, name: &str) -> usize {
        let record = self.schema.records.get(name).expect("the checker resolves every name");
        self.records.insert_full(&record.name, record).0
    }

    fn items(&mut self, item: &Type, transforms: &[Transform], rules: &[Rule]) -> Items {
        let (own, inner): (Vec<Rule>, Vec<Rule>) = rules
            .iter()
            .cloned()
            .partition(|rule| matches!(rule, Rule::MinItems(_) | Rule::MaxItems(_) | Rule::Unique));
        let mut items = Items { item: self.node(item, transforms, &inner), min: 0, max: None, unique: false };
        for rule in own {
            match rule {
                Rule::MinItems(min) => items.min = items.min.max(min),
                Rule::MaxItems(max) => items.max = Some(items.max.map_or(max, |other| other.min(max))),
                _ => items.unique = true,
            }
        }
        items
    }
}

fn range(rules: &[Rule]) -> Range {
    let mut range = Range::default();
    for rule in rules {
        match rule {
            Rule::Min(min) => range.min = Some(range.min.map_or(*min, |other| other.max(*min))),
            Rule::Max(max) => range.max = Some(range.max.map_or(*max, |other| other.min(*max))),
            _ => {}
        }
    }
    range
}

fn text(transforms: &[Transform], rules: &[Rule]) -> Text {
    let mut text = Text { transforms: transforms.to_vec(), ..Text::default() };
    for rule in rules {
        match rule {
            Rule::MinLength(min) => text.min_length = text.min_length.max(*min),
            Rule::MaxLength(max) => text.max_length = Some(text.max_length.map_or(*max, |other| other.min(*max))),
            Rule::Pattern(pattern) => {
                text.patterns.push(Regex::new(pattern).expect("the checker compiles every pattern"));
            }
            Rule::Email => text.email = true,
            Rule::Url => text.url = true,
            Rule::Uuid => text.uuid = true,
            // The others are about numbers and items.
            Rule::Min(_) | Rule::Max(_) | Rule::MinItems(_) | Rule::MaxItems(_) | Rule::Unique => {}
        }
    }
    text
}
