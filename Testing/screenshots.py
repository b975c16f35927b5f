"""Pictures of the module at work on the shipped sample, into Resources/Screenshots: `python Testing/screenshots.py` (a minute or two).

The window is the module's own, drawn by the stand-in that its tests use; logic, worker and models are the real ones, and the slices are
drawn by Slicer's displayable managers. Without a model that answers clicks, pictures of a correction are left out.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from slicer_application import ROOT, Application

OUT = ROOT / "Resources" / "Screenshots"
WIDTH = 440  # pixels, of the module panel
VIEW = (430, 350)
SECTIONS = ("inputsButton", "organsButton", "fixButton", "measureButton", "setupButton")
BARS = {"Red": ("Axial", (243, 74, 51)), "Green": ("Coronal", (110, 176, 75)), "Yellow": ("Sagittal", (237, 213, 76))}


class Pictures:
    """One window, brought from state to state."""

    def __init__(self, app: Application) -> None:
        from DiffSegCore.service import Service
        from DiffSegLib.Logic import Logic

        _style(app.qt)
        self.app, self.frame, self._volume = app, app.frame, _sample(app.scene)
        self.logic = Logic(app.scene, Service(python=sys.executable, env={**os.environ, "PYTHONPATH": str(ROOT)}))
        self.panel = app.open(self.logic)
        self.ui = self.panel.ui
        from slice_views import SliceView

        self._views = {name: SliceView(app.scene, app.logic, name, VIEW) for name in BARS}

    def everything(self) -> None:
        try:
            for state in (self.setup, self.ready, self.segmenting, self.looking, self.correcting, self.measuring, self.failing):
                state()
        finally:
            self.panel.close()

    def setup(self) -> None:
        from DiffSegLib import PackageCheck

        real, PackageCheck.check = PackageCheck.check, _asInAFreshSlicer
        self.panel.setup.check()
        self.panel.setup.showModels()
        self.take("panel-setup", "setupButton")
        PackageCheck.check = real
        self.panel.setup.check()

    def ready(self) -> None:
        self.panel.inputs.chooseSomething()
        self.take("panel-ready", "inputsButton")

    def segmenting(self) -> None:
        self.ui.segmentButton.click()
        self.app.wait(lambda: self.ui.progressBar.value > 350 or not self.panel.work.busy)
        self.take("panel-segmenting", "inputsButton")
        self.app.wait(lambda: not self.panel.work.busy)

    def looking(self) -> None:
        import qt

        for row in range(3, 6):
            self.ui.organTable.item(row, 3).setCheckState(qt.Qt.Checked)
        self.take("panel-organs", "organsButton", "fixButton")
        self.slices("slicer-organs", self._middle(self.panel.organs.current))

    def correcting(self) -> None:
        from DiffSegCore.service import Failure

        try:
            place = self.logic.nextPlace().wait(600)
            ras, segment = (place.ras, place.segmentId) if place else (self._middle(self.panel.organs.current), self.panel.organs.current)
            self.logic.click(ras, segment, place is not None).wait(600)
        except Failure as failure:
            sys.stderr.write(f"no pictures of a correction: {failure}\n")
            return
        self.panel.organs._onPlace(place)
        self.take("panel-correcting", "organsButton", "fixButton")
        self.slices("slicer-correcting", ras, 120)
        self.panel.correct.accept()

    def measuring(self) -> None:
        self.ui.folderEdit.currentPath = "/home/me/export"
        self.take("panel-measuring", "measureButton")

    def failing(self) -> None:
        self.panel.work.say("OutOfMemory", "There was not enough memory; close other programs, crop the volume, or choose the device cpu.")
        self.take("panel-failing", "inputsButton")

    def take(self, name: str, *open_: str) -> None:
        """Save the panel with these sections unfolded, as high as they need."""
        for section in SECTIONS:
            getattr(self.ui, section).collapsed = section not in open_
        self.panel.refresh()
        self._fit()
        self.frame.target.grab().save(str(OUT / f"{name}.png"))

    def _fit(self) -> None:
        widget = self.frame.target
        widget.setFixedWidth(WIDTH)
        widget.show()
        for _ in range(3):
            self.app.qt.processEvents()
            widget.setFixedHeight(widget.layout().totalHeightForWidth(WIDTH) if widget.layout().hasHeightForWidth() else widget.sizeHint().height())

    def slices(self, name: str, ras: tuple[float, float, float], across_mm: float = 260) -> None:
        """Save the panel as it is with three slices through a place beside it, each under a bar of its view's colour."""
        from PIL import Image, ImageDraw

        panel = Image.open(OUT / f"panel-{name.partition('-')[2]}.png").convert("RGB")
        bar, gap = 16, 3
        views = []
        for view, (orientation, color) in BARS.items():
            self._views[view].show(self._volume, orientation, ras, across_mm)
            picture = Image.new("RGB", (VIEW[0], VIEW[1] + bar), color)
            picture.paste(Image.fromarray(self._views[view].pixels()), (0, bar))
            ImageDraw.Draw(picture).text((6, 3), view[0], fill=(0, 0, 0))
            views.append(picture)
        width, height = WIDTH + 2 * (VIEW[0] + gap), max(panel.height, 2 * (VIEW[1] + bar + gap))
        whole = Image.new("RGB", (width, height), (40, 40, 44))
        whole.paste((240, 240, 240), (0, 0, WIDTH, height))
        whole.paste(panel, (0, 0))
        for place, picture in zip(((0, 0), (0, 1), (1, 1)), views):
            whole.paste(picture, (WIDTH + gap + place[0] * (VIEW[0] + gap), place[1] * (VIEW[1] + bar + gap)))
        whole.paste(_surface(self.panel.inputs.segmentation, (VIEW[0], VIEW[1] + bar)), (WIDTH + 2 * gap + VIEW[0], 0))
        whole.save(OUT / f"{name}.png")

    def _middle(self, segment: str) -> tuple[float, float, float]:
        return tuple(self.panel.inputs.segmentation.GetSegmentCenterRAS(segment))


