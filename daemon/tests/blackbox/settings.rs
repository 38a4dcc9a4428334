//! Do settings hold as they are layered, and are wrong ones named?

use serde_json::Value;

use crate::support::{Project, text};

fn project() -> Project {
    Project::new().file("schema/a.ro", "event A { payload: String }\n")
}

#[test]
fn each_setting_is_shown_with_its_origin_and_secrets_are_not() {
    let project =
        project().file("config/rohas.toml", "[project]\nname = \"x\"\n[workbench]\napi_key = \"hush-hush\"\n");
    let output = project.command(&["config", "show"]).env("ROHAS_SERVER__PORT", "1234").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let shown = text(&output.stdout);
    let line = |key: &str| shown.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    assert!(line("port = 1234").contains("ROHAS_SERVER__PORT"), "{shown}");
    assert!(line("name = \"x\"").contains("config/rohas.toml:2"), "{shown}");
    assert!(line("host = ").contains("# default"), "{shown}");
    assert!(!shown.contains("hush-hush"), "{shown}");
    let json = text(&project.rohas(&["config", "show", "--json"]).stdout);
    assert!(!json.contains("hush-hush"), "{json}");
    serde_json::from_str::<Value>(&json).unwrap();
}

#[test]
fn the_schema_of_the_settings_is_json() {
    let output = project().rohas(&["config", "schema"]);
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["properties"]["server"].is_object(), "{schema}");
}

#[test]
fn an_unknown_setting_is_named_wherever_it_stands() {
    let project = project();
    let output = project.command(&["dev"]).env("ROHAS_SERVER__PROT", "1").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("ROHAS_SERVER__PROT"), "{complaint}");
    project.write("config/rohas.toml", "[server]\nprot = 1\n");
    let output = project.rohas(&["dev"]);
    assert_eq!(output.status.code(), Some(3));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("prot") && complaint.contains("port"), "{complaint}");
}
