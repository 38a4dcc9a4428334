//! What is the default of a field, and does it fit?

use indexmap::IndexMap;
use serde_json::{Map, Number, Value as Json};

use super::{Checker, types::leaf};
use crate::schema::{
    Schema,
    diagnostic::{Code, Fault},
    model::{DefaultValue, Field, Location, Record, RecordKind, Type},
    shape::Shape,
    source::{FileId, Place},
    syntax::{Attribute, Value, ValueKind},
};

impl Checker<'_> {
    /// `@default(...)`
    pub(super) fn default(&mut self, file: FileId, attribute: &Attribute, field: &mut Field) {
        let [argument] = &attribute.arguments[..] else {
            return self.bad_argument(
                file,
                attribute,
                "one value",
                "for example @default(0), @default(\"x\") or @default(now)",
            );
        };
        let place = Place { file, span: argument.span };
        if let Some(word) = computed(argument) {
            match (word, &field.ty) {
                ("now", Type::DateTime | Type::String) => field.default = Some(DefaultValue::Now),
                ("uuid", Type::String) => field.default = Some(DefaultValue::Uuid),
                ("now" | "uuid", Type::Enum(_)) => self.literal_default(argument, place, field),
                ("now", _) => self.bad_default(place, field, "`now` is a DateTime", None),
                ("uuid", _) => self.bad_default(place, field, "`uuid` is a String", None),
                (other, _) => {
                    let help = match other {
                        "autoincrement" | "auto" => {
                            "numbers are given out by the handler: `state.generate_id()`; mark the field with @auto"
                        }
                        "cuid" | "nanoid" | "ulid" => "write `uuid`",
                        _ => "only `now()` and `uuid()` are computed",
                    };
                    self.bad_default(place, field, &format!("there is no default `{other}()`"), Some(help.to_owned()));
                }
            }
            return;
        }
        self.literal_default(argument, place, field);
    }

    fn literal_default(&mut self, argument: &Value, place: Place, field: &mut Field) {
        let Some(json) = self.literal(argument, place, field) else { return };
        if json.is_null() {
            if !field.optional {
                let help = format!("write `{}?` and leave out the default", field.ty);
                self.bad_default(place, field, "the field is required", Some(help));
            }
            return;
        }
        if let Some(reason) = self.misfit(&json, field) {
            return self.bad_default(place, field, &reason, None);
        }
        field.default = Some(DefaultValue::Value(json));
    }

    /// The JSON value that is written; a bare word is a text where a text is wanted.
    fn literal(&mut self, value: &Value, place: Place, field: &Field) -> Option<Json> {
        if let Some(json) = literal(value) {
            return Some(json);
        }
        let word = value.as_word().map(|name| name.text.clone());
        match (word, &field.ty) {
            (Some(word), Type::Enum(_)) => Some(Json::String(word)),
            (Some(word), Type::String) => {
                let fault = Fault::new(
                    Code::BareDefault,
                    place,
                    format!("the default of `{}` is read as the text \"{word}\"", field.name),
                );
                self.report(fault.help(format!("write @default(\"{word}\")")));
                Some(Json::String(word))
            }
            (word, ty) => {
                let found = word.map_or_else(|| value.describe().to_owned(), |word| format!("`{word}`"));
                let help = (*ty == Type::Boolean).then(|| "write true or false".to_owned());
                self.bad_default(place, field, &format!("{found} is no {ty}"), help);
                None
            }
        }
    }

    fn bad_default(&mut self, place: Place, field: &Field, reason: &str, help: Option<String>) {
        let message = format!("the default does not fit `{}`: {reason}", field.name);
        let fault = Fault::new(Code::BadDefault, place, message);
        self.report(fault.label(format!("not a valid {}", field.ty)).maybe_help(help));
    }

    /// Why a value of the field's type, transformed and validated like a caller's, can't be this.
    fn misfit(&self, json: &Json, field: &Field) -> Option<String> {
        let mut ty = field.ty.clone();
        if matches!(leaf(&ty), Type::Record(_)) {
            let empty = json.as_array().is_some_and(Vec::is_empty) || json.as_object().is_some_and(Map::is_empty);
            if !empty || matches!(ty, Type::Record(_)) {
                return Some("a default can't hold records".to_owned());
            }
            ty = Type::Array(Box::new(Type::Json));
            if json.is_object() {
                ty = Type::Map(Box::new(Type::Json));
            }
            if std::mem::discriminant(&ty) != std::mem::discriminant(&field.ty) {
                return Some(format!("it must be {}", if json.is_object() { "a list" } else { "an object" }));
            }
        }
        let mut schema = Schema::default();
        if let Type::Enum(name) = leaf(&ty) {
            let declared = self.schema.enums.get(name)?;
            schema.enums.insert(name.clone(), declared.clone());
        }
        let name = "Default".to_owned();
        let field = Field { ty, default: None, optional: false, ..field.clone() };
        let field_name = field.name.clone();
        let fields = IndexMap::from([(field_name.clone(), field)]);
        let record =
            Record { name: name.clone(), kind: RecordKind::Type, doc: None, fields, location: Location::default() };
        schema.records.insert(name.clone(), record);
        let mut object = Json::Object(Map::from_iter([(field_name, json.clone())]));
        let faults = Shape::compile(&schema, &Type::Record(name)).check(&mut object).err()?;
        faults.into_iter().next().map(|fault| fault.message)
    }
}

/// `now`, `now()`, `uuid`, `uuid()` and other calls.
fn computed(value: &Value) -> Option<&str> {
    match &value.kind {
        ValueKind::Call { name, .. } => Some(&name.text),
        _ => value.as_word().map(|name| name.text.as_str()).filter(|word| matches!(*word, "now" | "uuid")),
    }
}

/// The JSON value that a text, number, list, object, `true`, `false` or `null` stands for.
fn literal(value: &Value) -> Option<Json> {
    match &value.kind {
        ValueKind::Text(text) => Some(Json::String(text.clone())),
        ValueKind::Number(text) => number(text),
        ValueKind::List(items) => items.iter().map(literal).collect::<Option<Vec<_>>>().map(Json::Array),
        ValueKind::Object(entries) => {
            let members = entries.iter().map(|entry| Some((entry.name.text.clone(), literal(entry.value.as_ref()?)?)));
            members.collect::<Option<Map<_, _>>>().map(Json::Object)
        }
        ValueKind::Type(_) => match value.as_word()?.text.as_str() {
            "true" => Some(Json::Bool(true)),
            "false" => Some(Json::Bool(false)),
            "null" => Some(Json::Null),
            _ => None,
        },
        ValueKind::Call { .. } | ValueKind::Quantity(_) => None,
    }
}

fn number(text: &str) -> Option<Json> {
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Json::from(integer));
    }
    text.parse::<f64>().ok().and_then(Number::from_f64).map(Json::Number)
}
