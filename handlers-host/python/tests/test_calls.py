"""Inputs, results, errors and emits of calls."""

import json
import threading
import time

from case import Case
from daemon import ENTERED, Shared
from fixture import complete

ORDER = {"email": "a@x.io", "items": [{"name": "n", "quantity": 2}]}


class Inputs(Case):
    def place(self, handler):
        return self.worker.call(
            handler, ORDER, path=["eu", "x"], query=[("tag", "a"), ("tag", "b")], typed_query={"limit": 3},
            headers=[("accept", "*/*"), ("cookie", "a=1; b=2"), ("x-a", "1"), ("x-a", "2")],
        )  # fmt: skip

    def test_everything_loads(self):
        self.assertEqual([report for report in self.worker.loaded if not report["ok"]], [])

    def test_hello_names_the_interpreter_and_its_libraries(self):
        hello = self.worker.hello
        self.assertEqual(hello["language"], "python")
        self.assertEqual(hello["pid"], self.worker.process.pid)
        self.assertTrue(hello["libraries"]["pydantic"])

    def test_a_request_is_typed(self):
        result = self.place("place")
        self.assertEqual(result.status, 201)
        self.assertEqual(result.headers, [["x-seen", "a,b"], ["x-many", "a"], ["x-many", "b"]])
        self.assertEqual(result.json, {"data": {**ORDER, "placed": None}})

    def test_a_request_knows_path_query_headers_and_cookies(self):
        seen = self.place("inspect").json
        self.assertEqual(seen["path"], {"region": "eu", "class": "x"})
        self.assertEqual([seen["region"], seen["query"], seen["tag"], seen["tags"]], ["eu", 3, "b", ["a", "b"]])
        self.assertEqual([seen["accept"], seen["missing"], seen["names"]], ["*/*", None, ["accept", "cookie", "x-a"]])
        self.assertEqual(seen["cookies"], {"a": "1", "b": "2"})
        self.assertEqual(seen["handler"], "inspect")

    def test_an_event_is_typed(self):
        result = self.worker.call("ordered", ORDER, key="k", attempt=3)
        self.assertEqual(result.json, {"id": f"event-{result.id}", "key": "k", "email": "a@x.io", "attempt": 3})
        self.assertEqual(self.worker.call("ordered", ORDER).json["key"], None)

    def test_an_events_payload_may_be_a_list(self):
        self.assertEqual(self.worker.call("counted", [1, 2, 3]).json, 6)

    def test_a_body_that_does_not_fit_is_an_error_and_never_a_dict(self):
        error = self.worker.call("counted", ["x"]).error
        self.assertEqual([error["class"], error["type"], error["expected"]], ["failed", "ValidationError", False])

    def test_any_number_of_parameters_up_to_two(self):
        self.assertEqual(self.worker.call("none").json, None)
        self.assertEqual(self.worker.call("variadic", 1).json, 2)
        self.assertEqual(self.worker.call("defaults", 1).json, [True, 5])

    def test_callable_objects_and_functions_that_return_awaitables_are_handlers(self):
        self.assertEqual(self.worker.call("called", 1).json, "called")
        self.assertEqual(self.worker.call("awaitable", {"a": 1}).json, {"a": 1})

    def test_a_missing_body_is_none(self):
        self.assertEqual(self.worker.call("echo").json, None)

    def test_frames_of_any_length_up_to_the_limit(self):
        for size in (0, 1, 65_500, 65_536, 300_000, 5_000_000, 60_000_000):
            text = "x" * size
            for handler in ("echo", "echo_sync"):
                self.assertEqual(self.worker.call(handler, text).json, text)

    def test_many_large_frames_at_once(self):
        text = "y" * 1_000_000
        ids = []
        worker = self.fresh()
        # The daemon reads while it writes: its first bytes come back before its last ones are read.
        sender = threading.Thread(target=lambda: ids.extend(worker.invoke("echo", text) for _ in range(30)))
        sender.start()
        worker.until(lambda: len(worker.results) == 30)
        sender.join()
        self.assertTrue(all(worker.results[id].json == text for id in ids))

    def test_a_reply_beyond_the_limit_is_an_error(self):
        error = self.worker.call("results", "huge").error
        self.assertEqual(error["code"], "result_too_large")
        self.assertEqual(self.worker.call("echo", 1).json, 1)

    def test_modules_have_the_names_of_a_normal_import(self):
        name, shared, directory, path = self.worker.call("where").json
        self.assertEqual([name, shared], ["handlers.api.behaviour", "handlers.shared"])
        root = str(self.project.root)
        self.assertEqual([directory, path], [root, [f"{root}/src", root]])
        self.assertEqual(self.worker.call("pickles", 0).json, ["handlers.api.behaviour", "Kept"])

    def test_handlers_see_nothing_of_the_connection(self):
        self.assertEqual(self.worker.call("environment").json, [])
        self.assertEqual(self.worker.call("descriptors").json, [])

    def test_a_forked_child_leaves_the_connection_alone(self):
        self.assertEqual(self.worker.call("forks").json, 5)
        self.assertEqual(self.worker.call("echo", 1).json, 1)

    def test_ping_is_answered(self):
        self.worker.ping(77)
        self.worker.until(lambda: 77 in self.worker.pongs)


