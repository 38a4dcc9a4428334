//! Which fields and variants do records and enums have?

use std::collections::HashMap;

use indexmap::IndexMap;

use super::{Checker, Decl, attributes::Target};
use crate::schema::{
    diagnostic::{Code, Fault},
    model::{Enum, Field, Record, RecordKind, Type, Variant},
    source::{FileId, Place},
    syntax::{Entry, Keyword, Span, ValueKind},
};

impl Checker<'_> {
    pub(super) fn enumeration(&mut self, decl: Decl<'_>) {
        let mut seen: HashMap<&str, Span> = HashMap::new();
        let mut variants = Vec::new();
        for entry in &decl.node.entries {
            self.name(&entry.name, decl.place(entry.name.span));
            self.no_attributes(decl, entry, "variant");
            if let Some(first) = seen.insert(&entry.name.text, entry.name.span) {
                let message = format!("{} has the variant `{}` twice", decl.describe(), entry.name.text);
                let fault = Fault::new(Code::DuplicateVariant, decl.place(entry.name.span), message);
                self.report(fault.label("again").related(decl.place(first), "first here").help("remove one of them"));
                continue;
            }
            variants.push(Variant { name: entry.name.text.clone(), doc: entry.doc.clone() });
        }
        if variants.is_empty() {
            let fault = Fault::new(Code::EmptyEnum, decl.name_place(), format!("{} has no variants", decl.describe()));
            self.report(fault.help(format!("name at least one: `enum {} {{ first }}`", decl.name())));
        }
        let location = self.location(decl.name_place());
        let name = decl.name().to_owned();
        let declared = Enum { name: name.clone(), doc: decl.node.doc.clone(), variants, location };
        self.schema.enums.insert(name, declared);
    }

    pub(super) fn record(&mut self, decl: Decl<'_>) {
        let kind = match decl.node.keyword {
            Keyword::Model => RecordKind::Model,
            Keyword::Input => RecordKind::Input,
            _ => RecordKind::Type,
        };
        let name = decl.name().to_owned();
        let fields = self.fields(decl.file, &name, &decl.node.entries);
        let location = self.location(decl.name_place());
        let record = Record { name: name.clone(), kind, doc: decl.node.doc.clone(), fields, location };
        self.schema.records.insert(name, record);
    }

    pub(super) fn fields(&mut self, file: FileId, record: &str, entries: &[Entry]) -> IndexMap<String, Field> {
        let mut fields: IndexMap<String, Field> = IndexMap::new();
        for entry in entries {
            let name = &entry.name.text;
            let place = Place { file, span: entry.name.span };
            self.name(&entry.name, place);
            let key = (record.to_owned(), name.clone());
            if let Some(first) = self.fields.get(&key).copied() {
                let fault = Fault::new(Code::DuplicateField, place, format!("`{record}` has the field `{name}` twice"));
                self.report(fault.label("again").related(first, "first here").help("remove or rename one of them"));
                continue;
            }
            self.fields.insert(key, place);
            let field = self.field(file, entry);
            fields.insert(name.clone(), field);
        }
        fields
    }

    fn field(&mut self, file: FileId, entry: &Entry) -> Field {
        let place = Place { file, span: entry.name.span };
        if entry.quoted {
            let fault = Fault::new(Code::BadName, place, "the name of a field stands without quotes");
            self.report(fault.help(format!("write `{}`", entry.name.text)));
        }
        let before = self.faults.len();
        let (ty, optional) = self.field_type(file, entry);
        let typed = self.faults.len() == before;
        let mut field = Field {
            name: entry.name.text.clone(),
            doc: entry.doc.clone(),
            ty,
            optional,
            default: None,
            transforms: Vec::new(),
            rules: Vec::new(),
            id: false,
            auto: false,
            location: self.location(place),
        };
        self.attributes(entry, &mut Target { file, field: &mut field, typed });
        field
    }

    fn field_type(&mut self, file: FileId, entry: &Entry) -> (Type, bool) {
        let Some(value) = &entry.value else { return (Type::Json, false) };
        if let ValueKind::Type(expr) = &value.kind {
            return (self.ty(file, expr), expr.optional);
        }
        let place = Place { file, span: value.span };
        let message = format!("`{}` needs a type, not {}", entry.name.text, value.describe());
        let help = match value.kind {
            ValueKind::List(_) => "an array is written with its item's type first: `String[]`",
            ValueKind::Object(_) => "declare a model or type for the inner record and name it here",
            ValueKind::Text(_) | ValueKind::Number(_) => "write the type and then `@default(...)`",
            _ => "write a built-in type, an enum or a record",
        };
        self.report(Fault::new(Code::BadType, place, message).label("not a type").help(help));
        (Type::Json, false)
    }

    /// Properties and variants have no attributes.
    pub(super) fn no_attributes(&mut self, decl: Decl<'_>, entry: &Entry, what: &str) {
        for attribute in &entry.attributes {
            let message = format!("the {what} `{}` can't have attributes", entry.name.text);
            let fault = Fault::new(Code::AttributeTarget, decl.place(attribute.span), message);
            self.report(fault.help("attributes belong to fields of models, types and inputs"));
        }
    }
}
