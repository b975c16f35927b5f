"""What DiffSeg needs, what is there, and installing the rest: only when asked, only from the main thread, never torch by itself."""

from __future__ import annotations

import hashlib
import importlib
import json
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import PackageCheck
from .PackageCheck import FOUND

TORCH = "torch>=2.4"
OLDEST = (3, 10)  # Python of the worker; Slicer 5.8's own is 3.9, in which the module itself still runs
# What the user is told before anything is fetched: megabytes (about) and licence. torch is larger where a graphics card is served.
ABOUT = {
    "torch": (200, "BSD-3-Clause"), "monai": (3, "Apache-2.0"), "SimpleITK": (50, "Apache-2.0"), "nibabel": (3, "MIT"), "pydicom": (3, "MIT"),
    "slicerio": (1, "MIT"), "scipy": (40, "BSD-3-Clause"), "Pillow": (7, "MIT-CMU"), "safetensors": (1, "Apache-2.0"), "tqdm": (1, "MPL-2.0, MIT"),
}
FILE = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
SECONDS = 60  # for another Python to answer: a network drive may be slow


@dataclass(frozen=True)
class Requirement:
    name: str
    wanted: str  # ">=2.4"
    state: str  # found, missing, broken (files lost) or unfit (another version)
    version: str
    detail: str

    @property
    def toFetch(self) -> str:
        """What installing it means: "3 MB, Apache-2.0"; empty where it is there."""
        megabytes, licence = ABOUT[self.name]
        more = "+" if self.name == "torch" else ""
        return "" if self.state == FOUND else f"{megabytes}{more} MB, {licence}"


class SetupError(RuntimeError):
    """A sentence about what stopped an installation, and the way out."""


def wanted() -> tuple[str, ...]:
    """All requirements, torch first."""
    lines = (line.partition("#")[0].strip() for line in FILE.read_text(encoding="utf-8").splitlines())
    return (TORCH, *filter(None, lines))


def check(python: str = "", environment: dict[str, str] | None = None) -> tuple[Requirement, ...]:
    """Look at each requirement in this Python, or in the one whose path is given. Imports nothing, changes nothing.

    SetupError where nothing could be installed into it: this Python is too old, or the other one does not answer.
    """
    if not python and sys.version_info < OLDEST:
        raise SetupError(f"This Slicer's own Python is {platform.python_version()}, too old for what DiffSeg needs: update to Slicer 5.10 or later, "
                         "or choose another Python, 3.10 or later, that has the packages.")
    importlib.invalidate_caches()  # what was installed a moment ago counts
    entries = _asked(python, environment) if python else map(PackageCheck.check, wanted())
    return tuple(Requirement(**entry) for entry in entries)


def _asked(python: str, environment: dict[str, str] | None) -> list[dict[str, str]]:
    try:
        done = subprocess.run([python, PackageCheck.__file__, *wanted()], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SECONDS, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))  # else a console flashes up on Windows
        return json.loads(done.stdout)
    except (OSError, subprocess.TimeoutExpired, json.JSONDecodeError) as error:
        raise SetupError(f"{python} is no Python that answers: choose the python program of an environment, "
                         "such as venv/bin/python or venv\\Scripts\\python.exe, or leave the line empty.") from error


def lacking(requirements: tuple[Requirement, ...]) -> tuple[Requirement, ...]:
    return tuple(each for each in requirements if each.state != FOUND)


def install(missing: tuple[Requirement, ...], bundle: str = "") -> None:
    """Install into Slicer's Python what is missing, from the internet or from the folder `bundle`. SetupError says what went wrong."""
    if bundle:
        verifyBundle(Path(bundle))
        _pip([each.name + each.wanted for each in missing], ["--no-index", "--find-links", bundle])
        return
    if any(each.name == "torch" for each in missing):
        _installTorch()
    others = [each.name + each.wanted for each in missing if each.name != "torch"]
    if others:
        _installOthers(others)


def _installTorch() -> None:
    try:
        import PyTorchUtils
    except ModuleNotFoundError as error:
        raise SetupError("PyTorch comes through the extension PyTorch, which is not installed: add it in the Extensions Manager, "
                         "restart Slicer and press Install again. Or choose a Python that has PyTorch.") from error
    try:
        torch = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=TORCH.replace("torch", ""))
    except Exception as error:  # whatever pip or the extension met, the user needs one sentence and the way out
        raise SetupError(f"PyTorch could not be installed ({_lastLine(error)}). Restart Slicer and try again; behind a proxy or "
                         "offline, use an offline folder.") from error
    if torch is None:
        raise SetupError("PyTorch was not installed: the question was answered with Cancel.")
    if not getattr(torch, "__version__", ""):
        raise SetupError("PyTorch is half installed. Restart Slicer, uninstall it in the module PyTorch Utils and install it again; "
                         "on Windows, Slicer in a folder with a short path helps.")


def _installOthers(requirements: list[str]) -> None:
    """With Slicer's own installer where it exists (5.11 and later), which asks first; else with pip after our own question."""
    import slicer

    installer = _slicersInstaller()
    if installer is not None:
        from packaging.requirements import Requirement as Pip

        try:
            installer.pip_ensure([Pip(each) for each in requirements], requester="DiffSeg")
        except Exception as error:
            raise SetupError(_pipFailed(error)) from error
    elif slicer.util.confirmOkCancelDisplay("DiffSeg will download and install: " + ", ".join(requirements) + "."):
        _pip(requirements, [])
    else:
        raise SetupError("Nothing was installed: the question was answered with Cancel.")


def _slicersInstaller() -> Any:
    """The module that has `pip_ensure`: slicer.packaging at first, slicer.pydeps since; None in Slicer 5.10 and before."""
    for name in ("slicer.pydeps", "slicer.packaging"):
        try:
            installer = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        if hasattr(installer, "pip_ensure"):
            return installer
    return None


def _pip(requirements: list[str], options: list[str]) -> None:
    """NumPy stays as it is: another one would break what Slicer built against it."""
    import numpy
    import slicer

    with slicer.util.WaitCursor():
        try:
            slicer.util.pip_install([*options, *requirements, f"numpy=={numpy.__version__}"])
        except Exception as error:
            raise SetupError(_pipFailed(error)) from error


def _pipFailed(error: Exception) -> str:
    return (f"The packages could not be installed ({_lastLine(error)}). Restart Slicer and try again; behind a proxy or offline, "
            "use an offline folder. The Python console shows what pip said.")


def _lastLine(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:200]


def verifyBundle(folder: Path) -> int:
    """Check every file that SHA256SUMS in the folder lists; how many. SetupError names the first that is missing or damaged."""
    sums = folder / "SHA256SUMS"
    if not sums.is_file():
        raise SetupError(f"{folder} has no file SHA256SUMS: it is not an offline folder made for DiffSeg, or not all of it.")
    lines = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8").splitlines() if line.strip()]
    for digest, name in lines:
        file = folder / name.lstrip("*")
        if not file.is_file():
            raise SetupError(f"{name} is missing from {folder}: copy the folder again.")
        if _sha256(file) != digest:
            raise SetupError(f"{name} in {folder} is damaged (its SHA-256 differs): copy the folder again.")
    return len(lines)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
