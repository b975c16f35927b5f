"""Pictures of the module's window in its main states, into Resources/Screenshots: `python Testing/screenshots.py`.

The window is the module's own, drawn by the stand-in that its tests use; volume, segments and numbers are of the shipped sample.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "DiffSegExtension"
sys.path[:0] = [str(ROOT), str(ROOT / "Testing/widget"), str(EXTENSION)]
OUT = ROOT / "Resources" / "Screenshots"
WIDTH = 440
FOLDED = ("inputsButton", "organsButton", "fixButton", "measureButton", "setupButton")


def application_window() -> tuple[Any, Any]:
    """(Qt application, scene): Slicer as the module sees it."""
    import slicer
    import slicer.util
    import vtk  # noqa: F401  MRML's objects come through it
    from PySide6 import QtGui, QtWidgets
    from standin import application

    app = QtWidgets.QApplication([])
    app.setStyle("Fusion")
    app.setFont(QtGui.QFont("DejaVu Sans", 9))
    app.setPalette(_lightPalette())
    sys.modules.update(application.modules())
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    slicer.modules = SimpleNamespace()
    frame = QtWidgets.QMainWindow()
    frame.setObjectName("qSlicerMainWindow")
    before = SimpleNamespace(applicationLogic=lambda: None)
    slicer.app = application.App(before, tempfile.gettempdir(), application.Views(scene), frame)
    return app, scene


def _lightPalette() -> Any:
    from PySide6.QtGui import QColor, QPalette

    palette = QPalette(QColor(240, 240, 240))
    palette.setColor(QPalette.Highlight, QColor(48, 140, 198))
    palette.setColor(QPalette.AlternateBase, QColor(246, 248, 250))
    return palette


class Pictures:
    """One window, brought from state to state."""

    def __init__(self) -> None:
        from fakes import FakeLogic

        self.app, self.scene = application_window()
        from DiffSegLib.Widget import Widget
        from standin import application

        self.frame, self.logic = application.parentWidget(), FakeLogic()
        self.panel = Widget(self.frame.layout(), str(EXTENSION / "Resources/UI/DiffSeg.ui"), self.logic)
        self.ui = self.panel.ui
        self.volume = self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "DiffSegSample")
        self.segmentation = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "DiffSegSample segmentation")

    def take(self, name: str, *open_: str) -> None:
        """Save the window with these sections unfolded, as high as they need."""
        for section in FOLDED:
            getattr(self.ui, section).collapsed = section not in open_
        self.panel.refresh()
        widget = self.frame.target
        widget.setFixedWidth(WIDTH)
        for _ in range(3):
            self.app.processEvents()
        widget.setFixedHeight(widget.layout().totalHeightForWidth(WIDTH) if widget.layout().hasHeightForWidth() else widget.sizeHint().height())
        widget.show()
        for _ in range(3):
            self.app.processEvents()
        widget.grab().save(str(OUT / f"{name}.png"))

    def everything(self) -> None:
        states: tuple[Callable[[], None], ...] = (self.setup, self.ready, self.segmenting, self.correcting, self.measuring, self.failing)
        for state in states:
            state()

    def setup(self) -> None:
        from DiffSegLib import PackageCheck, Requirements

        real, PackageCheck.check = PackageCheck.check, _asInAFreshSlicer
        self.panel.setup.check()
        self.panel.setup.showModels()
        self.take("panel-setup", "setupButton")
        PackageCheck.check = real
        assert Requirements.wanted()

    def ready(self) -> None:
        self.logic.check = ("green", "CT, 2.5 x 2.5 x 2.5 mm, 112 x 96 x 120 voxels.")
        self.ui.volumeSelector.setCurrentNode(self.volume)
        self.take("panel-ready", "inputsButton")

    def segmenting(self) -> None:
        self.panel.setup.check()
        self.ui.segmentButton.click()
        self.panel.work._started -= 9
        self.logic.task.progress(0.62, "Looking for organs")
        self.take("panel-segmenting", "inputsButton")

    def correcting(self) -> None:
        from fakes import Pending, Row

        self.logic.rows = [Row(*row) for row in ROWS]
        for number in (4, 5, 6):
            self.logic.rows[number].checked = True
        self.logic.task.done(None)
        self.logic.given = [{"number": 1, "kind": "point", "inside": True, "name": "larynx"},
                            {"number": 2, "kind": "scribble", "inside": False, "name": "larynx"}]
        self.logic.pending, self.logic.canUndo = Pending(3.24, 0.41), True
        self.ui.segmentationSelector.setCurrentNode(self.segmentation)
        self.ui.placeLabel.text = "larynx: the samples disagree most here, over 2.1 ml."
        self.panel.refresh()
        self.ui.pointButton.checked = True
        self.take("panel-correcting", "organsButton", "fixButton")

    def measuring(self) -> None:
        self.logic.pending = None
        self.ui.folderEdit.currentPath = "/home/me/export"
        self.panel.refresh()
        self.take("panel-measuring", "measureButton")
        self.ui.measureButton.collapsed = True

    def failing(self) -> None:
        self.panel.work.say("OutOfMemory", "There was not enough memory; close other programs, crop the volume, or choose the device cpu.")
        self.take("panel-failing", "inputsButton")


ROWS = (
    ("1", "larynx", (0.88, 0.55, 0.36), 31.4, (26.0, 36.1), 0.71, False, 41.0, 52.0, 31.4),
    ("2", "esophagus", (0.83, 0.66, 0.42), 14.2, (12.9, 15.0), 0.83, False, 28.0, 143.0, 14.2),
    ("3", "spinal cord", (0.95, 0.84, 0.39), 17.9, (16.8, 18.5), 0.86, False, 32.0, 187.0, 17.9),
    ("4", "parotid gland, left", (0.62, 0.78, 0.54), 28.3, (27.0, 29.4), 0.92, False, -12.0, 61.0, 28.3),
    ("5", "parotid gland, right", (0.47, 0.70, 0.60), 27.5, (26.4, 28.3), 0.93, False, -9.0, 60.0, 27.5),
    ("6", "brainstem", (0.55, 0.62, 0.86), 26.1, (25.5, 26.8), 0.95, False, 33.0, 58.0, 26.1),
    ("7", "mandible", (0.93, 0.90, 0.78), 68.0, (67.1, 68.9), 0.97, False, 640.0, 121.0, 68.0),
)


def _asInAFreshSlicer(requirement: str) -> dict[str, str]:
    name, _, wanted = requirement.partition(">=")
    present = {"scipy": "1.14.1", "Pillow": "11.1.0", "SimpleITK": ""}
    state, detail = ("found", "" if present[name] else "built into Slicer") if name in present else ("missing", "not installed")
    if name == "pydicom":
        return {"name": name, "wanted": wanted, "state": "unfit", "version": "2.4.4", "detail": "needs >=3.0"}
    return {"name": name, "wanted": wanted, "state": state, "version": present.get(name, ""), "detail": detail}


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    Pictures().everything()
