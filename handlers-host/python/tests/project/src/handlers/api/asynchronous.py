"""What handlers may do with asyncio: each check answers "ok"."""

import asyncio
import contextvars
import gc
import sys
import weakref

variable = contextvars.ContextVar("variable", default="unset")
loop_of_import = None
kept = {}


async def identity():
    first = asyncio.current_task()
    assert first is asyncio.current_task()
    await asyncio.sleep(0)
    assert first is asyncio.current_task()
    await asyncio.sleep(0.001)
    assert first is asyncio.current_task()
    assert isinstance(first, asyncio.Task) and asyncio.isfuture(first)
    assert first in asyncio.all_tasks()
    assert first.get_loop() is asyncio.get_running_loop()
    assert not first.done() and not first.cancelled()
    assert first.get_coro().__name__ in ("identity", "check", "check_nested", "Call")
    return "ok"


async def untouched():
    await asyncio.sleep(0)
    return "ok"


async def token():
    reset = variable.set("one")
    await asyncio.sleep(0)
    assert variable.get() == "one"
    await asyncio.sleep(0.001)
    variable.reset(reset)
    assert variable.get() == "unset"
    return "ok"


async def token_across_first_step():
    reset = variable.set("one")
    await asyncio.sleep(0.001)
    variable.reset(reset)
    asyncio.get_running_loop().call_soon(variable.set, "leak")
    await asyncio.sleep(0.001)
    assert variable.get() == "unset"
    return "ok"


async def wait_for():
    assert await asyncio.wait_for(asyncio.sleep(0.001, "x"), 1) == "x"
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.001)
    except asyncio.TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")
    assert await asyncio.wait_for(done(), 1) == 1
    return "ok"


async def done():
    return 1


async def timeout():
    if sys.version_info < (3, 11):
        return "ok"
    try:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(10)
    except TimeoutError:
        pass
    else:
        raise AssertionError("no timeout")
    assert asyncio.current_task().cancelling() == 0
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(10)
    except TimeoutError:
        pass
    async with asyncio.timeout(10):
        await asyncio.sleep(0)
    async with asyncio.timeout(10):
        pass
    return "ok"


async def group():
    if sys.version_info < (3, 11):
        return "ok"
    async with asyncio.TaskGroup() as tasks:
        results = [tasks.create_task(asyncio.sleep(0.001, number)) for number in range(3)]
    assert [task.result() for task in results] == [0, 1, 2]
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            tasks.create_task(asyncio.sleep(10))
            await asyncio.sleep(10)
    except BaseExceptionGroup as error:  # noqa: F821 - since 3.11
        assert isinstance(error.exceptions[0], ZeroDivisionError)
    else:
        raise AssertionError("no error")
    assert asyncio.current_task().cancelling() == 0
    return "ok"


async def fails():
    await asyncio.sleep(0)
    return 1 / 0


async def cancels_itself_and_goes_on():
    task = asyncio.current_task()
    task.cancel("why")
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError as error:
        assert sys.version_info >= (3, 11) or error.args in ((), ("why",)), error.args
    else:
        raise AssertionError("not cancelled")
    if hasattr(task, "uncancel"):
        assert task.cancelling() == 1
        assert task.uncancel() == 0
    await asyncio.sleep(0)
    return "ok"


async def cancels_itself_after_a_wait():
    await asyncio.sleep(0)
    asyncio.current_task().cancel()
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "ok"


async def is_cancelled_by_another():
    task = asyncio.current_task()
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("not cancelled")
    asyncio.get_running_loop().call_later(0.001, task.cancel)
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "ok"


async def cancelled_while_the_awaited_is_done():
    future = asyncio.get_running_loop().create_future()
    future.set_result(1)
    asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
    try:
        await Always(future)
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return "ok"


class Always:
    """Waits for a future although it is done."""

    def __init__(self, future):
        self.future = future

    def __await__(self):
        self.future._asyncio_future_blocking = True
        yield self.future


async def shield():
    inner = asyncio.ensure_future(asyncio.sleep(0.01, "x"))
    task = asyncio.current_task()
    asyncio.get_running_loop().call_soon(task.cancel)
    try:
        await asyncio.shield(inner)
    except asyncio.CancelledError:
        pass
    else:
        raise AssertionError("not cancelled")
    assert await inner == "x"
    return "ok"


async def awaits_a_task_and_is_cancelled():
    inner = asyncio.ensure_future(asyncio.sleep(10))
    asyncio.get_running_loop().call_soon(asyncio.current_task().cancel)
    try:
        await inner
    except asyncio.CancelledError:
        assert inner.cancelled()
        return "ok"


async def gather():
    results = await asyncio.gather(done(), asyncio.sleep(0.001, 2), fails(), return_exceptions=True)
    assert results[:2] == [1, 2] and isinstance(results[2], ZeroDivisionError)
    return "ok"


