//! Which properties does a declaration give?

use std::collections::HashMap;

use super::{Checker, Decl};
use crate::schema::{
    diagnostic::{Code, Fault},
    source::Place,
    suggest::did_you_mean,
    syntax::Entry,
};

/// The properties of one declaration, or the members of one object value; of repeated ones the last.
pub(super) struct Properties<'e> {
    entries: HashMap<&'e str, &'e Entry>,
}

impl<'e> Properties<'e> {
    pub(super) fn get(&self, name: &str) -> Option<&'e Entry> {
        self.entries.get(name).copied()
    }
}

impl Checker<'_> {
    /// Sorts the lines of a block by name, and reports names that are not among the known ones.
    pub(super) fn properties<'e>(&mut self, decl: Decl<'_>, entries: &'e [Entry], known: &[&str]) -> Properties<'e> {
        let mut found: HashMap<&str, &Entry> = HashMap::new();
        for entry in entries {
            let name = entry.name.text.as_str();
            self.no_attributes(decl, entry, "property");
            if !known.contains(&name) {
                self.unknown_property(decl, entry, known);
                continue;
            }
            if let Some(earlier) = found.insert(name, entry) {
                let message = format!("{} has `{name}` twice", decl.describe());
                let fault = Fault::new(Code::RepeatedProperty, decl.place(entry.name.span), message);
                let fault =
                    fault.label("this one counts").related(decl.place(earlier.name.span), "this one is ignored");
                self.report(fault.help("remove one of them"));
            }
        }
        Properties { entries: found }
    }

    fn unknown_property(&mut self, decl: Decl<'_>, entry: &Entry, known: &[&str]) {
        let name = &entry.name.text;
        let message = format!("{} has no property `{name}`", decl.describe());
        let help =
            did_you_mean(name, known.iter().copied()).unwrap_or_else(|| format!("known are {}", known.join(", ")));
        self.report(
            Fault::new(Code::UnknownProperty, decl.place(entry.name.span), message).label("unknown").help(help),
        );
    }

    pub(super) fn missing(&mut self, decl: Decl<'_>, property: &str, example: &str) {
        let message = format!("{} has no `{property}`", decl.describe());
        let fault = Fault::new(Code::MissingProperty, decl.name_place(), message);
        self.report(fault.label(format!("`{property}` is missing")).help(format!("add `{property}: {example}`")));
    }

    /// The value of a property is not what it must be.
    pub(super) fn bad_value(&mut self, decl: Decl<'_>, entry: &Entry, wanted: &str) {
        let (place, found) = match &entry.value {
            Some(value) => (decl.place(value.span), value.describe()),
            None => (decl.place(entry.name.span), "nothing"),
        };
        let message = format!("`{}` of {} must be {wanted}, not {found}", entry.name.text, decl.describe());
        self.report(Fault::new(Code::BadValue, place, message).label(format!("must be {wanted}")));
    }

    /// The value of a property is of the right kind and still wrong.
    pub(super) fn bad_value_because(&mut self, place: Place, message: String, help: &str) {
        self.report(Fault::new(Code::BadValue, place, message).help(help));
    }
}
