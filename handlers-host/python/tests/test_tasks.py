"""asyncio as handlers see it: nothing they do may show that their first step ran before there was a task."""

import os

from case import Case
from fixture import Project

EVERY_CHECK = """identity untouched token token_across_first_step wait_for timeout group cancels_itself_and_goes_on
cancels_itself_after_a_wait is_cancelled_by_another cancelled_while_the_awaited_is_done shield awaits_a_task_and_is_cancelled
gather synchronisation threads children_inherit asynchronous_generator names callback callback_was_called waits_for_the_others
weak_reference bare_yields bad_yield waits_for_itself foreign_future streams subprocess any_io""".split()


class Tasks(Case):
    #: Set for the same checks in other circumstances.
    environment = None
    preamble = ""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.tasks = cls.start(cls.checks("checks"), environment=cls.environment)

    @classmethod
    def checks(cls, name):
        project = Project(os.path.join(cls.directory.name, name))
        file = project.root / "src/handlers/api/asynchronous.py"
        file.write_text(file.read_text() + cls.preamble)
        for name in (*EVERY_CHECK, "keeps_its_task", "its_task_is_done", "count"):
            project.api(name, "api/asynchronous.py", "EmptyRequest")
        return project.api("check", "api/asynchronous.py").api("check_nested", "api/asynchronous.py")

    def result(self, id):
        result = self.tasks.result(id)
        self.assertTrue(result.completed, result.__dict__)
        return result.json

    def test_each_check_by_itself(self):
        for name in EVERY_CHECK:
            with self.subTest(check=name):
                self.assertEqual(self.result(self.tasks.invoke(name)), "ok")

    def test_each_check_within_other_coroutines(self):
        for name in EVERY_CHECK:
            with self.subTest(check=name):
                self.assertEqual(self.result(self.tasks.invoke("check_nested", name)), "ok")

    def test_all_checks_at_the_same_time(self):
        together = [name for name in EVERY_CHECK if not name.startswith("callback")] * 4
        with self.tasks.batch():
            ids = [self.tasks.invoke("check", name) for name in together]
        for id, name in zip(ids, together):
            with self.subTest(check=name):
                self.assertEqual(self.result(id), "ok")

    def test_a_task_that_somebody_keeps_is_done(self):
        self.tasks.call("keeps_its_task")
        self.assertEqual(self.result(self.tasks.invoke("its_task_is_done")), "ok")

    def test_nothing_is_logged_that_the_daemon_was_told(self):
        self.assertEqual([log for log in self.tasks.logs if log[2] in ("error", "stderr")], [])


class DebugMode(Tasks):
    environment = {"PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": ""}

    def test_nothing_is_logged_that_the_daemon_was_told(self):
        """Debug mode reports slow steps, so there is something."""


class TaskFactory(Tasks):
    preamble = """

def factory(loop, coro, **options):
    return asyncio.Task(coro, loop=loop, **options)


asyncio.get_event_loop().set_task_factory(factory)
"""


class Leaks(Case):
    def test_calls_leave_nothing_behind(self):
        project = Tasks.checks.__func__(type("Leaking", (Tasks,), {"directory": self.directory}), "leaks")
        worker = self.fresh(project=project)
        names = ["untouched", "identity", "token", "keeps_its_task", "its_task_is_done"]
        self.churn(worker, names, 40)
        before = worker.call("count").json
        self.churn(worker, names, 1000)
        after = worker.call("count").json
        for name, number in before.items():
            self.assertLess(after[name] - number, 50, (name, before, after))

    def churn(self, worker, names, rounds):
        for _ in range(rounds):
            ids = [worker.invoke(name) for name in names]
            for id in ids:
                worker.result(id)
