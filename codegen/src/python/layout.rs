//! In which module does each record and enumeration live?
//!
//! One declaration, one module, below `models` (models and enumerations) or `dto` (types and inputs). Modules whose declarations need each other in a circle
//! are merged into the first of them, so that no import is circular whatever the schema looks like; the others only re-export.

use std::collections::BTreeSet;

use indexmap::{IndexMap, IndexSet};
use rohas_config::schema::Schema;
use rohas_config::schema::model::{Record, RecordKind, Type};

use super::names;

/// A folder of the generated package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Folder {
    Models,
    Dto,
    Api,
    Events,
    Cron,
    Websockets,
}

impl Folder {
    pub(super) const ALL: [Self; 6] = [Self::Models, Self::Dto, Self::Api, Self::Events, Self::Cron, Self::Websockets];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Dto => "dto",
            Self::Api => "api",
            Self::Events => "events",
            Self::Cron => "cron",
            Self::Websockets => "websockets",
        }
    }
}

/// A module of the generated package.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Module {
    pub(super) folder: Folder,
    pub(super) name: String,
}

impl Module {
    pub(super) fn new(folder: Folder, declaration: &str) -> Self {
        Self { folder, name: names::module(declaration) }
    }

    pub(super) fn path(&self) -> String {
        format!("src/generated/{}/{}.py", self.folder.as_str(), self.name)
    }
}

/// Where every record and enumeration lives.
pub(super) struct Layout {
    /// Module that defines each declaration.
    homes: IndexMap<String, Module>,
    /// Modules under which a user may look for declarations that live elsewhere.
    pub(super) aliases: IndexMap<Module, Vec<String>>,
}

impl Layout {
    pub(super) fn new(schema: &Schema) -> Self {
        let natural = natural_modules(schema);
        let merged = merge_circles(schema, &natural);
        let homes: IndexMap<String, Module> =
            natural.iter().map(|(name, module)| (name.clone(), merged[module].clone())).collect();
        let defining: BTreeSet<&Module> = homes.values().collect();
        let mut aliases: IndexMap<Module, Vec<String>> = IndexMap::new();
        for name in homes.keys() {
            for folder in [Folder::Models, Folder::Dto] {
                let module = Module::new(folder, name);
                if !defining.contains(&module) {
                    aliases.entry(module).or_default().push(name.clone());
                }
            }
        }
        Self { homes, aliases }
    }

    /// The module that defines a record or enumeration.
    pub(super) fn home(&self, name: &str) -> Option<&Module> {
        self.homes.get(name)
    }

    /// All defining modules with what they define, in the order of the schema.
    pub(super) fn modules(&self) -> IndexMap<&Module, Vec<&str>> {
        let mut modules: IndexMap<&Module, Vec<&str>> = IndexMap::new();
        for (name, module) in &self.homes {
            modules.entry(module).or_default().push(name);
        }
        modules
    }
}

/// The records and enumerations that a record's fields name.
pub(super) fn references(record: &Record) -> IndexSet<&str> {
    record.fields.values().filter_map(|field| named(&field.ty)).collect()
}

/// The record or enumeration at the bottom of a type.
pub(super) fn named(ty: &Type) -> Option<&str> {
    match ty {
        Type::Enum(name) | Type::Record(name) => Some(name),
        Type::Array(item) | Type::Map(item) => named(item),
        _ => None,
    }
}

fn natural_modules(schema: &Schema) -> IndexMap<String, Module> {
    let enums = schema.enums.keys().map(|name| (name.clone(), Module::new(Folder::Models, name)));
    let records = schema.records.values().map(|record| {
        let folder = if record.kind == RecordKind::Model { Folder::Models } else { Folder::Dto };
        (record.name.clone(), Module::new(folder, &record.name))
    });
    enums.chain(records).collect()
}

