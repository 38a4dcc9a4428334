//! What do settings files mean, and what is said about wrong ones?
//!
//! Each `settings/valid/*.toml` has beside it what `rohas config show` prints for it, each `settings/invalid/*.toml` the
//! problems that are reported. Comments at the beginning add what does not stand in a file: `# env: NAME=value`,
//! `# flag: --name key=value`. With `ROHAS_BLESS=1` in the environment the expected files are written.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its fixture fails")]

use std::fs;
use std::path::{Path, PathBuf};

use proptest::proptest;
use rohas_config::settings::{
    Adapter, Effective, Error, Loaded, Origin, Overrides, Problems, Settings, json_schema, reference,
};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/settings")
}

fn is_blessing() -> bool {
    std::env::vars().any(|(name, value)| name == "ROHAS_BLESS" && value == "1")
}

#[track_caller]
fn compare(path: &Path, actual: &str) {
    if is_blessing() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(actual, expected, "{} is not current; ROHAS_BLESS=1 writes it", path.display());
}

fn fixtures(kind: &str) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory().join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn load(text: &str) -> Result<Loaded, Problems> {
    let mut overrides = Overrides::default();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        if let Some((name, value)) = line.strip_prefix("# env: ").and_then(|rest| rest.split_once('=')) {
            overrides = overrides.environment([(name.to_owned(), value.to_owned())]);
        }
        if let Some((name, rest)) = line.strip_prefix("# flag: ").and_then(|rest| rest.split_once(' ')) {
            let (key, value) = rest.split_once('=').unwrap();
            overrides = overrides.flag(name, key, value);
        }
    }
    Settings::from_text(&directory().join("project"), Some(text), &overrides)
}

#[test]
fn valid_files_have_the_expected_settings() {
    for path in fixtures("valid") {
        let text = fs::read_to_string(&path).unwrap();
        let loaded =
            load(&text).unwrap_or_else(|problems| panic!("{}:\n{}", path.display(), problems.render(false, 110)));
        compare(&path.with_extension("expected"), &loaded.effective.to_text());
    }
}

#[test]
fn invalid_files_have_the_expected_problems() {
    for path in fixtures("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let problems = load(&text).err().unwrap_or_else(|| panic!("{} has no problem", path.display()));
        let rendered = problems.render(false, 110);
        let lines: Vec<&str> = rendered.lines().map(str::trim_end).collect();
        compare(&path.with_extension("expected"), &format!("{}\n", lines.join("\n").trim_start()));
    }
}

#[test]
fn a_problem_shows_no_secret() {
    for path in fixtures("invalid") {
        let text = fs::read_to_string(&path).unwrap();
        let problems = load(&text).unwrap_err();
        for shown in [
            problems.render(false, 110),
            problems.to_string(),
            format!("{problems:?}"),
            serde_json::to_string(&problems).unwrap(),
        ] {
            assert!(!shown.contains("s3cret"), "{}: {shown}", path.display());
        }
    }
}

#[test]
fn a_problem_as_json_has_its_place_and_remedy() {
    let problems = load("[server]\nprot = 3000\n").unwrap_err();
    assert_eq!(
        serde_json::to_value(&problems).unwrap(),
        serde_json::json!([{
            "code": "settings::unknown-key",
            "severity": "error",
            "message": "unknown key `server.prot`",
            "file": "config/rohas.toml",
            "line": 2,
            "column": 1,
            "span": { "start": 9, "end": 13 },
            "label": null,
            "help": "did you mean `port`?",
            "related": [],
        }])
    );
}

#[test]
fn later_layers_replace_earlier_ones() {
    let root = directory().join("project");
    let origin = |effective: &Effective| {
        let port = effective.as_slice().iter().find(|setting| setting.key == "server.port").unwrap();
        (port.value.clone(), port.origin.clone())
    };
    let variables = [("ROHAS_SERVER__PORT".to_owned(), "2".to_owned())];
    let environment = Overrides::default().environment(variables);
    let flag = environment.clone().flag("--port", "server.port", "3");
    let loaded = |file: Option<&str>, overrides: &Overrides| Settings::from_text(&root, file, overrides).unwrap();
    let file = Some("[server]\nport = 1\n");

    let expected = (3000.into(), Origin::Default);
    assert_eq!(origin(&loaded(None, &Overrides::default()).effective), expected);
    let expected = (1.into(), Origin::File { file: "config/rohas.toml".to_owned(), line: 2, column: 1 });
    assert_eq!(origin(&loaded(file, &Overrides::default()).effective), expected);
    let expected = (2.into(), Origin::Environment { variable: "ROHAS_SERVER__PORT".to_owned() });
    assert_eq!(origin(&loaded(file, &environment).effective), expected);
    let expected = (3.into(), Origin::Flag { flag: "--port".to_owned() });
    assert_eq!(origin(&loaded(file, &flag).effective), expected);
    assert_eq!(loaded(file, &flag).settings.server.port, 3);
}

#[test]
fn without_a_file_the_defaults_hold_and_the_name_is_the_directorys() {
    let loaded = Settings::from_text(&directory().join("project"), None, &Overrides::default()).unwrap();
    assert_eq!(loaded.settings.project.name, "project");
    let mut settings = loaded.settings;
    settings.project.name.clear();
    assert_eq!(settings, Settings::default());
}

