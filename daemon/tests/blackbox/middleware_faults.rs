//! What becomes of middlewares that are wrong, slow, or say what means nothing?
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::support::{Daemon, Project, Response, eventually, text};
use crate::websocket::Client;

const SCHEMA: &str = r#"
    input PageInput { page: Int @default(1) @min(1) }
    input NoteInput { n: Int  s: String }
    api Pages { method: GET path: "/pages" query: PageInput response: Json middlewares: [outer, inner] }
    api Note { method: POST path: "/notes" body: NoteInput response: Json middlewares: [outer, inner] }
    api Beside { method: POST path: "/ws/beside" response: Json }
    ws Besides { path: "/ws/beside" }
    ws Guarded { path: "/ws/guarded"  onConnect: [opened]  middlewares: [inner] }
    event Secret { payload: Json  handler: [secret_seen] }
"#;

/// Its after-part does what the header `x-after` says.
const OUTER: &str = "
    import json
    from generated.responses import Reply

    def outer_middleware(context):
        return {'response_headers': {'x-outer': ['1', '2'], 'x-dropped': 'no'}}

    def outer_after(context, response):
        del response.headers['x-dropped']
        response.headers['x-query'] = json.dumps(dict(context['query_params']))
        what = json.loads(context['headers'].get('x-after', '{}'))
        if 'status' in what:
            response.status = what['status']
        if 'object' in what:
            response.data = {'deep': [object()]}
        if 'header' in what:
            response.headers['x-set'] = what['header']
        if 'another' in what:
            return Reply(data='another', headers=what['another'])
";

/// Does what the header `x-do` says.
const INNER: &str = "
    import json
    from generated.responses import Reply

    async def inner_middleware(context, state):
        what = json.loads(context['headers'].get('x-do', '{}'))
        if what.get('fault') == 'key':
            return context['nope']
        if what.get('fault') == 'event':
            state.trigger_event('Nope')
        if what.get('fault') == 'payload':
            state.trigger_event('Secret', object())
        if what.get('fault') == 'websocket':
            state.ws.broadcast('Nope', 1)
        if what.get('fault') == 'push':
            state.ws.broadcast('Guarded', object())
        if what.get('fault') == 'status':
            return Reply(data=1, status=99)
        return what.get('return')
";

fn project() -> Project {
    Project::new()
        .file("schema/all.ro", SCHEMA)
        .file("config/rohas.toml", "[project]\nname = \"faulty\"\n[python]\nworkers = 1\n")
        .file("src/middlewares/outer.py", OUTER)
        .file("src/middlewares/inner.py", INNER)
        .file("src/handlers/api/pages.py", "def handle_pages(req):\n    return req.query.page\n")
        .file("src/handlers/api/note.py", "def handle_note(req):\n    return [req.body.n, len(req.body.s)]\n")
        .file("src/handlers/api/beside.py", "def handle_beside():\n    return None\n")
        .file(
            "src/handlers/websockets/opened.py",
            "def opened(connection):\n    return dict(connection.query_params)\n",
        )
        .file("src/handlers/events/secret_seen.py", "def secret_seen(event):\n    pass\n")
}

fn doing(daemon: &Daemon, what: &Value) -> Response {
    daemon.request("GET", "/pages?page=2", &[("x-do", &what.to_string())], b"")
}

fn leaving(daemon: &Daemon, what: &Value) -> Response {
    // A letter that is not ASCII would reach the middleware as those that its bytes are in Latin-1.
    let what = what.to_string().replace('\u{20ac}', "\\u20ac");
    daemon.request("GET", "/pages?page=2", &[("x-after", &what)], b"")
}

