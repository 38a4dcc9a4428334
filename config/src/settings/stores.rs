//! Has every store of the daemon a directory of its own?

use std::path::{Component, Path, PathBuf};

use super::Settings;
use super::layers::{KeyPath, dotted};
use super::reader::Reader;
use super::value::Fault;

/// A directory that a store wants for itself.
struct Store {
    section: KeyPath,
    path: PathBuf,
}

/// Reports stores that would lie in or below each other's directories: each deletes files that it does not know.
pub(super) fn keep_apart(settings: &Settings, reader: &mut Reader) {
    let stores = stores(settings, reader.root());
    for (index, store) in stores.iter().enumerate() {
        let overlaps = |other: &&Store| store.path.starts_with(&other.path) || other.path.starts_with(&store.path);
        if let Some(other) = stores[..index].iter().find(overlaps) {
            report(store, other, reader);
        }
    }
}

/// The section of the telemetry comes first, so that a problem is reported at an adapter, if it can be.
fn stores(settings: &Settings, root: &Path) -> Vec<Store> {
    let section = |parts: &[&str]| parts.iter().map(|&part| part.to_owned()).collect::<KeyPath>();
    let named = settings.adapters.iter().map(|(name, adapter)| (section(&["adapters", name]), adapter));
    let adapters = std::iter::once((section(&["adapter"]), &settings.adapter)).chain(named);
    let adapters =
        adapters.filter_map(|(section, adapter)| Some(Store { section, path: plain(&adapter.directory(root)?) }));
    let telemetry = Store { section: section(&["telemetry"]), path: plain(&settings.telemetry.directory(root)) };
    std::iter::once(telemetry).chain(adapters).collect()
}

fn report(store: &Store, other: &Store, reader: &mut Reader) {
    let (name, others) = (dotted(&store.section), dotted(&other.section));
    let fault = if store.path == other.path {
        Fault::new(format!("[{name}] and [{others}] have the same directory"))
    } else {
        Fault::new(format!("the directories of [{name}] and [{others}] lie one in the other"))
    };
    let own = store.section.last().map_or("events", String::as_str);
    let key = |section: &KeyPath, key: &str| [section.as_slice(), &[key.to_owned()]].concat();
    // An adapter that was chosen has its `type` written somewhere, even where its path is the default.
    let keys = [(&store.section, "path"), (&other.section, "path"), (&store.section, "type")];
    let keys = keys.map(|(section, name)| key(section, name));
    reader
        .refuse_setting(&keys, fault.help(format!("give [{name}] a path of its own, such as \".rohas/events-{own}\"")));
}

/// A path without `.` and `..`; the files need not exist.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}
