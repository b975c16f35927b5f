"""Which Python runs the worker: the one that was named, this one, or, inside a program that embeds Python, the one that belongs to it."""
from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Iterator, Mapping

from ..errors import BadInput

_OF_THIS_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__")


def find_python(named: str | None = None) -> str:
    """The path of a Python. BadInput where the named one isn't there, or where none can be found."""
    if named:
        found = shutil.which(os.path.expanduser(named))
        if found is None:
            raise BadInput(f"There is no Python at {named}; name the python or python.exe of an environment that has PyTorch.")
        return os.path.abspath(found)
    found = next((str(path) for path in _candidates() if path.is_file() and os.access(path, os.X_OK)), None) or shutil.which("PythonSlicer")
    if found is None:
        raise BadInput("No Python was found to run the worker with; name one.")
    return behind_launcher(found)


def behind_launcher(python: str) -> str:
    """The interpreter that Slicer's PythonSlicer would start; any other program as it is.

    PythonSlicer is a launcher, a process of its own: to kill it leaves the interpreter running, and its standard input need not
    arrive there. Inside Slicer the environment that it would set is there already.
    """
    path = Path(python)
    real = path.with_name("python-real" + path.suffix)
    return str(real) if path.stem in ("PythonSlicer", "SlicerPython") and real.is_file() else python


def environment(named: str | None, given: Mapping[str, str] | None) -> dict[str, str]:
    """The worker's environment: the given one, else this process's; without what leads a Python to the libraries of another."""
    if given is not None:
        return dict(given)
    foreign = named is not None and os.path.abspath(named) != os.path.abspath(sys.executable or os.curdir)
    return {key: value for key, value in os.environ.items() if not (foreign and key in _OF_THIS_PYTHON)}


def _candidates() -> Iterator[Path]:
    if sys.executable and "python" in Path(sys.executable).name.lower():  # else empty, or the program that embeds this Python
        yield Path(sys.executable)
    suffix = ".exe" if os.name == "nt" else ""
    homes = [Path(home) for home in (os.environ.get("SLICER_HOME"),) if home]
    for home in (*homes, *Path(sys.prefix).parents[:2]):  # Slicer's Python lies in lib/Python of the program's folder
        yield home / "bin" / f"PythonSlicer{suffix}"
    for name in ("python3", "python"):
        yield Path(sys.exec_prefix) / "bin" / (name + suffix)
    yield Path(sys.exec_prefix) / f"python{suffix}"
