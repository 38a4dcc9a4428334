"""Does examples/hello-world do what its README says? From outside, over HTTP."""

from __future__ import annotations

import concurrent.futures
import datetime
import json
import time
import typing
import unittest

from daemon import PATIENCE, Daemon, copy_of, eventually
from websockets.sync.client import ClientConnection

USER = {"name": "Ann", "email": "a@x.io"}


def is_iso_8601(text: str) -> bool:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")) is not None


class HelloWorld(unittest.TestCase):
    daemon: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon.shared_by(cls, "hello-world")

    def test_health_is_ok(self) -> None:
        reply = self.daemon.get("/health")
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.headers["content-type"], "application/json")
        self.assertEqual(reply.json["data"]["status"], "ok")
        self.assertTrue(is_iso_8601(reply.json["data"]["timestamp"]))

    def test_a_user_is_created_and_greeted_by_email(self) -> None:
        reply = self.daemon.post("/users", {"name": "  Ann ", "email": " A@X.io"})
        self.assertEqual(reply.status, 200, reply.body)
        user = reply.json["data"]
        self.assertTrue(is_iso_8601(user.pop("createdAt")))
        self.assertEqual(user, {"id": 1, **USER})
        self.daemon.wait_for_line("Sending welcome email to: a@x.io")

    def test_a_body_inside_of_a_body_is_accepted(self) -> None:
        reply = self.daemon.post("/users", {"body": USER})
        self.assertEqual((reply.status, reply.json["data"]["name"]), (200, "Ann"))

    def test_malformed_json_is_400(self) -> None:
        reply = self.daemon.post("/users", b"{bad json")
        self.assertEqual(reply.status, 400)
        self.assertIn("error", reply.json)

    def test_every_fault_is_named_with_its_path(self) -> None:
        reply = self.daemon.post("/users", {"name": " ", "email": "nobody"})
        self.assertEqual(reply.status, 422)
        self.assertEqual([fault["path"] for fault in reply.json["details"]], [["name"], ["email"]])

    def test_unknown_paths_are_404_and_other_methods_405(self) -> None:
        self.assertEqual(self.daemon.get("/nope").status, 404)
        refused = self.daemon.get("/users")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "POST"))

    def test_cors_is_enabled(self) -> None:
        origin = {"origin": "http://elsewhere.example"}
        self.assertEqual(self.daemon.get("/health", origin).headers["access-control-allow-origin"], "*")
        asked = {
            **origin,
            "access-control-request-method": "POST",
            "access-control-request-headers": "content-type",
        }
        reply = self.daemon.request("OPTIONS", "/users", headers=asked)
        self.assertEqual(reply.status, 200)
        self.assertIn("access-control-allow-methods", reply.headers)
        self.assertIn("access-control-allow-headers", reply.headers)

    def test_a_path_parameter_in_braces(self) -> None:
        self.assertEqual(self.daemon.get("/users/1").json["name"], "World")
        missing = self.daemon.get("/users/2")
        self.assertEqual((missing.status, missing.json["code"]), (404, "not_found"))
        self.assertEqual(missing.json["error"], "there is no user 2")

    def test_a_path_parameter_with_a_colon_and_a_typed_query(self) -> None:
        reply = self.daemon.get("/greetings/J%C3%BCrgen?tone=warm&times=2", {"accept-language": "de,en"})
        self.assertEqual(reply.status, 200, reply.body)
        self.assertEqual(reply.json["data"]["text"], "How good to see you, Jürgen! How good to see you, Jürgen!")
        self.assertEqual((reply.headers["content-language"], reply.headers["x-asked-for"]), ("en", "de"))
        refused = self.daemon.get("/greetings/Ann?tone=rude&times=9")
        self.assertEqual(refused.status, 422)
        self.assertEqual(len(refused.json["details"]), 2)

    def test_emits_happen_once_and_in_every_way(self) -> None:
        before = {line: self.daemon.printed(line) for line in self.AFTER_TEST}
        for round_number in (1, 2):
            self.assertEqual(self.daemon.get("/test").json, {"data": "Hello, world!s"})
            for line in self.AFTER_TEST:
                self.daemon.wait_for_line(line, before[line] + round_number)
        for line in self.AFTER_TEST:
            self.assertEqual(self.daemon.printed(line), before[line] + 2, line)

    AFTER_TEST = (
        "Sending welcome email to: hello@world.com",
        "Manual trigger says: Hello, world!",
        "A bottleneck was logged",
    )

    def test_what_a_handler_triggers_itself_is_not_emitted_for_it_again(self) -> None:
        for times in (1, 2):
            self.assertEqual(self.daemon.get("/timeline/fast?label=a").status, 200)
            self.daemon.wait_for_line("Fast operation took 50 ms", times)
        self.assertEqual(self.daemon.printed("Fast operation took"), 2)

    def test_slow_handlers_do_not_wait_for_each_other(self) -> None:
        paths = {"/timeline/slow": 2.0, "/timeline/multi-step": 2.0, "/timeline/very-slow": 6.0}

        def timed(path: str) -> tuple[int, float]:
            started = time.monotonic()
            status = self.daemon.get(path).status
            return status, time.monotonic() - started

        with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
            replies = dict(zip(paths, pool.map(timed, paths)))
        for path, (status, seconds) in replies.items():
            self.assertEqual(status, 200)
            self.assertGreaterEqual(seconds, paths[path])
        self.daemon.wait_for_line("All 4 steps done: one, two, three, four")

    def test_one_trace_links_a_request_with_what_it_caused(self) -> None:
        self.daemon.post("/users", {"name": "Trace", "email": "trace@x.io"})
        self.daemon.wait_for_line("Sending welcome email to: trace@x.io")

        def tree() -> str:
            entries = json.loads(self.daemon.rohas("traces", "list", "--json"))["entries"]
            requests = [entry for entry in entries if entry["name"] == "CreateUser"]
            return self.daemon.rohas("traces", "show", requests[0]["trace_id"]) if requests else ""

        eventually("the trace shows the chain", lambda: "WelcomeEmailSent" in tree() and "EmailRecorded" in tree())


    def test_a_middleware_lets_only_known_people_pass(self) -> None:
        refused = self.daemon.get("/me?user=Eve")
        self.assertEqual((refused.status, refused.json["code"]), (401, "unauthorized"))
        reply = self.daemon.get("/me?user=Eve", {"authorization": "Bearer ann-token"})
        self.assertEqual((reply.status, reply.json), (200, {"data": {"name": "Ann"}}))
        self.assertIn("x-trace-id", reply.headers)
        self.assertGreater(float(reply.headers["x-answered-at"]), 0)

    def test_everybody_hears_what_anybody_says(self) -> None:
        with self.daemon.websocket("/ws/hello") as ann, self.daemon.websocket("/ws/hello") as ben:
            names = [hear(client)["welcome"] for client in (ann, ben)]
            self.assertEqual(len(set(names)), 2)
            ann.send(json.dumps({"text": "who am I?"}))
            self.assertEqual(hear(ann), {"you": names[0]})
            for client in (ann, ben):
                self.assertEqual(hear(client), {"from": names[0], "text": "who am I?"})
            ben.send(json.dumps({"text": " "}))
            self.assertEqual(hear(ben)["details"][0]["path"], ["text"])
            ben.send(json.dumps({"text": "still here"}))
            for client in (ben, ann):
                self.assertEqual(hear(client)["text"], "still here")
        for name in names:
            self.daemon.wait_for_line(f"Client disconnected: {name}")

    def test_a_cron_job_runs_on_demand_and_tells_everybody(self) -> None:
        self.assertIn("DailyCleanup", self.daemon.rohas("cron", "list"))
        with self.daemon.websocket("/ws/hello") as client:
            hear(client)
            self.assertIn("DailyCleanup", self.daemon.rohas("cron", "run", "DailyCleanup"))
            self.daemon.wait_for_line("The cleanup has removed 3 files")
            self.assertEqual(hear(client), {"text": "cleaned up"})


