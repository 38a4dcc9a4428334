//! What was written that nobody asked for, and what was probably meant?

use super::layers::{KeyPath, Leaf, Place, dotted};
use super::origin::Origin;
use super::reader::{Foreign, Reader};
use super::redact;
use super::suggest;
use super::value::Fault;

impl Reader {
    /// Reports every section, key and variable that is left over.
    pub(super) fn report_unknown(&mut self) {
        self.unknown_tables();
        self.unknown_keys();
        self.stray_variables();
    }

    fn known_sections(&self) -> Vec<KeyPath> {
        let mut sections: Vec<KeyPath> = Vec::new();
        for (path, _) in &self.read {
            let section = &path[..path.len() - 1];
            if !sections.iter().any(|known| known == section) {
                sections.push(section.to_vec());
            }
        }
        sections
    }

    fn unknown_tables(&mut self) {
        let sections = self.known_sections();
        let mut reported: Vec<KeyPath> = Vec::new();
        for (path, place) in std::mem::take(&mut self.layers.tables) {
            if reported.iter().any(|outer| path.starts_with(outer)) {
                continue;
            }
            let fault = unknown_section(&path, &sections);
            self.draft("settings::unknown-section", fault, place.source, place.key);
            // One problem for the section is enough: its keys are as unknown as it is.
            let inside: Vec<Leaf> = self
                .layers
                .leaves
                .extract_if(.., |candidate, leaf| candidate.starts_with(&path) && leaf.place.source == place.source)
                .map(|(_, leaf)| leaf)
                .collect();
            self.secrets.extend(inside.into_iter().map(|leaf| (leaf.place.source, leaf.place.value)));
            reported.push(path);
        }
    }

    fn unknown_keys(&mut self) {
        for (path, leaf) in std::mem::take(&mut self.layers.leaves) {
            let foreign = self.foreign.iter().find(|(candidate, _)| *candidate == path);
            let (code, fault) = match foreign {
                Some((_, foreign)) => ("settings::foreign-key", foreign_key(&path, foreign)),
                None => ("settings::unknown-key", self.unknown_key(&path, &leaf.origin)),
            };
            let Place { source, key, value } = leaf.place;
            if foreign.is_none() || path.last().is_some_and(|key| redact::may_be_secret(key)) {
                // What an unknown key was meant to be is not known either: it may be a secret.
                self.secrets.push((source, value));
            }
            self.draft(code, fault, source, key);
        }
    }

    fn unknown_key(&self, path: &[String], origin: &Origin) -> Fault {
        let (section, key) = path.split_at(path.len() - 1);
        let siblings: Vec<&str> = self
            .read
            .iter()
            .filter(|(known, _)| known.len() == path.len() && known.starts_with(section))
            .filter_map(|(known, _)| known.last().map(String::as_str))
            .collect();
        let fault = Fault::new(match origin {
            Origin::Environment { variable } => format!("{variable} names the unknown setting `{}`", dotted(path)),
            _ => format!("unknown key `{}`", dotted(path)),
        });
        if let Some(near) = suggest::nearest(&key[0], siblings.iter().copied()) {
            return fault.help(match origin {
                Origin::Environment { .. } => format!("did you mean {}?", variable(section, near)),
                Origin::Default | Origin::File { .. } => format!("did you mean `{near}`?"),
                Origin::Flag { .. } => format!("did you mean `{}`?", dotted(&[section, &[near.to_owned()]].concat())),
            });
        }
        let elsewhere = self.read.iter().find(|(known, _)| known.last() == key.last());
        match elsewhere {
            Some((known, _)) => fault.help(format!("`{}` is a key of [{}]", key[0], dotted(&known[..known.len() - 1]))),
            None if siblings.is_empty() => fault.help(all_sections(&self.known_sections())),
            None => fault.help(format!("the keys of [{}] are {}", dotted(section), siblings.join(", "))),
        }
    }

    /// `ROHAS_SERVER_PORT` is a slip for `ROHAS_SERVER__PORT`; other variables of this prefix are not ours.
    fn stray_variables(&mut self) {
        for (name, place) in std::mem::take(&mut self.layers.strays) {
            let meant = self
                .read
                .iter()
                .map(|(path, _)| variable(&path[..path.len() - 1], &path[path.len() - 1]))
                .find(|variable| variable.replace("__", "_") == name);
            if let Some(meant) = meant {
                let fault = Fault::new(format!("{name} is not a setting")).help(format!("did you mean {meant}?"));
                self.secrets.push((place.source, place.value));
                self.draft("settings::unknown-key", fault, place.source, place.key);
            }
        }
    }
}

fn foreign_key(path: &[String], Foreign(types): &Foreign) -> Fault {
    let key = dotted(path);
    match types.split_last() {
        Some((last, others)) if !others.is_empty() => {
            Fault::new(format!("`{key}` belongs to the adapter types {} and {last}", others.join(", ")))
                .help("set one of these types, or remove the key")
        }
        only => {
            let name = only.map_or("", |(name, _)| name);
            Fault::new(format!("`{key}` belongs to the adapter type {name}"))
                .help(format!("set `type = \"{name}\"`, or remove the key"))
        }
    }
}

fn unknown_section(path: &[String], sections: &[KeyPath]) -> Fault {
    let name = dotted(path);
    let fault = Fault::new(format!("unknown section [{name}]"));
    if let Some(outer) = sections.iter().find(|section| path.starts_with(section)) {
        return fault.help(format!("[{}] has no sections", dotted(outer)));
    }
    let names: Vec<String> = sections.iter().map(|section| dotted(section)).collect();
    match suggest::nearest(&name, names.iter().map(String::as_str)) {
        Some(near) => fault.help(format!("did you mean [{near}]?")),
        None => fault.help(all_sections(sections)),
    }
}

fn all_sections(sections: &[KeyPath]) -> String {
    let own = sections.iter().filter(|section| section.len() == 1).map(|section| format!("[{}]", dotted(section)));
    let names: Vec<String> = own.chain(["[adapters.NAME]".to_owned()]).collect();
    format!("the sections are {}", names.join(", "))
}

/// The environment variable of a setting.
fn variable(section: &[String], key: &str) -> String {
    let parts: Vec<String> = section.iter().map(|part| part.to_uppercase()).collect();
    format!("ROHAS_{}__{}", parts.join("__"), key.to_uppercase())
}
