//! How does a module become text? The shape of modules, classes and enumerations stands here and nowhere else.

use super::layout::{Folder, Module};
use super::literal;
use super::scope::Scope;
use crate::file::File;
use crate::tree::{GENERATED, MARKER};

/// A class of a generated module.
#[derive(Debug, Default)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) base: String,
    pub(super) doc: String,
    /// Assignments before the fields.
    pub(super) constants: Vec<String>,
    /// Fields, each of one or more lines.
    pub(super) fields: Vec<String>,
    /// A constructor that is declared for type checkers only.
    pub(super) init: Option<Init>,
}

/// The parameters of a constructor, and `typing` as it is visible in the class.
#[derive(Debug)]
pub(super) struct Init {
    pub(super) typing: String,
    pub(super) parameters: Vec<String>,
}

/// What stands below a module's imports.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) doc: String,
    /// Classes and assignments, in order.
    pub(super) parts: Vec<String>,
    /// Statements after everything else.
    pub(super) last: Vec<String>,
}

/// A whole module.
pub(super) fn module(module: &Module, scope: &Scope<'_>, body: &Body) -> File {
    let mut head = header();
    if !body.doc.is_empty() {
        head.push('\n');
        head.push_str(&literal::docstring(&body.doc, ""));
        head.push('\n');
    }
    head.push_str("\nfrom __future__ import annotations\n");
    for group in scope.imports() {
        head.push_str(&format!("\n{}\n", group.join("\n")));
    }
    let exports = scope.exports();
    head.push_str(&format!("\n__all__ = {}\n", list(exports.iter().map(String::as_str))));
    let (aliases, own_aliases) = scope.aliases();
    if !aliases.is_empty() {
        head.push_str(&format!("\n{}\n", aliases.join("\n")));
    }
    let last: Vec<String> = own_aliases.into_iter().chain(body.last.iter().cloned()).collect();
    let last = (!last.is_empty()).then(|| last.join("\n"));
    let parts: Vec<&str> =
        [head.trim_end()].into_iter().chain(body.parts.iter().map(String::as_str)).chain(last.as_deref()).collect();
    File::generated(module.path(), parts.join("\n\n\n") + "\n")
}

/// A class.
pub(super) fn class(class: &Class) -> String {
    let mut blocks: Vec<Vec<String>> = Vec::new();
    if !class.doc.is_empty() {
        blocks.push(vec![literal::docstring(&class.doc, "")]);
    }
    blocks.extend([class.constants.clone(), class.fields.clone()].into_iter().filter(|block| !block.is_empty()));
    if let Some(Init { typing, parameters }) = &class.init {
        let parameters = parameters.join(",\n        ");
        blocks.push(vec![format!(
            "if {typing}.TYPE_CHECKING:\n\n    def __init__(\n        self,\n        *,\n        {parameters},\n    ) -> None: ..."
        )]);
    }
    if blocks.is_empty() {
        blocks.push(vec!["pass".to_owned()]);
    }
    block(&format!("class {}({}):", class.name, class.base), &blocks)
}

/// An enumeration whose members are the lines given, comments included.
pub(super) fn enumeration(name: &str, doc: &str, members: Vec<String>) -> String {
    let mut blocks = vec![members, vec!["def __str__(self) -> str:\n    return str.__str__(self)".to_owned()]];
    if !doc.is_empty() {
        blocks.insert(0, vec![literal::docstring(doc, "")]);
    }
    block(&format!("class {name}(str, enum.Enum):"), &blocks)
}

/// Modules that don't depend on the schema.
pub(super) fn fixed_files() -> Vec<File> {
    let fixed = [
        ("errors.py", include_str!("templates/errors.py")),
        ("responses.py", include_str!("templates/responses.py")),
        ("runtime.py", include_str!("templates/runtime.py")),
        ("state.py", include_str!("templates/state.py")),
    ];
    let fixed =
        fixed.map(|(name, text)| File::generated(format!("{GENERATED}/{name}"), format!("{}\n{text}", header())));
    let packages = Folder::ALL.map(|folder| {
        File::generated(format!("{GENERATED}/{}/__init__.py", folder.as_str()), format!("{}\n", header()))
    });
    fixed.into_iter().chain(packages).collect()
}

/// First line of each generated file.
pub(super) fn header() -> String {
    format!("# {MARKER} from the schema; changes to this file are lost.")
}

/// A list of texts, on one line if it is short.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.into_iter().map(literal::text).collect();
    let joined = names.join(", ");
    if joined.len() <= 90 { format!("[{joined}]") } else { format!("[\n    {},\n]", names.join(",\n    ")) }
}

/// A head and indented blocks with empty lines between them.
fn block(head: &str, blocks: &[Vec<String>]) -> String {
    let blocks: Vec<String> = blocks.iter().map(|lines| lines.join("\n")).collect();
    let mut text = head.to_owned();
    for line in blocks.join("\n\n").lines() {
        text.push('\n');
        if !line.is_empty() {
            text.push_str("    ");
            text.push_str(line);
        }
    }
    text
}
