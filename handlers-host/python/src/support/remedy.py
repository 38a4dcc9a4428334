"""Says what to do about an import that failed."""

import os
import re
import sys

from rohas_worker import failure

#: Modules whose package has another name.
_PACKAGES = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dns": "dnspython",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "magic": "python-magic",
    "multipart": "python-multipart",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "psycopg2": "psycopg2-binary",
    "pythoncom": "pywin32",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "telegram": "python-telegram-bot",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


def remedy(error):
    """What to do about an exception that an import raised, or `None` when the exception says it all."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name)
    if isinstance(error, ImportError) and error.path and failure.is_users(error.path):
        return f"define the name in {failure.relative(error.path)}, or look for an import that goes round in a circle"
    if isinstance(error, SystemExit):
        return "a module must not exit when it is imported: put that code below `if __name__ == \"__main__\":`"
    return None


def install(package):
    """The command that installs a package into this interpreter."""
    return f"{_interpreter()} -m pip install {package}"


def _missing(name):
    top = name.partition(".")[0]
    if top == "generated":
        return "run `rohas codegen`"
    if top in sys.stdlib_module_names:
        return f"this interpreter ({sys.executable}) was built without {top}: use another one"
    if top != name and top in sys.modules or _in_project(top):
        return f"check the import: the project has no module {name}"
    package = _PACKAGES.get(top, top.replace("_", "-"))
    if _is_required(package):
        return f"{package} is in requirements.txt but not installed: {install('-r requirements.txt')}"
    return f"add {package} to requirements.txt and install it: {install(package)}"


def _in_project(top):
    return any(
        os.path.isdir(os.path.join(entry, top)) or os.path.isfile(os.path.join(entry, f"{top}.py"))
        for entry in sys.path[:2]
    )


def _is_required(package):
    try:
        with open("requirements.txt", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    names = (re.match(r"\s*([\w.-]+)", line) for line in lines)
    return _normal(package) in {_normal(name[1]) for name in names if name}


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _interpreter():
    """The interpreter as one would type it in the project's root."""
    relative = os.path.relpath(sys.executable)
    return sys.executable if relative.startswith("..") else relative
