"""The qMRML widgets that DiffSeg's window uses, over the real scene."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal


class qMRMLWidget(QtWidgets.QWidget):
    sceneChanged = Signal(object)
    SIGNALS = {"mrmlSceneChanged(vtkMRMLScene*)": "sceneChanged"}
    PUBLIC = ("setMRMLScene", "mrmlScene")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.sceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


def _kept(kind: type, start: Any) -> Any:
    """A property that only remembers; it changes what the real widget offers, not what it says."""
    key = object()
    return Property(kind, lambda self: self._kept.get(key, start), lambda self, value: self._kept.__setitem__(key, value))


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A list of the scene's nodes of some classes; `addNode` is what its "Create new" entry does."""

    changed, added = Signal(object), Signal(object)
    SIGNALS = {"currentNodeChanged(vtkMRMLNode*)": "changed", "nodeAddedByUser(vtkMRMLNode*)": "added"}
    PUBLIC = ("setMRMLScene", "mrmlScene", "currentNode", "setCurrentNode", "setCurrentNodeID", "addNode")

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._kept: dict[object, Any] = {}
        self._scene, self._types, self._none, self._tags, self._last = None, [], False, [], None
        self._box = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._say)

    def setMRMLScene(self, scene: Any) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent)
            self._tags = [scene.AddObserver(event, self._refill) for event in events]
        self._refill()

    def mrmlScene(self) -> Any:
        return self._scene

    def _refill(self, *_: Any) -> None:
        before = self._box.currentData()
        scene, kinds = self._scene, self._types if self._scene is not None else ()
        nodes = [scene.GetNthNodeByClass(number, kind) for kind in kinds for number in range(scene.GetNumberOfNodesByClass(kind))]
        self._box.blockSignals(True)
        self._box.clear()
        if self._none or not nodes:
            self._box.addItem(self.noneDisplay, "")
        for node in (node for node in nodes if not node.GetHideFromEditors() and self._fits(node)):
            self._box.addItem(node.GetName(), node.GetID())
        self._box.setCurrentIndex(max(0, self._box.findData(before)))
        self._box.blockSignals(False)
        self._say()

    def _fits(self, node: Any) -> bool:
        """A label map is a kind of scalar volume; it is offered only where kinds of kinds are."""
        return self.showChildNodeTypes or node.GetClassName() in self._types

    def _say(self, *_: Any) -> None:
        if self._box.currentData() != self._last:
            self._last = self._box.currentData()
            self.changed.emit(self.currentNode())

    def currentNode(self) -> Any:
        return self._scene.GetNodeByID(self._box.currentData()) if self._scene is not None and self._box.currentData() else None

    def setCurrentNode(self, node: Any) -> None:
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identity: str) -> None:
        place = self._box.findData(identity)
        if place < 0:  # the real one keeps what it shows when a node is not of its classes
            return
        self._box.setCurrentIndex(place)

    def addNode(self) -> Any:
        node = self._scene.AddNewNodeByClass(self._types[0], self._scene.GenerateUniqueName(self.baseName or "Segmentation"))
        self.setCurrentNode(node)
        self.added.emit(node)
        return node

    def _set_types(self, types: list[str]) -> None:
        self._types = list(types)
        self._refill()

    def _set_none(self, enabled: bool) -> None:
        self._none = enabled
        self._refill()

    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    noneEnabled = Property(bool, lambda self: self._none, _set_none)
    currentNodeID = Property(str, lambda self: self._box.currentData() or "", setCurrentNodeID)
    noneDisplay = _kept(str, "None")
    baseName = _kept(str, "")
    addEnabled = _kept(bool, True)
    removeEnabled = _kept(bool, True)
    editEnabled = _kept(bool, False)
    renameEnabled = _kept(bool, False)
    showHidden = _kept(bool, False)
    showChildNodeTypes = _kept(bool, True)
    selectNodeUponCreation = _kept(bool, True)


WIDGETS = {kind.__name__: kind for kind in (qMRMLWidget, qMRMLNodeComboBox)}
