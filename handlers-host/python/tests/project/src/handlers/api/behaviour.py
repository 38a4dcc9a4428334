import asyncio
import contextvars
import logging
import os
import pathlib
import pickle
import sys
import threading
import time

from generated import errors

tag = contextvars.ContextVar("tag", default="unset")
log = logging.getLogger("shop")
kept = []


class Kept:
    pass


async def sleeper(req):
    await asyncio.sleep(req.body)
    return "slept"


def blocker(req):
    time.sleep(req.body)
    return threading.current_thread().name


gate = threading.Event()


def held(req):
    gate.wait()
    return "held"


async def release():
    gate.set()


class Counter:
    running = 0
    most = 0
    lock = threading.Lock()


def counter():
    with Counter.lock:
        Counter.running += 1
        Counter.most = max(Counter.most, Counter.running)
    time.sleep(0.02)
    with Counter.lock:
        Counter.running -= 1
    return Counter.most


async def contexts(req):
    before = tag.get()
    tag.set(req.body)
    await asyncio.sleep(0.01)
    inner = await asyncio.gather(inherits(), asyncio.to_thread(tag.get))
    return [before, tag.get(), *inner]


async def inherits():
    await asyncio.sleep(0)
    return tag.get()


def contexts_sync(req):
    before = tag.get()
    tag.set(req.body)
    time.sleep(0.005)
    return [before, tag.get()]


async def prints(req):
    print("one", end="")
    print(" line")
    print("err", file=sys.stderr)
    await asyncio.sleep(0)
    await asyncio.to_thread(print, "from a thread")
    sys.stdout.buffer.write(b"bytes\n")
    sys.stdout.writelines(["two\nlines\n"])
    log.info("logged %s", 1, extra={"n": 1})
    log.debug("too fine")
    print("partial", end="")
    return None


def prints_sync(req, state):
    print("sync", req.body)
    state.logger.warning("careful", n=req.body)
    log.error("bad")
    print("end", end="")


async def chatters(req):
    for number in range(req.body):
        print(f"line {number} " + "x" * 100)
    return "done"


async def long_line(req):
    print("y" * req.body)


async def raises(req):
    kind = req.body
    if kind == "value":
        raise ValueError("bad value")
    if kind == "chained":
        try:
            {}["k"]
        except KeyError as error:
            raise RuntimeError("outer") from error
    if kind == "exit":
        sys.exit(3)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "recursion":
        return recurse(0)
    if kind == "memory":
        raise MemoryError
    if kind == "base":
        raise BaseException("base")
    if kind == "stop":
        raise StopIteration(3)
    if kind == "stop_async":
        raise StopAsyncIteration
    if kind == "cancelled":
        raise asyncio.CancelledError
    if kind == "generator_exit":
        raise GeneratorExit
    if kind == "no_text":
        raise NoText
    if kind == "surrogate":
        raise ValueError("\ud800")
    if kind == "long":
        raise ValueError("z" * 1_000_000)
    if kind == "not_found":
        raise errors.NotFound("no order 7", details=[{"path": ["id"], "code": "x", "message": "y"}])
    if kind == "retry":
        raise errors.Retry("later", after=1.5)
    if kind == "reject":
        raise errors.Reject("never", details={"odd": object()})
    if kind == "limited":
        raise errors.RateLimited("slow", retry_after="2s")
    if kind == "late":
        await asyncio.sleep(0)
        raise ValueError("late")
    if kind == "own":
        raise Teapot("short")
    return kind


class Teapot(errors.HandlerError):
    status = 418
    code = "teapot"


class NoText(Exception):
    def __str__(self):
        raise TypeError("no text")


def recurse(depth):
    return recurse(depth + 1)


def raises_sync(req):
    if req.body == "exit":
        sys.exit(3)
    if req.body == "stop":
        raise StopIteration(3)
    if req.body == "interrupt":
        raise KeyboardInterrupt
    raise ValueError("sync")


async def emits(req, state):
    payload = {"n": 1}
    state.trigger_event("Counted", payload, key=7, delay="2s")
    payload["n"] = 2
    state.trigger_event("Ordered", payload)
    state.set_payload("Counted", [1])
    state.set_payload("Counted", [2])
    if req.body == "undeclared":
        state.trigger_event("Orderd", {})
    if req.body == "object":
        state.trigger_event("Ordered", {"x": [object()]})
    return "ok"


def ids(req, state):
    return [state.generate_id() for _ in range(req.body)]


async def kills(req):
    os._exit(7)


async def spins(req):
    print("spinning", flush=True)
    while True:
        pass


async def echo(req):
    return req.body


def echo_sync(req):
    return req.body


async def cancels(req):
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        if req.body == "swallow":
            return "swallowed"
        if req.body == "other":
            raise ValueError("while cancelling")
        raise


async def cancels_itself(req):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)


async def tasks(req):
    task = asyncio.current_task()
    kept.append(task.get_name())
    assert task in asyncio.all_tasks()
    assert asyncio.get_running_loop() is asyncio.get_event_loop()
    repr(task)
    task.get_stack()
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.01)
    except asyncio.TimeoutError:
        pass
    if sys.version_info >= (3, 11):
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            pass
        assert task.cancelling() == 0
    lock = asyncio.Lock()
    async with lock:
        await asyncio.shield(asyncio.sleep(0))
    return await asyncio.gather(asyncio.sleep(0, 1), asyncio.sleep(0.001, 2))


async def background(req):
    async def later():
        await asyncio.sleep(0.01)
        print("afterwards")
        raise ValueError("in the background") if req.body == "raise" else SystemExit(9)

    kept.append(asyncio.ensure_future(later()))
    return "started"


def awaitable(req):
    return echo(req)


async def pickles(req):
    return [Kept.__module__, type(pickle.loads(pickle.dumps(Kept()))).__name__]


async def where():
    import handlers.shared

    return [__name__, handlers.shared.__name__, os.getcwd(), sys.path[:2]]


class Callable:
    async def __call__(self, req):
        return "called"


called = Callable()


async def variadic(*args):
    return len(args)


async def defaults(req, state=None, extra=5):
    return [state is not None, extra]


async def none():
    return None


async def forks():
    pid = os.fork()
    if pid == 0:
        print("in the child")
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def environment():
    return [name for name in os.environ if name.startswith("ROHAS_") and name.endswith("_FD")]


async def descriptors():
    import subprocess

    out = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False).stdout
    return [line for line in out.splitlines() if "socket" in line or "memfd" in line]


async def forget():
    import gc

    kept.clear()
    gc.collect()


async def floods(req):
    """Prints until a line has waited in vain for somebody to read it, or so many lines. A file says when."""
    waited = printed = 0
    while waited < 1.5 and printed < req.body:
        start = time.monotonic()
        # Its text and its end wait a second each.
        print("x" * 10_000)
        waited = time.monotonic() - start
        printed += 1
    pathlib.Path("flooded").touch()
    return "done"


async def surrogates(req, state):
    print("a\udc80b")
    state.logger.info("c\udc80", n="\udc80")
    log.error("d\udc80")
