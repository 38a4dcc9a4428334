"""Where is what was installed once? In the cache, complete or not at all, so that a broken download is made again."""

import contextlib
import hashlib
import pathlib
import shutil
import subprocess
import sys

from errors import Failure
from lock import locked


class Cache:
    """The cache of one user, shared by all clones."""

    def __init__(self, root):
        self.brokers = root / "brokers"
        self.venvs = root / "venvs"

    def made(self, name, make):
        """The directory of that name; make(directory) fills it the first time."""
        target = self.brokers / name
        if target.is_dir():
            return target
        with locked(self.brokers / f".{name}.lock"):
            if target.is_dir():
                return target
            with self._temporary(name) as temporary:
                make(temporary)
                temporary.rename(target)
        return target

    def venv(self, name, requirements):
        """The Python of a virtual environment that has these requirements and nothing else."""
        venv, stamp = self.venvs / name, self.venvs / name / ".requirements"
        wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
        if _read(stamp) != wanted:
            with locked(self.venvs / f".{name}.lock"):
                if _read(stamp) != wanted:
                    _fill(venv, requirements)
                    stamp.write_text(wanted)
        return venv / "bin/python"

    @contextlib.contextmanager
    def _temporary(self, name):
        temporary = self.brokers / f".{name}.partial"
        shutil.rmtree(temporary, ignore_errors=True)  # of one that was killed
        temporary.mkdir(parents=True)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def say(text):
    print(f"    {text}", file=sys.stderr, flush=True)


def call(command, **options):
    """Runs a tool with its output on stderr."""
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr, **options)
    except subprocess.CalledProcessError as error:
        raise Failure(f"{pathlib.Path(command[0]).name} failed with exit code {error.returncode}", "its message is above") from error


def _fill(venv, requirements):
    say(f"making {venv}")
    call([sys.executable, "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--no-deps", "--only-binary", ":all:"]
    call([*pip, "--requirement", str(requirements)])


def _read(path):
    return path.read_text() if path.is_file() else None
