"""What is one set of brokers, and how does a broker of it start and end? Everything of it lies in one directory, NAME/ for each broker."""

import contextlib
import json
import os
import shutil
import time

from errors import Failure
from install import say
from lock import locked
from ports import Ports, is_free
from process import Process

# How long a broker may take until it answers; a busy machine may be given more.
UP_SECONDS = max(300, int(os.environ.get("ROHAS_TEST_PATIENCE", "0")))
POLL_SECONDS = 0.1
LOG_LINES = 25


class Instance:
    """Several instances, in directories of their own, run side by side."""

    def __init__(self, directory, cache):
        self.directory = directory
        self.cache = cache
        self.ports = Ports(cache.brokers / "ports")

    def servers(self, brokers):
        return [Server(self.directory, broker, self.ports) for broker in brokers]

    def up(self, brokers, asked):
        """Starts all of them, then waits for each. Yields a line per broker."""
        installed = {broker.name: broker.install(self.cache) for broker in brokers}
        failures = []
        with self._locked(brokers):
            started = [(server, server.start(installed[server.broker.name], asked)) for server in self.servers(brokers)]
            for server, how in started:
                try:
                    server.wait()
                    yield f"{server.broker.name:<9} {server.url()}  {how}"
                except Failure as failure:
                    failures.append(failure)
        if failures:
            raise Failure("\n".join(map(str, failures)))

    def down(self, brokers, wipe=False):
        with self._locked(brokers):
            for server in self.servers(brokers):
                server.stop()
                if wipe:
                    server.wipe()

    def signal(self, brokers, command):
        with self._locked(brokers):
            for server in self.servers(brokers):
                getattr(server, command)()

    @contextlib.contextmanager
    def _locked(self, brokers):
        with contextlib.ExitStack() as stack:
            # All in the order of BROKERS: two that want several cannot wait for each other.
            for broker in brokers:
                stack.enter_context(locked(self.directory / f".{broker.name}.lock"))
            yield


class Server:
    """One broker of an instance."""

    def __init__(self, instance, broker, ports):
        self.broker = broker
        self.ports = ports
        self.directory = instance / broker.name
        self.data = self.directory / "data"
        self.log = self.directory / f"{broker.name}.log"
        # Where in the log this start begins.
        self.offset = 0
        # The last one is the broker itself; those before it only have to run.
        self.processes = {name: Process(self.directory / f"{name}.pid") for name in broker.processes}
        self.main = self.processes[broker.processes[-1]]

    @property
    def state(self):
        """What outlives its processes: ports and settings."""
        path = self.directory / "state.json"
        return json.loads(path.read_text()) if path.is_file() else {"ports": {}, "settings": {}}

    def port(self, name):
        return self.state["ports"][name]

    def setting(self, name):
        return self.state["settings"].get(name)

    def runs(self):
        return self.main.pid() is not None

    def url(self):
        return self.broker.url(self)

    def variables(self):
        return self.broker.variables(self)

    def start(self, installed, asked):
        """Starts what does not run yet. Returns how it was found."""
        if self.runs():
            self._refuse_changes(asked)
            return "was up already"
        self.data.mkdir(parents=True, exist_ok=True)
        self._keep(asked)
        commands = self.broker.commands(self, installed)
        for port in self.state["ports"].values():
            self._refuse_taken(port)
        self.offset = self.log.stat().st_size if self.log.exists() else 0
        for name, (command, environment) in commands.items():
            if self.processes[name].pid() is None:
                # Whatever a broker starts can be found by this variable.
                self.processes[name].start(command, {**environment, "ROHAS_BROKER": str(self.directory)}, self.directory, self.log)
        return "started"

    def wait(self):
        """Returns when the broker serves its protocol."""
        deadline = time.monotonic() + UP_SECONDS
        while True:
            if not self.runs():
                raise self._failure("ended while it started", "")
            try:
                return self.broker.probe(self)
            except (OSError, ValueError) as error:
                if time.monotonic() > deadline:
                    raise self._failure(f"did not answer within {UP_SECONDS} s", f"{error}") from error
            time.sleep(POLL_SECONDS)

    def answers(self):
        if not self.runs() or self.main.paused():
            return False
        try:
            self.broker.probe(self)
        except (OSError, ValueError):
            return False
        return True

    def status(self):
        name = f"{self.broker.name:<9}"
        if not self.runs():
            return f"{name} down"
        state = "paused" if self.main.paused() else "up" if self.answers() else "silent"
        memory = sum(process.memory() for process in self.processes.values()) >> 20
        return f"{name} {state}  {self.url()}  pid {self.main.pid()}  {memory} MiB  {self.log}"

    def stop(self):
        for name, process in reversed(self.processes.items()):
            if process.stop():
                say(f"{name} did not end when asked to and was killed")

    def kill(self):
        self._require()
        self.main.kill()

    def pause(self):
        self._require()
        self.main.pause()

    def resume(self):
        self._require()
        self.main.resume()

    def wipe(self):
        if self.directory.exists():
            shutil.rmtree(self.directory)
            self.ports.sweep()

    def _require(self):
        if not self.runs():
            raise Failure(f"{self.broker.name} does not run", f"remedy: scripts/brokers up {self.broker.name}")

    def _keep(self, asked):
        """Takes the ports the first time, and what is asked for this broker every time."""
        state = self.state
        for name in self.broker.ports:
            if name not in state["ports"]:
                state["ports"][name] = self.ports.take(self.directory)
        state["settings"].update({name: asked[name] for name in self.broker.settings if name in asked})
        path = self.directory / "state.json"
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(state))
        temporary.replace(path)

    def _refuse_changes(self, asked):
        for name in self.broker.settings:
            if name in asked and asked[name] != self.setting(name):
                raise Failure(f"{self.broker.name} is up with another setting of --{name.replace('_', '-')}", f"remedy: scripts/brokers down {self.broker.name}")

    def _refuse_taken(self, port):
        helpers = list(self.processes.values())[:-1]
        if not is_free(port) and not any(helper.pid() for helper in helpers):
            remedy = f"remedy: end it, or give the ports and the data up with scripts/brokers down --wipe {self.broker.name}"
            raise Failure(f"port {port} of {self.broker.name} was taken by another program", remedy)

    def _failure(self, what, why):
        """Ends what is left of the broker and says what it logged."""
        self.stop()
        with open(self.log, "rb") as log:
            log.seek(self.offset)
            lines = log.read().decode(errors="replace").splitlines()[-LOG_LINES:]
        return Failure(f"{self.broker.name} {what}", *filter(None, [why]), f"the end of {self.log}:", *lines)
