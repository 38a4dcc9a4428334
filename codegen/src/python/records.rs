//! Which modules do models, types, inputs and enumerations become?

use rohas_config::schema::Schema;
use rohas_config::schema::model::{Enum, Record};

use super::fields;
use super::layout::{Layout, Module, references};
use super::literal;
use super::names;
use super::render::{self, Body, Class};
use super::scope::Scope;
use crate::file::File;
use crate::tree::GENERATED;

/// Names that `generated` itself offers or that are its modules: a record of that name is imported from its own module.
const TAKEN_IN_PACKAGE: [&str; 12] = [
    "State",
    "TriggeredEvent",
    "api",
    "cron",
    "dto",
    "errors",
    "events",
    "models",
    "responses",
    "runtime",
    "state",
    "websockets",
];

/// All modules below `models` and `dto`, and `generated/__init__.py`.
pub(super) fn files(schema: &Schema, layout: &Layout) -> Vec<File> {
    let defining = layout.modules().into_iter().map(|(module, names)| defining_module(schema, layout, module, &names));
    let aliases = layout.aliases.iter().map(|(module, names)| alias_module(schema, layout, module, names));
    defining.chain(aliases).chain([package(layout)]).collect()
}

fn defining_module(schema: &Schema, layout: &Layout, module: &Module, names: &[&str]) -> File {
    let mut scope = Scope::new(layout, module.clone(), names.iter().map(|name| names::class(name)));
    let enums = names.iter().filter_map(|name| schema.enums.get(*name));
    let records: Vec<&Record> = names.iter().filter_map(|name| schema.records.get(*name)).collect();
    let mut body = Body { parts: enums.map(|declared| enumeration(declared, &mut scope)).collect(), ..Body::default() };
    body.parts.extend(records.iter().map(|record| class(record, &mut scope)));
    let is_self_contained = records
        .iter()
        .all(|record| references(record).iter().all(|name| *name == record.name || !names.contains(name)));
    if !is_self_contained || !scope.aliases().1.is_empty() {
        // Pydantic couldn't resolve names that come later in the module.
        body.last = records.iter().map(|record| format!("{}.model_rebuild()", names::class(&record.name))).collect();
    }
    render::module(module, &scope, &body)
}

/// A module for those who look for a type among the models, or for a model among the types.
fn alias_module(schema: &Schema, layout: &Layout, module: &Module, names: &[String]) -> File {
    let mut scope = Scope::new(layout, module.clone(), []);
    for name in names {
        scope.declared(name);
        for nested in schema.records.get(name).into_iter().flat_map(references) {
            scope.declared(nested);
        }
    }
    render::module(module, &scope, &Body::default())
}

fn enumeration(declared: &Enum, scope: &mut Scope<'_>) -> String {
    scope.package("enum", "Enum");
    let names = names::enum_members(declared.variants.iter().map(|variant| variant.name.as_str()));
    let mut members = Vec::new();
    for (variant, member) in declared.variants.iter().zip(names) {
        members.extend(variant.doc.iter().flat_map(|doc| doc.lines()).map(|line| format!("#: {}", line.trim())));
        let comment = if names::hides_str_method(&member) { "  # type: ignore[assignment]" } else { "" };
        members.push(format!("{member} = {}{comment}", literal::text(&variant.name)));
    }
    render::enumeration(&names::class(&declared.name), declared.doc.as_deref().unwrap_or_default(), members)
}

fn class(record: &Record, scope: &mut Scope<'_>) -> String {
    render::class(&Class {
        name: names::class(&record.name),
        base: scope.runtime("Record"),
        doc: record.doc.clone().unwrap_or_default(),
        fields: fields::lines(record, scope),
        ..Class::default()
    })
}

/// `generated/__init__.py`: everything that is declared, at one place.
fn package(layout: &Layout) -> File {
    let mut imports = vec!["from .state import State, TriggeredEvent".to_owned()];
    let mut exports = vec!["State".to_owned(), "TriggeredEvent".to_owned()];
    for (module, names) in layout.modules() {
        let classes =
            names.iter().map(|name| names::class(name)).filter(|name| !TAKEN_IN_PACKAGE.contains(&name.as_str()));
        let classes: Vec<String> = classes.collect();
        if !classes.is_empty() {
            imports.push(format!("from .{}.{} import {}", module.folder.as_str(), module.name, classes.join(", ")));
        }
        exports.extend(classes);
    }
    imports.sort();
    exports.sort();
    let header = render::header();
    let doc = "\"\"\"The schema of this project as Python classes.\"\"\"";
    let exports = render::list(exports.iter().map(String::as_str));
    let text = format!("{header}\n{doc}\n\n{}\n\n__all__ = {exports}\n", imports.join("\n"));
    File::generated(format!("{GENERATED}/__init__.py"), text)
}