class Results(Case):
    EXPECTED = {
        "none": None,
        "true": True,
        "int": 7,
        "big": 2**70,
        "float": 1.5,
        "nan": None,
        "infinite": [None, {"x": None}],
        "text": "grüße",
        "bytes": "AP8=",
        "list": [1, [2, "x"]],
        "tuple": [1, 2],
        "dict": {"a": {"b": None}, "1": 2},
        "datetime": "2026-01-02T03:04:05Z",
        "date": "2026-01-02",
        "delta": "PT1M30S",
        "decimal": "1.10",
        "uuid": "12345678-1234-5678-1234-567812345678",
        "enum": "red",
        "text_enum": "low",
        "path": "/tmp/x",
        "set": [3],
        "model": {"name": "a", "quantity": 2},
        "alias": {"from": "me", "when": "2026-01-02T03:04:05Z"},
        "dataclass": {"x": 1, "label": "12345678-1234-5678-1234-567812345678"},
        "namedtuple": [1, 2],
        "response": {"data": {"name": "a", "quantity": 2}},
        "response_of_dict": {"data": {"when": "2026-01-02T03:04:05Z"}},
        "nested": {
            "items": [{"name": "a", "quantity": 2}, {"x": 2, "label": None}],
            "at": {"now": "2026-01-02T03:04:05Z", "price": "2.50", "c": "red"},
        },
    }

    def test_each_type_of_result(self):
        for handler in ("results", "results_sync"):
            for name, expected in self.EXPECTED.items():
                with self.subTest(handler=handler, value=name):
                    result = self.worker.call(handler, name)
                    self.assertEqual(result.json, expected)
                    self.assertEqual([result.status, result.headers, result.emits, result.sets], [0, [], [], {}])

    def test_what_has_no_json_form_is_a_typed_error_that_names_the_place(self):
        for name, place in {
            "object": "builtins.object at ['a'][1]['b']",
            "function": "builtins.builtin_function_or_method",
            "cycle": "ircular",
            "surrogate": "surrogate",
            "in_model": "builtins.object at .data['deep'][0]",
        }.items():
            for handler in ("results", "results_sync"):
                with self.subTest(handler=handler, value=name):
                    error = self.worker.call(handler, name).error
                    self.assertEqual([error["class"], error["code"]], ["failed", "unserializable_result"])
                    self.assertFalse(error["expected"])
                    self.assertIn(place, error["message"])


class Errors(Case):
    def error(self, kind, handler="raises"):
        result = self.worker.call(handler, kind)
        self.assertFalse(result.completed, result.__dict__)
        return result.error

    def test_an_exception_names_its_place_in_the_users_code(self):
        source = (self.project.root / "src/handlers/api/behaviour.py").read_text().splitlines()
        for handler, kind, text in (("raises", "value", "bad value"), ("raises", "late", "late"), ("raises_sync", "", "sync")):
            error = self.error(kind, handler)
            self.assertEqual([error["class"], error["type"], error["message"]], ["failed", "ValueError", text])
            self.assertEqual([error["code"], error["status"], error["expected"]], [None, None, False])
            self.assertEqual(error["file"], "src/handlers/api/behaviour.py")
            self.assertIn(f'raise ValueError("{text}")', source[error["line"] - 1])
            self.assertTrue(error["traceback"].startswith("Traceback (most recent call last):\n  File "), error["traceback"])
            self.assertNotIn("rohas_worker", error["traceback"])

    def test_causes_are_in_the_traceback(self):
        self.assertIn("KeyError: 'k'", self.error("chained")["traceback"])

    def test_whatever_a_handler_raises_fails_only_its_call(self):
        for kind, name in {
            "exit": "SystemExit", "interrupt": "KeyboardInterrupt", "recursion": "RecursionError", "memory": "MemoryError",
            "base": "BaseException", "stop": "RuntimeError", "stop_async": "StopAsyncIteration", "cancelled": "CancelledError",
            "generator_exit": "GeneratorExit", "no_text": "NoText", "surrogate": "ValueError", "long": "ValueError",
        }.items():  # fmt: skip
            with self.subTest(kind=kind):
                error = self.error(kind)
                self.assertEqual([error["class"], error["type"]], ["failed", name])
                self.assertLess(len(json.dumps(error)), 300_000)
        for kind, name in {"exit": "SystemExit", "stop": "StopIteration", "interrupt": "KeyboardInterrupt"}.items():
            self.assertEqual(self.error(kind, "raises_sync")["type"], name)
        self.assertEqual(self.worker.call("echo", 1).json, 1)
        self.assertEqual(self.worker.call("echo_sync", 1).json, 1)

    def test_errors_with_a_meaning(self):
        def meaning(kind):
            error = self.error(kind)
            self.assertTrue(error["expected"])
            return [error[name] for name in ("class", "code", "type", "message", "status", "retry_after_ms")]

        self.assertEqual(meaning("not_found"), ["rejected", "not_found", "NotFound", "no order 7", 404, None])
        self.assertEqual(meaning("retry"), ["retry", "retry", "Retry", "later", 503, 1500])
        self.assertEqual(meaning("reject"), ["rejected", "rejected", "Reject", "never", 422, None])
        self.assertEqual(meaning("limited"), ["retry", "rate_limited", "RateLimited", "slow", 429, 2000])
        self.assertEqual(meaning("own"), ["failed", "teapot", "Teapot", "short", 418, None])
        self.assertEqual(self.error("not_found")["details"], [{"path": ["id"], "code": "x", "message": "y"}])

    def test_a_handler_that_cancels_itself_has_failed(self):
        error = self.error(0, "cancels_itself")
        self.assertEqual([error["class"], error["type"]], ["failed", "CancelledError"])

    def test_a_background_task_that_fails_is_logged_and_ends_nothing(self):
        for kind, text in (("raise", "ValueError: in the background"), ("exit", "SystemExit: 9")):
            worker = self.fresh()
            self.assertEqual(worker.call("background", kind).json, "started")
            if kind == "raise":
                # asyncio reports it when the task is forgotten.
                worker.call("forget")
            worker.until(lambda: any(log[2] == "error" and text in log[3] for log in worker.logs))
            self.assertIn("afterwards", [log[3] for log in worker.logs])
            self.assertEqual(worker.call("echo", 1).json, 1)


