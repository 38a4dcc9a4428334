//! Does what a client asks for reach the handler, typed and decoded, and is the rest refused with every fault?
#![expect(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use crate::http::project;
use crate::support::Project;

#[test]
fn paths_find_their_api_and_parameters_arrive_decoded() {
    let project = project("");
    let daemon = project.run();
    let cases = [
        ("/notes/7", json!({"id": "7", "params": {"id": "7"}})),
        ("/notes/a%20b%2Fc", json!({"id": "a b/c", "params": {"id": "a b/c"}})),
        ("/notes/%C3%A9+", json!({"id": "é+", "params": {"id": "é+"}})),
        ("/notes/latest", json!({"latest": true})),
        ("/notes/x/parts/%7By%7D", json!(["x", "{y}"])),
    ];
    for (path, expected) in cases {
        let reply = daemon.get(path);
        assert_eq!((reply.status, reply.json()), (200, expected), "{path}");
    }
    assert_eq!(daemon.request("DELETE", "/notes/k", &[], b"").status, 204);
    for (path, status) in [("/notes/%FF", 400), ("/notes/%C3%28", 400), ("/notes/7/", 404), ("/notes/", 404)] {
        let reply = daemon.get(path);
        assert_eq!(reply.status, status, "{path}");
        assert!(reply.json()["error"].is_string(), "{path}");
    }
    assert_eq!(daemon.get("/notes/%FF").json()["code"], "malformed_path");
}

#[test]
fn a_path_is_found_however_its_characters_are_encoded() {
    let schema = r#"
        api Its { method: GET path: "/it's/{name}" response: Json }
        api Cafe { method: GET path: "/café|1" response: Json }
        "#;
    let project = Project::new()
        .file("schema/api.ro", schema)
        .file("src/handlers/api/its.py", "def handle_its(req):\n    return req.name\n")
        .file("src/handlers/api/cafe.py", "def handle_cafe():\n    return 'café'\n");
    let daemon = project.run();
    for (path, expected) in [
        ("/it's/x", "x"),
        ("/it%27s/x", "x"),
        ("/%69t's/%2F%25%3F?q=%2F", "/%?"),
        ("/it's/a'b", "a'b"),
        ("/caf%C3%A9%7C1", "café"),
        ("/café|1", "café"),
    ] {
        let reply = daemon.get(path);
        assert_eq!((reply.status, reply.json()), (200, json!(expected)), "{path}");
    }
    for path in ["/it's%2Fx", "/it%2527s/x", "/it's/x/y", "/caf%E9%7C1"] {
        assert_eq!(daemon.get(path).status, 404, "{path}");
    }
}

#[test]
fn queries_arrive_typed_where_declared_and_as_text_elsewhere() {
    let project = project("");
    let daemon = project.run();
    let typed = |query: &str| daemon.get(&format!("/notes{query}"));
    assert_eq!(typed("").json(), json!({"page": 1, "deep": false, "tags": null}));
    assert_eq!(typed("?page=3&deep=true&tags=a&tags=b").json(), json!({"page": 3, "deep": true, "tags": ["a", "b"]}));
    let refused = typed("?page=zero&deep=perhaps");
    assert_eq!(refused.status, 422);
    assert_eq!(paths(&refused.json()), [json!(["page"]), json!(["deep"])]);

    let echoed = daemon.get("/echo?a=1&a=2&b=x+y%26%C3%A9&flag&=none").json();
    assert_eq!(echoed["query"]["a"], json!(["2", ["1", "2"]]));
    assert_eq!(echoed["query"]["b"], json!(["x y&é", ["x y&é"]]));
    assert_eq!(echoed["query"]["flag"], json!(["", [""]]));
}

#[test]
fn headers_and_cookies_arrive() {
    let project = project("");
    let daemon = project.run();
    let headers = [("user-agent", "test/1"), ("cookie", "a=1; b=\"two\"")];
    let echoed = daemon.request("GET", "/echo", &headers, b"").json();
    assert_eq!(echoed["agent"], "test/1");
    assert_eq!(echoed["cookies"]["a"], "1");
}

