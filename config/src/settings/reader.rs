//! How does a section become a struct? Each field asks for its key; what nobody asked for is unknown.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::layers::{Draft, KeyPath, Layers, Leaf, LeafValue, Place, dotted};
use super::origin::Origin;
use super::reference;
use super::secret::Secret;
use super::suggest;
use super::value::{Fault, Value};

/// Takes values out of the layers and collects every problem on the way.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    layers: Layers,
    /// Keys that were asked for, in that order, and where their values come from.
    read: Vec<(KeyPath, Origin)>,
    /// Keys that only other values of a `type` have, each with those values.
    foreign: Vec<(KeyPath, &'static str)>,
    /// Places of settings that were read, for problems that concern two of them.
    places: Vec<(KeyPath, Place)>,
    /// What must not be shown.
    secrets: Vec<(usize, Range<usize>)>,
}

/// What reading has brought besides the settings.
pub(super) struct Finished {
    pub(super) read: Vec<(KeyPath, Origin)>,
    pub(super) layers: Layers,
}

/// One section while it is read.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    path: KeyPath,
}

impl Reader {
    pub(super) fn new(root: PathBuf, layers: Layers) -> Self {
        Self { root, layers, read: Vec::new(), foreign: Vec::new(), places: Vec::new(), secrets: Vec::new() }
    }

