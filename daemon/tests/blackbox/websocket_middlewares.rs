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
        assert 'api_name' not in context and context['payload'] is None
        note('auth', context['websocket_name'], context['connection'].connection_id, context['path'], context['path_params'],
             context['query_params'].get('q'), context['headers'].get('x-test'), context['client_ip'])
        what = context['query_params'].get('do')
        if what == 'raise':
            raise Exception('Access denied')
        if what == 'typed':
            raise Unauthorized('who are you?')
        if what == 'answer':
            return Reply(data='come again', status=202, headers={'x-later': 'yes'})
        if what == 'emit':
            state.trigger_event('Knocked', context['connection'].connection_id)
        return {'response_headers': {'x-auth': 'passed'}, 'query_params': {'q': 'another'}}

    def auth_after(context, response, state):
        note('after')
    ";

fn project() -> Project {
    Project::new()
        .file(
            "schema/schema.ro",
            r#"
            ws Guarded { path: "/ws/{room}"  onConnect: [opened]  middlewares: [auth, second] }
            event Knocked { payload: String  handler: [knocked] }
            "#,
        )
        .file("src/journal.py", MODULE)
        .file("src/middlewares/auth.py", AUTH)
        .file("src/middlewares/second.py", "from journal import *\ndef second_middleware(context):\n    note('second')\n")
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
    assert_eq!(client.json(), "mine", "handlers are told what the client has sent");
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
        (4, 1, 1)
    );
}
