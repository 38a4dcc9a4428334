"""Concurrency, cancelling, output, loading and the worker's end."""

import os
import signal
import socket
import struct
import time

from case import LIBRARY, Case
from daemon import PATIENCE, Worker, pack
from fixture import Project


class Concurrency(Case):
    def test_a_hundred_sleepers_wait_together(self):
        for handler in ("sleeper", "blocker"):
            worker = self.fresh(threads=100)
            start = time.monotonic()
            ids = [worker.invoke(handler, 1) for _ in range(100)]
            for id in ids:
                self.assertTrue(worker.result(id).completed)
            self.assertLess(time.monotonic() - start, 2)

    def test_no_more_threads_than_allowed(self):
        worker = self.fresh(threads=3)
        ids = [worker.invoke("counter") for _ in range(30)]
        self.assertEqual(max(worker.result(id).json for id in ids), 3)

    def test_a_blocked_thread_keeps_nobody_else_waiting(self):
        blocked = self.worker.invoke("blocker", 1)
        self.assertEqual(self.worker.call("echo", 1).json, 1)
        self.assertEqual(self.worker.call("echo_sync", 1).json, 1)
        self.assertNotIn(blocked, self.worker.results)
        self.assertEqual(self.worker.result(blocked).json, "rohas-handler")

    def test_each_call_has_a_context_of_its_own(self):
        ids = {self.worker.invoke("contexts", f"c{number}"): f"c{number}" for number in range(20)}
        for id, name in ids.items():
            self.assertEqual(self.worker.result(id).json, ["unset", name, name, name])
        ids = {self.worker.invoke("contexts_sync", f"s{number}"): f"s{number}" for number in range(60)}
        for id, name in ids.items():
            self.assertEqual(self.worker.result(id).json, ["unset", name])

    def test_asyncio_finds_a_task_where_a_handler_runs(self):
        for id in [self.worker.invoke("tasks", 1) for _ in range(10)]:
            self.assertEqual(self.worker.result(id).json, [1, 2])

    def test_the_same_in_debug_mode(self):
        worker = self.fresh(environment={"PYTHONASYNCIODEBUG": "1"})
        self.assertEqual(worker.call("tasks", 1).json, [1, 2])
        self.assertEqual(worker.call("echo", 1).json, 1)


    def test_answers_of_a_batch_do_not_wait_for_a_handler_that_blocks_the_loop(self):
        worker = self.fresh()
        with worker.batch():
            before = [worker.invoke("echo", number) for number in range(3)]
            worker.invoke("spins", 0)
        self.assertEqual([worker.result(id).json for id in before], [0, 1, 2])

    def test_calls_of_one_batch_are_answered_together(self):
        with self.worker.batch():
            ids = [self.worker.invoke("echo", number) for number in range(1000)]
        self.assertEqual([self.worker.result(id).json for id in ids], list(range(1000)))


class Cancelling(Case):
    def test_a_cancelled_call_answers_that_it_is(self):
        id = self.worker.invoke("cancels", "raise")
        self.worker.call("sleeper", 0.01)
        self.worker.cancel(id)
        error = self.worker.result(id).error
        self.assertEqual([error["class"], error["type"]], ["cancelled", "CancelledError"])

    def test_cancel_right_behind_the_invoke(self):
        for _ in range(20):
            with self.worker.batch():
                id = self.worker.invoke("cancels", "raise")
                self.worker.cancel(id)
            self.assertEqual(self.worker.result(id).error["class"], "cancelled")

    def test_a_handler_may_answer_although_it_was_cancelled(self):
        ids = [self.worker.invoke("cancels", kind) for kind in ("swallow", "other")]
        self.worker.call("sleeper", 0.01)
        for id in ids:
            self.worker.cancel(id)
        self.assertEqual(self.worker.result(ids[0]).json, "swallowed")
        error = self.worker.result(ids[1]).error
        self.assertEqual([error["class"], error["message"]], ["failed", "while cancelling"])

    def test_unknown_and_finished_calls_are_ignored(self):
        self.worker.cancel(999_999)
        self.worker.cancel(self.worker.call("echo", 1).id)
        self.assertEqual(self.worker.call("echo", 1).json, 1)

    def test_a_call_that_waits_for_a_thread_is_cancelled_and_one_in_a_thread_is_not(self):
        worker = self.fresh(threads=1)
        runs, waits = worker.invoke("held", 0), worker.invoke("held", 0)
        while not worker.entered(runs):
            worker.call("echo", 1)
        worker.cancel(runs)
        worker.cancel(waits)
        self.assertEqual(worker.result(waits).error["class"], "cancelled")
        self.assertTrue(worker.entered(waits))
        worker.call("release")
        self.assertEqual(worker.result(runs).json, "held")