/// For each module the one that takes over its declarations: the first module of its circle.
fn merge_circles(schema: &Schema, natural: &IndexMap<String, Module>) -> IndexMap<Module, Module> {
    let mut edges: IndexMap<&Module, IndexSet<&Module>> =
        natural.values().map(|module| (module, IndexSet::new())).collect();
    for record in schema.records.values() {
        let needed = references(record).into_iter().filter_map(|name| natural.get(name));
        edges.entry(&natural[&record.name]).or_default().extend(needed);
    }
    let reachable: IndexMap<&Module, IndexSet<&Module>> =
        edges.keys().map(|module| (*module, reachable_from(module, &edges))).collect();
    let head = |module: &Module| {
        let in_circle = |other: &Module| reachable[module].contains(other) && reachable[other].contains(module);
        let first = edges.keys().find(|other| **other == module || in_circle(other));
        first.map_or_else(|| module.clone(), |first| (*first).clone())
    };
    edges.keys().map(|module| ((*module).clone(), head(module))).collect()
}

fn reachable_from<'a>(start: &'a Module, edges: &IndexMap<&'a Module, IndexSet<&'a Module>>) -> IndexSet<&'a Module> {
    let mut reached = IndexSet::new();
    let mut open = vec![start];
    while let Some(module) = open.pop() {
        let fresh = edges[module].iter().copied().filter(|next| reached.insert(*next));
        open.extend(fresh);
    }
    reached
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;
    use rohas_config::schema::model::{Field, Location};

    use super::*;

    /// Records by name and kind, with the records that their fields name.
    fn layout(records: &[(&str, RecordKind, &[&str])]) -> Layout {
        let mut schema = Schema::default();
        for (name, kind, needed) in records {
            let field = |needed: &&str| (format!("to_{needed}"), field(needed));
            let fields: IndexMap<String, Field> = needed.iter().map(field).collect();
            let record =
                Record { name: (*name).to_owned(), kind: *kind, doc: None, fields, location: Location::default() };
            schema.records.insert(record.name.clone(), record);
        }
        Layout::new(&schema)
    }

    fn field(needed: &str) -> Field {
        Field {
            name: format!("to_{needed}"),
            doc: None,
            ty: Type::Array(Box::new(Type::Record(needed.to_owned()))),
            optional: false,
            default: None,
            transforms: Vec::new(),
            rules: Vec::new(),
            id: false,
            auto: false,
            location: Location::default(),
        }
    }

    fn home(layout: &Layout, name: &str) -> String {
        layout.home(name).map(Module::path).unwrap()
    }

    #[test]
    fn models_and_types_have_modules_of_their_own_and_aliases_beside_each_other() {
        let layout = layout(&[("User", RecordKind::Model, &["Mail"]), ("Mail", RecordKind::Type, &[])]);
        assert_eq!(home(&layout, "User"), "src/generated/models/user.py");
        assert_eq!(home(&layout, "Mail"), "src/generated/dto/mail.py");
        let aliases: Vec<String> = layout.aliases.keys().map(Module::path).collect();
        assert_eq!(aliases, ["src/generated/dto/user.py", "src/generated/models/mail.py"]);
    }

    #[test]
    fn a_circle_lives_in_its_first_module() {
        let layout = layout(&[
            ("Outside", RecordKind::Model, &["B"]),
            ("A", RecordKind::Type, &["B"]),
            ("B", RecordKind::Model, &["C", "Leaf"]),
            ("C", RecordKind::Model, &["A"]),
            ("Leaf", RecordKind::Model, &["Leaf"]),
        ]);
        for name in ["A", "B", "C"] {
            assert_eq!(home(&layout, name), "src/generated/dto/a.py");
        }
        assert_eq!(home(&layout, "Outside"), "src/generated/models/outside.py");
        assert_eq!(home(&layout, "Leaf"), "src/generated/models/leaf.py");
    }

    #[test]
    fn names_that_give_one_module_share_it() {
        let layout = layout(&[("userName", RecordKind::Model, &[]), ("UserName", RecordKind::Model, &[])]);
        assert_eq!(home(&layout, "userName"), home(&layout, "UserName"));
        assert_eq!(layout.modules().len(), 1);
    }
}
