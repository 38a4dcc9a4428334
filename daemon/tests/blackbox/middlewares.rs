//! Do middlewares stand before and after their handlers, and can no client get around them?
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::Write;

use serde_json::{Value, json};

use crate::support::{Daemon, Project, Response, eventually, text};

const SCHEMA: &str = r#"
    input NoteInput { title: String @trim @minLength(1) @maxLength(10)  count: Int @default(1) }
    input PageInput { page: Int @default(1) @min(1) }
    api Test { method: GET path: "/test/{id}" response: Json middlewares: [auth, rate_limit, request_logging] }
    api Note { method: POST path: "/notes" body: NoteInput response: Json status: 201 middlewares: [auth, rate_limit] }
    api Pages { method: GET path: "/pages" query: PageInput response: Json middlewares: [auth] }
    api Broken { method: GET path: "/broken" response: Json middlewares: [rate_limit] }
    api Slow { method: GET path: "/slow" response: Json timeout: 600ms middlewares: [request_logging] }
    api Wait { method: GET path: "/wait" response: Json triggers: [Waited] timeout: 25s middlewares: [wait] }
    api Twice { method: GET path: "/twice" response: Json middlewares: [count, count] }
    api Plain { method: GET path: "/plain" response: Json }
    event Waited { payload: Json handler: [note_waited] }
"#;

/// Does what the header `x-do` says.
const AUTH: &str = "
    import json, os
    from generated.errors import Forbidden, Unavailable
    from generated.responses import Reply

    def auth_middleware(context, state):
        what = json.loads(context['headers'].get('x-do', 'null'))
        if what is None:
            return None
        if 'raise' in what:
            raise Exception(what['raise'])
        if 'forbid' in what:
            raise Forbidden(what['forbid'])
        if 'die' in what:
            os.kill(os.getpid(), 9)
        if 'reply' in what:
            return Reply(**what['reply'])
        if 'emit' in what:
            state.trigger_event('Waited', what['emit'])
        if 'print' in what:
            print(what['print'])
        if 'tell' in what:
            shown = {name: context[name] for name in ('payload', 'path', 'path_params', 'method', 'client_ip', 'api_name', 'trace_id')}
            return {'response_headers': {'x-context': json.dumps({**shown, 'keys': sorted(context),
                'query': dict(context['query_params']), 'cookies': dict(context['cookies'])})}}
        return what.get('return')
";

const RATE_LIMIT: &str = "
    from generated.errors import Conflict

    def rate_limit_middleware(context):
        return {'response_headers': {'X-Left': 3, 'Vary': ['a', 'b']}}

    def rate_limit_after(context, response, state):
        if context['headers'].get('x-after') == 'raise':
            raise RuntimeError('the secret of the house')
        if context['headers'].get('x-after') == 'conflict':
            raise Conflict('too late')
        response.headers['x-seen'] = f'{response.status} by rate_limit'
        if response.status == 500:
            response.status = 503
        if context['headers'].get('x-after') == 'change':
            response.data = {'changed': response.data, 'payload': context['payload']}
";

const REQUEST_LOGGING: &str = "
    import asyncio
    from generated.responses import Reply

    async def request_logging_middleware(context, state):
        state.logger.info('seen', path=context['path'])
        if context['headers'].get('x-hang'):
            await asyncio.sleep(60)

    async def request_logging_after(context, response):
        response.headers['x-order'] = response.headers.get('x-seen', 'first')
        if context['headers'].get('x-after') == 'replace':
            return Reply(data='replaced', status=202)
";

