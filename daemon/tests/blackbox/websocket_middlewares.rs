//! Do middlewares decide who may connect, before anything is promised?

use serde_json::{Value, json};

use crate::journal::MODULE;
use crate::middlewares::steps;
use crate::support::{Project, eventually};
use crate::websocket::{Client, noted, wait_for_notes};

const AUTH: &str = "
    from generated.errors import Unauthorized
    from generated.responses import Reply
    from journal import *

    def auth_middleware(context, state):
        note('context', sorted(context), dict(context['cookies']), context['method'], context['trace_id'], context['client_ip'])
        assert 'api_name' not in context and context['payload'] is None
        note('auth', context['websocket_name'], context['connection'].connection_id, context['path'], context['path_params'],
             context['query_params'].get('q'), context['headers'].get('x-test'), context['client_ip'])
        what = context['query_params'].get('do')
        if what == 'raise':
            raise Exception('Access denied')
        if what == 'refuse':
            return {'error': 'not today', 'response_headers': {'x-auth': 'no'}}
        if what == 'print':
            print('from the door')
        if what == 'die':
            os.kill(os.getpid(), 9)
        if what == 'typed':
            raise Unauthorized('who are you?')
        if what == 'answer':
            return Reply(data='come again', status=202, headers={'x-later': 'yes'})
        if what == 'emit':
            state.trigger_event('Knocked', context['connection'].connection_id)
        if what == 'latin':
            return {'response_headers': {'x-auth': 'Gr\\u00fc\\u00dfe'}}
        return {'response_headers': {'x-auth': 'passed'}, 'query_params': {**context['query_params'], 'q': 'another'}}

    def auth_after(context, response, state):
        note('after')
    ";

const SECOND: &str = "
    from journal import *

    async def second_middleware(context):
        note('second')
        if context['query_params'].get('do') == 'hang':
            await asyncio.sleep(60)
    ";

fn project() -> Project {
    project_with("")
}

fn project_with(settings: &str) -> Project {
    let settings = crate::support::dedent(settings);
    Project::new()
        .file("config/rohas.toml", &format!("[project]\nname = \"guarded\"\n[python]\nworkers = 1\n{settings}"))
        .file(
            "schema/schema.ro",
            r#"
            ws Guarded { path: "/ws/{room}"  onConnect: [opened]  middlewares: [auth, second] }
            event Knocked { payload: String  handler: [knocked] }
            "#,
        )
        .file("src/journal.py", MODULE)
        .file("src/middlewares/auth.py", AUTH)
        .file("src/middlewares/second.py", SECOND)
        .file(
            "src/handlers/websockets/opened.py",
            "from journal import *\ndef opened(connection):\n    note('opened', connection.id)\n    return connection.query_params.get('q')\n",
        )
        .file("src/handlers/events/knocked.py", "from journal import *\ndef knocked(event):\n    note('knocked', event.payload)\n")
}

#[test]
fn they_run_in_order_with_full_context_before_the_upgrade_and_add_headers() {
    let project = project();
    let daemon = project.dev();
    let Ok((mut client, answer)) = Client::open_with(&daemon, "/ws/lobby?q=mine&do=emit", &[("x-test", "here")]) else {
        panic!("{}", daemon.output())
    };
    assert_eq!(answer.headers()["x-auth"], "passed");
    assert_eq!(client.json(), "another", "handlers are told what the middlewares have left");
    let auth = wait_for_notes(&project, "auth", 1).remove(0);
    let opened = wait_for_notes(&project, "opened", 1).remove(0);
    let id = opened[0].clone();
    let expected =
        json!(["Guarded", id, "/ws/lobby", {"room": "lobby"}, "mine", "here", "127.0.0.1"]).as_array().unwrap().clone();
    assert_eq!(auth, expected);
    assert_eq!(wait_for_notes(&project, "knocked", 1)[0], [id]);
    let order: Vec<String> =
        std::fs::read_to_string(project.path().join("journal")).unwrap().lines().map(str::to_owned).collect();
    let place = |stage: &str| order.iter().position(|line| line.contains(&format!("[\"{stage}\""))).unwrap();
    assert!(place("auth") < place("second") && place("second") < place("opened"), "{order:?}");
    client.close();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let steps = eventually("its steps in the trace", || {
        let shown: Value = serde_json::from_slice(&project.rohas(&["traces", "show", id, "--json"]).stdout).ok()?;
        let found = shown["records"].as_array()?.iter().find(|record| record["name"] == "Guarded (connect)").map(steps);
        found.filter(|steps| steps.len() > 3)
    });
    assert_eq!(steps[..4], ["validate", "middleware:auth", "publish", "middleware:second"]);
    assert!(noted(&project, "after").is_empty());
}

