"""Which required packages a Python has. Standard library only: the same file runs inside Slicer and, as a script, in another Python.

    python PackageCheck.py "monai>=1.5,<1.7" "torch>=2.4"      # prints a JSON list, one entry a package
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

FOUND, MISSING, BROKEN, UNFIT = "found", "missing", "broken", "unfit"
_TELLING = ("__init__.py", "version.py", ".so", ".pyd", ".dll", ".dylib")
MODULES = {"Pillow": "PIL"}  # where the import's name is not the package's
_CLAUSE = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][0-9.]*)")


def check(requirement: str) -> dict[str, Any]:
    """{"name", "wanted", "state", "version", "detail"} of one requirement, such as "torch>=2.4". Nothing heavy is imported."""
    name = re.match(r"[A-Za-z0-9_.-]+", requirement)[0]
    state, version, detail = _state(name, requirement[len(name):])
    return {"name": name, "wanted": requirement[len(name):], "state": state, "version": version, "detail": detail}


def _state(name: str, wanted: str) -> tuple[str, str, str]:
    module = importlib.util.find_spec(MODULES.get(name, name))
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        if module is None:
            return MISSING, "", "not installed"
        # Slicer builds some packages itself and leaves no record of them. A folder without a module is what a failed removal leaves.
        return (FOUND, "", "built into Slicer") if module.origin else (BROKEN, "", "only remains of it are there")
    if module is None or not module.origin:
        return BROKEN, package.version or "", "a record of it is there, but its files are not"
    lost = _lost_file(package)
    if lost or not package.version:
        return BROKEN, package.version or "", f"half installed: {lost or 'its version'} is missing"
    if not satisfies(package.version, wanted):
        return UNFIT, package.version, f"needs {wanted}"
    return FOUND, package.version, ""


def _lost_file(package: importlib.metadata.Distribution) -> str:
    """A library or package start that its record names and that is not there: what an interrupted installation leaves.

    torch's on Windows does, where paths grow too long. Of its 13,000 files these 1,500 are looked for: .05 s, all of them take one.
    Slicer ships its packages without their folders "test", which therefore say nothing.
    """
    for line in (package.read_text("RECORD") or "").splitlines():
        name = line.split(",", 1)[0]
        if name.endswith(_TELLING) and "/test/" not in name and not os.path.exists(package.locate_file(name)):
            return name
    return ""


def satisfies(version: str, wanted: str) -> bool:
    """Whether "2.6.0+cpu" satisfies ">=2.4,<3": plain numbers suffice for what DiffSeg asks for."""
    have = _numbers(version)
    tests = {">=": have.__ge__, "<=": have.__le__, "==": have.__eq__, "!=": have.__ne__, "<": have.__lt__, ">": have.__gt__}
    return all(tests[sign](_numbers(number)) for sign, number in _CLAUSE.findall(wanted))


def _numbers(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


if __name__ == "__main__":
    # Its own folder first on the path would hide nothing here, but a stranger's folder is no place to search for packages.
    sys.path[:] = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]
    print(json.dumps([check(each) for each in sys.argv[1:]]))
