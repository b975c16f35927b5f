"""Which volume, segmentation, model and device; whether they suit each other; and the Segment button."""

from __future__ import annotations

from typing import Any, Callable

from slicer.i18n import tr as _

from . import Icons
from .ModelFiles import ModelFile

DEVICES = ("auto", "cpu", "cuda", "mps")


class InputsPanel:
    """`onSegmented` is called when a result is in the scene, `onInputs` when volume or segmentation change."""

    def __init__(self, ui: Any, logic: Any, work: Any, onSegmented: Callable[[], None], onInputs: Callable[[], None]) -> None:
        self.ui, self._logic, self._work = ui, logic, work
        self._onSegmented, self._onInputs = onSegmented, onInputs
        names = (_("Automatic"), _("Processor (CPU)"), _("NVIDIA graphics card"), _("Apple graphics (MPS)"))
        for name, device in zip(names, DEVICES):
            ui.deviceSelector.addItem(name, device)
        ui.volumeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        ui.segmentationSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        ui.segmentButton.connect("clicked(bool)", self._onSegment)

    def close(self) -> None:
        self.ui.volumeSelector.disconnect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        self.ui.segmentationSelector.disconnect("currentNodeChanged(vtkMRMLNode*)", self._onNode)
        self.ui.segmentButton.disconnect("clicked(bool)", self._onSegment)

    @property
    def volume(self) -> Any:
        return self.ui.volumeSelector.currentNode()

    @property
    def segmentation(self) -> Any:
        return self.ui.segmentationSelector.currentNode()

    def showModels(self, models: list[ModelFile]) -> None:
        """List the models that segment on their own; keeps the choice where it still exists."""
        before = self.ui.modelSelector.currentData
        self.ui.modelSelector.clear()
        for model in models:
            self.ui.modelSelector.addItem(model.title, model.name)
        self.ui.modelSelector.setCurrentIndex(max(0, self.ui.modelSelector.findData(before)))

    def refresh(self) -> None:
        self.ui.segmentButton.enabled = self.volume is not None and not self._work.busy

    def _onNode(self, _node: Any) -> None:
        self.check()
        self._onInputs()

    def check(self) -> None:
        """Say whether the volume suits the model, in a sentence beside a traffic light."""
        if self.volume is None:
            level, text = "gray", _("Load a volume first: drag DICOM files or an image into the window.")
        else:
            level, text = self._logic.inputCheck(self.volume)
        self.ui.checkDot.setPixmap(Icons.dot(level))
        self.ui.checkLabel.text = text
        self.refresh()

    def _onSegment(self, _checked: bool) -> None:
        model, device = self.ui.modelSelector.currentData, self.ui.deviceSelector.currentData
        self._work.run(lambda *calls: self._logic.segment(self.volume, self.segmentation, model, device, *calls), self._onDone)

    def _onDone(self, segmentation: Any) -> None:
        if segmentation is not None and hasattr(segmentation, "GetSegmentation"):
            self.ui.segmentationSelector.setCurrentNode(segmentation)
        if self._logic.warnings:
            self._work.say("Note", " ".join(self._logic.warnings))
        self._onSegmented()
