//! How does a section become a struct? Each field asks for its key; what nobody asked for is left for `unknown`.

use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::duration;
use super::layers::{Draft, KeyPath, Layers, Leaf, LeafValue, Place, dotted};
use super::origin::Origin;
use super::redact;
use super::reference;
use super::secret::Secret;
use super::size::ByteSize;
use super::url::BrokerUrl;
use super::value::{Fault, Value};

/// Takes values out of the layers and collects every problem on the way.
pub(super) struct Reader {
    root: PathBuf,
    pub(super) layers: Layers,
    /// Keys that were asked for, in that order, and where their values come from.
    pub(super) read: Vec<(KeyPath, Origin)>,
    /// Keys that only other values of a `type` have, each with those values.
    pub(super) foreign: Vec<(KeyPath, Foreign)>,
    /// Places of settings that were read, for problems that concern two of them.
    places: Vec<(KeyPath, Place)>,
    /// What must not be shown, be it a secret or something that may be one.
    pub(super) secrets: Vec<(usize, Range<usize>)>,
}

/// What reading has brought besides the settings.
pub(super) struct Finished {
    pub(super) read: Vec<(KeyPath, Origin)>,
    pub(super) layers: Layers,
}

/// The other values of a `type` that have a key.
#[derive(Debug, Clone)]
pub(super) struct Foreign(pub(super) Vec<&'static str>);

/// A value was wrong; the problem is noted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refused;

/// One section while it is read.
pub(super) struct Section<'r> {
    reader: &'r mut Reader,
    path: KeyPath,
}

impl Reader {
    pub(super) fn new(root: PathBuf, layers: Layers) -> Self {
        Self { root, layers, read: Vec::new(), foreign: Vec::new(), places: Vec::new(), secrets: Vec::new() }
    }

    /// The project's directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
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

    /// A problem with a setting that is wrong only because of another one, at the first of these keys that was written;
    /// every setting that is no default has one.
    pub(super) fn refuse_setting(&mut self, keys: &[KeyPath], fault: Fault) {
        let place = |key: &KeyPath| self.places.iter().find(|(read, _)| read == key).map(|(_, place)| place.clone());
        if let Some(place) = keys.iter().find_map(place) {
            self.draft("settings::contradiction", fault, place.source, place.value);
        }
    }

    /// Reports what nobody asked for and hides what must not be shown.
    pub(super) fn finish(mut self) -> Finished {
        self.report_unknown();
        for (source, span) in std::mem::take(&mut self.secrets) {
            redact::mask(&mut self.layers.sources[source].text, span);
        }
        Finished { read: self.read, layers: self.layers }
    }

