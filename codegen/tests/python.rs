//! Do the generated package, its stubs and handlers that use it work in every Python of this machine and pass `mypy --strict`?

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rohas_codegen::sync;
use tempfile::TempDir;

#[test]
fn stubs_and_handlers_pass_mypy_strict() {
    let project = project();
    let python = pythons().last().unwrap();
    let source = project.path().join("src");
    let mut mypy = Command::new(python);
    mypy.args([
        "-m",
        "mypy",
        "--strict",
        "--explicit-package-bases",
        "--no-incremental",
        "--enable-error-code",
        "deprecated",
    ]);
    // Python can't import a module of this name, and neither does rohas: it loads handlers by their files.
    mypy.args(["--exclude", "events/import", "."]);
    succeeds(mypy.current_dir(source));
}

#[test]
fn the_package_works_in_every_python() {
    let project = project();
    for python in pythons() {
        let mut test = Command::new(python);
        test.args(["-W", "error", "-B"]).arg(fixture().join("behaviour.py")).current_dir(project.path().join("src"));
        succeeds(&mut test);
    }
}

#[test]
fn handlers_of_the_examples_pass_mypy_strict() {
    let python = pythons().last().unwrap();
    for example in ["hello-world", "shop"] {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
        let project = TempDir::new().unwrap();
        copy(&example, project.path());
        let sources = rohas_config::schema::load(project.path(), &project.path().join("schema")).unwrap();
        sync(project.path(), &support::files_of(&sources)).unwrap();
        let mut mypy = Command::new(python);
        mypy.args(["-m", "mypy", "--strict", "--explicit-package-bases", "--no-incremental", "."]);
        succeeds(mypy.current_dir(project.path().join("src")));
    }
}

/// A project with everything generated, stubs included, and the fixture's handlers beside the stubs.
fn project() -> TempDir {
    let folder = TempDir::new().unwrap();
    sync(folder.path(), &support::files(include_str!("fixture/shop.ro"))).unwrap();
    copy(&fixture().join("handlers"), &folder.path().join("src/written"));
    folder
}

/// Where a schema with everything in it lies, and handlers for it.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixture")
}

/// The interpreters of this machine, with pydantic and mypy; made by `scripts/test-venvs` once.
fn pythons() -> &'static [PathBuf] {
    // Tests run side by side and must not make the same environment twice.
    static PYTHONS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PYTHONS.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-venvs");
        let output = Command::new(&script).output().unwrap();
        assert!(output.status.success(), "{} failed:\n{}", script.display(), String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().map(PathBuf::from).collect()
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        // An example may have been run; what that left behind isn't part of it.
        if [".rohas", ".venv", "generated", "__pycache__"].iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}{error}");
}
