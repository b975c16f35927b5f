"""Says when nodes that a session stands on leave the scene."""

from __future__ import annotations

from typing import Any, Callable

import slicer
import vtk


class SceneWatch:
    """Calls `onGone()` once when the scene closes or one of the nodes is removed; `close` leaves no observer."""

    def __init__(self, scene: Any, onGone: Callable[[], None]) -> None:
        self._scene, self._onGone = scene, onGone
        self._nodes: tuple[Any, ...] = ()
        self._tags = [scene.AddObserver(scene.StartCloseEvent, lambda *_: self._gone()),
                      scene.AddObserver(scene.NodeAboutToBeRemovedEvent, self._removing())]

    def follow(self, *nodes: Any) -> None:
        self._nodes = nodes

    def close(self) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._tags = []

    def _removing(self) -> Callable[..., None]:
        @vtk.calldata_type(vtk.VTK_OBJECT)
        def onRemoving(_scene: Any, _event: str, node: slicer.vtkMRMLNode) -> None:
            if any(node is each for each in self._nodes):
                self._gone()

        return onRemoving

    def _gone(self) -> None:
        if self._nodes:
            self._nodes = ()
            self._onGone()