    pub(super) fn draft(&mut self, code: &'static str, fault: Fault, source: usize, span: Range<usize>) {
        self.layers.drafts.push(Draft { code, fault, source, span, related: None });
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

    /// The value of a key on which the meaning of others depends.
    pub(super) fn attempt<T: Value>(&mut self, key: &str) -> Result<Option<T>, Refused> {
        let leaf = self.take(key);
        leaf.map(|leaf| self.convert(&leaf, |_| None)).transpose()
    }

    /// Passes over what is left of this section: nobody can say whether it is right.
    pub(super) fn skip_rest(&mut self) {
        let path = self.path.clone();
        let reader = &mut *self.reader;
        reader.layers.tables.retain(|candidate, _| !candidate.starts_with(&path));
        let skipped = reader.layers.leaves.extract_if(.., |candidate, _| candidate.starts_with(&path));
        reader.secrets.extend(skipped.map(|(_, leaf)| (leaf.place.source, leaf.place.value)));
    }

    /// The name of a section that the user has named: `orders` of `[adapters.orders]`.
    pub(super) fn subsection(&self) -> Option<&str> {
        self.path.get(1).map(String::as_str)
    }

    /// A duration that must not be zero.
    pub(super) fn positive(&mut self, key: &str, default: Duration) -> Duration {
        self.optional_positive(key).unwrap_or(default)
    }

    /// The same without a default.
    pub(super) fn optional_positive(&mut self, key: &str) -> Option<Duration> {
        let zero = |duration: &Duration| {
            duration
                .is_zero()
                .then(|| Fault::new("the duration must be longer than zero").help("the shortest is \"1ms\""))
        };
        self.checked(key, zero)
    }

    /// A duration within bounds.
    pub(super) fn between(&mut self, key: &str, default: Duration, bounds: RangeInclusive<Duration>) -> Duration {
        let beyond = |duration: &Duration| {
            let [least, most] = [bounds.start(), bounds.end()].map(|bound| duration::format(*bound));
            let fault = || Fault::new(format!("the duration must be from {least} to {most}"));
            (!bounds.contains(duration)).then(fault)
        };
        self.checked(key, beyond).unwrap_or(default)
    }

    /// A size that must not be above another.
    pub(super) fn at_most(&mut self, key: &str, default: ByteSize, most: ByteSize) -> ByteSize {
        let above = |size: &ByteSize| {
            (*size > most).then(|| {
                Fault::new(format!("{size} is more than `{key}` can be")).help(format!("the most is \"{most}\""))
            })
        };
        self.checked(key, above).unwrap_or(default)
    }

    /// Text that must not be empty.
    pub(super) fn not_empty(&mut self, key: &str, default: String) -> String {
        let empty = |text: &String| {
            text.trim().is_empty().then(|| Fault::new("the text is empty").help("remove the key to have the default"))
        };
        self.checked(key, empty).unwrap_or(default)
    }

    /// Text that names begin with or are: letters, digits and these signs.
    pub(super) fn name_part(&mut self, key: &str, signs: &[u8]) -> Option<String> {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
        let wrong = |text: &String| {
            let signs: Vec<String> = signs.iter().map(|sign| format!("`{}`", char::from(*sign))).collect();
            let help = || format!("use letters, digits and {}", signs.join(", "));
            (text.is_empty() || !text.bytes().all(right))
                .then(|| Fault::new("this cannot be part of a name").help(help()))
        };
        self.checked(key, wrong)
    }

    /// URLs of a broker, each with one of these schemes. What may be a password in them is not shown.
    pub(super) fn url(&mut self, key: &str, default: BrokerUrl, schemes: &[&str]) -> BrokerUrl {
        self.optional_url(key, schemes).unwrap_or(default)
    }

    /// The same without a default.
    pub(super) fn optional_url(&mut self, key: &str, schemes: &[&str]) -> Option<BrokerUrl> {
        let leaf = self.take(key)?;
        if !is_reference(&leaf) {
            self.reader.secrets.push((leaf.place.source, leaf.place.value.clone()));
        }
        self.convert(&leaf, |url: &BrokerUrl| url.fault(schemes)).ok()
    }

    /// A secret: written as it is, or by reference to a file.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let leaf = self.take(key)?;
        let place = leaf.place.clone();
        if !is_reference(&leaf) {
            self.reader.secrets.push((place.source, place.value.clone()));
        }
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
    pub(super) fn foreign(&mut self, key: &str, foreign: Foreign) {
        let path = self.path_of(key);
        self.reader.foreign.push((path, foreign));
    }

    /// Reports one of two keys that was written without the other.
    pub(super) fn together(&mut self, first: &str, second: &str) {
        for (key, other) in [(first, second), (second, first)] {
            if self.is_written(key) && !self.is_written(other) {
                let fault = Fault::new(format!("`{key}` needs `{other}`"));
                self.refuse(&[key], fault.help(format!("set `{other}`, or remove `{key}`")));
            }
        }
    }

    /// Reports keys of which more than one was written.
    pub(super) fn alternatives(&mut self, keys: &[&str]) {
        let written: Vec<&str> = keys.iter().copied().filter(|key| self.is_written(key)).collect();
        if let [first, second, ..] = written[..] {
            let fault = Fault::new(format!("`{first}` and `{second}` exclude each other"));
            self.refuse(&[second], fault.help("keep one of them"));
        }
    }

    /// A problem with a setting that is wrong only because of another one, at the first of these keys that was written.
    pub(super) fn refuse(&mut self, keys: &[&str], fault: Fault) {
        let keys: Vec<KeyPath> = keys.iter().map(|key| self.path_of(key)).collect();
        self.reader.refuse_setting(&keys, fault);
    }

    /// Whether a key that was asked for has a value of the user's, be it right or wrong.
    fn is_written(&self, key: &str) -> bool {
        let path = self.path_of(key);
        self.reader.places.iter().any(|(written, _)| *written == path)
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
        self.convert(&leaf, check).ok()
    }

    fn convert<T: Value>(&mut self, leaf: &Leaf, check: impl Fn(&T) -> Option<Fault>) -> Result<T, Refused> {
        let result = convert::<T>(&leaf.value).and_then(|value| check(&value).map_or(Ok(value), Err));
        result.map_err(|fault| {
            self.reader.draft("settings::value", fault, leaf.place.source, leaf.place.value.clone());
            Refused
        })
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

/// Whether a secret was written as a reference, which may be shown.
fn is_reference(leaf: &Leaf) -> bool {
    match (&leaf.value, &leaf.origin) {
        // Strings of the file become text only by a reference in them.
        (LeafValue::Text(_), Origin::File { .. }) => true,
        (LeafValue::Text(text), _) => text.starts_with(reference::FILE_PREFIX),
        (LeafValue::Toml(value), _) => value.as_str().is_some_and(|text| text.starts_with(reference::FILE_PREFIX)),
    }
}
