//! Do `validate` and `fmt` keep their word about schema files?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::process::Output;

use serde_json::Value;

use crate::support::{Project, text};

/// Validates a schema of one file, without a configuration around it.
fn validate(schema: &str) -> Output {
    let project = Project::new();
    fs::remove_file(project.path().join("config/rohas.toml")).unwrap();
    fs::create_dir(project.path().join("schema")).unwrap();
    // Written as it is: line ends and the missing one at the end matter here.
    fs::write(project.path().join("schema/all.ro"), schema).unwrap();
    project.rohas(&["validate"])
}

fn accepts(schema: &str) {
    let output = validate(schema);
    assert_eq!(output.status.code(), Some(0), "{schema}\n{}", text(&output.stderr));
}

fn refuses(schema: &str, complaint: &str) {
    let output = validate(schema);
    assert_eq!(output.status.code(), Some(1), "{schema}");
    let shown = text(&output.stderr);
    assert!(shown.to_lowercase().contains(&complaint.to_lowercase()), "{complaint:?} is not in:\n{shown}");
}

#[test]
fn item_07_a_single_file_is_enough_and_a_directory_without_any_is_not() {
    let project = Project::new()
        .file("schema/api/health.ro", "api Health { method: GET path: \"/health\" response: String }\n")
        .file("empty/readme.txt", "nothing\n");
    let single = project.rohas(&["validate", "schema/api/health.ro"]);
    assert_eq!(single.status.code(), Some(0), "{}", text(&single.stderr));
    assert!(text(&single.stdout).contains("Schema validation passed!"));
    let empty = project.rohas(&["validate", "empty"]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(text(&empty.stderr).contains("No .ro files found"), "{}", text(&empty.stderr));
}

#[test]
fn item_08_a_missing_path_is_named() {
    let output = Project::new().rohas(&["validate", "nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("Schema path not found") && complaint.contains("nowhere"), "{complaint}");
}

#[test]
fn item_18_comments_stand_between_any_tokens_and_line_ends_do_not_matter() {
    accepts("/* a */model/* b */A/* c */{/* d */id/* e */Int/* f */@id/* g */}// end");
    accepts("model A {\r\n  // first\r\n  id Int @id\r\n}\r\n");
    accepts("model A { id Int @id } // at the very end");
    accepts("model A { id Int @id } api B { method: GET path: \"/b\" response: A }");
}

#[test]
fn item_19_methods_are_upper_case_and_known() {
    accepts("api A { method:GET path:\"/a\" response:String }");
    refuses("api A { method: get path: \"/a\" response: String }", "get");
    refuses("api A { method: HEAD path: \"/a\" response: String }", "HEAD");
}

#[test]
fn item_20_what_an_api_or_websocket_lacks_is_named() {
    refuses("api A { path: \"/a\" response: String }", "method");
    refuses("api A { method: GET response: String }", "path");
    refuses("api A { method: GET path: \"/a\" }", "response");
    refuses("ws A { onMessage: [h] }", "path");
}

#[test]
fn item_22_attributes_of_the_original_are_accepted_and_unknown_ones_only_warned_of() {
    accepts(
        "model A { a Int @id @auto @unique  b DateTime @default(now)  c Boolean @default(false) d Int @default(-1) }",
    );
    let output = validate("model A { e String @default(\"x\") @foo @foo() }");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("@foo"), "{}", text(&output.stderr));
}

#[test]
fn item_23_every_type_may_stand_in_every_kind_of_record() {
    let fields =
        "a: Int b: String c: Boolean d: Bool e: Float f: DateTime g: Json h: Custom i: Custom[] j: String[]? k: Int?";
    for record in ["model", "input", "type"] {
        accepts(&format!("model Custom {{ id: Int @id }} {record} A {{ {fields} }}"));
    }
}

#[test]
fn item_25_transports_of_events_are_checked() {
    accepts("event A { payload: String type: sqs }");
    accepts("event A { payload: String type: EventBridge }");
    refuses("event A { payload: String type: pigeon }", "pigeon");
}

#[test]
fn items_27_and_29_keywords_are_field_names_and_handlers_are_optional() {
    accepts("model A { type: String model: String event: String }");
    accepts("event A { payload: String }");
    accepts("cron A { schedule: \"0 0 * * * *\" }");
}

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
