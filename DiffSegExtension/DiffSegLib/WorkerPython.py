"""Which Python the worker runs in: Slicer's own, or an environment that the user chose in Setup."""

from __future__ import annotations

import os
import shutil
import sys

SETTING = "DiffSeg/Python"


def chosen() -> str:
    """The Python chosen in Setup, "" for Slicer's own. DIFFSEG_PYTHON wins: for a hospital's installation and for tests."""
    import qt

    return os.environ.get("DIFFSEG_PYTHON") or qt.QSettings().value(SETTING) or ""


def choose(python: str) -> None:
    import qt

    qt.QSettings().setValue(SETTING, python)


def command() -> tuple[str, dict[str, str]]:
    """(program, environment) of the worker's Python.

    Slicer's own is the one behind PythonSlicer, as sys.executable is empty inside the application, or that launcher. Another Python
    gets the environment from before Slicer started: Slicer's PYTHONHOME, PYTHONPATH and library paths would break it.
    """
    import slicer

    from . import ModelFiles
    from .CorePath import coreFolder, ensureCore

    ensureCore()
    from DiffSegCore.service.pythons import behind_launcher

    python = chosen()
    environment = slicer.util.startupEnvironment() if python else dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(coreFolder()), environment.get("PYTHONPATH"))))
    environment.setdefault("DIFFSEG_MODELS", os.pathsep.join(map(str, ModelFiles.folders()[1:])))
    return python or behind_launcher(shutil.which("PythonSlicer") or sys.executable), environment


def newLogic():
    """The module's logic with a worker in the chosen Python; the worker starts with the first call that needs it."""
    import slicer

    from .CorePath import ensureCore

    ensureCore()
    from DiffSegCore.service import Service

    from .Logic import Logic

    def start() -> Service:
        python, environment = command()
        return Service(python=python, env=environment)

    return Logic(slicer.mrmlScene, start)