fn project(settings: &str) -> Project {
    let settings = crate::support::dedent(settings);
    Project::new()
        .file("schema/all.ro", SCHEMA)
        .file("config/rohas.toml", &format!("[project]\nname = \"guarded\"\n[python]\nworkers = 1\n{settings}"))
        .file("src/middlewares/auth.py", AUTH)
        .file("src/middlewares/rate_limit.py", RATE_LIMIT)
        .file("src/middlewares/request_logging.py", REQUEST_LOGGING)
        .file(
            "src/middlewares/wait.py",
            "
            import asyncio, pathlib

            async def wait_middleware(context):
                pathlib.Path('entered').touch()
                while not pathlib.Path('release').exists():
                    await asyncio.sleep(0.01)

            async def wait_after(context, response):
                pathlib.Path('after').touch()
            ",
        )
        .file(
            "src/handlers/api/test.py",
            "def handle_test(req):\n    return {'id': req.id, 'query': {n: req.query_params.getlist(n) for n in req.query_params}}\n",
        )
        .file(
            "src/handlers/api/note.py",
            "def handle_note(req):\n    return {'title': req.body.title, 'count': req.body.count}\n",
        )
        .file("src/handlers/api/pages.py", "def handle_pages(req):\n    return req.query.page\n")
        .file("src/handlers/api/broken.py", "def handle_broken(req):\n    raise RuntimeError('no')\n")
        .file("src/handlers/api/slow.py", "import asyncio\n\nasync def handle_slow(req):\n    await asyncio.sleep(60)\n")
        .file("src/handlers/api/wait.py", "def handle_wait(req):\n    return {'name': 'wait'}\n")
        .file(
            "src/middlewares/count.py",
            "
            import pathlib

            def count_middleware(context):
                with pathlib.Path('counted').open('a') as counted:
                    counted.write('x')
            ",
        )
        .file("src/handlers/api/twice.py", "def handle_twice(req):\n    return 'twice'\n")
        .file("src/handlers/api/plain.py", "def handle_plain(req):\n    return 'plain'\n")
        .file(
            "src/handlers/events/note_waited.py",
            "import pathlib\n\ndef note_waited(event):\n    pathlib.Path('emitted-' + event.payload['name']).touch()\n",
        )
}

fn asking(daemon: &Daemon, path: &str, what: &Value) -> Response {
    daemon.request("GET", path, &[("x-do", &what.to_string())], b"")
}