    pub(super) fn section(&mut self, name: &str) -> Section<'_> {
        self.nested(&[name])
    }

    pub(super) fn nested(&mut self, path: &[&str]) -> Section<'_> {
        let path: KeyPath = path.iter().map(|&part| part.to_owned()).collect();
        if let Some(leaf) = self.layers.leaves.shift_remove(&path) {
            let name = dotted(&path);
            let fault = Fault::new(format!("`{name}` is a section, not a key")).help(format!("write [{name}]"));
            self.draft("settings::type", fault, leaf.place.source, leaf.place.key);
        }
        self.layers.tables.shift_remove(&path);
        Section { reader: self, path }
    }

    /// Names of the sections below a section: `orders` for `[adapters.orders]`.
    pub(super) fn names_below(&mut self, section: &str) -> Vec<String> {
        let path = vec![section.to_owned()];
        self.layers.tables.shift_remove(&path);
        self.layers.names_below(section)
    }

    /// A problem with the name of a section of the user's.
    pub(super) fn refuse_name(&mut self, path: &[&str], fault: Fault) {
        let path: KeyPath = path.iter().map(|&part| part.to_owned()).collect();
        let below = |candidate: &KeyPath| candidate.starts_with(&path);
        let table = self.layers.tables.iter().find(|(candidate, _)| below(candidate)).map(|(_, place)| place.clone());
        let leaf =
            || self.layers.leaves.iter().find(|(candidate, _)| below(candidate)).map(|(_, leaf)| leaf.place.clone());
        let place = table.or_else(leaf);
        self.layers.leaves.retain(|candidate, _| !below(candidate));
        self.layers.tables.retain(|candidate, _| !below(candidate));
        if let Some(place) = place {
            self.draft("settings::name", fault, place.source, place.key);
        }
    }

    /// Reports what nobody asked for and hides what must not be shown.
    pub(super) fn finish(mut self) -> Finished {
        self.unknown_tables();
        self.unknown_keys();
        self.stray_variables();
        for (source, span) in std::mem::take(&mut self.secrets) {
            mask(&mut self.layers.sources[source].text, span);
        }
        Finished { read: self.read, layers: self.layers }
    }

    fn draft(&mut self, code: &'static str, fault: Fault, source: usize, span: Range<usize>) {
        self.layers.drafts.push(Draft { code, fault, source, span, related: None });
    }

    fn known_sections(&self) -> Vec<String> {
        let mut sections: Vec<String> = Vec::new();
        for (path, _) in &self.read {
            let section = dotted(&path[..path.len() - 1]);
            if !sections.contains(&section) {
                sections.push(section);
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
            let name = dotted(&path);
            let fault = match suggest::nearest(&name, sections.iter().map(String::as_str)) {
                Some(near) => Fault::new(format!("unknown section [{name}]")).help(format!("did you mean [{near}]?")),
                None => Fault::new(format!("unknown section [{name}]"))
                    .help(format!("the sections are {}", bracketed(&sections))),
            };
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
                Some((_, types)) => (
                    "settings::foreign-key",
                    Fault::new(format!("`{}` belongs to the adapter types {types}", dotted(&path)))
                        .help("this version does not have them; remove the key"),
                ),
                None => ("settings::unknown-key", self.unknown_key(&path, &leaf.origin)),
            };
            let Place { source, key, value } = leaf.place;
            // What an unknown key was meant to be is not known either: it may be a secret.
            self.secrets.push((source, value));
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
            None if siblings.is_empty() => {
                fault.help(format!("the sections are {}", bracketed(&self.known_sections())))
            }
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

impl Section<'_> {
    /// The value of a key, or the default.
    pub(super) fn get<T: Value>(&mut self, key: &str, default: T) -> T {
        self.checked(key, |_| None).unwrap_or(default)
    }

    /// The value of a key that may have none.
    pub(super) fn optional<T: Value>(&mut self, key: &str) -> Option<T> {
        self.checked(key, |_| None)
    }

    /// A duration that must not be zero.
    pub(super) fn positive(&mut self, key: &str, default: Duration) -> Duration {
        let zero = |duration: &Duration| {
            duration
                .is_zero()
                .then(|| Fault::new("the duration must be longer than zero").help("the shortest is \"1ms\""))
        };
        self.checked(key, zero).unwrap_or(default)
    }

    /// Text that must not be empty.
    pub(super) fn not_empty(&mut self, key: &str, default: String) -> String {
        let empty = |text: &String| {
            text.trim().is_empty().then(|| Fault::new("the text is empty").help("remove the key to have the default"))
        };
        self.checked(key, empty).unwrap_or(default)
    }

    /// A secret: written as it is, or by reference to a file.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let leaf = self.take(key)?;
        let place = leaf.place.clone();
        self.reader.secrets.push((place.source, place.value.clone()));
        let secret = convert::<String>(&leaf.value).and_then(|text| reference::secret(&text, &self.reader.root));
        match secret {
            Ok(secret) => Some(Secret::new(secret)),
            Err(fault) => {
                self.reader.draft("settings::value", fault, place.source, place.value);
                None
            }
        }
    }

    /// Declares a key that other types of this section have, so that it is refused by name.
    pub(super) fn foreign(&mut self, key: &str, types: &'static str) {
        let path = self.path_of(key);
        self.reader.foreign.push((path, types));
    }

    /// Reports that the value of `smaller` is above that of `larger`, as one problem with two places.
    pub(super) fn contradiction(&mut self, larger: &str, smaller: &str) {
        let place = |key: &str| {
            let path = self.path_of(key);
            self.reader.places.iter().find(|(read, _)| *read == path).map(|(_, place)| place.clone())
        };
        let (larger_place, smaller_place) = (place(larger), place(smaller));
        let fault = Fault::new(format!("`{larger}` is smaller than `{smaller}`"))
            .help(format!("raise `{larger}` or lower `{smaller}`"));
        let Some(main) = larger_place.or_else(|| smaller_place.clone()) else { return };
        let related = smaller_place
            .filter(|other| other.source == main.source && other.value != main.value)
            .map(|other| (other.value, format!("`{smaller}` is set here")));
        self.reader.layers.drafts.push(Draft {
            code: "settings::contradiction",
            fault,
            source: main.source,
            span: main.value,
            related,
        });
    }

    fn checked<T: Value>(&mut self, key: &str, check: impl Fn(&T) -> Option<Fault>) -> Option<T> {
        let leaf = self.take(key)?;
        let place = leaf.place;
        let result = convert::<T>(&leaf.value).and_then(|value| check(&value).map_or(Ok(value), Err));
        match result {
            Ok(value) => Some(value),
            Err(fault) => {
                self.reader.draft("settings::value", fault, place.source, place.value);
                None
            }
        }
    }

    fn take(&mut self, key: &str) -> Option<Leaf> {
        let path = self.path_of(key);
        self.refuse_table(&path);
        let leaf = self.reader.layers.leaves.shift_remove(&path);
        let origin = leaf.as_ref().map_or(Origin::Default, |leaf| leaf.origin.clone());
        self.reader.read.push((path.clone(), origin));
        if let Some(leaf) = &leaf {
            self.reader.places.push((path, leaf.place.clone()));
        }
        leaf
    }

    /// A table where a value belongs: `[server.port]`.
    fn refuse_table(&mut self, path: &[String]) {
        let Some(place) = self.reader.layers.tables.shift_remove(path) else { return };
        self.reader.layers.tables.retain(|candidate, _| !candidate.starts_with(path));
        self.reader.layers.leaves.retain(|candidate, _| !(candidate.len() > path.len() && candidate.starts_with(path)));
        let fault = Fault::new(format!("`{}` is a key, not a section", dotted(path)));
        self.reader.draft("settings::type", fault, place.source, place.key);
    }

    fn path_of(&self, key: &str) -> KeyPath {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }
}

fn convert<T: Value>(value: &LeafValue) -> Result<T, Fault> {
    match value {
        LeafValue::Toml(value) => T::from_toml(value),
        LeafValue::Text(text) => T::from_text(text),
    }
}

/// The environment variable of a setting.
fn variable(section: &[String], key: &str) -> String {
    let parts: Vec<String> = section.iter().map(|part| part.to_uppercase()).collect();
    format!("ROHAS_{}__{}", parts.join("__"), key.to_uppercase())
}

fn bracketed(sections: &[String]) -> String {
    let sections: Vec<String> = sections.iter().map(|section| format!("[{section}]")).collect();
    sections.join(", ")
}

/// Replaces the characters of a span by `*`, so that it has the same length and shows nothing.
fn mask(text: &mut String, span: Range<usize>) {
    if let Some(secret) = text.get(span.clone()) {
        let stars: String =
            secret.bytes().map(|byte| if byte == b'\n' || byte == b'"' { char::from(byte) } else { '*' }).collect();
        text.replace_range(span, &stars);
    }
}
