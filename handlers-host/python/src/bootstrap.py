"""Loads the worker's extension module from the path given as the first argument and runs it."""

import sys

if sys.version_info < (3, 10) or sys.implementation.name != "cpython":
    sys.exit(
        "rohas needs CPython 3.10 or newer; %s is %s" % (sys.executable, sys.version.replace("\n", " "))
    )

# The working directory is the project's: its modules must not stand in for the library's while we come up.
sys.path[:] = [entry for entry in sys.path if entry]

from importlib.machinery import ExtensionFileLoader  # noqa: E402
from importlib.util import module_from_spec, spec_from_file_location  # noqa: E402


def _start():
    path = sys.argv.pop(1)
    spec = spec_from_file_location("rohas_python", path, loader=ExtensionFileLoader("rohas_python", path))
    module = module_from_spec(spec)
    sys.modules["rohas_python"] = module
    spec.loader.exec_module(module)
    return module.main()


sys.exit(_start())
