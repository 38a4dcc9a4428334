"""Imports the handlers and finds out all that a call needs to know about them."""

import importlib
import importlib.machinery
import importlib.util
import inspect
import os
import sys
import types

from rohas_worker import failure, remedy


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
        self.state = self.response = self.model = None
        self.plans = []
        self.report = {"handlers": []}


class Plan:
    """How to call one handler."""

    __slots__ = (
        "kind", "name", "function", "parameters", "asynchronous", "argument_class", "fields",
        "path_params", "body", "query", "query_params", "headers", "payload",
    )  # fmt: skip


def load(request, loading):
    """Loads everything; a handler that fails doesn't keep the others from being loaded."""
    root = os.path.realpath(request["root"])
    source = os.path.join(root, request["source"])
    # The source directory goes before the root. Python's own entry for `-c` is the working directory, as an empty text.
    wanted = [source, root]
    sys.path[:] = wanted + [entry for entry in sys.path if entry and os.path.realpath(entry) not in wanted]
    project = Project(request)
    loader = _Loader(root, source, project)
    for index, handler in enumerate(request["handlers"]):
        loading(index)
        plan, report = loader.attempt(handler)
        project.plans.append(plan)
        project.report["handlers"].append(report)
    loading(None)
    return project


class _Loader:
    def __init__(self, root, source, project):
        self.root = root
        self.source = source
        self.project = project
        #: Modules by file, or why they can't be imported: several handlers may share a file.
        self.modules = {}

    def attempt(self, handler):
        """A plan or `None`, and the entry of `loaded`."""
        try:
            _require_pydantic()
            plan = self.plan(handler)
        except BaseException as error:  # noqa: B036 - a module may call sys.exit() when it is imported
            return None, {"ok": False, "error": _describe(error, handler)}
        return plan, {"ok": True, "asynchronous": plan.asynchronous}

    def plan(self, handler):
        module = self.module(handler["file"])
        plan = Plan()
        plan.kind, plan.name = handler["kind"], handler["name"]
        plan.function = _function(module, handler)
        plan.parameters = _parameters(plan.function, handler)
        plan.asynchronous = _is_asynchronous(plan.function, handler)
        self.introspect(plan, handler)
        return plan

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
        package = handler["module"].partition(".")[0]
        runtime, cls = _generated(package, handler)
        self.share(package, runtime)
        plan.argument_class = cls
        if plan.kind == "api":
            self.introspect_api(plan, runtime, cls)
        elif plan.kind == "event":
            plan.payload = runtime.adapter(cls, "payload").validator.validate_json
            plan.fields = ["payload", "timestamp", "event_id", "key"]
        else:
            raise LoadError("HandlerError", f"this worker doesn't run handlers of the kind {plan.kind!r}", "update rohas")

    def introspect_api(self, plan, runtime, cls):
        attributes = [attribute for _, attribute in cls.PATH_PARAMS]
        plan.path_params = [sys.intern(attribute) for attribute in attributes]
        typed = [name for name in ("body", "query") if name in cls.model_fields]
        for name in ("body", "query"):
            validate = runtime.adapter(cls, name).validator.validate_json if name in typed else None
            setattr(plan, name, validate)
        plan.query_params, plan.headers = runtime.QueryParams, runtime.Headers
        plan.fields = [*plan.path_params, *typed, "query_params", "headers"]

    def share(self, package, runtime):
        if self.project.state is None:
            self.project.response = runtime.Response
            self.project.model = importlib.import_module("pydantic").BaseModel
            self.project.state = importlib.import_module(f"{package}.state").State
            failure.handler_error = importlib.import_module(f"{package}.errors").HandlerError


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


def _generated(package, handler):
    try:
        runtime = importlib.import_module(f"{package}.runtime")
        cls = getattr(importlib.import_module(handler["module"]), handler["class"])
    except (ModuleNotFoundError, AttributeError) as error:
        message = f"the generated class {handler['module']}.{handler['class']} can't be imported: {error}"
        raise LoadError("ImportError", message, "run `rohas codegen`") from error
    return runtime, cls


def _function(module, handler):
    for name in handler["functions"]:
        function = getattr(module, name, None)
        if callable(function):
            return function
    wanted = handler["functions"]
    own = [
        name for name, value in vars(module).items()
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__ and not name.startswith("_")
    ]  # fmt: skip
    message = f"{handler['file']} defines no function {' or '.join(wanted)}"
    raise LoadError("HandlerNotFound", message, _rename(wanted, own), handler["file"])


def _rename(wanted, own):
    if not own:
        return f"define `async def {wanted[0]}(...)`; the file defines no functions"
    import difflib  # only needed here, and slow to import

    close = difflib.get_close_matches(wanted[0], own, n=1) or own[:1]
    return f"rename {close[0]} to {wanted[0]}; the file defines {', '.join(own)}"


def _parameters(function, handler):
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        # A callable written in C without a signature: give it all there is.
        return 2
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    variadic = any(each.kind is each.VAR_POSITIONAL for each in parameters)
    needed = [each.name for each in positional if each.default is each.empty][2:]
    needed += [each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.default is each.empty]
    if needed:
        first = "event" if handler["kind"] == "event" else "req"
        raise _at(
            function, handler, "TypeError",
            f"{function.__name__} needs more arguments than a handler gets: {', '.join(needed)}",
            f"take at most two parameters, `{first}` and `state`, or give the others defaults",
        )  # fmt: skip
    return 2 if variadic else min(len(positional), 2)


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
