"""Is what the brokers share right: the cache and the ports? Without starting any broker."""

import pathlib
import sys
import tempfile
import unittest

sys.path.append(str(pathlib.Path(__file__).parents[1]))
from install import Cache
from ports import Ports


class Parts(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory(prefix="rohas-brokers-")
        self.addCleanup(temporary.cleanup)
        self.directory = pathlib.Path(temporary.name)
        self.cache = Cache(self.directory)
        self.ports = Ports(self.directory / "ports")

    def test_a_failed_download_is_made_again(self):
        def fail(directory):
            (directory / "half").touch()
            raise OSError("cut off")

        with self.assertRaises(OSError):
            self.cache.made("server", fail)
        made = self.cache.made("server", lambda directory: (directory / "whole").touch())
        self.assertEqual([file.name for file in made.iterdir()], ["whole"])

    def test_what_a_killed_download_left_is_replaced(self):
        (self.cache.brokers / ".server.partial").mkdir(parents=True)
        (self.cache.brokers / ".server.partial/half").touch()
        made = self.cache.made("server", lambda directory: (directory / "whole").touch())
        self.assertEqual([file.name for file in made.iterdir()], ["whole"])

    def test_what_is_there_is_not_made_again(self):
        self.cache.made("server", lambda directory: None)
        self.cache.made("server", lambda directory: self.fail("made twice"))

    def test_ports_are_not_those_of_clients(self):
        first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        taken = [self.ports.take(self.directory) for _ in range(50)]
        self.assertEqual(len(set(taken)), len(taken))
        self.assertEqual([port for port in taken if first <= port <= last], [])

    def test_a_port_stays_taken_until_its_owner_is_gone(self):
        owner = self.directory / "owner"
        owner.mkdir()
        port = self.ports.take(owner)
        self.assertTrue(self.ports.taken(port))
        owner.rmdir()
        self.assertFalse(self.ports.taken(port))

    def test_only_ports_without_an_owner_are_forgotten(self):
        owner = self.directory / "owner"
        owner.mkdir()
        forgotten, kept = self.ports.take(owner), self.ports.take(self.directory)
        owner.rmdir()
        self.ports.sweep()
        registered = [file.name for file in (self.directory / "ports").glob("[0-9]*")]
        self.assertEqual(registered, [str(kept)], f"{forgotten} was not forgotten")
