"""How voxels get into a segment: by Slicer's editor logic, or on Slicer 5.8 by merging labelmaps, with the same effect."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import slicer

from .Images import arrayOf, boxOf, ijkToRasOf, orientedImage


class SlicersEditor:
    """vtkSlicerSegmentEditorLogic with a parameter node of our own: another module's masks and brushes don't reach in."""

    def __init__(self, segmentationNode: Any) -> None:
        self._node, scene = segmentationNode, segmentationNode.GetScene()
        self._settings = slicer.vtkMRMLSegmentEditorNode()
        self._settings.SetSaveWithScene(False)
        self._settings.SetHideFromEditors(True)
        self._settings.SetOverwriteMode(self._settings.OverwriteNone)  # who loses voxels is said by the changes
        scene.AddNode(self._settings)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._settings)
        self._logic.SetSegmentationNode(segmentationNode)

    def add(self, segment: str, image: Any) -> None:
        self._modify(segment, image, self._logic.ModificationModeAdd)

    def remove(self, segment: str, image: Any) -> None:
        self._modify(segment, image, self._logic.ModificationModeRemove)

    def _modify(self, segment: str, image: Any, mode: int) -> None:
        self._settings.SetSelectedSegmentID(segment)
        self._logic.ModifySegmentByLabelmap(self._node, segment, image, mode, image.GetExtent(), False, False)

    def close(self) -> None:
        self._logic.SetSegmentationNode(None)
        self._logic.SetSegmentEditorNode(None)
        if self._settings.GetScene() is not None:
            self._settings.GetScene().RemoveNode(self._settings)


class OwnEditor:
    """The same on Slicer 5.8, which has not got that logic."""

    def __init__(self, segmentationNode: Any) -> None:
        self._node = segmentationNode

    def add(self, segment: str, image: Any) -> None:
        self._merge(segment, image, slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MAX, lambda mask, value: mask * value)

    def remove(self, segment: str, image: Any) -> None:
        # The minimum: 0 where voxels leave, the segment's own value elsewhere.
        self._merge(segment, image, slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MIN, lambda mask, value: (1 - mask) * value)

    def _merge(self, segment: str, image: Any, mode: int, values: Callable[[np.ndarray, int], np.ndarray]) -> None:
        segmentation = self._node.GetSegmentation()
        if segmentation.IsSharedBinaryLabelmap(segment):  # merging writes the mask's own numbers, which name a neighbour there
            segmentation.SeparateSegmentLabelmap(segment)
        value = segmentation.GetSegment(segment).GetLabelValue()
        merged = values(arrayOf(image), value).astype(np.uint16 if value > 255 else np.uint8)
        modifier = orientedImage(merged, ijkToRasOf(image), boxOf(image).start)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(modifier, self._node, segment, mode, modifier.GetExtent())

    def close(self) -> None:
        """Nothing to give back."""
