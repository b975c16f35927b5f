"""3D Slicer as the module sees it, in a process without Slicer: the scene of slicer-core with its logics, a window, PythonQt over PySide6.

For scripts, one in a process; tests have the same from the fixtures of Testing/widget.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "DiffSegExtension"
sys.path[:0] = [str(ROOT), str(ROOT / "Testing"), str(ROOT / "Testing/widget"), str(EXTENSION)]


class Application:
    """An empty scene, and the module's panel in it once `open` is called; `slicer.app`, `slicer.mrmlScene` and `slicer.modules` lead to it."""

    def __init__(self) -> None:
        import slicer
        import slicer.util
        from PySide6 import QtWidgets
        from standin import application

        self.qt = QtWidgets.QApplication([])
        self.qt.setStyle("Fusion")
        sys.modules.update(application.modules())
        self.scene = slicer.mrmlScene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logic.SetMRMLScene(self.scene)
        self.logic.SetModuleLogic("Colors", self.logic.GetColorLogic())
        helpers = _sceneHelpers()
        logics = {name: helpers._logic(name, self.scene, self.logic) for name in helpers.LOGICS}
        slicer.modules = SimpleNamespace(**{name.lower(): SimpleNamespace(logic=lambda each=each: each) for name, each in logics.items()})
        self._window = QtWidgets.QMainWindow()
        self._window.setObjectName("qSlicerMainWindow")
        slicer.app = application.App(SimpleNamespace(applicationLogic=lambda: self.logic), None, self._window)
        self.frame = application.parentWidget()

    def open(self, logic: Any = None) -> Any:
        """The module's panel; with its own logic and worker where None is given."""
        from DiffSegLib.Widget import Widget

        return Widget(self.frame.layout(), str(EXTENSION / "Resources/UI/DiffSeg.ui"), logic)

    def wait(self, until: Callable[[], bool], seconds: float = 600) -> None:
        end = time.monotonic() + seconds
        while not until():
            if time.monotonic() > end:
                raise TimeoutError(f"not done within {seconds:g} s")
            self.qt.processEvents()
            time.sleep(0.01)


def _sceneHelpers() -> Any:
    spec = importlib.util.spec_from_file_location("scene_conftest", ROOT / "Testing" / "scene" / "conftest.py")
    helpers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helpers)
    return helpers