#[test]
fn bodies_are_transformed_completed_and_checked_before_the_handler() {
    let project = project("");
    let daemon = project.run();
    let created = daemon.post("/notes", r#"{"title": "  hi ", "email": " ANN@X.io "}"#);
    assert_eq!(created.status, 201);
    let note = &created.json()["note"];
    assert_eq!((&note["title"], &note["email"], &note["count"]), (&json!("hi"), &json!("ann@x.io"), &json!(1)));
    let wrapped = daemon.post("/notes", r#"{"body": {"title": "in a body"}}"#);
    assert_eq!((wrapped.status, &wrapped.json()["note"]["title"]), (201, &json!("in a body")));

    let body =
        r#"{"title": " ", "email": "nobody", "count": 11, "items": [{"sku": "a", "quantity": 1}, {"quantity": 0}]}"#;
    let refused = daemon.post("/notes", body);
    let answer = refused.json();
    assert_eq!(refused.status, 422);
    let mut faults = paths(&answer);
    faults.sort_by_key(Value::to_string);
    let expected = [
        json!(["count"]),
        json!(["email"]),
        json!(["items", 1, "quantity"]),
        json!(["items", 1, "sku"]),
        json!(["title"]),
    ];
    assert_eq!(faults, expected, "{answer}");
    for fault in answer["details"].as_array().unwrap() {
        assert!(fault["code"].is_string() && fault["message"].is_string(), "{fault}");
    }
    assert_eq!(answer["trace_id"].as_str().unwrap().len(), 32);
}

#[test]
fn path_parameters_complete_missing_fields_of_the_body() {
    let project = project("");
    let daemon = project.run();
    assert_eq!(daemon.post("/orders/7/cancel", r#"{"reason": "late"}"#).json(), json!([7, "late"]));
    assert_eq!(daemon.post("/orders/7/cancel", "").json(), json!([7, null]));
    assert_eq!(daemon.post("/orders/7/cancel", r#"{"orderId": 8}"#).json(), json!([8, null]));
    let refused = daemon.post("/orders/seven/cancel", "{}");
    assert_eq!((refused.status, paths(&refused.json())), (422, vec![json!(["orderId"])]));
}

#[test]
fn json_that_is_not_quite_json_is_refused_and_odd_json_is_kept() {
    let project = project("");
    let daemon = project.run();
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let malformed = ["{", "{'a': 1}", "NaN", r#"{"a": Infinity}"#, "[1,]", r#""\ud800""#, "1 2", "\u{feff}{}", &deep];
    for body in malformed {
        let reply = daemon.post("/anything", body);
        let start: String = body.chars().take(20).collect();
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("malformed_json")), "{start}");
    }
    let json = [("content-type", "application/json")];
    assert_eq!(daemon.request("POST", "/anything", &json, b"{\"a\": \"\xff\"}").status, 400);
    assert_eq!(daemon.request("POST", "/anything", &json, b"\"\xc3\x28\"").status, 400);

    assert_eq!(daemon.post("/anything", r#"{"a": 1, "a": 2}"#).json(), json!({"a": 2}));
    assert_eq!(daemon.post("/anything", r#""é\u0000\uD83D\uDE00""#).json(), json!("é\u{0}😀"));
    assert_eq!(daemon.post("/anything", " null ").json(), json!(null));
    let huge = daemon.post("/notes", &format!(r#"{{"title": "t", "count": {}}}"#, "9".repeat(400)));
    assert!(matches!(huge.status, 400 | 422), "{huge:?}");
    assert_eq!(daemon.post("/notes", r#"{"title": "t", "count": 99999999999999999999}"#).status, 422);
    assert_eq!(daemon.post("/notes", r#"{"title": "t", "count": 1.5}"#).status, 422);
    assert_eq!(daemon.get("/healthz").status, 200);
}

#[test]
fn only_json_is_accepted_and_no_content_type_means_json() {
    let project = project("");
    let daemon = project.run();
    let send = |content_type: &str| daemon.request("POST", "/anything", &[("content-type", content_type)], b"{}");
    for accepted in ["application/json; charset=utf-8", "Application/JSON", "application/cloudevents+json"] {
        assert_eq!(send(accepted).status, 200, "{accepted}");
    }
    assert_eq!(daemon.request("POST", "/anything", &[], b"{}").status, 200);
    for refused in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"] {
        let reply = send(refused);
        assert_eq!(reply.status, 415, "{refused}");
        assert!(reply.json()["error"].as_str().unwrap().contains("application/json"));
    }
}

#[test]
fn unknown_paths_are_404_and_wrong_methods_405_with_allow() {
    let project = project("");
    let daemon = project.run();
    let missing = daemon.get("/nowhere");
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!("not_found")));
    let wrong = daemon.request("PUT", "/notes/7", &[], b"");
    assert_eq!((wrong.status, &wrong.json()["code"]), (405, &json!("method_not_allowed")));
    let mut allowed: Vec<_> = wrong.header("allow").unwrap().split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    for target in ["http://test/notes/7", "http://test:80/notes/7?x", "/notes/7?%FF=%"] {
        assert_eq!(daemon.get(target).status, 200, "{target}");
    }
    for (method, target) in
        [("OPTIONS", "*"), ("CONNECT", "test:80"), ("GET", "http://test"), ("GET", "//notes"), ("GET", "/notes//7")]
    {
        assert!(matches!(daemon.request(method, target, &[], b"").status, 400 | 404 | 405), "{method} {target}");
    }
    assert_eq!(daemon.get("/healthz").status, 200);
    assert_eq!(daemon.request("BREW", "/notes/7", &[], b"").status, 405);
}

fn paths(answer: &Value) -> Vec<Value> {
    answer["details"].as_array().unwrap().iter().map(|fault| fault["path"].clone()).collect()
}
