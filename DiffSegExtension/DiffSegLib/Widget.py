"""The module's window: loads the panel, hands each part to its file, and follows the scene."""

from __future__ import annotations

from typing import Any, Callable

import qt
import slicer
from slicer.util import VTKObservationMixin

from . import ModelFiles, WorkerPython
from .CorrectPanel import CorrectPanel
from .InputsPanel import InputsPanel
from .MeasurePanel import MeasurePanel
from .OrgansPanel import OrgansPanel
from .SetupPanel import SetupPanel
from .Shortcuts import Shortcuts
from .Work import Work


class Widget(VTKObservationMixin):
    """Everything between `setup` and `cleanup` of the module; `close` leaves no observer, timer, shortcut or process behind."""

    def __init__(self, layout: Any, uiFile: str, logic: Any = None) -> None:
        super().__init__()
        self.logic, self._closed, self._open = logic or WorkerPython.newLogic(), False, False
        self.logic.later = self._later
        self._root = slicer.util.loadUI(uiFile)
        layout.addWidget(self._root)
        self.ui = slicer.util.childWidgetVariables(self._root)
        self.work = Work(self.ui, self._facts)
        self.setup = SetupPanel(self.ui, self.work, self._onSetup)
        self.inputs = InputsPanel(self.ui, self.logic, self.work, self.refresh, self._onInputs)
        self.correct = CorrectPanel(self.ui, self.logic, self.work, self.refresh)
        self.organs = OrgansPanel(self.ui, self.logic, self.work, self.correct.select, self.inputs.neededSegmentation)
        self.measure = MeasurePanel(self.ui, self.logic, self.work)
        self.shortcuts = Shortcuts(self._actions())
        self.work.onChange, self.work.isReady = self.refresh, self.setup.makeReady
        self.inputs.showModels(ModelFiles.segmenting(), ModelFiles.clicking())
        self._followScene()
        # Last: the selectors say at once which nodes there are.
        self._root.setMRMLScene(slicer.mrmlScene)
        self.inputs.restore()
        self.inputs.check()
        self._onInputs()

    def close(self) -> None:
        """Undo `__init__`. A selector that outlives its observers can crash Slicer, so the scene is taken from it first."""
        self._closed = True
        self.exit()
        self.removeObservers()
        for part in (self.work, self.setup, self.inputs, self.correct, self.organs, self.measure):
            part.close()
        self._root.setMRMLScene(None)
        self.logic.close()

    def enter(self) -> None:
        """The module was opened: keys work, and what is missing is said."""
        self._open = True
        self.shortcuts.start()
        if not self.setup.requirements:
            self.setup.check()
            self.setup.showModels()
        self.inputs.chooseSomething()
        self.refresh()

    def exit(self) -> None:
        """Another module was opened: keys and mouse are its own. A preview waits for the return."""
        self._open = False
        self.shortcuts.stop()
        self.correct.putAway()

    def refresh(self) -> None:
        """Show everything as it is now."""
        self.inputs.refresh()
        self.organs.refresh()
        self.correct.refresh()
        self.measure.refresh()

    def _actions(self) -> dict[str, Any]:
        correct = self.correct
        return {
            "1": lambda: correct.choose("point"), "2": lambda: correct.choose("scribble"), "3": lambda: correct.choose("box"),
            "4": lambda: correct.choose("lasso"), "X": correct.togglePolarity, "N": self.organs.nextPlace, "U": self._toggleUncertainty,
            "Return": correct.accept, "Enter": correct.accept, "Esc": correct.escape, "Del": correct.removePrompt,
            "Ctrl+Z": correct.undo, "Ctrl+Y": correct.redo, "Ctrl+Shift+Z": correct.redo,
        }

    def _later(self, action: Callable[[], None]) -> None:
        """Once the window has drawn what a button did; never after it was closed."""
        qt.QTimer.singleShot(0, lambda: None if self._closed else action())

    def _toggleUncertainty(self) -> None:
        if self.ui.uncertaintyBox.enabled:
            self.ui.uncertaintyBox.checked = not self.ui.uncertaintyBox.checked

    def _onSetup(self) -> None:
        """Another Python or other models: the next task starts a worker there."""
        self.logic.useWorker(*WorkerPython.command())
        self.inputs.showModels(ModelFiles.segmenting(), ModelFiles.clicking())
        self.inputs.check()

    # the scene

    def _followScene(self) -> None:
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self._onSceneStart)
        self.addObserver(scene, scene.EndCloseEvent, self._onSceneEnd)
        self.addObserver(scene, scene.EndImportEvent, self._onSceneEnd)
        self.addObserver(scene, scene.NodeAddedEvent, self._onNodeAdded)

    def _onNodeAdded(self, _scene: Any, _event: Any) -> None:
        """A volume loaded while the module is open and has none is taken, once all of it is there."""
        if self._open and self.inputs.volume is None:
            self._later(self.inputs.chooseSomething)

    def _onSceneStart(self, _scene: Any, _event: Any) -> None:
        self.work.cancel()
        self.correct.putAway()

    def _onSceneEnd(self, _scene: Any, _event: Any) -> None:
        self.inputs.restore()
        self.inputs.check()
        self._onInputs()

    def _onInputs(self) -> None:
        """Volume or segmentation changed, here or in the scene."""
        self._followSegments()
        self.logic.beginSession(self.inputs.volume, self.inputs.segmentation)
        self.refresh()

    def _followSegments(self) -> None:
        self.removeObservers(self._onSegments)
        node = self.inputs.segmentation
        if node is not None:
            segmentation = node.GetSegmentation()
            for event in (segmentation.SegmentAdded, segmentation.SegmentRemoved, segmentation.SegmentModified):
                self.addObserver(segmentation, event, self._onSegments)

    def _onSegments(self, _segmentation: Any, _event: Any) -> None:
        if not self.work.busy:
            self.refresh()

    def _facts(self) -> dict[str, Any]:
        """For a report: sizes and versions, no names."""
        volume = self.inputs.volume
        facts = {"Volume": "none"} if volume is None or volume.GetImageData() is None else {
            "Volume": " x ".join(map(str, volume.GetImageData().GetDimensions())),
            "Spacing": " x ".join(f"{each:.3g}" for each in volume.GetSpacing()) + " mm"}
        facts["Model"], facts["Device"] = self.ui.modelSelector.currentData, self.ui.deviceSelector.currentData
        return {**facts, **{each.name: f"{each.state} {each.version}" for each in self.setup.requirements}}
