"""WebSockets, cron jobs and middlewares: what their handlers are given, and what becomes of what they return."""

import json

from case import Case
from fixture import Project

ORDER = {"email": "a@x.io", "items": [{"name": "n", "quantity": 2}]}
TIME = "2026-11-21T03:04:05.678901Z"
CONNECTION = [
    "c1", "/chat/{room}", TIME, [["room", "blue"]], [["tag", "a"], ["tag", "b"]],
    [["user-agent", "test"], ["cookie", "a=1; b=2"]], "192.0.2.7",
]  # fmt: skip
OPENED = [3, 0, CONNECTION]
CLOSED = [3, 2, CONNECTION, 1001, "bye"]


def message(binary=False):
    return [3, 1, CONNECTION, TIME, binary]


def order(**fields):
    return json.dumps({**ORDER, **fields}).encode()


class WebSockets(Case):
    def test_a_handler_has_as_many_parameters_as_it_likes(self):
        self.assertEqual(self.worker.call_with("nothing", OPENED).json, "called")
        self.assertEqual(self.worker.call_with("only_connection", OPENED).json, [True, "c1", "c1", "/chat/{room}"])
        result = self.worker.call_with("said_sync", message(), order())
        self.assertEqual(result.json, ["n", "c1", f"{result.id:032x}"])

    def test_a_connection_knows_its_request(self):
        seen = self.worker.call_with("opened", OPENED).json
        self.assertEqual(seen.pop("json"), {"connection_id": "c1", "path": "/chat/{room}", "connected_at": TIME})
        self.assertEqual(seen, {
            "connected_at": TIME, "path_params": {"room": "blue"}, "tag": "b", "tags": ["a", "b"], "agent": "test",
            "cookies": {"a": "1", "b": "2"}, "client": "192.0.2.7", "closed": [None, None], "handler": "opened",
        })  # fmt: skip

    def test_a_message_is_typed(self):
        reply = self.worker.call_with("said", message(), order())
        self.assertEqual(reply.json, {"data": {**ORDER, "placed": None}, "timestamp": TIME})
        self.assertEqual((reply.status, reply.headers), (0, []))

    def test_what_ends_a_connection_has_no_message(self):
        self.assertEqual(self.worker.call_with("said", CLOSED).json, [None, 1001, "bye"])

    def test_a_message_that_does_not_fit_is_an_error(self):
        self.assertEqual(self.worker.call_with("said", message(), b'{"email": 1}').error["type"], "ValidationError")

    def test_bytes_come_and_go_as_they_are_or_as_base64(self):
        binary = [["content-type", "application/octet-stream"]]
        for body, input in ((b"\x00\xff", message(True)), (b'"AP8="', message(False))):
            result = self.worker.call_with("blob", input, body)
            self.assertEqual((result.raw, result.headers), (b"\xff\x00", binary))
        self.assertEqual(self.worker.call_with("blob", message(True), b"array").raw, b"yarra")

    def test_unknown_phases_and_kinds_end_the_worker(self):
        for input in ([3, 3, CONNECTION], [6], [4, [[2, "x"], "GET", "/", [], [], None], []]):
            worker = self.fresh()
            worker.invoke_with("opened", input)
            self.assertEqual(worker.wait(), 70)