def _surface(segmentation: Any, size: tuple[int, int]) -> Any:
    """The segments in 3D, from the front."""
    import vtk
    from PIL import Image
    from slice_views import grabbed

    renderer = vtk.vtkRenderer()
    renderer.SetBackground(0.76, 0.77, 0.91)
    renderer.SetBackground2(0.45, 0.47, 0.75)
    renderer.GradientBackgroundOn()
    segmentation.CreateClosedSurfaceRepresentation()
    for number in range(segmentation.GetSegmentation().GetNumberOfSegments()):
        segment = segmentation.GetSegmentation().GetNthSegment(number)
        mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
        mapper.SetInputData(segment.GetRepresentation("Closed surface"))
        mapper.ScalarVisibilityOff()
        actor.SetMapper(mapper)
        actor.GetProperty().SetColor(*segment.GetColor())
        renderer.AddViewProp(actor)
    camera = renderer.GetActiveCamera()
    camera.SetPosition(0.5, 1, 0.2)
    camera.SetViewUp(0, 0, 1)
    renderer.ResetCamera()
    camera.Zoom(1.4)
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    return Image.fromarray(grabbed(window))


def _sample(scene: Any) -> Any:
    """The shipped CT as a volume that is shown in grey."""
    import numpy as np
    import slicer
    import vtk
    from DiffSegCore.reading import read_volume
    from DiffSegLib import SampleVolume
    from DiffSegLib.Images import orientedImage, toMatrix

    volume, image, grey = read_volume(SampleVolume.path()), vtk.vtkImageData(), slicer.vtkMRMLColorTableNode()
    image.DeepCopy(orientedImage(np.asarray(volume.array), np.eye(4)))
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", SampleVolume.NAME)
    node.SetAndObserveImageData(image)
    node.SetIJKToRASMatrix(toMatrix(volume.geometry.ijk_to_ras))
    node.SetAttribute("DICOM.Modality", "CT")
    grey.SetTypeToGrey()
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetAndObserveColorNodeID(scene.AddNode(grey).GetID())
    node.GetDisplayNode().SetAutoWindowLevel(0)
    node.GetDisplayNode().SetWindowLevel(400, 40)
    return node


def _style(application: Any) -> None:
    from PySide6 import QtGui

    application.setFont(QtGui.QFont("DejaVu Sans", 9))
    application.setPalette(_palette())


def _palette() -> Any:
    from PySide6.QtGui import QColor, QPalette

    palette = QPalette(QColor(240, 240, 240))
    palette.setColor(QPalette.Highlight, QColor(48, 140, 198))
    palette.setColor(QPalette.AlternateBase, QColor(246, 248, 250))
    return palette


def _asInAFreshSlicer(requirement: str) -> dict[str, str]:
    """What the check says before anything was installed."""
    name, _, wanted = requirement.partition(">=")
    present = {"scipy": "1.14.1", "Pillow": "11.1.0", "SimpleITK": ""}
    if name == "pydicom":
        return {"name": name, "wanted": wanted, "state": "unfit", "version": "2.4.4", "detail": "needs >=3.0"}
    state, detail = ("found", "" if present[name] else "built into Slicer") if name in present else ("missing", "not installed")
    return {"name": name, "wanted": wanted, "state": state, "version": present.get(name, ""), "detail": detail}


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    Pictures(Application()).everything()
