"""Imports the handlers and finds out all that a call needs to know about them."""

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import types

from rohas_worker import failure, remedy, values


class LoadError(Exception):
    """A handler that can't be loaded though its file may be fine in itself."""

    def __init__(self, kind, message, hint, file=None, line=None):
        super().__init__(message)
        self.kind = kind
        self.hint = hint
        self.file = file
        self.line = line


class Project:
    """What Rust takes over: one plan per handler, `None` for those that failed, and what all of them share."""

    def __init__(self, request):
        self.threads = request["threads"]
        self.events = frozenset(request["events"])
        self.websockets = frozenset(request["websockets"])
        self.state = self.response = self.query_params = self.model = None
        self.plans = []
        self.report = {"handlers": []}


class Plan:
    """How to call one handler."""

    __slots__ = (
        "kind", "name", "function", "parameters", "asynchronous", "argument_class", "fields",
        "path_params", "body", "query", "query_params", "headers", "payload", "message_class", "message_fields",
        "cookies", "answer",
    )  # fmt: skip


class Absent(Exception):
    """A file that doesn't define an optional function."""


def load(request, worker):
    """Loads everything; a handler that fails doesn't keep the others from being loaded."""
    root = os.path.realpath(request["root"])
    source = os.path.join(root, request["source"])
    # The source directory goes before the root. Python's own entry for `-c` is the working directory, as an empty text.
    wanted = [source, root]
    sys.path[:] = wanted + [entry for entry in sys.path if entry and os.path.realpath(entry) not in wanted]
    project = Project(request)
    loader = _Loader(root, source, project, worker.push)
    loader.development = request["development"]
    for handler in request["handlers"]:
        loader.called.setdefault(handler["file"], set()).update(handler["functions"])
    for index, handler in enumerate(request["handlers"]):
        worker.loading(index)
        plan, report = loader.attempt(handler)
        project.plans.append(plan)
        project.report["handlers"].append(report)
    worker.loading(None)
    return project


class _Loader:
    def __init__(self, root, source, project, push):
        self.root = root
        self.push = push
        self.source = source
        self.project = project
        #: In development some faults are warnings.
        self.development = False
        #: The functions that are looked for in each file.
        self.called = {}
        #: Modules by file, or why they can't be imported: several handlers may share a file.
        self.modules = {}

    def attempt(self, handler):
        """A plan or `None`, and the entry of `loaded`."""
        warning = {}
        try:
            _require_pydantic()
            if handler["kind"] == "after":
                warning = self.misnamed(handler)
            plan = self.plan(handler)
        except Absent:
            return None, {"ok": False, "absent": True, **warning}
        except BaseException as error:  # noqa: B036 - a module may call sys.exit() when it is imported
            return None, {"ok": False, "error": _describe(error, handler)}
        return plan, {"ok": True, "asynchronous": plan.asynchronous, **warning}

    def misnamed(self, handler):
        """The warning about a function beside a middleware that is called by nobody though its name says that it should be; in production it is an error."""
        error = _misnamed(self.middleware(handler["file"]), self.called[handler["file"]], handler)
        if error is None:
            return {}
        if not self.development:
            raise error
        return {"warning": _describe(error, handler)}

    def plan(self, handler):
        kind = handler["kind"]
        module = self.module(handler["file"]) if kind != "after" else self.middleware(handler["file"])
        plan = Plan()
        plan.kind, plan.name = kind, handler["name"]
        plan.function = _function(module, handler)
        plan.parameters = _parameters(plan.function, handler)
        plan.asynchronous = _is_asynchronous(plan.function, handler)
        if kind == "after":
            plan.function, plan.parameters = _with_three(plan.function, plan.parameters), 3
        self.introspect(plan, handler)
        return plan

    def middleware(self, file):
        """The module of a file that may define what runs after a handler. What keeps it from being imported is in the report of what runs before."""
        try:
            return self.module(file)
        except BaseException as error:  # noqa: B036 - see `attempt`
            raise Absent from error

    def module(self, file):
        """The module of a file, imported once."""
        path = os.path.join(self.root, file)
        if path not in self.modules:
            try:
                self.modules[path] = self.imported(path, file)
            except BaseException as error:  # noqa: B036 - see `attempt`
                self.modules[path] = error
        module = self.modules[path]
        if isinstance(module, BaseException):
            raise module
        return module

    def imported(self, path, file):
        if not os.path.isfile(path):
            raise LoadError("FileNotFoundError", f"there is no file {file}", f"create {file}", file)
        base = self.source if path.startswith(self.source + os.sep) else self.root
        parts = os.path.relpath(path, base)[: -len(".py")].split(os.sep)
        name = ".".join(parts)
        loaded = sys.modules.get(name)
        if loaded is not None and os.path.realpath(getattr(loaded, "__file__", None) or "") == os.path.realpath(path):
            return loaded
        parent = _packages(base, parts[:-1])
        module = _execute(name, path)
        if parent is not None:
            setattr(parent, parts[-1], module)
        return module

    def introspect(self, plan, handler):
        """Adds what the generated classes say."""
        introspect = _INTROSPECT.get(plan.kind)
        if introspect is None:
            raise LoadError("HandlerError", f"this worker doesn't run handlers of the kind {plan.kind!r}", "update rohas")
        package = handler.get("module", _PACKAGE).partition(".")[0]
        runtime = _generated(package, "runtime")
        self.share(package, runtime)
        plan.query_params, plan.headers = runtime.QueryParams, runtime.Headers
        introspect(self, plan, runtime, handler)

    def introspect_event(self, plan, runtime, handler):
        plan.argument_class = cls = _class(handler, "class")
        plan.payload = runtime.adapter(cls, "payload").validator.validate_json
        plan.fields = ["payload", "timestamp", "event_id", "key"]

    def introspect_cron(self, plan, runtime, handler):
        """Its request is a dict and needs nothing."""

    def introspect_websocket(self, plan, runtime, handler):
        plan.argument_class, plan.fields = _class(handler, "class"), _CONNECTION
        plan.message_class = cls = _class(handler, "message_class")
        plan.payload = runtime.adapter(cls, "data").validator.validate_json
        plan.message_fields = ["data", "timestamp"]

    def introspect_middleware(self, plan, runtime, handler):
        # A middleware may stand before several WebSockets, each with a class of its own.
        plan.argument_class, plan.fields = runtime.Connection, _CONNECTION
        plan.payload = importlib.import_module("pydantic").TypeAdapter(object).validator.validate_json
        plan.cookies = runtime.cookies
        plan.answer = _generated(_PACKAGE, "responses").Answer.received

    def introspect_api(self, plan, runtime, handler):
        plan.argument_class = cls = _class(handler, "class")
        attributes = [attribute for _, attribute in cls.PATH_PARAMS]
        plan.path_params = [sys.intern(attribute) for attribute in attributes]
        typed = [name for name in ("body", "query") if name in cls.model_fields]
        for name in ("body", "query"):
            validate = runtime.adapter(cls, name).validator.validate_json if name in typed else None
            setattr(plan, name, validate)
        plan.fields = [*plan.path_params, *typed, "query_params", "headers"]

    def share(self, package, runtime):
        if self.project.state is None:
            self.project.response, self.project.query_params = runtime.Response, runtime.QueryParams
            self.project.model = importlib.import_module("pydantic").BaseModel
            states = importlib.import_module(f"{package}.state")
            self.project.state = state = states.State
            state.push_fn, state.websockets = self.push, self.project.websockets
            failure.handler_error = importlib.import_module(f"{package}.errors").HandlerError
            failure.response = runtime.Response
            failure.faults = {
                states.UndeclaredEvent: "unknown_event",
                states.UndeclaredWebSocket: "unknown_websocket",
                values.UnserializableResult: "unserializable_payload",
            }