fn noting(daemon: &Daemon, what: &Value) -> Response {
    daemon.request("POST", "/notes", &[("x-do", &what.to_string())], br#"{"title": " a "}"#)
}

fn context(response: &Response) -> Value {
    serde_json::from_str(response.header("x-context").unwrap()).unwrap()
}

/// The newest record of an api, once it is written.
fn record(project: &Project, response: &Response) -> Value {
    let trace = response.header("x-request-id").unwrap();
    eventually("the record", || {
        let shown = project.rohas(&["traces", "show", trace, "--json"]);
        let shown: Value = serde_json::from_slice(&shown.stdout).ok()?;
        let records = shown["records"].as_array()?;
        records.iter().find(|record| record["kind"] == "request").cloned()
    })
}

/// The steps of a record, in order.
pub(crate) fn steps(record: &Value) -> Vec<String> {
    let spans = record["spans"].as_array().unwrap().iter();
    let named = spans.map(|span| match span["name"].as_str() {
        Some(name) => format!("{}:{name}", span["phase"].as_str().unwrap()),
        None => span["phase"].as_str().unwrap().to_owned(),
    });
    named.collect()
}

#[test]
fn they_run_in_order_with_the_whole_context_and_are_steps_of_the_trace() {
    let project = project("");
    let daemon = project.run();
    let passed = daemon.get("/test/7?a=1&a=2");
    assert_eq!((passed.status, passed.json()), (200, json!({"id": "7", "query": {"a": ["1", "2"]}})));
    assert_eq!(passed.header("x-left"), Some("3"));
    assert_eq!((passed.header("x-order"), passed.header("x-seen")), (Some("first"), Some("200 by rate_limit")));
    let record = record(&project, &passed);
    let expected = [
        "validate",
        "middleware:auth",
        "middleware:rate_limit",
        "middleware:request_logging",
        "handler",
        "middleware:request_logging_after",
        "middleware:rate_limit_after",
    ];
    assert_eq!(steps(&record), expected);
    assert_eq!((&record["handler"], &record["status"]), (&json!("test"), &json!("ok")));
    assert_eq!(record["logs"][0]["message"], "seen");

    let headers = [("x-do", r#"{"tell": 1}"#), ("cookie", "k=v"), ("x-forwarded-for", "203.0.113.9")];
    let told = daemon.request("POST", "/notes?x=%20y", &headers, br#"{"title": " a "}"#);
    assert_eq!(told.status, 201, "{told:?}");
    let context = context(&told);
    let keys = [
        "api_name",
        "client_ip",
        "cookies",
        "headers",
        "method",
        "path",
        "path_params",
        "payload",
        "query_params",
        "trace_id",
    ];
    assert_eq!(context["keys"], json!(keys));
    assert_eq!(context["payload"], json!({"title": "a", "count": 1}));
    assert_eq!(context["query"], json!({"x": " y"}));
    assert_eq!(context["cookies"], json!({"k": "v"}));
    assert_eq!(context["path"], "/notes");
    assert_eq!((&context["method"], &context["api_name"]), (&json!("POST"), &json!("Note")));
    assert_eq!(context["client_ip"], "127.0.0.1");
    assert_eq!(context["trace_id"].as_str(), told.header("x-request-id"));
    assert_eq!(daemon.get("/plain").json(), json!("plain"));
}

#[test]
fn what_they_change_is_validated_again() {
    let project = project("");
    let daemon = project.run();
    let change = |with: Value| noting(&daemon, &json!({"return": with}));
    let changed = change(json!({"payload": {"title": " other ", "count": 4}}));
    assert_eq!((changed.status, changed.json()), (201, json!({"title": "other", "count": 4})));
    for payload in [json!({"title": "far too long a title"}), json!({"count": 1}), json!(null), json!([])] {
        let refused = change(json!({"payload": payload}));
        assert_eq!((refused.status, &refused.json()["code"]), (422, &json!("invalid")), "{payload}");
        assert!(refused.json()["details"].is_array() && refused.json()["trace_id"].is_string(), "{refused:?}");
        let record = record(&project, &refused);
        assert_eq!((&record["status"], &record["handler"]), (&json!("rejected"), &json!("note")));
        assert!(record["error"]["message"].as_str().unwrap().starts_with("middleware auth: "), "{record}");
    }

    let page = |with: Value| asking(&daemon, "/pages?page=2", &json!({"return": {"query_params": with}}));
    assert_eq!(asking(&daemon, "/pages?page=2", &json!({"return": {}})).json(), json!(2));
    assert_eq!(page(json!({"page": "5"})).json(), json!(5));
    assert_eq!(page(json!({"page": 5})).json(), json!(1));
    assert_eq!(page(json!({"page": "0"})).status, 422);
    let several = asking(&daemon, "/test/7?a=1", &json!({"return": {"query_params": {"b": ["1", "2"], "c": 3}}}));
    assert_eq!(several.json()["query"], json!({"b": ["1", "2"]}));
}

#[test]
fn an_exception_refuses_the_request_and_typed_errors_have_their_status() {
    let project = project("");
    let daemon = project.run();
    let refused = asking(&daemon, "/test/7", &json!({"raise": "Access denied"}));
    assert_eq!((refused.status, &refused.json()["error"]), (400, &json!("Access denied")));
    assert_eq!((&refused.json()["code"], refused.header("x-left")), (&json!("rejected"), None));
    let record = record(&project, &refused);
    assert_eq!(steps(&record), ["validate", "middleware:auth"]);
    assert_eq!((&record["status"], &record["handler"]), (&json!("rejected"), &json!("test")));
    assert_eq!(record["error"]["message"], "middleware auth: Access denied");

    let returned = asking(&daemon, "/test/7", &json!({"return": {"error": "not you"}, "emit": {"name": "refused"}}));
    assert_eq!((returned.status, &returned.json()["error"]), (400, &json!("not you")));
    let forbidden = asking(&daemon, "/test/7", &json!({"forbid": "no entry"}));
    assert_eq!((forbidden.status, &forbidden.json()["error"]), (403, &json!("no entry")));
    let malformed = asking(&daemon, "/test/7", &json!({"return": {"response_headers": {"a b": "c"}}}));
    assert_eq!((malformed.status, &malformed.json()["code"]), (500, &json!("invalid_reply")));
    assert_eq!(asking(&daemon, "/test/7", &json!({"emit": {"name": "passed"}})).status, 200);
    eventually("the event", || project.path().join("emitted-passed").exists().then_some(()));
    assert!(!project.path().join("emitted-refused").exists());
}

#[test]
fn what_they_print_is_in_the_log_of_their_request() {
    let project = project("");
    let daemon = project.run();
    let printed = asking(&daemon, "/test/7", &json!({"print": "from the guard"}));
    assert_eq!(printed.status, 200);
    let record = record(&project, &printed);
    let logs = record["logs"].as_array().unwrap();
    assert!(logs.iter().any(|log| log["level"] == "stdout" && log["message"] == "from the guard"), "{record}");
}

#[test]
fn one_that_is_named_twice_is_a_warning_and_runs_once() {
    let project = project("");
    let checked = project.rohas(&["validate"]);
    let said = text(&checked.stdout) + &text(&checked.stderr);
    assert!(checked.status.success() && said.contains("`middlewares` names `count` twice"), "{said}");
    let daemon = project.run();
    assert_eq!(daemon.get("/twice").json(), json!("twice"));
    assert_eq!(std::fs::read_to_string(project.path().join("counted")).unwrap(), "x");
}

/// The bytes of the answer's header `x-name`, and whether the answer is 200.
fn name(daemon: &Daemon, path: &str, text: &str) -> (bool, Option<Vec<u8>>) {
    let what = format!(r#"{{"return": {{"response_headers": {{"x-name": "{text}"}}}}}}"#);
    let request = format!("GET {path} HTTP/1.1\r\nhost: t\r\nconnection: close\r\nx-do: {what}\r\n\r\n");
    let answer = daemon.raw(request.as_bytes());
    let mut lines = answer.split(|byte| *byte == b'\n');
    let is_good = lines.next().unwrap().starts_with(b"HTTP/1.1 200");
    (is_good, lines.find_map(|line| line.strip_prefix(b"x-name: ")).map(|value| value.trim_ascii_end().to_vec()))
}

#[test]
fn headers_are_latin_1_whether_after_parts_have_seen_them_or_not() {
    let project = project("");
    let daemon = project.run();
    // The first has no after-parts.
    for path in ["/pages", "/test/7"] {
        assert_eq!(name(&daemon, path, "Gr\\u00fc\\u00dfe"), (true, Some(b"Gr\xfc\xdfe".to_vec())), "{path}");
        assert_eq!(name(&daemon, path, "5 \\u20ac"), (false, None), "{path}");
    }
}

#[test]
fn they_may_answer_themselves() {
    let project = project("");
    let daemon = project.run();
    let reply = json!({"reply": {"data": {"cached": true}, "status": 203, "headers": {"x-cache": "hit"}}});
    let answered = asking(&daemon, "/test/7", &reply);
    assert_eq!((answered.status, answered.json()), (203, json!({"data": {"cached": true}})));
    assert_eq!((answered.header("x-cache"), answered.header("x-left")), (Some("hit"), None));
    assert_eq!(steps(&record(&project, &answered)), ["validate", "middleware:auth"]);
    let head = daemon.request("HEAD", "/test/7", &[("x-do", &reply.to_string())], b"");
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (203, 0, Some("24")));
    let forged = json!({"reply": {"data": 1, "headers": {"Content-Length": "1", "Transfer-Encoding": "chunked"}}});
    assert_eq!(asking(&daemon, "/test/7", &forged).json(), json!({"data": 1}));
    let split = json!({"reply": {"data": 1, "headers": {"x-a": "b\r\nx-evil: 1"}}});
    let split = asking(&daemon, "/test/7", &split);
    assert_eq!((split.status, split.header("x-evil")), (500, None));
}

#[test]
fn afters_change_the_answer_whatever_it_is() {
    let project = project("");
    let daemon = project.run();
    let after = |path: &str, how: &str| daemon.request("GET", path, &[("x-after", how)], b"");
    let changed = after("/test/7", "change");
    assert_eq!(changed.json(), json!({"changed": {"id": "7", "query": {}}, "payload": null}));
    let replaced = after("/test/7", "replace");
    assert_eq!((replaced.status, replaced.json()), (202, json!({"data": "replaced"})));
    assert_eq!(replaced.header("x-seen"), Some("202 by rate_limit"));

    let broken = daemon.get("/broken");
    assert_eq!((broken.status, &broken.json()["code"]), (503, &json!("handler_failed")));
    assert_eq!((broken.header("x-seen"), broken.header("x-left")), (Some("500 by rate_limit"), Some("3")));
    assert!(broken.json()["trace_id"].is_string());

    let raised = after("/test/7", "raise");
    assert_eq!((raised.status, raised.header("x-left")), (500, Some("3")));
    assert!(!text(&raised.body).contains("secret"), "{raised:?}");
    let conflict = after("/test/7", "conflict");
    assert_eq!((conflict.status, &conflict.json()["error"]), (409, &json!("too late")));
    let record = record(&project, &raised);
    assert_eq!(record["status"], "failed");
    assert_eq!(record["error"]["message"], "middleware rate_limit_after: the secret of the house");
}

#[test]
fn the_apis_timeout_bounds_all_of_it_and_a_death_is_502() {
    let project = project("");
    let daemon = project.run();
    let slow = daemon.get("/slow");
    assert_eq!((slow.status, &slow.json()["code"]), (504, &json!("timeout")));
    let hanging = daemon.request("GET", "/slow", &[("x-hang", "1")], b"");
    assert_eq!((hanging.status, &hanging.json()["code"]), (504, &json!("timeout")));
    let hung = record(&project, &hanging);
    assert_eq!(
        (&hung["status"], steps(&hung)),
        (&json!("timed_out"), vec!["validate".to_owned(), "middleware:request_logging".to_owned()])
    );
    assert!(hung["error"]["message"].as_str().unwrap().starts_with("middleware request_logging: "), "{hung}");
    let died = asking(&daemon, "/test/7", &json!({"die": 1}));
    assert_eq!((died.status, &died.json()["code"]), (502, &json!("worker_died")));
    let record = record(&project, &died);
    assert_eq!(record["status"], "crashed");
    assert!(record["error"]["message"].as_str().unwrap().starts_with("middleware auth: "), "{record}");
    eventually("a new worker", || (daemon.get("/test/7").status == 200).then_some(()));
}

#[test]
fn a_client_that_goes_away_keeps_nothing_from_being_done() {
    let project = project("");
    let daemon = project.run();
    let mut stream = daemon.connect();
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: t\r\n\r\n").unwrap();
    eventually("the middleware", || project.path().join("entered").exists().then_some(()));
    drop(stream);
    project.write("release", "");
    eventually("the event", || project.path().join("emitted-wait").exists().then_some(()));
    eventually("the after", || project.path().join("after").exists().then_some(()));
}

#[test]
fn only_trusted_proxies_name_the_client() {
    let project = project("[server]\ntrusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"fd00::/8\"]\n");
    let daemon = project.run();
    let client = |forwarded: &str| {
        let headers = [("x-do", r#"{"tell": 1}"#), ("x-forwarded-for", forwarded)];
        context(&daemon.request("GET", "/test/7", &headers, b""))["client_ip"].clone()
    };
    assert_eq!(client("203.0.113.9"), "203.0.113.9");
    assert_eq!(client("1.1.1.1, 203.0.113.9, 10.0.0.3"), "203.0.113.9");
    assert_eq!(client("1.1.1.1, 2001:db8::7, [fd00::2]:443, 10.0.0.3:80"), "2001:db8::7");
    assert_eq!(client("::ffff:203.0.113.9, fd00::2"), "203.0.113.9");
    assert_eq!(client("1.1.1.1\r\nx-forwarded-for: 2001:db8::8, fd00::1\r\nx-forwarded-for: 10.0.0.3"), "2001:db8::8");
    assert_eq!(client("<script>, 10.0.0.3"), "10.0.0.3");
    assert_eq!(client("\u{e9}"), "127.0.0.1");
}

#[test]
fn a_missing_one_is_found_before_anything_is_served() {
    let project = project("");
    std::fs::remove_file(project.path().join("src/middlewares/auth.py")).unwrap();
    let checked = project.rohas(&["validate"]);
    assert!(checked.status.success(), "{checked:?}");
    let strict = project.rohas(&["validate", "--strict"]);
    assert!(!strict.status.success());
    for output in [&checked, &strict] {
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("the middleware `auth` has no file"), "{said}");
    }
    project.write("src/middlewares/auth.py", "def other():\n    pass\n");
    assert!(project.rohas(&["codegen"]).status.success());
    let refused = project.rohas(&["run", "--port", "0"]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("auth_middleware"), "{}", text(&refused.stderr));
}

#[test]
fn a_reload_brings_the_new_ones() {
    let project = project("");
    let daemon = project.dev();
    assert_eq!(daemon.get("/test/7").status, 200);
    project.write("src/middlewares/auth.py", "def auth_middleware(context):\n    return {'error': 'closed today'}\n");
    let closed = eventually("the new middleware", || Some(daemon.get("/test/7")).filter(|closed| closed.status == 400));
    assert_eq!(closed.json()["error"], "closed today");
}
