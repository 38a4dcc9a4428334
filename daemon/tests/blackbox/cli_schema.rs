//! Do `validate` and `fmt` keep their word about schema files?

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::Value;

use crate::support::{Project, text};

#[test]
fn all_faults_are_told_at_once_with_file_line_and_remedy() {
    let project = Project::new()
        .file("schema/a.ro", "model User { id: Int }\nmodel A { x: Usr }\n")
        .file("schema/b.ro", "model B { y: Strin }\n");
    let output = project.rohas(&["validate"]);
    assert_eq!(output.status.code(), Some(1));
    let shown = text(&output.stderr);
    assert!(shown.contains("schema/a.ro") && shown.contains("schema/b.ro"), "{shown}");
    assert!(shown.contains("User") && shown.contains("2 errors"), "{shown}");
    assert!(output.stdout.is_empty());
}

#[test]
fn findings_are_json_for_programs() {
    let project = Project::new().file("schema/a.ro", "model A { x: Usr }\n");
    for arguments in [&["validate", "--format", "json"][..], &["validate", "--json"]] {
        let output = project.rohas(arguments);
        assert_eq!(output.status.code(), Some(1));
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(findings.len(), 1);
        assert!(findings[0].to_string().contains("schema/a.ro"), "{}", findings[0]);
    }
    project.write("schema/a.ro", "model A { x: Int }\n");
    assert_eq!(text(&project.rohas(&["validate", "--json"]).stdout), "[]\n");
}

#[test]
fn warnings_are_no_failure_unless_strict() {
    let project = Project::new().file("schema/a.ro", "event A { payload: String handler: [missing_one] }\n");
    let lenient = project.rohas(&["validate"]);
    assert_eq!(lenient.status.code(), Some(0));
    assert!(text(&lenient.stderr).contains("missing_one"), "{}", text(&lenient.stderr));
    let strict = project.rohas(&["validate", "--strict"]);
    assert_eq!(strict.status.code(), Some(1));
}

#[test]
fn fmt_is_idempotent_keeps_comments_and_checks_without_writing() {
    let untidy = "// kept\nmodel   A{id:Int @id\n/* too */ name:String}\n";
    let project = Project::new().file("schema/a.ro", untidy);
    let path = project.path().join("schema/a.ro");
    let check = project.rohas(&["fmt", "--check"]);
    assert_eq!(check.status.code(), Some(1));
    assert!(text(&check.stdout).contains("schema/a.ro") && text(&check.stderr).contains("rohas fmt"), "{check:?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), untidy);

    assert_eq!(project.rohas(&["fmt"]).status.code(), Some(0));
    let tidy = fs::read_to_string(&path).unwrap();
    assert!(tidy.contains("kept") && tidy.contains("too") && tidy.contains("model A {"), "{tidy}");
    let again = project.rohas(&["fmt"]);
    assert_eq!((again.status.code(), text(&again.stdout)), (Some(0), String::new()));
    assert_eq!(fs::read_to_string(&path).unwrap(), tidy);
    assert_eq!(project.rohas(&["fmt", "--check"]).status.code(), Some(0));
}

#[test]
fn fmt_formats_what_it_can_and_leaves_broken_files() {
    let project = Project::new().file("schema/good.ro", "model  A{id:Int}\n").file("schema/bad.ro", "model {\n");
    let output = project.rohas(&["fmt"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("schema/bad.ro"), "{}", text(&output.stderr));
    assert_eq!(fs::read_to_string(project.path().join("schema/bad.ro")).unwrap(), "model {\n");
    assert!(fs::read_to_string(project.path().join("schema/good.ro")).unwrap().contains("model A {"));
}

#[test]
fn fmt_replaces_a_file_as_a_whole_with_its_permissions_and_through_links() {
    let untidy = "model  A{id:Int}\n";
    let project = Project::new().file("shared/a.ro", untidy).file("schema/b.ro", "model B {\n  id Int\n}\n");
    let (target, link) = (project.path().join("shared/a.ro"), project.path().join("schema/a.ro"));
    symlink("../shared/a.ro", &link).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
    let mut opened = File::open(&target).unwrap();
    assert_eq!(project.rohas(&["fmt"]).status.code(), Some(0));
    let mut seen = String::new();
    opened.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, untidy, "a reader sees the text that it opened");
    assert!(fs::read_to_string(&target).unwrap().contains("model A {"));
    assert_eq!(target.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(link.is_symlink());
    for folder in ["shared", "schema"] {
        let names = fs::read_dir(project.path().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.map(|name| name.into_string().unwrap()).all(|name| name.len() == 4), "left behind in {folder}");
    }
}
