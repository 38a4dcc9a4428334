"""What the test files share: a project on disk, a worker on it, and the choice of the event loop."""

import os
import tempfile
import unittest

from daemon import Worker
from fixture import complete

LIBRARY = os.environ["ROHAS_TEST_LIBRARY"]


class Case(unittest.TestCase):
    """Tests with a project of their own and one worker, which `fresh` replaces for those that break it."""

    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="rohas-worker-")
        cls.addClassCleanup(cls.directory.cleanup)
        cls.project = complete(os.path.join(cls.directory.name, "shop"))
        cls.worker = cls.start()

    @classmethod
    def start(cls, project=None, threads=40, **options):
        """A worker that has loaded a project."""
        project = project or cls.project
        worker = Worker(LIBRARY, root=project.root, **options)
        cls.addClassCleanup(worker.close)
        worker.load(project, threads)
        return worker

    def fresh(self, **options):
        """A worker for one test."""
        worker = self.start(**options)
        self.addCleanup(worker.close)
        return worker