/// The message of the error on an answer's record.
fn message(project: &Project, answer: &Response) -> String {
    let trace = answer.header("x-request-id").unwrap();
    eventually("the record", || {
        let shown = project.rohas(&["traces", "show", trace, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        let found = shown["records"].as_array()?.iter().find(|record| record["kind"] == "request").cloned();
        Some(found?["error"]["message"].as_str().unwrap_or_default().to_owned())
    })
}

#[test]
fn a_query_that_is_refused_takes_no_place() {
    let project = project();
    let daemon = project.run();
    let refused = doing(&daemon, &json!({"return": {"query_params": {"page": "0"}}}));
    assert_eq!((refused.status, refused.header("x-query")), (422, Some(r#"{"page": "2"}"#)));
}

#[test]
fn headers_of_middlewares_are_on_answers_that_replace_others() {
    let project = project();
    let daemon = project.run();
    let count = |answer: &[u8], line: &str| text(answer).lines().filter(|found| *found == line).count();
    let ask = |after: &Value| {
        let request = format!("GET /pages HTTP/1.1\r\nhost: t\r\nconnection: close\r\nx-after: {after}\r\n\r\n");
        daemon.raw(request.as_bytes())
    };
    let kept = ask(&json!({}));
    assert_eq!([count(&kept, "x-outer: 1"), count(&kept, "x-outer: 2"), count(&kept, "x-dropped: no")], [1, 1, 0]);
    let another = ask(&json!({"another": {"x-own": "yes"}}));
    assert!(text(&another).contains("another"), "{}", text(&another));
    assert_eq!(["x-own: yes", "x-outer: 1", "x-outer: 2"].map(|line| count(&another, line)), [1, 1, 1]);
    let its_own = ask(&json!({"another": {"x-outer": "mine"}}));
    assert_eq!(["x-outer: mine", "x-outer: 1"].map(|line| count(&its_own, line)), [1, 0]);
}

#[test]
fn what_is_wrong_whatever_the_request_is_a_failure_and_other_exceptions_are_logged() {
    let project = project();
    let mut daemon = project.run();
    let refused = doing(&daemon, &json!({"fault": "key"}));
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("'nope'")));
    let logged = daemon.wait_for("the warning", |text| {
        text.lines().find(|line| line.contains("none of generated.errors")).map(str::to_owned)
    });
    let trace = refused.json()["trace_id"].as_str().unwrap().to_owned();
    assert!(logged.contains("inner") && logged.contains(&trace) && logged.contains("KeyError"), "{logged}");
    for (fault, code) in [
        ("event", "unknown_event"),
        ("websocket", "unknown_websocket"),
        ("payload", "unserializable_payload"),
        ("push", "unserializable_payload"),
        ("status", "invalid_reply"),
    ] {
        let failed = doing(&daemon, &json!({"fault": fault}));
        assert_eq!((failed.status, &failed.json()["code"]), (500, &json!(code)), "{fault}: {failed:?}");
        assert_eq!(failed.json()["error"], "the handler failed; its trace has the error", "{fault}");
        assert!(message(&project, &failed).starts_with("middleware inner: "), "{fault}");
    }
}

#[test]
fn answers_that_cannot_be_sent_are_explained() {
    let project = project();
    let daemon = project.run();
    for (left, code, said) in [
        (json!({"status": "abc"}), "invalid_reply", "response.status is 'abc'"),
        (json!({"status": 99}), "invalid_reply", "response.status is 99"),
        (
            json!({"object": 1}),
            "unserializable_result",
            "response.data can't be sent: a builtins.object at ['deep'][0]",
        ),
        (
            json!({"header": null}),
            "invalid_reply",
            "the value of the response header 'x-set' is neither text nor a number",
        ),
        (
            json!({"header": true}),
            "invalid_reply",
            "the value of the response header 'x-set' is neither text nor a number",
        ),
        (json!({"header": "5 \u{20ac}"}), "invalid_reply", "the middleware outer_after set the header \"x-set\" to"),
    ] {
        let failed = leaving(&daemon, &left);
        assert_eq!((failed.status, &failed.json()["code"]), (500, &json!(code)), "{left}: {failed:?}");
        let message = message(&project, &failed);
        assert!(message.contains(said), "{left}: {message}");
    }
    let number = leaving(&daemon, &json!({"header": 3}));
    assert_eq!((number.status, number.header("x-set")), (200, Some("3")));
    for value in [json!(null), json!(true)] {
        let failed = doing(&daemon, &json!({"return": {"response_headers": {"x-set": value}}}));
        assert_eq!((failed.status, &failed.json()["code"]), (500, &json!("invalid_reply")));
        assert!(message(&project, &failed).contains("is neither text nor a number"));
    }
    let long = doing(&daemon, &json!({"return": {"response_headers": {"a ".repeat(2000): "b"}}}));
    let said = long.json()["error"].as_str().unwrap().to_owned();
    assert!(said.starts_with("the middleware inner set the header \"a a ") && said.len() < 200, "{said}");
}

#[test]
fn the_upgrade_announces_nothing_that_is_not_spoken() {
    let project = project();
    let daemon = project.run();
    let said = json!({"return": {"response_headers": {
        "Sec-WebSocket-Extensions": "permessage-deflate", "sec-websocket-protocol": "graphql-ws", "Upgrade": "h2c",
        "content-length": "5", "x-kept": "yes",
    }}});
    let Ok((client, answer)) = Client::open_with(&daemon, "/ws/guarded", &[("x-do", &said.to_string())]) else {
        panic!("{}", daemon.output())
    };
    let headers = answer.headers();
    assert_eq!((&headers["x-kept"], &headers["upgrade"]), (&"yes".parse().unwrap(), &"websocket".parse().unwrap()));
    for name in ["sec-websocket-extensions", "sec-websocket-protocol", "content-length"] {
        assert!(!headers.contains_key(name), "{name}");
    }
    client.close();
}

#[test]
fn other_methods_are_told_what_a_websocket_takes() {
    let project = project();
    let daemon = project.run();
    let refused = daemon.request("POST", "/ws/guarded", &[], b"");
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET")));
    assert_eq!(refused.json()["code"], "method_not_allowed");
    let beside = daemon.request("PUT", "/ws/beside", &[], b"");
    assert_eq!((beside.status, beside.header("allow")), (405, Some("GET,POST")));
    assert_eq!(daemon.get("/ws/guarded").status, 426);
    let origins = [("origin", "http://a.example"), ("origin", "http://b.example")];
    let Err(refusal) = Client::open_with(&daemon, "/ws/guarded", &origins) else { panic!("it is let in") };
    assert_eq!((refusal.status, &refusal.json()["code"]), (403, &json!("origin_not_allowed")));
}

#[test]
fn a_large_payload_that_a_worker_is_slow_to_read_costs_no_worker() {
    // Each turn of the loop waits for a thread that keeps the interpreter to itself for a while.
    const SLOW: &str = "
        import ctypes, threading

        def hold():
            library = ctypes.PyDLL(None)
            while True:
                library.usleep(40000)

        threading.Thread(target=hold, daemon=True).start()

        async def outer_middleware(context):
            return {'payload': {'n': 1, 's': 'x' * 5_000_000}}
        ";
    let project = project().file("src/middlewares/outer.py", SLOW);
    let daemon = project.run();
    let workers = daemon.workers();
    let noted = daemon.post("/notes", r#"{"n": 2, "s": "small"}"#);
    assert_eq!((noted.status, noted.json()), (200, json!([1, 5_000_000])), "{}", daemon.output());
    assert_eq!(daemon.workers(), workers, "{}", daemon.output());
}

#[test]
fn a_function_whose_name_is_nearly_right_is_told_of() {
    const MISSPELT: &str = "
        from json import dumps as json_after

        def inner_middleware(context):
            return None

        def inner_helper():
            return None

        def _inner_afters():
            return None

        def innerAfter(context, response):
            response.headers['x-never'] = 'yes'
        ";
    let project = project().file("src/middlewares/inner.py", MISSPELT);
    let mut daemon = project.dev();
    let warned = daemon.wait_for("the warning", |text| {
        text.lines().find(|line| line.contains("which nothing calls")).map(str::to_owned)
    });
    assert!(
        warned.contains("src/middlewares/inner.py:12: ")
            && warned.contains("defines innerAfter,")
            && warned.contains("rename it to inner_after"),
        "{warned}"
    );
    assert_eq!(daemon.get("/pages").status, 200);
    assert_eq!(daemon.output().matches("which nothing calls").count(), 1, "{}", daemon.output());
    drop(daemon);
    let refused = project.rohas(&["run", "--port", "0"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("rename it to inner_after"), "{}", text(&refused.stderr));
    project.write("src/middlewares/inner.py", &MISSPELT.replace("innerAfter", "other_after"));
    assert!(text(&project.rohas(&["run", "--port", "0"]).stderr).contains("defines other_after, which nothing calls"));
    project.write("src/middlewares/inner.py", &crate::support::dedent(&MISSPELT.replace("innerAfter", "inner_after")));
    assert_eq!(project.run().get("/pages").header("x-never"), Some("yes"));
}

#[test]
fn an_after_part_that_only_websockets_have_is_told_of() {
    const DOOR: &str = "
        def door_middleware(context):
            return None

        def door_after(context, response):
            return None
        ";
    let project = project()
        .file("schema/door.ro", "ws Door { path: \"/ws/door\"  middlewares: [door] }\n")
        .file("src/middlewares/door.py", DOOR);
    let mut daemon = project.run();
    daemon.wait_for_text("door_after is never called");
    assert!(!daemon.output().contains("outer_after is never called"));
}

#[test]
fn what_a_middleware_returns_in_vain_is_told_of_once() {
    let project = project();
    let mut daemon = project.run();
    for _ in 0..2 {
        for returned in [
            json!({"payloads": {"n": 1}}),
            json!({"query_params": {"page": "3"}, "status": 201}),
            json!({"payload": {"n": 1}}),
            json!({"user": "nothing is meant by that", "status": 404}),
            json!({"payload": null, "trace_id": "t", "headers": {}, "api_name": "Pages"}),
        ] {
            let passed = doing(&daemon, &json!({"return": returned}));
            assert_eq!(passed.status, 200, "{passed:?}");
        }
    }
    let said = daemon.wait_for("the last of them", |text| {
        let lines: Vec<String> =
            text.lines().filter(|line| line.contains("changes nothing")).map(str::to_owned).collect();
        lines.iter().any(|line| line.contains("\"payload\"")).then_some(lines)
    });
    let keys: Vec<_> = ["\"payloads\"", "\"status\"", "\"payload\""]
        .map(|key| said.iter().filter(|line| line.contains(key)).count())
        .into();
    assert_eq!((keys, said.len()), (vec![1, 1, 1], 3), "{said:?}");
    assert!(said.iter().all(|line| line.contains("inner")), "{said:?}");
}

#[test]
fn a_websocket_has_the_query_that_its_middlewares_leave() {
    let project = project();
    let daemon = project.run();
    let open = |returned: Value| {
        let what = json!({"return": returned}).to_string();
        let Ok((client, _)) = Client::open_with(&daemon, "/ws/guarded?a=1", &[("x-do", &what)]) else {
            panic!("{}", daemon.output())
        };
        client
    };
    for (returned, left) in [
        (json!({"query_params": {"b": "2"}}), json!({"b": "2"})),
        (json!({"payload": {"n": 1}}), json!({"a": "1"})),
        (json!(null), json!({"a": "1"})),
    ] {
        let mut client = open(returned);
        assert_eq!(client.json(), left);
        client.close();
    }
    assert!(daemon.output().contains("changes nothing"), "{}", daemon.output());
}
