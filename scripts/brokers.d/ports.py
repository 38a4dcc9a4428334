"""Which ports belong to which broker? Each is taken once and stays its broker's while that is down, for tests that start it again.

They lie outside of the range that the kernel gives to clients: otherwise a client that knocks at a stopped broker could take its port,
or even connect to itself.
"""

import pathlib
import random
import socket

from errors import Failure
from lock import locked

LOWEST, HIGHEST = 10_000, 65_535
TRIES = 1_000


class Ports:
    """The registry of one user: a file per port, which holds the path of the broker that has it."""

    def __init__(self, directory):
        self.directory = directory

    def take(self, owner):
        """A free port, registered for the owner, a directory. What a directory that is gone had is free again."""
        with locked(self.directory / ".lock"):
            for _try in range(TRIES):
                port = random.SystemRandom().choice(_CANDIDATES)
                if not self.taken(port) and is_free(port):
                    (self.directory / str(port)).write_text(str(owner))
                    return port
        raise Failure("no free port was found on 127.0.0.1")

    def sweep(self):
        """Forgets the ports of owners that are gone."""
        with locked(self.directory / ".lock"):
            for port in self._registered():
                if not self.taken(port):
                    (self.directory / str(port)).unlink()

    def taken(self, port):
        return self._owner(port) is not None

    def instances(self):
        """The directories of all instances that have ports."""
        owners = {self._owner(port) for port in self._registered()}
        return sorted({pathlib.Path(owner).parent for owner in owners if owner is not None})

    def _registered(self):
        return [int(file.name) for file in self.directory.glob("[0-9]*")]

    def _owner(self, port):
        try:
            owner = (self.directory / str(port)).read_text()
        except FileNotFoundError:
            return None
        return owner if pathlib.Path(owner).is_dir() else None


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _candidates():
    first, last = map(int, pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    candidates = [port for port in range(LOWEST, HIGHEST) if not first <= port <= last]
    return candidates or range(LOWEST, HIGHEST)


_CANDIDATES = _candidates()
