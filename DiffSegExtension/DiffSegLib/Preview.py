"""What a click would change, shown before it is written: added in green, removed in red, in a segmentation of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer

from DiffSegCore.geometry import Geometry

from .Edits import Difference
from .Images import orientedImage
from .Temporary import addTemporary, removeTemporary

COLORS = {"added": (0.2, 0.9, 0.3), "removed": (1.0, 0.25, 0.2)}


@dataclass(frozen=True)
class Preview:
    """The change in millilitres. `numbers` are the prompts that it comes from."""

    addedMl: float
    removedMl: float
    numbers: tuple[int, ...] = ()


class PreviewNode:
    """The segmentation node of the preview; it is made when needed, goes with the scene, and is never saved."""

    def __init__(self, scene: Any) -> None:
        self._scene, self._node = scene, None

    @property
    def node(self) -> Any:
        """None while nothing is shown."""
        return self._node if self._node is not None and self._scene.IsNodePresent(self._node) else None

    def show(self, volumeNode: Any, local: Geometry, difference: Difference) -> None:
        """`local`: the volume's own grid; the preview moves with the volume."""
        node = self._made(volumeNode)
        pausing = node.StartModify()
        for name, mask in (("added", difference.added), ("removed", difference.removed)):
            _setSegment(node, name, mask, local, difference)
        node.EndModify(pausing)
        node.SetDisplayVisibility(True)

    def hide(self) -> None:
        removeTemporary(self._scene, self._node)
        self._node = None

    def _made(self, volumeNode: Any) -> Any:
        if self.node is None:
            self._node = addTemporary(self._scene, "vtkMRMLSegmentationNode", "DiffSeg preview")
            self._node.SetSelectable(False)
            _style(self._node.GetDisplayNode())
        self._node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        return self._node


def _style(display: Any) -> None:
    display.SetVisibility3D(False)  # no surface is made while clicking
    display.SetOpacity2DFill(0.55)
    display.SetOpacity2DOutline(1.0)


def _setSegment(node: Any, name: str, mask: np.ndarray, local: Geometry, difference: Difference) -> None:
    segmentation = node.GetSegmentation()
    if segmentation.GetSegment(name) is not None:  # else VTK warns in Slicer's error log, at each first click
        segmentation.RemoveSegment(name)
    segment = slicer.vtkSegment()
    segment.SetName(name)
    segment.SetColor(*COLORS[name])
    segment.AddRepresentation("Binary labelmap", orientedImage(mask, local.ijk_to_ras, difference.box.start))
    segmentation.AddSegment(segment, name)
