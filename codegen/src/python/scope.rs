//! What does a module import, and how does it spell a type?
//!
//! Modules are imported whole (`datetime.datetime`), so that no record can hide what the module needs. Inside a class a field hides everything of its name;
//! whatever is hidden there is used through an alias with an underscore.

use std::collections::{BTreeMap, BTreeSet};

use rohas_config::schema::model::Type;

use super::layout::{Layout, Module};
use super::names;

/// The names one module uses. Rendering a class tells it what the class needs.
pub(super) struct Scope<'a> {
    layout: &'a Layout,
    module: Module,
    /// Classes the module defines.
    own: BTreeSet<String>,
    /// Attributes of the class that is being rendered.
    hidden: BTreeSet<String>,
    /// Whole modules of the standard library and pydantic.
    packages: BTreeSet<&'static str>,
    needs_runtime: bool,
    /// Modules with declarations, and what is taken from them: name and, if it is taken already, the name used here.
    declared: BTreeMap<Module, BTreeMap<String, String>>,
    /// Names that are hidden somewhere in the module.
    aliases: BTreeSet<String>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(layout: &'a Layout, module: Module, own: impl IntoIterator<Item = String>) -> Self {
        Self {
            layout,
            module,
            own: own.into_iter().collect(),
            hidden: BTreeSet::new(),
            packages: BTreeSet::new(),
            needs_runtime: false,
            declared: BTreeMap::new(),
            aliases: BTreeSet::new(),
        }
    }

    /// Enters a class body with these attributes.
    pub(super) fn enter(&mut self, attributes: impl IntoIterator<Item = String>) {
        self.hidden = attributes.into_iter().collect();
    }

    /// Leaves the class body.
    pub(super) fn leave(&mut self) {
        self.hidden.clear();
    }

    /// A member of a module of the standard library, or of pydantic.
    pub(super) fn package(&mut self, package: &'static str, member: &str) -> String {
        self.packages.insert(package);
        format!("{}.{member}", self.visible(package))
    }

    /// A member of `generated.runtime`.
    pub(super) fn runtime(&mut self, member: &str) -> String {
        self.needs_runtime = true;
        format!("{}.{member}", self.visible("runtime"))
    }

    /// A record or enumeration.
    pub(super) fn declared(&mut self, name: &str) -> String {
        let class = names::class(name);
        let home = self.layout.home(name).filter(|home| **home != self.module);
        let Some(home) = home else { return self.visible(&class) };
        let local = if self.own.contains(&class) { format!("_{class}") } else { class.clone() };
        self.declared.entry(home.clone()).or_default().insert(class, local.clone());
        self.visible(&local)
    }

    /// A type as an annotation.
    pub(super) fn ty(&mut self, ty: &Type) -> String {
        match ty {
            Type::Int => self.visible("int"),
            Type::Float => self.visible("float"),
            Type::String => self.visible("str"),
            Type::Boolean => self.visible("bool"),
            Type::DateTime => self.package("datetime", "datetime"),
            Type::Json => self.package("typing", "Any"),
            Type::Bytes => self.runtime("Bytes"),
            Type::Enum(name) | Type::Record(name) => self.declared(name),
            Type::Array(item) => format!("{}[{}]", self.visible("list"), self.ty(item)),
            Type::Map(item) => format!("{}[{}, {}]", self.visible("dict"), self.visible("str"), self.ty(item)),
        }
    }

    /// A name of the module as it can be used in the current class body.
    pub(super) fn visible(&mut self, name: &str) -> String {
        if !self.hidden.contains(name) {
            return name.to_owned();
        }
        self.aliases.insert(name.to_owned());
        format!("_{name}")
    }

    /// The import lines in groups: packages of the standard library, others, the generated package.
    pub(super) fn imports(&self) -> Vec<Vec<String>> {
        let import = |package: &&'static str| format!("import {package}");
        let standard = self.packages.iter().filter(|package| **package != "pydantic").map(import).collect();
        let others = self.packages.iter().filter(|package| **package == "pydantic").map(import).collect();
        let mut groups = vec![standard, others, self.generated_imports()];
        groups.retain(|group: &Vec<String>| !group.is_empty());
        groups
    }

    /// Lines that give hidden names a second one. The module's own classes exist only after the classes.
    pub(super) fn aliases(&self) -> (Vec<String>, Vec<String>) {
        let line = |name: &String| format!("_{name} = {name}");
        let (own, imported): (Vec<&String>, Vec<&String>) =
            self.aliases.iter().partition(|name| self.own.contains(*name));
        (imported.into_iter().map(line).collect(), own.into_iter().map(line).collect())
    }

    /// What can be imported from the module: its classes, and the records and enumerations they name.
    pub(super) fn exports(&self) -> BTreeSet<String> {
        let imported =
            self.declared.values().flatten().filter(|(class, local)| class == local).map(|(class, _)| class.clone());
        self.own.iter().cloned().chain(imported).collect()
    }

    fn generated_imports(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.needs_runtime {
            lines.push("from .. import runtime".to_owned());
        }
        let (near, far): (Vec<_>, Vec<_>) =
            self.declared.iter().partition(|(module, _)| module.folder == self.module.folder);
        for (module, classes) in far.into_iter().chain(near) {
            let classes: Vec<String> = classes
                .iter()
                .map(|(class, local)| if class == local { class.clone() } else { format!("{class} as {local}") })
                .collect();
            lines.push(format!("from {} import {}", self.relative(module), classes.join(", ")));
        }
        lines
    }

    fn relative(&self, module: &Module) -> String {
        if module.folder == self.module.folder {
            return format!(".{}", module.name);
        }
        format!("..{}.{}", module.folder.as_str(), module.name)
    }
}