#[test]
fn a_directory_without_a_file_is_told_apart_from_a_wrong_file() {
    let root = tempfile::tempdir().unwrap();
    let error = Settings::load(root.path(), &Overrides::default()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }));
    let message = error.to_string();
    assert!(message.contains("config/rohas.toml") && message.contains("rohas init"), "{message}");

    fs::create_dir(root.path().join("config")).unwrap();
    fs::write(root.path().join("config/rohas.toml"), "[server]\nport = 70000\n").unwrap();
    let error = Settings::load(root.path(), &Overrides::default()).unwrap_err();
    assert!(matches!(&error, Error::Invalid(problems) if problems.as_slice().len() == 1), "{error}");

    fs::write(root.path().join("config/rohas.toml"), "[server]\nport = 0\n").unwrap();
    let loaded = Settings::load(root.path(), &Overrides::default()).unwrap();
    assert_eq!(loaded.settings.server.port, 0);
}

#[test]
fn secrets_are_read_and_not_shown() {
    let loaded = load("# env: ROHAS_WORKBENCH_API_KEY=file:secrets/key\n").unwrap();
    let secret = loaded.settings.workbench.api_key.as_ref().unwrap();
    assert_eq!(secret.expose(), "hunter2");
    for shown in [
        format!("{loaded:?}"),
        loaded.effective.to_text(),
        serde_json::to_string(&loaded.effective).unwrap(),
        serde_json::to_string(&loaded.settings).unwrap(),
    ] {
        assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn secrets_of_brokers_are_read_and_not_shown() {
    let text = fs::read_to_string(directory().join("valid/brokers.toml")).unwrap();
    let loaded = load(&text).unwrap();
    let Adapter::Nats(nats) = &loaded.settings.adapter else { panic!("{:?}", loaded.settings.adapter) };
    assert_eq!(nats.url.expose().collect::<Vec<_>>(), ["tls://me:s3cret@nats-1:4222", "tls://nats-2"]);
    let Adapter::Kafka(kafka) = &loaded.settings.adapters["orders"] else { panic!("{:?}", loaded.settings.adapters) };
    assert_eq!(kafka.password.as_ref().unwrap().expose(), "s3cret");
    assert_eq!(kafka.brokers.as_str(), "kafka-1:9092,kafka-2:9093");
    for shown in [
        format!("{loaded:?}"),
        loaded.effective.to_text(),
        serde_json::to_string(&loaded.effective).unwrap(),
        serde_json::to_string(&loaded.settings).unwrap(),
    ] {
        assert!(shown.contains("[redacted]@nats-1") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn the_stores_beside_brokers_have_directories_of_their_own() {
    let text = fs::read_to_string(directory().join("valid/brokers.toml")).unwrap();
    let Settings { adapter, adapters, .. } = load(&text).unwrap().settings;
    let of = |adapter: &Adapter| adapter.directory(Path::new("/shop")).unwrap();
    assert_eq!(of(&adapter), Path::new("/shop/.rohas/events"));
    assert_eq!(of(&adapters["mail"]), Path::new("/shop/.rohas/adapters/mail"));
    assert_eq!(of(&adapters["orders"]), Path::new("/shop/orders"));
    let shared = load("[adapter]\ntype = \"nats\"\n[adapters.a]\ntype = \"rocksdb\"\n").unwrap_err();
    assert!(shared.to_string().contains("have the same directory"), "{shared}");
}

#[test]
fn the_settings_shown_are_a_file_with_the_same_meaning() {
    let text = fs::read_to_string(directory().join("valid/full.toml")).unwrap();
    let first = load(&text).unwrap();
    let shown = first.effective.to_text();
    let second = load(&shown).unwrap();
    assert_eq!(values(&first.effective), values(&second.effective));
}

proptest! {
    #[test]
    fn no_text_makes_reading_or_rendering_fail(text in "\\PC*") {
        survive(&text);
    }

    #[test]
    fn no_damage_to_a_file_makes_reading_or_rendering_fail(at in 0..1200_usize, length in 0..20_usize, new in "[\\[\\]\"'=.{}$ä\n#\u{0}]{0,4}") {
        let mut characters: Vec<char> = fs::read_to_string(directory().join("valid/full.toml")).unwrap().chars().collect();
        let start = at.min(characters.len());
        let end = (start + length).min(characters.len());
        characters.splice(start..end, new.chars());
        survive(&characters.into_iter().collect::<String>());
    }
}

fn survive(text: &str) {
    match Settings::from_text(&directory().join("project"), Some(text), &Overrides::default()) {
        Ok(loaded) => assert!(!loaded.effective.to_text().is_empty()),
        Err(problems) => assert!(!problems.render(false, 110).is_empty() && !problems.to_string().is_empty()),
    }
}

fn values(effective: &Effective) -> Vec<(String, serde_json::Value)> {
    effective.as_slice().iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
}

#[test]
fn the_full_example_sets_every_setting() {
    let text = fs::read_to_string(directory().join("valid/full.toml")).unwrap();
    for setting in load(&text).unwrap().effective.as_slice() {
        assert!(matches!(setting.origin, Origin::File { .. }), "{} is missing", setting.key);
    }
}

#[test]
fn the_reference_and_the_json_schema_are_current() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    compare(&docs.join("settings.md"), &reference());
    let schema = format!("{}\n", serde_json::to_string_pretty(&json_schema()).unwrap());
    compare(&docs.join("settings.schema.json"), &schema);
}

#[test]
fn the_json_schema_knows_the_keys_that_are_read() {
    let schema = json_schema();
    for setting in load("").unwrap().effective.as_slice() {
        let (section, key) = setting.key.split_once('.').unwrap();
        let mut name = section[..1].to_uppercase();
        name.push_str(&section[1..]);
        let definition = &schema["$defs"][&name];
        let all = definition.to_string() + &schema["$defs"]["Memory"].to_string();
        assert!(all.contains(&format!("\"{key}\":")), "{} is not in the schema", setting.key);
    }
}
