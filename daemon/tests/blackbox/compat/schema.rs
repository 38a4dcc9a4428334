//! Does the schema language accept what the original's documentation shows, and find what it did not?

use std::fs;
use std::process::Output;

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
fn item_24_middlewares_are_named_with_and_without_quotes() {
    let schema = "api A { method: GET path: \"/a\" response: String middlewares: [auth, \"rate_limit\"] }";
    let output = Project::new().file("schema/a.ro", schema).rohas(&["validate"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    for name in ["auth", "rate_limit"] {
        assert!(text(&output.stderr).contains(&format!("the middleware `{name}` has no file")), "{output:?}");
    }
}

#[test]
fn item_25_transports_of_events_are_checked() {
    accepts("event A { payload: String type: sqs }");
    accepts("event A { payload: String type: EventBridge }");
    refuses("event A { payload: String type: pigeon }", "pigeon");
}

#[test]
fn item_27_29_keywords_are_field_names_and_handlers_are_optional() {
    accepts("model A { type: String model: String event: String }");
    accepts("event A { payload: String }");
    accepts("cron A { schedule: \"0 0 * * * *\" }");
}

#[test]
fn defect_20_references_and_duplicates_of_every_kind_are_checked_and_inline_types_accepted() {
    refuses("api A { method: GET path: \"/a\" response: Nope }", "there is no type `Nope`");
    refuses("event A { payload: Nope }", "there is no type `Nope`");
    refuses("api A { method: GET path: \"/a\" response: String triggers: [Never] }", "there is no event `Never`");
    refuses("ws A { path: \"/a\" message: Nope onMessage: [h] }", "there is no type `Nope`");
    refuses("input A { x: Int } input A { y: Int }", "`A` is declared twice");
    let cron = "cron A { schedule: \"0 0 * * * *\" }";
    refuses(&format!("{cron} {cron}"), "`A` is declared twice");
    accepts("api A { method: GET path: \"/a\" response: { ok: Boolean } }");
}
