"""The task of a handler that runs on the loop."""

import asyncio
import functools


def task_class(materialise):
    """A task whose first step is run before the task itself is initialised.

    Most handlers never wait, and then no task is needed: the object only stands for `asyncio.current_task()`. The first
    method that somebody calls on it, or the handler's first wait, has `materialise` initialise it as a proper task.
    """

    class HandlerTask(asyncio.Task, _Handlers):
        __slots__ = ()

        def get_coro(self):
            """The handler's own coroutine."""
            materialise(self)
            coro = super().get_coro()
            return getattr(coro, "coroutine", None) or coro

    for name in _METHODS:
        original = getattr(asyncio.Task, name, None)
        if original is not None:
            setattr(HandlerTask, name, _after(materialise, original))
    return HandlerTask


class _Handlers:
    """Marks the tasks of handlers."""

    __slots__ = ()


def is_handlers(task):
    """Whether a task is that of a handler, not one that a handler has made."""
    return isinstance(task, _Handlers)


_METHODS = (
    "__await__", "__iter__", "__repr__", "add_done_callback", "cancel", "cancelled", "cancelling", "done", "exception",
    "get_context", "get_loop", "get_name", "get_stack", "print_stack", "remove_done_callback", "result", "set_name", "uncancel",
)  # fmt: skip


def _after(materialise, original):
    @functools.wraps(original)
    def method(self, *arguments, **options):
        materialise(self)
        return original(self, *arguments, **options)

    return method


async def wait(awaitable):
    """A coroutine for whatever can be awaited."""
    return await awaitable
