//! Does every declaration have a name of its own, also after it became a file's name?

use std::collections::HashMap;

use super::{Checker, Decl, types::BUILTIN};
use crate::{
    project::Language,
    schema::{
        diagnostic::{Code, Fault},
        model::snake_case,
        source::{FileId, Place},
        syntax::{File, Item, Keyword, Name},
    },
};

/// Words that can't be the name of a module in an import statement.
const PYTHON_KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

impl<'a> Checker<'a> {
    pub(super) fn collect_names(&mut self, files: &'a [(FileId, File)]) {
        let mut modules: HashMap<(&'static str, String), Decl<'a>> = HashMap::new();
        for (file, tree) in files {
            for item in &tree.items {
                let Item::Declaration(node) = item else { continue };
                let decl = Decl { file: *file, node };
                self.name(&node.name, decl.name_place());
                if let Some(first) = self.names.get(decl.name()).copied() {
                    self.duplicate_name(decl, first);
                    continue;
                }
                self.names.insert(decl.name(), decl);
                self.module(decl, &mut modules);
                self.special_names(decl);
            }
        }
    }

    /// A name starts with a letter. Other characters than letters, digits and underscores were reported when parsing.
    pub(super) fn name(&mut self, name: &Name, place: Place) {
        if !name.text.starts_with('_') {
            return;
        }
        let better = name.text.trim_start_matches(|first: char| !first.is_ascii_alphabetic());
        let fault =
            Fault::new(Code::BadName, place, format!("`{}` is not a name: it starts with an underscore", name.text));
        let help = if better.is_empty() { "names start with a letter".to_owned() } else { format!("write `{better}`") };
        self.report(fault.help(help));
    }

    fn duplicate_name(&mut self, decl: Decl<'_>, first: Decl<'_>) {
        let message = format!("the name `{}` is declared twice", decl.name());
        let fault = Fault::new(Code::DuplicateName, decl.name_place(), message);
        let help = "enums, models, types, inputs, apis, events, crons and ws share one namespace; rename one of them";
        let first_is = format!("first declared here, as {}", article(first.node.keyword));
        self.report(fault.label("declared again").related(first.name_place(), first_is).help(help));
    }

    /// Names that differ only in case would be written into the same generated file.
    fn module(&mut self, decl: Decl<'a>, modules: &mut HashMap<(&'static str, String), Decl<'a>>) {
        let folder = match decl.node.keyword {
            Keyword::Enum | Keyword::Model | Keyword::Type | Keyword::Input => "types",
            other => other.as_str(),
        };
        let module = snake_case(decl.name());
        if let Some(first) = modules.insert((folder, module.clone()), decl) {
            let message = format!("`{}` and `{}` would both be generated as `{module}`", first.name(), decl.name());
            let fault = Fault::new(Code::FileCollision, decl.name_place(), message);
            self.report(fault.related(first.name_place(), "the other one").help("rename one of them"));
        }
    }

    fn special_names(&mut self, decl: Decl<'_>) {
        let is_type = matches!(decl.node.keyword, Keyword::Enum | Keyword::Model | Keyword::Type | Keyword::Input);
        if is_type && BUILTIN.iter().any(|(name, _)| *name == decl.name()) {
            let message = format!(
                "`{}` is a built-in type: fields of this type will not mean this {}",
                decl.name(),
                decl.node.keyword.as_str()
            );
            self.report(Fault::new(Code::ShadowedType, decl.name_place(), message).help("choose another name"));
        }
        let module = snake_case(decl.name());
        let python = self.context.language == Some(Language::Python);
        if python && (PYTHON_KEYWORDS.contains(&module.as_str()) || PYTHON_KEYWORDS.contains(&decl.name())) {
            let message = format!(
                "`{module}` is a Python keyword: no import statement can name the module of {}",
                decl.describe()
            );
            self.report(Fault::new(Code::KeywordModule, decl.name_place(), message).help("choose another name"));
        }
    }
}

fn article(keyword: Keyword) -> String {
    let word = keyword.as_str();
    let article = if word.starts_with(['a', 'e', 'i']) { "an" } else { "a" };
    format!("{article} {word}")
}
