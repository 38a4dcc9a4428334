//! What does the checker say about whole files? Fixtures with the expected findings beside them.
//!
//! `ROHAS_BLESS=1 cargo test -p rohas-config --test schema` writes what is said now; read the difference before
//! committing it.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture fails")]

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use rohas_config::schema::{self, Checked, Code, Context, Sources, diagnostic::render, format::format};
use serde_json::Value;

fn fixtures(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(directory);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "ro")).collect();
    files.sort();
    files
}

fn context() -> Context {
    Context { adapters: Some(vec!["orders".to_owned(), "audit".to_owned()]), ..Context::default() }
}

fn check(path: &Path) -> Checked {
    let sources = Sources::read(path.parent().unwrap(), path).unwrap();
    schema::check(&sources, &context())
}

/// Compares with the file beside the fixture, or writes it.
#[expect(clippy::disallowed_methods, reason = "a switch of the test, not a setting")]
fn differs(fixture: &Path, kind: &str, actual: &str) -> Option<String> {
    let path = fixture.with_extension(kind);
    let expected = if path.exists() { fs::read_to_string(&path).unwrap() } else { String::new() };
    if expected == actual || !env::var("ROHAS_BLESS").is_ok_and(|value| value == "1") {
        return (expected != actual)
            .then(|| format!("--- {} says\n{expected}\n--- but it is\n{actual}", path.display()));
    }
    if actual.is_empty() {
        fs::remove_file(&path).unwrap();
    } else {
        fs::write(&path, actual).unwrap();
    }
    None
}

fn assert_none(differences: &[String]) {
    assert!(differences.is_empty(), "{}\nROHAS_BLESS=1 accepts this", differences.join("\n"));
}

#[test]
fn every_invalid_file_is_answered_with_its_diagnostics() {
    let mut differences = Vec::new();
    let files = fixtures("invalid");
    assert!(files.len() >= 40, "only {} fixtures", files.len());
    for path in files {
        let checked = check(&path);
        assert!(checked.schema.is_none(), "{} was accepted", path.display());
        differences.extend(differs(&path, "stderr", &render(&checked.diagnostics, false)));
    }
    assert_none(&differences);
}

#[test]
fn every_valid_file_becomes_its_schema() {
    let mut differences = Vec::new();
    for path in fixtures("valid") {
        let checked = check(&path);
        let findings = render(&checked.diagnostics, false);
        let Some(schema) = checked.schema else {
            differences.push(format!("{} is refused:\n{findings}", path.display()));
            continue;
        };
        let json = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        differences.extend(differs(&path, "json", &json));
        differences.extend(differs(&path, "stderr", &findings));
    }
    assert_none(&differences);
}

/// A schema without the places of its declarations.
fn meaning(checked: &Checked) -> Value {
    fn forget_places(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.shift_remove("location");
                object.values_mut().for_each(forget_places);
            }
            Value::Array(items) => items.iter_mut().for_each(forget_places),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(checked.schema.as_ref().unwrap()).unwrap();
    forget_places(&mut value);
    value
}

#[test]
fn formatting_changes_no_schema() {
    let mut differences = Vec::new();
    for path in fixtures("valid") {
        let formatted = format("a.ro", &fs::read_to_string(&path).unwrap()).unwrap();
        differences.extend(differs(&path, "formatted", &formatted));
        let directory = tempfile::tempdir().unwrap();
        let copy = directory.path().join("a.ro");
        fs::write(&copy, &formatted).unwrap();
        fs::create_dir(directory.path().join("shared")).unwrap();
        let shared = path.with_file_name("shared").join("money.ro");
        fs::copy(shared, directory.path().join("shared/money.ro")).unwrap();
        assert_eq!(meaning(&check(&path)), meaning(&check(&copy)), "{}", path.display());
    }
    assert_none(&differences);
}

#[test]
fn every_code_can_be_explained_and_is_shown_by_a_fixture_or_a_test() {
    let directories = ["invalid", "valid"].map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name));
    let files = directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    let shown: String = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "stderr"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    // These need a project or a large file; the tests of `handlers` and `project` show them.
    let elsewhere = [Code::MissingHandler, Code::UnreachableHandler, Code::TooManyErrors, Code::KeywordModule];
    for code in Code::ALL {
        assert!(code.explanation().ends_with('.'), "{code}");
        assert!(elsewhere.contains(code) || shown.contains(&format!("{code}\n")), "{code} is not shown");
    }
}
