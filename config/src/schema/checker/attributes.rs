//! What do the attributes of a field ask for, and do they fit its type?

use std::collections::HashMap;

use regex::Regex;

use super::{Checker, types::leaf};
use crate::schema::{
    diagnostic::{Code, Fault},
    model::{Field, Rule, Transform, Type},
    source::{FileId, Place},
    suggest::closest,
    syntax::{Attribute, Entry, ValueKind},
};

const KNOWN: [&str; 18] = [
    "id",
    "auto",
    "unique",
    "optional",
    "default",
    "min",
    "max",
    "minLength",
    "maxLength",
    "pattern",
    "email",
    "url",
    "uuid",
    "minItems",
    "maxItems",
    "trim",
    "lower",
    "upper",
];

/// What a rule or transform is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Numbers,
    Texts,
    Collections,
}

impl Subject {
    fn includes(self, ty: &Type) -> bool {
        match self {
            Self::Numbers => matches!(leaf(ty), Type::Int | Type::Float),
            Self::Texts => matches!(leaf(ty), Type::String),
            Self::Collections => matches!(ty, Type::Array(_) | Type::Map(_)),
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Self::Numbers => "Int and Float",
            Self::Texts => "String",
            Self::Collections => "arrays and maps",
        }
    }
}

/// The field that attributes stand on.
pub(super) struct Target<'f> {
    pub(super) file: FileId,
    pub(super) field: &'f mut Field,
    /// The type was understood; if not, nothing can be said about what applies to it.
    pub(super) typed: bool,
}