_INTROSPECT = {
    "api": _Loader.introspect_api,
    "event": _Loader.introspect_event,
    "cron": _Loader.introspect_cron,
    "websocket": _Loader.introspect_websocket,
    "middleware": _Loader.introspect_middleware,
    "after": _Loader.introspect_middleware,
}

#: The generated package, for handlers that are given no class of their own.
_PACKAGE = "generated"

#: What the worker sets of a connection.
_CONNECTION = [
    "connection_id", "path", "connected_at", "path_params", "query_params", "headers", "client", "close_code", "close_reason",
]  # fmt: skip


def _require_pydantic():
    try:
        import pydantic
    except ImportError as error:
        if error.name == "pydantic":
            raise LoadError("ModuleNotFoundError", str(error), remedy.install("pydantic")) from None
        raise
    if int(pydantic.VERSION.partition(".")[0]) < 2:
        message = f"pydantic {pydantic.VERSION} is too old: generated code needs 2.0 or newer"
        raise LoadError("ImportError", message, remedy.install("'pydantic>=2'"))


def _packages(base, parts):
    """The package that holds a module. Each directory is a package of that name even if a library has one too."""
    parent, name, directory = None, "", base
    for part in parts:
        name = f"{name}.{part}" if name else part
        directory = os.path.join(directory, part)
        package = sys.modules.get(name)
        if package is None or directory not in map(os.path.realpath, getattr(package, "__path__", ())):
            package = _package(name, directory)
            if parent is not None:
                setattr(parent, part, package)
        parent = package
    return parent


def _package(name, directory):
    init = os.path.join(directory, "__init__.py")
    if os.path.isfile(init):
        return _execute(name, init, [directory])
    spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [directory]
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    return package


def _execute(name, path, search=None):
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=search)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    # A module may replace itself.
    return sys.modules.get(name, module)


def _generated(package, name):
    try:
        return importlib.import_module(f"{package}.{name}")
    except ModuleNotFoundError as error:
        raise LoadError("ImportError", f"{package}.{name} can't be imported: {error}", "run `rohas codegen`") from error


