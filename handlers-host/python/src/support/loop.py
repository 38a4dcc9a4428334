"""Sets up the event loop and serves until the daemon drains the worker."""

import asyncio
import atexit
import contextvars
import faulthandler
import gc
import importlib
import json
import os
import signal
import sys
import threading

from rohas_worker import failure, loader, output, tasks, values

#: The call that runs in the current context. Tasks and threads that a handler starts through asyncio inherit it.
current_call = contextvars.ContextVar("rohas_current_call", default=None)

# What Rust looks up here.
describe_failure = failure.describe
encode = values.encode
settle = values.settle
ignored = values.ignored
log_fields = values.log_fields
to_json = values.to_json


def run(worker):
    """Serves until the daemon drains us; returns the exit code."""
    # Ctrl-C reaches all processes of a terminal. The daemon drains us; nothing may be interrupted before.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A crash leaves its stacks on stderr, and SIGUSR1 has them written at any time, even when a handler hangs.
    faulthandler.enable(sys.__stderr__)
    faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)
    event_loop = _new_loop()
    asyncio.set_event_loop(event_loop)
    event_loop.set_exception_handler(lambda _loop, context: _report(worker, context))
    worker.attach(event_loop, sys.modules[__name__])
    # Registered before the project can register anything, so it runs last.
    atexit.register(worker.flush_last)
    os.register_at_fork(after_in_child=lambda: _after_fork(worker))
    output.redirect(worker)
    request = json.loads(worker.hello(json.dumps(_hello()).encode()))
    # What is made while modules are imported lives as long as the worker: the collector never needs to look at it.
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    project = loader.load(request, worker)
    gc.freeze()
    if gc.get_threshold()[0] == 0:
        gc.set_threshold(*thresholds)
    output.redirect_logging(worker)
    worker.loaded_project(project, project.plans, json.dumps(project.report).encode())
    # A module may have closed or replaced the loop of this thread, by `asyncio.run` for instance.
    asyncio.set_event_loop(event_loop)
    event_loop.add_reader(worker.fd, worker.readable)
    # What came right behind the load message has been read already, so the socket may stay silent.
    event_loop.call_soon(worker.readable)
    return _serve(worker, event_loop)


def _serve(worker, event_loop):
    while True:
        try:
            event_loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # asyncio lets these two out of a background task. They end the task, not the worker.
            _report(worker, {"message": "a background task tried to exit", "exception": error})
        else:
            break
    event_loop.run_until_complete(event_loop.shutdown_asyncgens())
    return 0


def _new_loop():
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _hello():
    return {
        "language": "python",
        "version": ".".join(map(str, sys.version_info[:3])),
        "executable": sys.executable,
        "pid": os.getpid(),
        "libraries": {name: _version(name) for name in ("pydantic", "uvloop")},
    }


def _version(name):
    try:
        return importlib.import_module(name).__version__
    except Exception:
        return None


def start_thread(worker):
    """Starts a thread of the pool. It never keeps the process from ending."""
    threading.Thread(target=worker.serve, name="rohas-handler", daemon=True).start()


def _after_fork(worker):
    worker.forked()
    os.close(worker.fd)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__


def _report(worker, context):
    error = context.get("exception")
    if error is not None and tasks.is_handlers(context.get("future")):
        # Nobody asks the task of a handler for its outcome: the daemon has been told.
        return
    message = context.get("message") or "unhandled exception in the event loop"
    fields = {}
    if error is not None:
        message = f"{message}: {type(error).__name__}: {error}"
        fields["traceback"] = failure.traceback_text(error)
    worker.log("error", message, fields)
