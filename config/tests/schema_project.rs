//! What does the checker say about a project's handler files?

#![expect(clippy::unwrap_used, reason = "a test that cannot make its project fails")]

use std::{fs, path::Path};

use rohas_config::{
    project::{HandlerKind, Language, afters, handlers, resolve},
    schema::{self, Checked, Code, Context},
};

const SCHEMA: &str = r#"
api CreateUser { method: POST path: "/users" response: Json middlewares: [auth, rateLimit] }
api Auth { method: GET path: "/auth" response: Json }
event UserCreated { payload: Json handler: [send_mail, audit] }
event UserGone { payload: Json handler: [audit] }
cron DailyCleanup { schedule: "0 2 * * *" }
ws Live { path: "/live" onConnect: [greet] onMessage: [greet, echoBack] middlewares: [auth] }
"#;

fn project(files: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("schema/a.ro", SCHEMA);
    files.iter().for_each(|name| write(name, ""));
    directory
}

fn check(root: &Path, strict: bool) -> Checked {
    let sources = schema::load(root, &root.join("schema")).unwrap();
    let context = Context { root: Some(root.to_owned()), language: Some(Language::Python), adapters: None, strict };
    schema::check(&sources, &context)
}

const ALL: [&str; 10] = [
    "src/handlers/api/create_user.py",
    "src/handlers/api/auth.py",
    "src/handlers/events/send_mail.py",
    "src/handlers/events/audit.py",
    "src/handlers/cron/daily_cleanup.py",
    "src/handlers/websockets/greet.py",
    "src/handlers/websockets/echo_back.py",
    "src/middlewares/auth.py",
    "src/middlewares/rate_limit.py",
    "src/handlers/api/__init__.py",
];

#[test]
fn a_complete_project_has_no_findings() {
    let project = project(&ALL);
    let checked = check(project.path(), true);
    assert!(checked.schema.is_some());
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
}

#[test]
fn every_handler_is_listed_once_per_owner_with_its_file_and_functions() {
    let project = project(&ALL);
    let schema = check(project.path(), true).schema.unwrap();
    let found: Vec<String> = handlers(&schema, Language::Python)
        .iter()
        .map(|handler| {
            let file = resolve(project.path(), handler).unwrap();
            format!("{} {} {} {}", handler.kind.as_str(), handler.owner, file.display(), handler.functions.join("|"))
        })
        .collect();
    let expected = [
        "api CreateUser src/handlers/api/create_user.py handle_create_user",
        "api Auth src/handlers/api/auth.py handle_auth",
        "event UserCreated src/handlers/events/send_mail.py handle_send_mail|send_mail",
        "event UserCreated src/handlers/events/audit.py handle_audit|audit",
        "event UserGone src/handlers/events/audit.py handle_audit|audit",
        "cron DailyCleanup src/handlers/cron/daily_cleanup.py handle_daily_cleanup",
        "ws Live src/handlers/websockets/greet.py handle_greet|greet",
        "ws Live src/handlers/websockets/echo_back.py handle_echo_back|handle_echoBack|echoBack|echo_back",
        "middleware auth src/middlewares/auth.py auth_middleware",
        "middleware rateLimit src/middlewares/rate_limit.py rate_limit_middleware",
    ];
    assert_eq!(found, expected);
}

#[test]
fn other_directories_are_looked_at_unless_the_file_belongs_to_another_handler() {
    let without_api_auth: Vec<&str> = ALL.into_iter().filter(|file| *file != "src/handlers/api/auth.py").collect();
    let project = project(&without_api_auth);
    fs::rename(
        project.path().join("src/handlers/cron/daily_cleanup.py"),
        project.path().join("src/handlers/daily_cleanup.py"),
    )
    .unwrap();
    let schema = check(project.path(), false).schema.unwrap();
    let handlers = handlers(&schema, Language::Python);
    let file_of = |kind, owner: &str| {
        let handler = handlers.iter().find(|handler| handler.kind == kind && handler.owner == owner).unwrap();
        resolve(project.path(), handler)
    };
    assert_eq!(file_of(HandlerKind::Api, "Auth"), None);
    assert_eq!(file_of(HandlerKind::Cron, "DailyCleanup"), Some("src/handlers/daily_cleanup.py".into()));
}