def _class(handler, key):
    module, name = handler["module"], handler[key]
    try:
        return getattr(importlib.import_module(module), name)
    except (ModuleNotFoundError, AttributeError) as error:
        message = f"the generated class {module}.{name} can't be imported: {error}"
        raise LoadError("ImportError", message, "run `rohas codegen`") from error


def _function(module, handler):
    for name in handler["functions"]:
        function = getattr(module, name, None)
        if callable(function):
            return function
    if handler["kind"] == "after":
        raise Absent
    wanted = handler["functions"]
    message = f"{handler['file']} defines no function {' or '.join(wanted)}"
    raise LoadError("HandlerNotFound", message, _rename(wanted, _own(module)), handler["file"])


def _own(module):
    """The names of the public functions that a module defines."""
    return [
        name for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    ]  # fmt: skip


#: How the names of middlewares' functions end.
_SUFFIXES = ("_middleware", "_after")

#: Names that are this much alike were meant to be the same.
_ALIKE = 0.87


def _misnamed(module, called, handler):
    """What is wrong with the first function that nobody calls though its name is like that of one that is called; `None` if there is none."""
    wanted = [name for name in called if name.endswith(_SUFFIXES)]
    # A middleware that isn't there at all is told of by itself.
    if not any(hasattr(module, name) for name in wanted if name.endswith("_middleware")):
        return None
    for name in _own(module):
        if name not in called and name != handler["name"] and (name.endswith(_SUFFIXES) or _likeness(name, wanted)[0] >= _ALIKE):
            missing = [each for each in wanted if not hasattr(module, each)]
            message = f"{handler['file']} defines {name}, which nothing calls"
            hint = f"rename it to {_likeness(name, missing)[1]}, or " if missing else ""
            return _at(getattr(module, name), handler, "HandlerNotFound", message, f"{hint}let its name begin with an underscore")
    return None


def _likeness(name, others):
    """How much the likest of the others is like a name, and which one that is."""
    import difflib  # only needed here, and slow to import

    plain = [text.replace("_", "").lower() for text in (name, *others)]
    return max((difflib.SequenceMatcher(None, plain[0], text).ratio(), other) for text, other in zip(plain[1:], others))


def _rename(wanted, own):
    if not own:
        return f"define `async def {wanted[0]}(...)`; the file defines no functions"
    import difflib  # only needed here, and slow to import

    close = difflib.get_close_matches(wanted[0], own, n=1) or own[:1]
    return f"rename {close[0]} to {wanted[0]}; the file defines {', '.join(own)}"


#: What the functions of each kind may take.
_TAKES = {
    "api": ["req", "state"],
    "event": ["event", "state"],
    "cron": ["req", "state"],
    "websocket": ["message", "connection", "state"],
    "middleware": ["context", "state"],
    "after": ["context", "response", "state"],
}


def _parameters(function, handler):
    """How many arguments a function is called with."""
    takes = _TAKES.get(handler["kind"], ["req", "state"])
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        # A callable written in C without a signature: give it all there is.
        return len(takes)
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    variadic = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    needed = [each.name for each in positional if each.default is each.empty][len(takes) :]
    needed += [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if needed:
        names = [f"`{name}`" for name in takes]
        raise _at(
            function, handler, "TypeError",
            f"{function.__name__} needs more arguments than a handler gets: {', '.join(needed)}",
            f"take at most {_NUMBERS[len(takes)]} parameters, {', '.join(names[:-1])} and {names[-1]}, or give the others defaults",
        )  # fmt: skip
    return len(takes) if variadic else min(len(positional), len(takes))


_NUMBERS = {2: "two", 3: "three"}


def _with_three(function, parameters):
    """What runs after a handler is given context, answer and state; a function may take fewer."""
    if parameters == 3:
        return function
    return lambda *arguments: function(*arguments[:parameters])


def _is_asynchronous(function, handler):
    candidates = (function, getattr(type(function), "__call__", None))
    if any(inspect.isasyncgenfunction(each) for each in candidates):
        message = f"{function.__name__} is an asynchronous generator"
        raise _at(function, handler, "TypeError", message, "return one value instead of using `yield`")
    return any(inspect.iscoroutinefunction(each) for each in candidates)


def _at(function, handler, kind, message, hint):
    code = getattr(inspect.unwrap(function), "__code__", None)
    return LoadError(kind, message, hint, handler["file"], code and code.co_firstlineno)


def _describe(error, handler):
    if isinstance(error, LoadError):
        file, line, hint, kind = error.file, error.line, error.hint, error.kind
        trace = "" if error.__cause__ is None else failure.traceback_text(error.__cause__)
    else:
        file, line = failure.place(error)
        hint, kind = remedy.remedy(error), type(error).__name__
        trace = failure.traceback_text(error)
    return {
        "type": kind,
        "message": failure.text(error),
        "file": file or handler["file"],
        "line": line,
        "remedy": hint,
        "traceback": trace,
    }