async def synchronisation():
    lock, event, queue = asyncio.Lock(), asyncio.Event(), asyncio.Queue(1)
    async with lock:
        waiter = asyncio.ensure_future(lock.acquire())
        await asyncio.sleep(0)
        assert not waiter.done()
    await waiter
    asyncio.get_running_loop().call_soon(event.set)
    await event.wait()
    await queue.put(1)
    producer = asyncio.ensure_future(queue.put(2))
    assert [await queue.get(), await queue.get()] == [1, 2]
    await producer
    async with asyncio.Semaphore(1):
        pass
    return "ok"


async def threads():
    variable.set("mine")
    assert await asyncio.to_thread(variable.get) == "mine"
    assert await asyncio.get_running_loop().run_in_executor(None, done_in_thread) == 1
    future = asyncio.run_coroutine_threadsafe(done(), asyncio.get_running_loop())
    assert await asyncio.wrap_future(future) == 1
    return "ok"


def done_in_thread():
    return 1


async def children_inherit():
    variable.set("parent")
    child = asyncio.ensure_future(reads())
    variable.set("later")
    assert await child == "parent"
    return "ok"


async def reads():
    await asyncio.sleep(0)
    return variable.get()


async def asynchronous_generator():
    async def numbers():
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)

    assert [number async for number in numbers()] == [0, 1, 2]
    return "ok"


async def names():
    task = asyncio.current_task()
    task.set_name("mine")
    await asyncio.sleep(0)
    assert asyncio.current_task().get_name() == "mine"
    assert "mine" in repr(task)
    assert task.get_stack() is not None
    return "ok"


async def callback():
    called = []
    task = asyncio.current_task()
    task.add_done_callback(called.append)
    kept["callback"] = (task, called)
    return "ok"


async def callback_was_called():
    task, called = kept.pop("callback")
    await asyncio.sleep(0)
    assert called == [task] and task.done() and task.result() == "ok"
    return "ok"


async def keeps_its_task():
    kept["task"] = asyncio.current_task()
    return "kept"


async def its_task_is_done():
    task = kept.pop("task")
    assert await task == "kept"
    assert task.done() and not task.cancelled() and task.exception() is None
    return "ok"


async def waits_for_the_others():
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert all(not task.done() for task in others)
    return "ok"


async def weak_reference():
    task = asyncio.current_task()
    reference = weakref.ref(task)
    table = weakref.WeakKeyDictionary({task: 1})
    await asyncio.sleep(0)
    assert reference() is asyncio.current_task() and table[task] == 1
    return "ok"


async def bare_yields():
    class Twice:
        def __await__(self):
            yield
            yield
            return 5

    assert await Twice() == 5
    return "ok"


async def bad_yield():
    class Bad:
        def __await__(self):
            yield "no future"

    try:
        await Bad()
    except RuntimeError as error:
        assert "got bad yield" in str(error), error
    else:
        raise AssertionError("no error")
    return "ok"


async def waits_for_itself():
    try:
        await asyncio.current_task()
    except RuntimeError as error:
        assert "cannot await on itself" in str(error), error
    else:
        raise AssertionError("no error")
    return "ok"


async def foreign_future():
    other = asyncio.new_event_loop()
    try:
        await other.create_future()
    except RuntimeError as error:
        assert "different loop" in str(error), error
        return "ok"
    finally:
        other.close()


async def streams():
    server = await asyncio.start_server(echo_once, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    writer.close()
    server.close()
    return "ok"


async def echo_once(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def subprocess():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(5)", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.strip() == b"5" and process.returncode == 0
    return "ok"


async def any_io():
    import anyio

    with anyio.move_on_after(0.001) as scope:
        await anyio.sleep(10)
    assert scope.cancelled_caught
    results = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(any_io_child, results)
        tasks.start_soon(any_io_child, results)
    assert results == [1, 1]
    assert await anyio.to_thread.run_sync(done_in_thread) == 1
    try:
        with anyio.fail_after(0.001):
            await anyio.sleep(10)
    except TimeoutError:
        pass
    with anyio.CancelScope() as scope:
        scope.cancel()
        await anyio.sleep(10)
    assert scope.cancelled_caught
    await anyio.lowlevel.checkpoint()
    return "ok"


async def any_io_child(results):
    import anyio

    await anyio.sleep(0.001)
    results.append(1)


async def count():
    gc.collect()
    kinds = [type(thing).__name__ for thing in gc.get_objects()]
    return {name: kinds.count(name) for name in ("HandlerTask", "coroutine", "PlainRequest", "State", "Context")}


async def check(req):
    return await globals()[req.body]()


async def check_nested(req, state):
    async def inner():
        return await globals()[req.body]()

    return await inner()