#[test]
fn what_a_middleware_does_after_a_handler_is_in_its_own_file() {
    let project = project(&ALL);
    let schema = check(project.path(), false).schema.unwrap();
    let middlewares: Vec<_> = handlers(&schema, Language::Python)
        .into_iter()
        .filter(|handler| handler.kind == HandlerKind::Middleware)
        .collect();
    let afters = afters(&schema, Language::Python);
    assert!(!afters.is_empty() && afters.len() == middlewares.len());
    for (after, middleware) in afters.iter().zip(&middlewares) {
        assert_eq!((after.kind, &after.owner), (HandlerKind::After, &middleware.owner));
        assert_eq!(after.candidates, middleware.candidates);
        assert_eq!(after.functions, [format!("{}_after", middleware.name)]);
    }
}

#[test]
fn a_missing_file_is_a_warning_and_when_strict_an_error() {
    let project = project(&ALL[1..]);
    let checked = check(project.path(), false);
    assert!(checked.schema.is_some());
    let finding = &checked.diagnostics[0];
    assert_eq!(
        finding.to_string(),
        "schema/a.ro:2:5: warning[schema::missing-handler]: the api `CreateUser` has no handler file"
    );
    assert_eq!(
        finding.help.as_deref(),
        Some("`rohas codegen` writes src/handlers/api/create_user.py with the function `handle_create_user`")
    );
    let checked = check(project.path(), true);
    assert!(checked.schema.is_none() && checked.diagnostics[0].is_error());
}

#[test]
fn a_file_that_nothing_names_is_reported_and_offered_as_what_is_missing() {
    let project = project(&[&ALL[1..], &["src/handlers/api/creat_user.py"]].concat());
    let checked = check(project.path(), false);
    let codes: Vec<Code> = checked.diagnostics.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::MissingHandler, Code::UnreachableHandler]);
    assert_eq!(
        checked.diagnostics[0].help.as_deref(),
        Some("rename src/handlers/api/creat_user.py to src/handlers/api/create_user.py")
    );
    assert_eq!(checked.diagnostics[1].file, "src/handlers/api/creat_user.py");
}

#[test]
fn names_that_python_cannot_import_are_warned_about() {
    let project = project(&ALL);
    fs::write(project.path().join("schema/b.ro"), "model Class { id Int }").unwrap();
    let checked = check(project.path(), false);
    assert_eq!(checked.diagnostics[0].code, Code::KeywordModule);
}

#[test]
fn the_rest_of_a_file_with_very_many_faults_is_not_read() {
    let project = project(&ALL);
    fs::write(project.path().join("schema/a.ro"), ";\n".repeat(1_000)).unwrap();
    let checked = check(project.path(), false);
    assert_eq!(checked.diagnostics.len(), 101);
    assert_eq!(checked.diagnostics[100].code, Code::TooManyErrors);
}

#[test]
fn a_single_file_is_checked_against_its_neighbours() {
    let project = project(&ALL);
    let file = project.path().join("schema/b.ro");
    fs::write(&file, "event Copy { payload: Json triggers: [UserCreated] }").unwrap();
    fs::write(project.path().join("schema/c.ro"), "model Broken { id Nothing }").unwrap();
    let sources = schema::load(project.path(), &file).unwrap();
    let checked = schema::check(&sources, &Context::default());
    assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
}

#[test]
fn languages_are_named_in_several_ways() {
    for (name, language) in [("ts", Language::TypeScript), ("Python", Language::Python), ("RS", Language::Rust)] {
        assert_eq!(name.parse(), Ok(language));
    }
    assert!("go".parse::<Language>().unwrap_err().to_string().starts_with("Unsupported language: go"));
}

#[test]
fn the_examples_are_complete_and_formatted() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    for name in ["hello-world", "shop"] {
        let root = examples.join(name);
        let checked = check(&root, true);
        assert!(checked.diagnostics.is_empty(), "{}", schema::diagnostic::render(&checked.diagnostics, false));
        for file in schema::source::find(&root.join("schema")).unwrap() {
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(schema::format::format("a.ro", &text).unwrap(), text, "{}", file.display());
        }
    }
}
