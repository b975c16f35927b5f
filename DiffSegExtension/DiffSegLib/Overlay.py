"""The samples' disagreement, laid over the slices as a colour; never saved."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk

from .Images import orientedImage, toMatrix
from .Temporary import addTemporary, removeTemporary
from .VolumeFrame import VolumeFrame

_OPACITY = 0.5
_COLORS = "vtkMRMLColorTableNodeFileInferno.txt"


class Overlay:
    def __init__(self, scene: Any) -> None:
        self._scene, self._node = scene, None
        self._before: dict[str, tuple[str | None, float]] = {}  # composite node id -> foreground and its opacity

    def show(self, frame: VolumeFrame, values: np.ndarray) -> Any:
        """`values` (K, J, I) uint8 on the volume's grid, 255 the most uncertain."""
        self.hide()
        node = self._node = addTemporary(self._scene, "vtkMRMLScalarVolumeNode", "DiffSeg uncertainty")
        image = vtk.vtkImageData()
        image.ShallowCopy(orientedImage(values, np.eye(4)))
        node.SetAndObserveImageData(image)
        node.SetIJKToRASMatrix(toMatrix(frame.local.ijk_to_ras))
        node.SetAndObserveTransformNodeID(frame.volumeNode.GetTransformNodeID())
        self._style(node.GetDisplayNode())
        for composite in self._composites():
            self._before[composite.GetID()] = (composite.GetForegroundVolumeID(), composite.GetForegroundOpacity())
            composite.SetForegroundVolumeID(node.GetID())
            composite.SetForegroundOpacity(_OPACITY)
        return node

    def hide(self) -> None:
        for composite in self._composites():
            if composite.GetID() in self._before:
                volume, opacity = self._before[composite.GetID()]
                composite.SetForegroundVolumeID(volume)
                composite.SetForegroundOpacity(opacity)
        self._before = {}
        removeTemporary(self._scene, self._node)
        self._node = None

    def _style(self, display: Any) -> None:
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 255)
        display.SetApplyThreshold(True)
        display.SetThreshold(8, 255)  # where the samples agree, the image is seen as it is
        if self._scene.GetNodeByID(_COLORS) is not None:
            display.SetAndObserveColorNodeID(_COLORS)

    def _composites(self) -> list[Any]:
        nodes = self._scene.GetNodesByClass("vtkMRMLSliceCompositeNode")
        nodes.UnRegister(None)  # else the list would never be freed
        return [nodes.GetItemAsObject(n) for n in range(nodes.GetNumberOfItems())]
