"""Which process did we start, and does it still run? A pid alone may name another process by now, so the time of its start goes with it."""

import json
import os
import pathlib
import select
import signal
import subprocess
import time

BOOT = pathlib.Path("/proc/sys/kernel/random/boot_id")
# Between SIGTERM and SIGKILL. Kafka and RabbitMQ close their logs in this time.
STOP_SECONDS = 60
POLL_SECONDS = 0.01


class Process:
    """One process of a broker, known by the file that its start wrote."""

    def __init__(self, path):
        self.path = path

    def start(self, command, environment, directory, log):
        """Starts the command in a session of its own, with its output appended to the log."""
        with open(log, "ab") as output:
            child = subprocess.Popen(command, env=environment, cwd=directory, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        identity = {"pid": child.pid, "started": _stat(child.pid)[1], "boot": BOOT.read_text().strip()}
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(identity))
        temporary.replace(self.path)

    def pid(self):
        """The pid when the process that we started still runs."""
        try:
            identity = json.loads(self.path.read_text())
            state, started = _stat(identity["pid"])
        except (FileNotFoundError, ProcessLookupError):
            return None
        ours = started == identity["started"] and identity["boot"] == BOOT.read_text().strip()
        return identity["pid"] if ours and state not in "ZX" else None

    def paused(self):
        pid = self.pid()
        return pid is not None and _stat(pid)[0] == "T"

    def memory(self):
        """Resident bytes, 0 when it does not run."""
        pid = self.pid()
        try:
            pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def pause(self):
        """Returns when the process has stopped, or gone."""
        with _Pinned(self) as pinned:
            pinned.send(signal.SIGSTOP)
            while self.pid() is not None and not self.paused():
                time.sleep(POLL_SECONDS)

    def resume(self):
        with _Pinned(self) as pinned:
            pinned.send(signal.SIGCONT)

    def stop(self, seconds=STOP_SECONDS):
        """Ends the process, by force when it takes too long. Returns whether force was needed."""
        with _Pinned(self) as pinned:
            pinned.send(signal.SIGTERM)
            pinned.send(signal.SIGCONT)
            gone = pinned.gone_within(seconds)
            if not gone:
                pinned.send(signal.SIGKILL)
                pinned.gone_within(STOP_SECONDS)
        self.path.unlink(missing_ok=True)
        return not gone

    def kill(self):
        with _Pinned(self) as pinned:
            pinned.send(signal.SIGKILL)
            pinned.gone_within(STOP_SECONDS)
        self.path.unlink(missing_ok=True)


class _Pinned:
    """A process that cannot be mistaken for another while this is held."""

    def __init__(self, process):
        self.process = process
        self.descriptor = None

    def __enter__(self):
        pid = self.process.pid()
        if pid is not None:
            try:
                self.descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                return self
            if self.process.pid() != pid:
                self.__exit__()
        return self

    def __exit__(self, *_error):
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def send(self, number):
        if self.descriptor is None:
            return
        try:
            signal.pidfd_send_signal(self.descriptor, number)
        except ProcessLookupError:
            pass

    def gone_within(self, seconds):
        if self.descriptor is None:
            return True
        poll = select.poll()
        poll.register(self.descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


def _stat(pid):
    """The state and the start time, in clock ticks since boot."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[19])
