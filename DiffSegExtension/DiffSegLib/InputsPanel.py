"""Which volume, segmentation, model and device; whether they suit each other; and the Segment button."""

from __future__ import annotations

from typing import Any, Callable

import slicer
from slicer.i18n import tr as _

from . import Icons
from .Modality import modalityOf
from .ModelFiles import ModelFile
from .Parameters import MODULE, Parameters

DEVICES = ("auto", "cpu", "cuda", "mps")
AUTOMATIC = "automatic"  # in place of a model's name: the worker takes the one that finds most in the image


class InputsPanel:
    """`onSegmented` is called when a result is in the scene, `onInputs` when volume or segmentation change."""

    def __init__(self, ui: Any, logic: Any, work: Any, onSegmented: Callable[[], None], onInputs: Callable[[], None]) -> None:
        self.ui, self._logic, self._work = ui, logic, work
        self._onSegmented, self._onInputs = onSegmented, onInputs
        self._restoring = False
        self._modalities: dict[str, str] = {}  # model -> what it learnt from
        names = (_("Automatic"), _("Processor (CPU)"), _("NVIDIA graphics card"), _("Apple graphics (MPS)"))
        for name, device in zip(names, DEVICES):
            ui.deviceSelector.addItem(name, device)
        changed = "currentNodeChanged(vtkMRMLNode*)"
        self._connections = [
            (ui.volumeSelector, changed, self._onVolume), (ui.segmentationSelector, changed, self._onNode),
            (ui.modelSelector, "currentIndexChanged(int)", self._onChoice), (ui.clickModelSelector, "currentIndexChanged(int)", self._onChoice),
            (ui.deviceSelector, "currentIndexChanged(int)", self._onChoice), (ui.segmentButton, "clicked(bool)", self._onSegment)]
        for widget, signal, slot in self._connections:
            widget.connect(signal, slot)

    def close(self) -> None:
        for widget, signal, slot in self._connections:
            widget.disconnect(signal, slot)

    @property
    def volume(self) -> Any:
        return self.ui.volumeSelector.currentNode()

    @property
    def segmentation(self) -> Any:
        return self.ui.segmentationSelector.currentNode()

    def showModels(self, segmenting: list[ModelFile], clicking: list[ModelFile]) -> None:
        """List the models that segment on their own, and those that answer clicks; keeps the choices where they still exist."""
        self._restoring, self._modalities = True, {model.name: model.modality for model in segmenting}
        for selector, models in ((self.ui.modelSelector, segmenting), (self.ui.clickModelSelector, clicking)):
            before = selector.currentData
            selector.clear()
            if selector is self.ui.modelSelector and len(models) > 1:
                selector.addItem(_("Automatic, by what the image shows"), AUTOMATIC)
            for model in models:
                selector.addItem(model.title, model.name)
            if not models:
                selector.addItem(_("None is installed: add one in Setup"), "")
            selector.enabled = bool(models)
            selector.setCurrentIndex(max(0, selector.findData(before)))
        self._restoring = False
        self._tellLogic()

    def refresh(self) -> None:
        free = self.volume is not None and not self._work.busy
        self.ui.segmentButton.enabled = free and bool(self.ui.modelSelector.currentData)
        self.ui.addSegmentButton.enabled = free

    def neededSegmentation(self) -> Any:
        """The chosen one; where there is none, a new one of the volume's name, chosen from now on."""
        if self.segmentation is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{self.volume.GetName()} segmentation")
            self.ui.segmentationSelector.setCurrentNode(node)
        return self.segmentation

    def restore(self) -> None:
        """Take up what the scene says was chosen: after it was opened, or the module loaded anew."""
        if slicer.mrmlScene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode") is None:
            return
        chosen, self._restoring = Parameters(slicer.mrmlScene), True
        self.ui.volumeSelector.setCurrentNode(chosen.volume)
        self.ui.segmentationSelector.setCurrentNode(chosen.segmentation)
        choices = ((self.ui.modelSelector, chosen.model), (self.ui.clickModelSelector, chosen.clickModel), (self.ui.deviceSelector, chosen.device))
        for selector, value in choices:
            if selector.findData(value) >= 0:
                selector.setCurrentIndex(selector.findData(value))
        self._restoring = False
        self._tellLogic()

    def chooseSomething(self) -> None:
        """The volume that the slices show, or the first of the scene, where none is chosen: what most users mean."""
        volumes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        images = [node for node in volumes if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetHideFromEditors() and node.GetImageData()]
        if self.volume is None and images:
            shown = {composite.GetBackgroundVolumeID() for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")}
            self.ui.volumeSelector.setCurrentNode(next((node for node in images if node.GetID() in shown), images[0]))

    def _onVolume(self, node: Any) -> None:
        self._suitModel()
        self._onNode(node)

    def _onNode(self, _node: Any) -> None:
        self._remember()
        self.check()
        self._onInputs()

    def _suitModel(self) -> None:
        """Where the model that was chosen learnt from another kind of image than the volume is, and others did not, let the image choose."""
        modality = modalityOf(self.volume) if self.volume and not self._restoring else ""
        suiting = [name for name, learntFrom in self._modalities.items() if learntFrom == modality != ""]
        if suiting and self.ui.modelSelector.currentData not in (*suiting, AUTOMATIC):
            self.ui.modelSelector.setCurrentIndex(self.ui.modelSelector.findData(AUTOMATIC))

    def _onChoice(self, _index: int) -> None:
        self._remember()
        self.check()

    def _remember(self) -> None:
        """For the clicks, and in the scene's parameter node; not while a scene is opened or closed, when selectors change by themselves."""
        self._tellLogic()
        if self._restoring or slicer.mrmlScene.IsBatchProcessing():
            return
        chosen = Parameters(slicer.mrmlScene)
        chosen.volume, chosen.segmentation = self.volume, self.segmentation
        chosen.model, chosen.device = self.ui.modelSelector.currentData or "", self.ui.deviceSelector.currentData
        chosen.clickModel = self.ui.clickModelSelector.currentData or ""

    def _tellLogic(self) -> None:
        """Which model answers clicks, and where; the first is the worker's own choice, which needs no word and no second loading."""
        self._logic.device = self.ui.deviceSelector.currentData
        self._logic.clickModel = self.ui.clickModelSelector.currentData if self.ui.clickModelSelector.currentIndex > 0 else None

    def check(self) -> None:
        """Say whether the volume suits the model, in a sentence beside a traffic light."""
        if self.volume is None:
            level, text = "gray", _("Load a volume first: drag DICOM files or an image into the window.")
        else:
            level, text = self._logic.inputCheck(self.volume, self._learntFrom)
        self.ui.checkDot.setPixmap(Icons.dot(level))
        self.ui.checkLabel.text = text
        self.refresh()

    @property
    def _learntFrom(self) -> str:
        """The modality that the chosen model learnt from; of several that may be chosen, the volume's, if it is among theirs."""
        if self.ui.modelSelector.currentData != AUTOMATIC:
            return self._modalities.get(self.ui.modelSelector.currentData, "")
        own = modalityOf(self.volume)
        return own if own in self._modalities.values() else next(iter(self._modalities.values()))

    def _onSegment(self, _checked: bool) -> None:
        chosen, device = self.ui.modelSelector.currentData, self.ui.deviceSelector.currentData
        model = None if chosen == AUTOMATIC else chosen
        self._work.run(lambda *calls: self._logic.segment(self.volume, self.segmentation, model, device, *calls), self._onDone)

    def _onDone(self, segmentation: Any) -> None:
        if segmentation is not None and hasattr(segmentation, "GetSegmentation"):
            self.ui.segmentationSelector.setCurrentNode(segmentation)
        if self._logic.warnings:
            self._work.say("Note", " ".join(self._logic.warnings))
        self._onSegmented()
