//! Which type does a type expression mean?

use super::{Checker, Decl};
use crate::schema::{
    diagnostic::{Code, Fault},
    model::{Record, RecordKind, Type},
    source::{FileId, Place},
    suggest::did_you_mean,
    syntax::{Entry, Keyword, TypeExpr, ValueKind},
};

/// The built-in types of the original. Declarations can't replace them.
pub(super) const BUILTIN: [(&str, Type); 7] = [
    ("Int", Type::Int),
    ("Float", Type::Float),
    ("String", Type::String),
    ("Boolean", Type::Boolean),
    ("Bool", Type::Boolean),
    ("DateTime", Type::DateTime),
    ("Json", Type::Json),
];

/// Names that types have elsewhere, and what to write here.
const FOREIGN: [(&[&str], &str); 7] = [
    (&["date", "datetime", "timestamp", "time"], "DateTime"),
    (&["number", "integer", "long", "bigint", "i64", "int64"], "Int"),
    (&["double", "decimal", "real", "f64"], "Float"),
    (&["text", "str", "varchar"], "String"),
    (&["uuid"], "String @uuid"),
    (&["any", "object", "dict"], "Json"),
    (&["blob", "binary", "buffer"], "Bytes"),
];

impl<'a> Checker<'a> {
    /// The type without its `?`. What is unknown is reported and becomes [`Type::Json`].
    pub(super) fn ty(&mut self, file: FileId, expr: &TypeExpr) -> Type {
        let mut ty = self.base(file, expr);
        for _ in 0..expr.arrays {
            ty = Type::Array(Box::new(ty));
        }
        ty
    }

    fn base(&mut self, file: FileId, expr: &TypeExpr) -> Type {
        let name = expr.name.text.as_str();
        let place = Place { file, span: expr.name.span };
        if let Some(argument) = &expr.argument {
            if name != "Map" {
                let fault = Fault::new(Code::BadType, place, format!("`{name}` takes no type argument"));
                self.report(fault.help("only `Map<T>` does; an array is written `T[]`"));
                return Type::Json;
            }
            return Type::Map(Box::new(self.map_values(file, argument)));
        }
        if let Some((_, ty)) = BUILTIN.iter().find(|(builtin, _)| *builtin == name) {
            return ty.clone();
        }
        match self.names.get(name).map(|decl| decl.node.keyword) {
            Some(Keyword::Enum) => return Type::Enum(name.to_owned()),
            Some(Keyword::Model | Keyword::Type | Keyword::Input) => return Type::Record(name.to_owned()),
            _ if name == "Bytes" => return Type::Bytes,
            _ => {}
        }
        self.unknown_type(name, place);
        Type::Json
    }

    fn map_values(&mut self, file: FileId, argument: &TypeExpr) -> Type {
        if argument.optional {
            let place = Place { file, span: argument.span };
            let fault = Fault::new(Code::BadType, place, "the values of a map can't be optional");
            self.report(fault.help("put the `?` behind the `>` to make the whole map optional"));
        }
        self.ty(file, argument)
    }

    fn unknown_type(&mut self, name: &str, place: Place) {
        if name == "Map" {
            let fault = Fault::new(Code::BadType, place, "`Map` needs the type of its values");
            return self.report(fault.help("write `Map<Int>`; keys are always texts"));
        }
        if let Some(decl) = self.names.get(name).copied() {
            let fault = Fault::new(Code::UnknownType, place, format!("{} is not a type", decl.describe()));
            let fault = fault.label("not a type").related(decl.name_place(), "declared here");
            return self.report(fault.help("name an enum, model, type or input"));
        }
        let lower = name.to_ascii_lowercase();
        let foreign = FOREIGN.iter().find(|(names, _)| names.contains(&lower.as_str()));
        let help = foreign.map(|(_, ours)| format!("write `{ours}`")).or_else(|| did_you_mean(name, self.type_names()));
        let help = help.unwrap_or_else(|| format!("declare it: `model {name} {{ ... }}`"));
        let fault = Fault::new(Code::UnknownType, place, format!("there is no type `{name}`"));
        self.report(fault.label("unknown type").help(help));
    }

    fn type_names(&self) -> impl Iterator<Item = &'a str> + use<'a, '_> {
        let declared = self.names.iter().filter(|(_, decl)| {
            matches!(decl.node.keyword, Keyword::Enum | Keyword::Model | Keyword::Type | Keyword::Input)
        });
        let builtin = BUILTIN.iter().map(|(name, _)| *name).chain(["Bytes", "Map"]);
        builtin.chain(declared.map(|(name, _)| *name))
    }

    /// The type of a property such as `body:`. An inline record gets the name of the declaration and `part`.
    pub(super) fn property_type(&mut self, decl: Decl<'_>, entry: &Entry, part: &str) -> Option<Type> {
        let value = entry.value.as_ref()?;
        match &value.kind {
            ValueKind::Type(expr) => {
                if expr.optional {
                    let message = format!("the `{}` of {} can't be optional", entry.name.text, decl.describe());
                    let fault = Fault::new(Code::BadType, decl.place(expr.span), message);
                    self.report(fault.help("remove the `?`"));
                }
                Some(self.ty(decl.file, expr))
            }
            ValueKind::Object(entries) => Some(self.inline_record(decl, entries, part, decl.place(value.span))),
            _ => {
                self.bad_value(decl, entry, "a type");
                None
            }
        }
    }

    fn inline_record(&mut self, decl: Decl<'_>, entries: &[Entry], part: &str, place: Place) -> Type {
        let name = format!("{}{part}", decl.name());
        if let Some(other) = self.names.get(name.as_str()).copied() {
            let message = format!("the inline type would be named `{name}`, which is declared elsewhere");
            let fault = Fault::new(Code::DuplicateName, place, message);
            self.report(fault.related(other.name_place(), "declared here").help("declare a type and name it here"));
            return Type::Json;
        }
        let fields = self.fields(decl.file, &name, entries);
        let location = self.location(place);
        let record = Record { name: name.clone(), kind: RecordKind::Type, doc: None, fields, location };
        self.schema.records.insert(name.clone(), record);
        Type::Record(name)
    }
}

/// The type inside of arrays and maps.
pub(super) fn leaf(ty: &Type) -> &Type {
    match ty {
        Type::Array(item) | Type::Map(item) => leaf(item),
        other => other,
    }
}
