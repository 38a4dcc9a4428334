//! Does the tree on the disk become what it should be, and does what is the user's stay as it is?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rohas_codegen::{Changes, Stale, StaleReason, check, sync};
use tempfile::TempDir;

const MODEL: &str = "model User { name String }";

fn synced(schema: &str) -> TempDir {
    let root = TempDir::new().unwrap();
    sync(root.path(), &support::files(schema)).unwrap();
    root
}

fn modified(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        times.insert(path.clone(), fs::symlink_metadata(&path).unwrap().modified().unwrap());
        if path.is_dir() {
            times.extend(modified(&path));
        }
    }
    times
}

#[test]
fn a_second_run_touches_nothing() {
    let root = synced(MODEL);
    let before = modified(root.path());
    let changes = sync(root.path(), &support::files(MODEL)).unwrap();
    assert!(changes.is_empty());
    assert_eq!(changes.unchanged, support::files(MODEL).len());
    assert_eq!(modified(root.path()), before);
}

#[test]
fn an_edited_generated_file_is_restored_and_only_it_is_written() {
    let root = synced(MODEL);
    let user = root.path().join("src/generated/models/user.py");
    let good = fs::read_to_string(&user).unwrap();
    fs::write(&user, "# edited\n").unwrap();
    let changes = sync(root.path(), &support::files(MODEL)).unwrap();
    assert_eq!(changes.written, [PathBuf::from("src/generated/models/user.py")]);
    assert_eq!(fs::read_to_string(&user).unwrap(), good);
}

#[test]
fn files_of_the_user_are_never_overwritten() {
    let schema = r#"api Health { method: GET path: "/health" response: String middlewares: [auth] }"#;
    let root = synced(schema);
    let users = [
        "src/handlers/api/health.py",
        "src/middlewares/auth.py",
        "requirements.txt",
        "pyproject.toml",
        ".gitignore",
        ".editorconfig",
    ];
    for path in users {
        fs::write(root.path().join(path), "mine\n").unwrap();
    }
    assert!(sync(root.path(), &support::files(schema)).unwrap().is_empty());
    for path in users {
        assert_eq!(fs::read_to_string(root.path().join(path)).unwrap(), "mine\n", "{path}");
    }
}

#[test]
fn a_handler_at_another_accepted_place_gets_no_stub() {
    let root = TempDir::new().unwrap();
    fs::create_dir_all(root.path().join("src/handlers/cron")).unwrap();
    fs::write(root.path().join("src/handlers/health.py"), "").unwrap();
    fs::write(root.path().join("src/handlers/cron/Nightly.py"), "").unwrap();
    let schema =
        r#"api Health { method: GET path: "/health" response: String } cron Nightly { schedule: "0 2 * * *" }"#;
    sync(root.path(), &support::files(schema)).unwrap();
    assert!(!root.path().join("src/handlers/api/health.py").exists());
    assert!(!root.path().join("src/handlers/cron/nightly.py").exists());
}

#[test]
fn a_project_with_its_own_pyproject_gets_no_requirements() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("pyproject.toml"), "[project]\n").unwrap();
    sync(root.path(), &support::files(MODEL)).unwrap();
    assert!(!root.path().join("requirements.txt").exists());
    assert_eq!(fs::read_to_string(synced(MODEL).path().join("requirements.txt")).unwrap(), "pydantic>=2\n");
}

#[test]
fn what_leaves_the_schema_leaves_generated_only() {
    let schema = r#"api Health { method: GET path: "/health" response: String }"#;
    let root = synced(&format!("{MODEL} {schema}"));
    let compiled = root.path().join("src/generated/api/__pycache__");
    fs::create_dir(&compiled).unwrap();
    fs::write(compiled.join("health.cpython-311.pyc"), "").unwrap();
    let changes = sync(root.path(), &support::files(MODEL)).unwrap();
    assert_eq!(changes.removed, [PathBuf::from("src/generated/api/health.py")]);
    assert!(root.path().join("src/handlers/api/health.py").exists());
}

#[test]
fn a_foreign_file_in_generated_is_reported_and_kept() {
    let root = synced(MODEL);
    let foreign = root.path().join("src/generated/models/mine.py");
    fs::write(&foreign, "VALUE = 1\n").unwrap();
    let changes = sync(root.path(), &support::files(MODEL)).unwrap();
    assert_eq!(changes.foreign, [PathBuf::from("src/generated/models/mine.py")]);
    assert_eq!(fs::read_to_string(&foreign).unwrap(), "VALUE = 1\n");
    assert_eq!(check(root.path(), &support::files(MODEL)).unwrap(), []);
}

#[test]
fn left_overs_of_an_interrupted_write_are_swept() {
    let root = synced(MODEL);
    fs::write(root.path().join("src/generated/models/.rohas-tmp-1-user.py"), "class Us").unwrap();
    let changes = sync(root.path(), &support::files(MODEL)).unwrap();
    assert_eq!(changes.removed, [PathBuf::from("src/generated/models/.rohas-tmp-1-user.py")]);
}

#[test]
fn an_empty_folder_goes_with_its_last_file() {
    let root = synced(MODEL);
    let folder = root.path().join("src/generated/older");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(root.path().join("src/generated/models/user.py"), folder.join("user.py")).unwrap();
    sync(root.path(), &support::files(MODEL)).unwrap();
    assert!(!folder.exists());
}

#[test]
fn check_names_what_is_missing_outdated_and_superfluous() {
    let root = synced("model User { name String } model Old { x Int }");
    let wanted = support::files("model User { name String age Int? } model New { x Int }");
    let stale = check(root.path(), &wanted).unwrap();
    let reasons: BTreeMap<&str, StaleReason> =
        stale.iter().map(|Stale { path, reason }| (path.to_str().unwrap(), *reason)).collect();
    assert_eq!(reasons["src/generated/models/new.py"], StaleReason::Missing);
    assert_eq!(reasons["src/generated/models/user.py"], StaleReason::Outdated);
    assert_eq!(reasons["src/generated/models/old.py"], StaleReason::Superfluous);
    sync(root.path(), &wanted).unwrap();
    assert_eq!(check(root.path(), &wanted).unwrap(), []);
}

#[test]
fn check_finds_everything_missing_where_nothing_was_generated() {
    let root = TempDir::new().unwrap();
    let stale = check(root.path(), &support::files(MODEL)).unwrap();
    assert!(!stale.is_empty() && stale.iter().all(|stale| stale.reason == StaleReason::Missing));
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn a_file_where_a_folder_belongs_is_an_error_that_names_it() {
    let root = TempDir::new().unwrap();
    fs::write(root.path().join("src"), "").unwrap();
    let error = sync(root.path(), &support::files(MODEL)).unwrap_err();
    assert!(error.to_string().contains("src/generated"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_to_elsewhere_is_replaced_and_its_target_kept() {
    let root = synced(MODEL);
    let outside = root.path().join("outside.py");
    fs::write(&outside, "mine\n").unwrap();
    let link = root.path().join("src/generated/models/user.py");
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let Changes { written, .. } = sync(root.path(), &support::files(MODEL)).unwrap();
    assert_eq!(written, [PathBuf::from("src/generated/models/user.py")]);
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine\n");
}