impl Checker<'_> {
    pub(super) fn attributes(&mut self, entry: &Entry, target: &mut Target<'_>) {
        let counting = self.counting(target.file, entry);
        for attribute in &counting {
            if attribute.name.text != "default" {
                self.attribute(attribute, target);
            }
        }
        self.ranges(entry, target);
        // Last, because a default has to satisfy the other attributes.
        for attribute in counting.iter().filter(|attribute| attribute.name.text == "default") {
            if target.typed {
                self.default(target.file, attribute, target.field);
            }
        }
    }

    /// Of repeated attributes the last one counts; a field may have several patterns.
    fn counting<'e>(&mut self, file: FileId, entry: &'e Entry) -> Vec<&'e Attribute> {
        let mut last: HashMap<&str, usize> = HashMap::new();
        for (index, attribute) in entry.attributes.iter().enumerate() {
            let name = attribute.name.text.as_str();
            let known = KNOWN.contains(&name) && name != "pattern";
            let earlier = known.then(|| last.insert(name, index)).flatten();
            if let Some(earlier) = earlier {
                let place = |attribute: &Attribute| Place { file, span: attribute.span };
                let fault = Fault::new(
                    Code::RepeatedAttribute,
                    place(attribute),
                    format!("`{}` has @{name} twice", entry.name.text),
                );
                let fault =
                    fault.label("this one counts").related(place(&entry.attributes[earlier]), "this one is ignored");
                self.report(fault.help("remove one of them"));
            }
        }
        let counts = |(index, attribute): &(usize, &Attribute)| {
            last.get(attribute.name.text.as_str()).is_none_or(|last| last == index)
        };
        entry.attributes.iter().enumerate().filter(counts).map(|(_, attribute)| attribute).collect()
    }

    fn attribute(&mut self, attribute: &Attribute, target: &mut Target<'_>) {
        let file = target.file;
        let name = attribute.name.text.as_str();
        match name {
            "id" => target.field.id = self.no_arguments(file, attribute),
            "auto" => target.field.auto = self.no_arguments(file, attribute),
            "optional" => target.field.optional |= self.no_arguments(file, attribute),
            // On other fields it is a marker of the original that has no effect.
            "unique" => {
                if self.no_arguments(file, attribute) && matches!(target.field.ty, Type::Array(_)) {
                    target.field.rules.push(Rule::Unique);
                }
            }
            "trim" | "lower" | "upper" => {
                let transform = match name {
                    "trim" => Transform::Trim,
                    "lower" => Transform::Lower,
                    _ => Transform::Upper,
                };
                if self.no_arguments(file, attribute) && self.applies(attribute, target, Subject::Texts) {
                    target.field.transforms.push(transform);
                }
            }
            _ => match self.rule(file, attribute) {
                Some((rule, subject)) => {
                    if self.applies(attribute, target, subject) {
                        target.field.rules.push(rule);
                    }
                }
                None if KNOWN.contains(&name) => {}
                None => self.unknown_attribute(file, attribute),
            },
        }
    }

    /// `None` when the attribute is not a rule, or its arguments are wrong and have been reported.
    fn rule(&mut self, file: FileId, attribute: &Attribute) -> Option<(Rule, Subject)> {
        Some(match attribute.name.text.as_str() {
            "min" => (Rule::Min(self.number(file, attribute)?), Subject::Numbers),
            "max" => (Rule::Max(self.number(file, attribute)?), Subject::Numbers),
            "minLength" => (Rule::MinLength(self.natural(file, attribute)?), Subject::Texts),
            "maxLength" => (Rule::MaxLength(self.natural(file, attribute)?), Subject::Texts),
            "minItems" => (Rule::MinItems(self.natural(file, attribute)?), Subject::Collections),
            "maxItems" => (Rule::MaxItems(self.natural(file, attribute)?), Subject::Collections),
            "pattern" => (Rule::Pattern(self.pattern(file, attribute)?), Subject::Texts),
            "email" => (self.no_arguments(file, attribute).then_some(Rule::Email)?, Subject::Texts),
            "url" => (self.no_arguments(file, attribute).then_some(Rule::Url)?, Subject::Texts),
            "uuid" => (self.no_arguments(file, attribute).then_some(Rule::Uuid)?, Subject::Texts),
            _ => return None,
        })
    }

    fn unknown_attribute(&mut self, file: FileId, attribute: &Attribute) {
        let name = &attribute.name.text;
        let place = Place { file, span: attribute.span };
        let fault = Fault::new(Code::UnknownAttribute, place, format!("there is no attribute @{name}; it is ignored"));
        self.report(
            fault.label("ignored").maybe_help(closest(name, KNOWN).map(|name| format!("did you mean @{name}?"))),
        );
    }

    fn applies(&mut self, attribute: &Attribute, target: &Target<'_>, subject: Subject) -> bool {
        let field = &*target.field;
        if !target.typed || subject.includes(&field.ty) {
            return true;
        }
        let name = attribute.name.text.as_str();
        let place = Place { file: target.file, span: attribute.span };
        let message = format!("@{name} applies to {}, but `{}` is {}", subject.describe(), field.name, field.ty);
        let fault = Fault::new(Code::AttributeTarget, place, message).label(format!("not for {}", field.ty));
        self.report(fault.help(instead(name, &field.ty)));
        false
    }

    fn no_arguments(&mut self, file: FileId, attribute: &Attribute) -> bool {
        if attribute.arguments.is_empty() {
            return true;
        }
        let name = &attribute.name.text;
        self.bad_argument(file, attribute, "no argument", &format!("write @{name}"));
        false
    }

    pub(super) fn bad_argument(&mut self, file: FileId, attribute: &Attribute, wanted: &str, help: &str) {
        let place = Place { file, span: attribute.span };
        let message = format!("@{} takes {wanted}", attribute.name.text);
        self.report(Fault::new(Code::AttributeArgument, place, message).help(help));
    }

    fn number(&mut self, file: FileId, attribute: &Attribute) -> Option<f64> {
        let number = match &attribute.arguments[..] {
            [argument] => match &argument.kind {
                ValueKind::Number(text) => text.parse::<f64>().ok().filter(|number| number.is_finite()),
                _ => None,
            },
            _ => None,
        };
        if number.is_none() {
            self.bad_argument(file, attribute, "one number", &format!("for example @{}(0)", attribute.name.text));
        }
        number
    }

    fn natural(&mut self, file: FileId, attribute: &Attribute) -> Option<u64> {
        let count = match &attribute.arguments[..] {
            [argument] => match &argument.kind {
                ValueKind::Number(text) => text.parse().ok(),
                _ => None,
            },
            _ => None,
        };
        if count.is_none() {
            let help = format!("for example @{}(1)", attribute.name.text);
            self.bad_argument(file, attribute, "one whole number that is not negative", &help);
        }
        count
    }

    fn pattern(&mut self, file: FileId, attribute: &Attribute) -> Option<String> {
        let [argument] = &attribute.arguments[..] else {
            self.bad_argument(file, attribute, "one text", "for example @pattern(\"^[a-z]+$\")");
            return None;
        };
        let ValueKind::Text(text) = &argument.kind else {
            self.bad_argument(file, attribute, "one text", "for example @pattern(\"^[a-z]+$\")");
            return None;
        };
        let Err(error) = Regex::new(text) else { return Some(text.clone()) };
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let place = Place { file, span: argument.span };
        let fault = Fault::new(Code::BadPattern, place, format!("the pattern is not a regular expression: {reason}"));
        let help = if text.contains("(?") {
            "look-around and back references are not supported"
        } else {
            "texts have no escapes: `\\d` is written as it is"
        };
        self.report(fault.help(help));
        None
    }

    /// Lower bounds above upper bounds.
    fn ranges(&mut self, entry: &Entry, target: &Target<'_>) {
        for (lower, upper) in [("min", "max"), ("minLength", "maxLength"), ("minItems", "maxItems")] {
            let (Some(min), Some(max)) = (bound(target.field, lower), bound(target.field, upper)) else { continue };
            if min <= max {
                continue;
            }
            let place = |name: &str| {
                let found = entry.attributes.iter().rev().find(|attribute| attribute.name.text == name);
                Place { file: target.file, span: found.map_or(entry.span, |attribute| attribute.span) }
            };
            let name = &target.field.name;
            let message = format!("no value of `{name}` can be valid: @{lower}({min}) is above @{upper}({max})");
            let fault = Fault::new(Code::EmptyRange, place(lower), message);
            self.report(fault.label("lower bound").related(place(upper), "upper bound").help("swap them"));
        }
    }
}

/// The argument of a rule that is a bound.
fn bound(field: &Field, name: &str) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "lengths near 2^53 do not occur")]
    let count = |count: u64| count as f64;
    field.rules.iter().find_map(|rule| match (name, rule) {
        ("min", Rule::Min(bound)) | ("max", Rule::Max(bound)) => Some(*bound),
        ("minLength", Rule::MinLength(bound))
        | ("maxLength", Rule::MaxLength(bound))
        | ("minItems", Rule::MinItems(bound))
        | ("maxItems", Rule::MaxItems(bound)) => Some(count(*bound)),
        _ => None,
    })
}

/// What to write instead of an attribute that does not apply to a type.
fn instead(attribute: &str, ty: &Type) -> String {
    let bound = &attribute[..attribute.len().min(3)];
    let bounds = attribute.starts_with("min") || attribute.starts_with("max");
    match ty {
        Type::Array(_) | Type::Map(_) if bounds => format!("for the number of items write @{bound}Items"),
        Type::String if bounds => format!("for the length of a text write @{bound}Length"),
        Type::Int | Type::Float if bounds => format!("for a number write @{bound}"),
        _ => "remove it".to_owned(),
    }
}