class Emits(Case):
    def test_emits_and_sets_carry_what_the_payload_was_when_they_were_made(self):
        before = time.time() * 1000
        result = self.worker.call("emits", "fine")
        after = time.time() * 1000
        self.assertEqual(result.json, "ok")
        due = result.emits[0][3]
        self.assertTrue(before - 1 <= due - 2000 <= after, (before, due, after))
        self.assertEqual(result.emits, [("Counted", {"n": 1}, "7", due), ("Ordered", {"n": 2}, None, 0)])
        self.assertEqual(result.sets, {"Counted": [2]})

    def test_an_undeclared_event_fails_the_handler_on_its_own_line(self):
        error = self.worker.call("emits", "undeclared").error
        self.assertEqual([error["type"], error["file"]], ["UndeclaredEvent", "src/handlers/api/behaviour.py"])
        self.assertIn("did you mean 'Ordered'?", error["message"])

    def test_a_payload_without_json_form_fails_the_handler_on_its_own_line(self):
        error = self.worker.call("emits", "object").error
        self.assertEqual([error["type"], error["file"]], ["UnserializableResult", "src/handlers/api/behaviour.py"])
        self.assertIn("['x'][0]", error["message"])

    def test_ids_are_unique_over_workers_and_grow(self):
        shared = Shared(1)
        workers = [self.fresh(ids=shared) for _ in range(2)]
        calls = [(worker, worker.invoke("ids", 500)) for worker in workers for _ in range(10)]
        lists = [worker.result(id).json for worker, id in calls]
        numbers = [number for each in lists for number in each]
        self.assertEqual(len(set(numbers)), 10_000)
        self.assertTrue(all(each == sorted(each) for each in lists))
        self.assertEqual(max(numbers), shared[0])
        expected = int((time.time() - 1_577_836_800) * 1000) << 12
        self.assertLess(abs(numbers[0] - expected), 60_000 << 12)
        self.assertLess(max(numbers), 2**53)


class Slots(Case):
    def test_an_entered_call_is_marked(self):
        id = self.worker.invoke("echo", 1)
        self.assertEqual(self.worker.result(id).json, 1)
        self.assertEqual(self.worker.slots[id % 4096], id | ENTERED)

    def test_a_call_that_was_taken_back_is_neither_run_nor_answered(self):
        stolen = [self.worker.invoke(handler, 1, own=False) for handler in ("prints", "prints_sync", "echo", "echo_sync")]
        for handler in ("echo", "echo_sync"):
            self.assertEqual(self.worker.call(handler, 2).json, 2)
        self.worker.call("sleeper", 0.05)
        self.assertEqual([id for id in stolen if id in self.worker.results], [])
        self.assertEqual([log for log in self.worker.logs if log[0] in stolen], [])
        self.assertEqual([self.worker.slots[id] for id in stolen], [0] * 4)

    def test_a_worker_drains_although_calls_were_taken_back(self):
        worker = self.fresh(project=complete(self.project.root))
        worker.invoke("echo", 1, own=False)
        worker.drain()
        self.assertEqual(worker.wait(), 0)
