//! Is the generated package, file by file, what we last looked at and found good?
//!
//! After a change on purpose run the tests with `ROHAS_BLESS=1` and read the difference.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rohas_codegen::{Policy, sync};

const SHOP: &str = include_str!("fixture/shop.ro");

/// They are templates without blanks, so they would only stand in the repository twice.
const FIXED: [&str; 4] =
    ["src/generated/errors.py", "src/generated/responses.py", "src/generated/runtime.py", "src/generated/state.py"];

#[test]
fn a_schema_with_everything_gives_the_expected_tree() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files = support::files(SHOP);
    files.retain(|file| !FIXED.contains(&file.path.as_str()));
    for file in &mut files {
        // As itself the .gitignore would hide half of the expected tree from git.
        file.path = file.path.strip_prefix('.').map_or_else(|| file.path.clone(), |name| format!("dot-{name}"));
    }
    if is_blessed() {
        if golden.exists() {
            fs::remove_dir_all(&golden).unwrap();
        }
        sync(&golden, &files).unwrap();
    }
    let expected: BTreeMap<String, String> = tree(&golden, &golden);
    for file in &files {
        let expected = expected.get(&file.path).map(String::as_str);
        assert_eq!(expected, Some(file.content.as_str()), "{} differs; see the head of this test", file.path);
    }
    assert_eq!(expected.len(), files.len(), "more files in {} than are generated", golden.display());
}

#[test]
fn the_same_schema_gives_the_same_files() {
    assert_eq!(support::files(SHOP), support::files(SHOP));
}

#[test]
fn no_two_files_have_one_path() {
    let files = support::files(SHOP);
    let paths: BTreeMap<&str, &Policy> = files.iter().map(|file| (file.path.as_str(), &file.policy)).collect();
    assert_eq!(paths.len(), files.len());
}

fn tree(root: &Path, folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(tree(root, &path));
        } else {
            let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(relative, fs::read_to_string(&path).unwrap());
        }
    }
    files
}

#[expect(clippy::disallowed_methods, reason = "a switch for whoever runs the tests, not a setting")]
fn is_blessed() -> bool {
    std::env::var_os("ROHAS_BLESS").is_some()
}
