"""Do the brokers start, keep what they confirmed, and end? Each test has brokers of its own, in a directory of its own."""

import os
import pathlib
import re
import shlex
import socket
import subprocess
import tempfile
import unittest

import outside

BROKERS = pathlib.Path(__file__).parents[2] / "brokers"
FIRST, SECOND = list(range(10)), list(range(10, 20))


class Case(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="rohas-brokers-"))
        self.addCleanup(self.directory.rmdir)
        self.addCleanup(lambda: [file.unlink() for file in self.directory.iterdir()])
        self.addCleanup(self.done, "down", "--wipe")

    def call(self, command, *arguments, names=None):
        names = [self.broker] if names is None else names
        return subprocess.Popen(
            [BROKERS, command, "--dir", self.directory, *arguments, *names], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def done(self, command, *arguments):
        call = self.call(command, *arguments)
        output, errors = call.communicate()
        self.assertEqual(call.returncode, 0, f"{command}: {output}{errors}")
        return output

    def refused(self, command, *arguments):
        call = self.call(command, *arguments)
        output, errors = call.communicate()
        self.assertEqual(call.returncode, 1, f"{command}: {output}{errors}")
        return output + errors

    def client(self):
        lines = self.done("env").splitlines()
        return self.outside(dict(shlex.split(line)[1].split("=", 1) for line in lines))

    def left(self):
        """Processes that an instance of this test started."""
        marker = f"ROHAS_BROKER={self.directory}/".encode()
        found = []
        for environment in pathlib.Path("/proc").glob("[0-9]*/environ"):
            try:
                if marker in environment.read_bytes():
                    found.append((environment.parent / "cmdline").read_bytes())
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return found


class Lifecycle:
    """What holds for each broker."""

    keeps = True

    def test_lives_and_ends(self):
        self.check_two_starts_at_once()
        client = self.client()
        client.write(FIRST)
        self.assertEqual(client.read(len(FIRST)), FIRST)
        self.check_pause()
        if self.keeps:
            self.check_what_is_kept()
        self.done("down")
        self.assertEqual(self.left(), [])
        self.assertIn("down", self.refused("status"))
        self.assertIn("does not run", self.refused("env"))

    def check_two_starts_at_once(self):
        starts = [self.call("up") for _ in range(2)]
        outputs = [start.communicate() for start in starts]
        self.assertEqual([start.returncode for start in starts], [0, 0], outputs)
        found = sorted(output.split(maxsplit=2)[2].strip() for output, _errors in outputs)
        self.assertEqual(found, ["started", "was up already"], outputs)
        self.assertEqual(len({output.split()[1] for output, _errors in outputs}), 1, outputs)
        self.assertRegex(self.done("status"), rf"{self.broker} +up ")

    def check_pause(self):
        self.done("pause")
        self.assertRegex(self.refused("status"), rf"{self.broker} +paused ")
        self.done("resume")
        self.assertRegex(self.done("status"), rf"{self.broker} +up ")

    def check_what_is_kept(self):
        address = self.done("env")
        self.done("restart")
        self.assertEqual(self.done("env"), address)
        self.assertEqual(self.client().read(len(FIRST)), FIRST)
        self.client().write(SECOND)
        self.done("kill")
        self.assertIn("down", self.refused("status"))
        self.done("up")
        self.assertEqual(self.done("env"), address)
        self.assertEqual(self.client().read(len(FIRST + SECOND)), FIRST + SECOND)


class Nats(Lifecycle, Case):
    broker, outside = "nats", outside.Nats

    def test_a_failed_start_shows_the_log(self):
        failure = self.refused("up", "--nats-sync", "sometimes")
        self.assertIn("ended while it started", failure)
        self.assertIn("sync_interval", failure)
        self.assertEqual(self.left(), [])

    def test_the_sync_interval_is_kept(self):
        self.done("up", "--nats-sync", "always")
        self.assertIn("sync_interval: always", (self.directory / "nats/nats.conf").read_text())
        self.assertIn("another setting", self.refused("up", "--nats-sync", "2m"))
        self.done("restart")
        self.assertIn("sync_interval: always", (self.directory / "nats/nats.conf").read_text())

    def test_a_port_taken_by_another_program_is_named(self):
        port = int(re.search(r":(\d+)", self.done("up")).group(1))
        self.done("down")
        with socket.create_server(("127.0.0.1", port)):
            self.assertIn(f"port {port} of nats was taken", self.refused("up"))

    def test_another_process_with_the_pid_is_left_alone(self):
        self.done("up")
        identity = self.directory / "nats/nats.pid"
        written = identity.read_text()
        identity.write_text(re.sub(r'"pid": \d+', f'"pid": {os.getpid()}', written))
        self.assertIn("down", self.refused("status"))
        self.assertIn("does not run", self.refused("kill"))
        identity.write_text(written)
        self.assertIn("up", self.done("status"))

    def test_those_that_were_left_can_be_ended_at_once(self):
        # A cache of its own, which knows of no instances of others.
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "rohas/brokers"
        with tempfile.TemporaryDirectory() as own:
            (pathlib.Path(own) / "rohas/brokers").mkdir(parents=True)
            for installed in cache.glob("nats-*"):
                (pathlib.Path(own) / "rohas/brokers" / installed.name).symlink_to(installed)
            environment = {**os.environ, "XDG_CACHE_HOME": own}
            subprocess.run([BROKERS, "up", "--dir", self.directory, "nats"], env=environment, check=True, capture_output=True)
            self.assertNotEqual(self.left(), [])
            subprocess.run([BROKERS, "down", "--all"], env=environment, check=True, capture_output=True, cwd="/")
            self.assertEqual(self.left(), [])

    def test_an_unknown_broker_names_the_known_ones(self):
        call = self.call("up", names=["zeromq"])
        self.assertIn("known: nats, rabbitmq, kafka, aws", call.communicate()[1])
        self.assertEqual(call.returncode, 1)


class Rabbitmq(Lifecycle, Case):
    broker, outside = "rabbitmq", outside.Rabbitmq


class Kafka(Lifecycle, Case):
    broker, outside = "kafka", outside.Kafka


class Aws(Lifecycle, Case):
    broker, outside = "aws", outside.Aws
    keeps = False