#[test]
fn whoever_they_refuse_or_answer_is_not_connected() {
    let project = project();
    let daemon = project.run();
    for (what, status, said) in [
        ("raise", 400, json!({"error": "Access denied", "code": "rejected"})),
        ("refuse", 400, json!({"error": "not today", "code": "rejected"})),
        ("typed", 401, json!({"error": "who are you?", "code": "unauthorized"})),
        ("answer", 202, json!({"data": "come again"})),
    ] {
        let Err(refusal) = Client::open_with(&daemon, &format!("/ws/lobby?do={what}"), &[]) else { panic!("{what}") };
        assert_eq!(refusal.status, status, "{refusal:?}");
        let body = refusal.json();
        for (name, value) in said.as_object().unwrap() {
            assert_eq!(&body[name], value, "{what}: {body}");
        }
        if what == "answer" {
            assert_eq!(refusal.header("x-later"), Some("yes"));
        } else {
            assert_eq!(body["trace_id"].as_str().map(str::len), Some(32));
        }
    }
    Client::open(&daemon, "/ws/lobby").close();
    wait_for_notes(&project, "opened", 1);
    assert_eq!(
        (noted(&project, "auth").len(), noted(&project, "second").len(), noted(&project, "opened").len()),
        (5, 1, 1)
    );
}

#[test]
fn they_know_the_client_that_trusted_proxies_name_and_what_it_has_sent() {
    let project = project_with("[server]\ntrusted_proxies = [\"127.0.0.0/8\", \"fd00::/8\"]\n");
    let daemon = project.run();
    let headers = [("cookie", "k=v"), ("x-forwarded-for", "1.1.1.1, 2001:db8::7, [fd00::2]:443")];
    let Ok((client, answer)) = Client::open_with(&daemon, "/ws/lobby?do=print", &headers) else {
        panic!("{}", daemon.output())
    };
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    let keys = [
        "client_ip",
        "connection",
        "cookies",
        "headers",
        "method",
        "path",
        "path_params",
        "payload",
        "query_params",
        "trace_id",
        "websocket_name",
    ];
    let context = wait_for_notes(&project, "context", 1).remove(0);
    assert_eq!(Value::from(context), json!([keys, {"k": "v"}, "GET", id, "2001:db8::7"]));
    client.close();
    eventually("what it has printed", || {
        let shown: Value = serde_json::from_slice(&project.rohas(&["traces", "show", id, "--json"]).stdout).ok()?;
        let mut logs = shown["records"].as_array()?.iter().filter_map(|record| record["logs"].as_array()).flatten();
        logs.any(|log| log["level"] == "stdout" && log["message"] == "from the door").then_some(())
    });
}

#[test]
fn headers_of_the_upgrade_are_latin_1() {
    let project = project();
    let daemon = project.run();
    let Ok((client, answer)) = Client::open_with(&daemon, "/ws/lobby?do=latin", &[]) else {
        panic!("{}", daemon.output())
    };
    assert_eq!(answer.headers()["x-auth"].as_bytes(), b"Gr\xfc\xdfe");
    client.close();
}

#[test]
fn one_that_takes_too_long_or_dies_lets_nobody_in() {
    let project = project_with("[server]\nrequest_timeout = \"700ms\"\n");
    let daemon = project.run();
    for (what, status, code) in [("hang", 504, "timeout"), ("die", 502, "worker_died")] {
        let Err(refusal) = Client::open_with(&daemon, &format!("/ws/lobby?do={what}"), &[]) else { panic!("{what}") };
        assert_eq!((refusal.status, &refusal.json()["code"]), (status, &json!(code)), "{refusal:?}");
    }
    assert!(noted(&project, "opened").is_empty());
    eventually("a new worker", || Client::open_with(&daemon, "/ws/lobby", &[]).ok()).0.close();
}