class Output(Case):
    def lines(self, result):
        return [(level, message) for _, _, level, message, _ in result.logs]

    def test_what_a_handler_prints_and_logs_belongs_to_its_call(self):
        result = self.worker.call("prints", 0)
        self.assertEqual(self.lines(result), [
            ("stdout", "one line"), ("stderr", "err"), ("stdout", "from a thread"), ("stdout", "bytes"),
            ("stdout", "two"), ("stdout", "lines"), ("info", "logged 1"), ("stdout", "partial"),
        ])  # fmt: skip
        self.assertEqual(result.logs[6][4], {"logger": "shop", "n": 1})
        self.assertTrue(all(log[1] == self.project.index("prints") for log in result.logs))

    def test_calls_at_the_same_time_do_not_mix(self):
        ids = {self.worker.invoke("prints_sync", number): number for number in range(50)}
        for id, number in ids.items():
            logs = self.worker.result(id).logs
            self.assertEqual([log[2:4] for log in logs], [
                ("stdout", f"sync {number}"), ("warn", "careful"), ("error", "bad"), ("stdout", "end"),
            ])  # fmt: skip
            self.assertEqual(logs[1][4], {"n": number})

    def test_what_comes_after_the_answer_names_the_handler_only(self):
        worker = self.fresh()
        worker.call("background", "raise")
        worker.until(lambda: any(log[3] == "afterwards" for log in worker.logs))
        self.assertIn((0, self.project.index("background"), "stdout", "afterwards", None), worker.logs)

    def test_many_and_long_lines_arrive(self):
        result = self.worker.call("chatters", 30_000)
        self.assertEqual(len(result.logs), 30_000)
        result = self.worker.call("long_line", 1_000_000)
        self.assertEqual("".join(log[3] for log in result.logs), "y" * 1_000_000)

    def test_a_handler_that_prints_for_ever_does_not_fill_the_memory(self):
        worker = self.fresh()
        before = self.resident(worker)
        id = worker.invoke("floods", 20_000)
        deadline = time.monotonic() + PATIENCE
        # Nobody reads meanwhile.
        while not (self.project.root / "flooded").exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertLess(self.resident(worker) - before, 60_000)
        self.assertEqual(worker.result(id).json, "done")
        worker.call("prints", 0)
        self.assertTrue(any("log lines were dropped" in log[3] for log in worker.logs))

    def resident(self, worker):
        """How much memory a worker takes, in kB."""
        with open(f"/proc/{worker.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def test_text_that_is_no_unicode_is_replaced(self):
        result = self.worker.call("surrogates", 0)
        lost = "\ufffd" * 3
        self.assertEqual(self.lines(result), [("stdout", f"a{lost}b"), ("info", f"c{lost}"), ("error", f"d{lost}")])
        self.assertEqual(result.logs[1][4], {"n": "'\\udc80'"})

    def test_lines_are_sent_while_the_handler_runs(self):
        worker = self.fresh()
        worker.invoke("spins", 0)
        worker.until(lambda: any(log[3] == "spinning" for log in worker.logs))


class Loading(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        project = Project(os.path.join(cls.directory.name, "broken"))
        (project.root / "requirements.txt").write_text("requests\n")
        for name in ("missing_module", "syntax", "no_function", "exits", "missing_name", "divides", "too_many", "generator", "absent"):
            functions = {"no_function": ["handle_something"], "too_many": ["broken"], "generator": ["broken"]}.get(name)
            project.api(name, f"broken/{name}.py", functions=functions)
        project.api("unknown_class", "api/behaviour.py", "Missing", functions=["echo"])
        project.api("echo", "api/behaviour.py").api("echo_sync", "api/behaviour.py")
        cls.broken = cls.start(project)

    def report(self, name):
        report = self.broken.loaded[self.broken.project.index(name)]
        self.assertFalse(report["ok"])
        return report["error"]

    def place(self, name):
        error = self.report(name)
        return [error["type"], error["file"], error["line"]]

    def test_handlers_that_load_work_beside_those_that_do_not(self):
        self.assertEqual(self.broken.loaded[-2:], [{"ok": True, "asynchronous": True}, {"ok": True, "asynchronous": False}])
        self.assertEqual(self.broken.call("echo", 1).json, 1)
        self.assertEqual(self.broken.call("echo_sync", 1).json, 1)

    def test_a_call_of_a_handler_that_did_not_load_fails(self):
        self.assertIn("not loaded", self.broken.call("divides", 1).error["message"])

    def test_a_missing_module_names_the_package_to_install(self):
        self.assertEqual(self.place("missing_module"), ["ModuleNotFoundError", "src/handlers/broken/missing_module.py", 2])
        self.assertIn("add stripe-not-there to requirements.txt", self.report("missing_module")["remedy"])

    def test_a_syntax_error_names_its_own_line(self):
        kind, file, line = self.place("syntax")
        self.assertEqual([kind, file], ["SyntaxError", "src/handlers/broken/syntax.py"])
        self.assertIn(line, (2, 3))

    def test_a_missing_function_names_those_that_there_are(self):
        self.assertEqual(self.place("no_function")[:2], ["HandlerNotFound", "src/handlers/broken/no_function.py"])
        error = self.report("no_function")
        self.assertIn("handle_something", error["message"])
        self.assertEqual(error["remedy"], "rename handle_somethin to handle_something; the file defines handle_somethin, other")

    def test_a_module_that_exits_is_reported(self):
        self.assertEqual(self.place("exits"), ["SystemExit", "src/handlers/broken/exits.py", 4])

    def test_what_a_module_prints_belongs_to_its_handler(self):
        index = self.broken.project.index("exits")
        self.assertIn((0, index, "stdout", "about to exit", None), self.broken.logs)

    def test_errors_in_imports_name_the_line(self):
        self.assertEqual(self.place("missing_name"), ["ImportError", "src/handlers/broken/missing_name.py", 1])
        self.assertEqual(self.place("divides"), ["ZeroDivisionError", "src/handlers/broken/divides.py", 2])
        trace = self.report("divides")["traceback"]
        self.assertNotIn("importlib", trace)
        self.assertNotIn("rohas_worker", trace)

    def test_signatures_that_can_not_be_called(self):
        self.assertEqual(self.place("too_many"), ["TypeError", "src/handlers/broken/too_many.py", 1])
        self.assertIn("third", self.report("too_many")["message"])
        self.assertEqual(self.place("generator"), ["TypeError", "src/handlers/broken/generator.py", 1])

    def test_a_missing_file_and_a_missing_generated_class(self):
        self.assertEqual(self.place("absent"), ["FileNotFoundError", "src/handlers/broken/absent.py", None])
        self.assertEqual(self.report("unknown_class")["remedy"], "run `rohas codegen`")

    def test_without_pydantic_each_handler_says_so(self):
        interpreter = os.environ["ROHAS_TEST_BARE_INTERPRETER"]
        worker = Worker(LIBRARY, interpreter=interpreter, root=self.project.root)
        self.addCleanup(worker.close)
        worker.load(self.project)
        self.assertEqual(worker.hello["libraries"]["pydantic"], None)
        for report in worker.loaded:
            self.assertEqual(report["error"]["message"], "No module named 'pydantic'")
            self.assertIn("pip install pydantic", report["error"]["remedy"])
        worker.drain()
        self.assertEqual(worker.wait(), 0)

    def test_files_that_share_a_module_import_it_once(self):
        project = Project(os.path.join(self.directory.name, "once"))
        (project.root / "src/handlers/api/counts.py").write_text(
            "import handlers.shared\nhandlers.shared.loads += 1\n\n\nasync def first():\n    return handlers.shared.loads\n\n\nsecond = first\n"
        )
        project.api("first", "api/counts.py", "EmptyRequest").api("second", "api/counts.py", "EmptyRequest")
        worker = self.fresh(project=project)
        self.assertEqual([worker.call("first").json, worker.call("second").json], [1, 1])


class End(Case):
    def test_drain_finishes_what_was_received_and_exits_with_0(self):
        worker = self.fresh()
        ids = [worker.invoke(handler, 0.3) for handler in ("sleeper", "blocker")] + [worker.invoke("prints", 1)]
        worker.drain()
        self.assertEqual(worker.wait(), 0)
        self.assertTrue(all(worker.results[id].completed for id in ids))

    def test_an_idle_worker_drains_at_once(self):
        worker = self.fresh()
        worker.drain()
        self.assertEqual(worker.wait(), 0)

    def test_a_handler_may_kill_its_process(self):
        worker = self.fresh()
        id = worker.invoke("kills", 0)
        self.assertEqual(worker.wait(), 7)
        self.assertTrue(worker.entered(id))
        self.assertNotIn(id, worker.results)

    def test_the_worker_ends_with_its_socket_whatever_a_handler_does(self):
        for handler in ("spins", "blocker"):
            worker = self.fresh()
            id = worker.invoke(handler, 1000)
            while not worker.entered(id):
                time.sleep(0.001)
            worker.socket.shutdown(socket.SHUT_RDWR)
            self.assertEqual(worker.process.wait(5), 70)

    def test_ctrl_c_is_the_daemons_business_and_sigterm_ends_the_worker(self):
        worker = self.fresh()
        id = worker.invoke("sleeper", 0.2)
        worker.process.send_signal(signal.SIGINT)
        self.assertEqual(worker.result(id).json, "slept")
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.wait(), -signal.SIGTERM)

    def test_a_hung_worker_shows_its_stacks_on_request(self):
        worker = self.fresh()
        worker.invoke("spins", 0)
        worker.until(lambda: any(log[3] == "spinning" for log in worker.logs))
        worker.process.send_signal(signal.SIGUSR1)
        lines = []
        while not any("in spins" in line for line in lines):
            lines.append(worker.process.stderr.readline().decode())

    def test_what_is_no_frame_ends_the_worker_with_a_word(self):
        for bytes, text in (
            (struct.pack("<II", 65 << 20, 3), "longer than the limit"),
            (struct.pack("<II", 5, 3), "can't hold a header"),
            (struct.pack("<II", 6, 2) + pack([99]), ""),
            (struct.pack("<II", 5, 1) + b"\x07", "no array"),
        ):
            worker = self.fresh()
            worker.socket.sendall(bytes)
            self.assertEqual(worker.wait(), 70)
            self.assertIn(text, worker.output())

    def test_a_slow_reader_gets_everything(self):
        worker = self.fresh()
        ids = [worker.invoke("echo", "x" * 100_000) for _ in range(40)]
        time.sleep(0.3)
        for id in ids:
            self.assertEqual(len(worker.result(id).json), 100_000)