def hear(client: ClientConnection) -> dict[str, typing.Any]:
    """The next frame."""
    frame: dict[str, typing.Any] = json.loads(client.recv(timeout=PATIENCE))
    return frame


class Reload(unittest.TestCase):
    def test_edits_of_handlers_and_schema_are_live(self) -> None:
        with Daemon("hello-world") as daemon:
            self.assertEqual(daemon.get("/health").json["data"]["status"], "ok")
            daemon.edit("src/handlers/api/health.py", 'status="ok"', 'status="edited"')
            eventually("the edited handler answers", lambda: daemon.get("/health").json["data"]["status"] == "edited")

            handler = "async def handle_added(req, state):\n    return 'added'\n"
            (daemon.root / "src/handlers/api/added.py").write_text(handler)
            (daemon.root / "schema/api/added.ro").write_text(
                'api Added { method: GET path: "/added" response: String }\n'
            )
            eventually("the added route answers", lambda: daemon.get("/added").status == 200)
            self.assertEqual(daemon.get("/health").json["data"]["status"], "edited")

            (daemon.root / "schema/api/added.ro").write_text("api Added { method: GET path: ")
            daemon.wait_for_line("added.ro")
            self.assertEqual(daemon.get("/added").json, "added")

    def test_run_serves_what_dev_generated_and_finds_its_traces(self) -> None:
        with copy_of("hello-world") as root:
            with Daemon("hello-world", "dev", root) as daemon:
                daemon.post("/users", USER)
                daemon.wait_for_line("Sending welcome email to: a@x.io")
            with Daemon("hello-world", "run", root) as daemon:
                self.assertEqual(daemon.get("/health").status, 200)
                self.assertIn("CreateUser", daemon.rohas("traces", "list"))


if __name__ == "__main__":
    unittest.main()