class Pushes(Case):
    def pushed(self, id):
        """What has been pushed until a call's result came, and the result."""
        self.worker.pushes.clear()
        return self.worker.result(id), [(header, body) for header, body, _ in self.worker.pushes]

    def test_what_is_done_to_connections_comes_in_order_and_before_the_result(self):
        before = len(self.worker.results)
        result, pushes = self.pushed(self.worker.invoke_with("pushes", OPENED))
        self.assertEqual(result.json, "done")
        self.assertEqual(pushes, [
            ([2, "c1", "blue"], b""),
            ([0, "c1", False], b'{"n":1}'),
            ([0, "c1", True], b"\x00\xff"),
            ([0, "c1", False], b'"text"'),
            ([1, "Chat", "blue", "c1", False], b'{"data":null,"timestamp":null}'),
            ([1, "Blob", None, None, True], b"view"),
            ([3, "c1", "blue"], b""),
            ([4, "c1", 4000, "bye"], b""),
            ([4, "other", 1000, ""], b""),
        ])  # fmt: skip
        self.assertEqual({results for _, _, results in self.worker.pushes}, {before})

    def test_every_kind_of_handler_reaches_connections(self):
        _, pushes = self.pushed(self.worker.invoke_with("nightly", [2, "Nightly", "0 2 * * *", TIME]))
        self.assertEqual(pushes, [([1, "Chat", None, None, False], b'"it is night"')])
        _, pushes = self.pushed(self.worker.invoke_with("guard", before(), b'{"do": "emit"}'))
        self.assertEqual(pushes, [([0, "c", False], b'"from a middleware"')])

    def test_a_failure_undoes_nothing(self):
        result, pushes = self.pushed(self.worker.invoke_with("pushes_and_fails", OPENED))
        self.assertEqual((result.error["message"], pushes), ("after the push", [([0, "c1", False], b"1")]))

    def test_they_do_not_wait_for_the_handlers_end(self):
        for handler in ("streams", "blocks"):
            worker = self.fresh()
            id = worker.invoke_with(handler, OPENED)
            worker.until(lambda: worker.pushes)
            self.assertEqual((worker.results, worker.entered(id)), ({}, True))
            worker.cancel(id)
            worker.result(id)

    def test_mistakes_are_errors_of_the_handler(self):
        for do, kind, text in (
            ("name", "UndeclaredWebSocket", "no WebSocket 'Chatt'; did you mean 'Chat'? (declared: Blob, Chat)"),
            ("id", "TypeError", "connection_id is a text, not 7"),
            ("room", "TypeError", "room is a text, not 7"),
            ("code", "ValueError", "not 1006"),
            ("reason", "ValueError", "at most 123 bytes, not 124"),
            ("data", "UnserializableResult", "object at ['a'][0] can't be written as JSON"),
        ):
            error = self.worker.call_with("wrong", message(), order(email=do)).error
            self.assertEqual((error["type"], error["file"]), (kind, "src/handlers/websockets/chat.py"), error)
            self.assertIn(text, error["message"])
        self.assertEqual(self.worker.call_with("nothing", OPENED).json, "called")


class Cron(Case):
    def test_a_run_knows_its_job_and_its_slot(self):
        result = self.worker.call_with("nightly", [2, "Nightly", "0 2 * * *", TIME])
        request = {"query_params": {}, "cron_name": "Nightly", "schedule": "0 2 * * *", "scheduled_at": TIME}
        self.assertEqual(result.json, [request, 0])
        self.assertEqual(result.emits, [("Counted", [1], None, 0)])

    def test_it_needs_no_parameters(self):
        self.assertEqual(self.worker.call_with("bare", [2, "Bare", "* * * * *", TIME]).json, "ran")


REQUEST = ["POST", "/orders/7", [["id", "7"]], [["x-key", "s"], ["cookie", "a=1"], ["cookie", "b=2; a=3"]], "192.0.2.7"]


def before(target=(0, "Place"), query=(("tag", "a"), ("tag", "b"))):
    return [4, [list(target), *REQUEST], [list(pair) for pair in query]]


def after(do, payload=b"", status=200, headers=(("etag", "1"),)):
    query = [["do", do]]
    return [5, [[0, "Place"], *REQUEST], query, len(payload), status, [list(pair) for pair in headers]]


