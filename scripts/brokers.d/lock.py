"""Who goes first? A lock on a file, given back when its holder ends."""

import contextlib
import fcntl


@contextlib.contextmanager
def locked(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