class Middlewares(Case):
    def said(self, do):
        return self.worker.call_with("guard", before(), json.dumps({"do": do}).encode())

    def test_the_context_is_the_whole_request(self):
        result = self.worker.call_with("guard", before(), b'{"n": 1}')
        self.assertEqual(result.json["data"], {
            "payload": {"n": 1}, "query_params": {"tag": "b"}, "tags": ["a", "b"], "header": "s", "cookies": {"a": "1", "b": "2"},
            "method": "POST", "path": "/orders/7", "path_params": {"id": "7"}, "client_ip": "192.0.2.7", "api_name": "Place",
            "trace_id": f"{result.id:032x}", "connection": False, "handler": "guard",
        })  # fmt: skip

    def test_before_a_websocket_it_has_the_connection_and_no_payload(self):
        seen = self.worker.call_with("guard", before((1, "Chat", CONNECTION))).json["data"]
        self.assertEqual([seen["websocket_name"], seen["connection"], seen["payload"]], ["Chat", ["c1", "192.0.2.7"], None])
        self.assertNotIn("api_name", seen)

    def test_none_lets_the_request_pass(self):
        result = self.said("pass")
        self.assertEqual((result.status, result.raw), (0, b"null"))
        self.assertEqual((self.said("other").status, self.said("other").json), (0, True))

    def test_a_dict_says_what_changes_and_nothing_else(self):
        result = self.said("change")
        self.assertEqual(result.status, 0)
        expected = {"payload": {"do": "change", "changed": True}, "query_params": {"tag": ["a", "b"], "page": "2"}}
        self.assertEqual(result.json, expected)
        self.assertEqual(self.said("say").json, {"response_headers": {"x-a": ["1", "2"]}, "error": "no", "ignored": ["unknown"]})

    def test_a_response_is_the_answer(self):
        result = self.said("reply")
        self.assertEqual((result.status, result.headers, result.json), (202, [["x-own", "1"]], {"data": {"own": True}}))
        result = self.said("response")
        self.assertEqual((result.status, result.json), (200, {"data": 1}))

    def test_errors_and_emits_are_those_of_any_handler(self):
        error = self.said("refuse").error
        self.assertEqual((error["status"], error["expected"], error["message"]), (401, True, "who are you?"))
        self.assertEqual(self.said("emit").emits, [("Counted", [1], None, 0)])


class Afters(Case):
    def left(self, do, body=b'{"data":{"n":1.50}}', payload=b'{"p":1}', handler="after_guard"):
        return self.worker.call_with(handler, after(do, payload), payload + body)

    def test_what_nobody_touches_goes_out_as_it_came(self):
        for handler in ("after_guard", "after_brief"):
            result = self.left("", handler=handler)
            self.assertEqual((result.status, result.headers, result.raw), (200, [["etag", "1"]], b'{"data":{"n":1.50}}'))
        result = self.left("headers", b"")
        self.assertEqual((result.headers, result.raw), ([["etag", "1"], ["x-only", "1"]], b""))

    def test_the_answer_can_be_changed(self):
        result = self.left("mutate")
        self.assertEqual((result.status, result.headers), (201, [["x-total", "1"], ["x-total", "2"]]))
        self.assertEqual(result.json, {"data": {"n": 1.5, "seen": {"p": 1}}})

    def test_a_plain_body_stays_plain(self):
        self.assertEqual(self.left("mutate", b'{"n":1}').json, {"n": 1, "seen": {"p": 1}})
        self.assertEqual(self.left("set").json, {"data": [1]})
        self.assertEqual(self.left("set", b'{"data":1,"more":2}').json, [1])

    def test_another_response_takes_its_place(self):
        result = self.left("replace")
        self.assertEqual((result.status, result.headers, result.json), (203, [["x-new", "1"]], {"data": "new"}))
        self.assertEqual((result.replaces, self.left("mutate").replaces), (True, False))

    def test_what_is_no_response_is_an_error(self):
        error = self.left("wrong").error
        self.assertEqual((error["code"], error["type"]), ("wrong_result", "WrongResult"))
        self.assertIn("None or a response such as generated.responses.Reply, not dict", error["message"])
        self.assertEqual(self.left("raise").error["status"], 401)


class Loading(Case):
    def load(self, project):
        worker = self.start(project)
        return worker.loaded, worker

    def test_a_middleware_need_not_have_a_second_function(self):
        loaded, worker = self.load(Project(self.project.root).middleware("alone"))
        self.assertEqual(loaded, [{"ok": True, "asynchronous": True}, {"ok": False, "absent": True}])
        self.assertEqual(worker.call_with("alone", before()).raw, b"null")

    def test_a_middleware_that_does_not_load_is_reported_once(self):
        loaded, _ = self.load(Project(self.project.root).middleware("broken"))
        self.assertEqual((loaded[0]["error"]["line"], loaded[1]), (1, {"ok": False, "absent": True}))

    def test_a_websocket_handler_takes_three_parameters(self):
        loaded, _ = self.load(Project(self.project.root).websocket("too_many"))
        self.assertIn("take at most three parameters, `message`, `connection` and `state`", loaded[0]["error"]["remedy"])

    def test_without_generated_code_the_remedy_is_codegen(self):
        project = Project(self.project.root).websocket("said")
        project.handlers[0]["message_class"] = "GoneMessage"
        loaded, _ = self.load(project)
        self.assertEqual(loaded[0]["error"]["remedy"], "run `rohas codegen`")
