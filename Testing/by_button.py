"""What the module's button makes of a case: the files read by Slicer's own readers, one press, and the segments read back as labels.

Nothing of the module is used to read them back. Wants a scene with the logics of Testing/scene, and a panel that stands in it.
"""

from __future__ import annotations

from typing import Any, Callable

import numpy as np
import slicer
import vtk

from DiffSegCore.batch import BatchCase
from DiffSegCore.dicom import in_order
from DiffSegCore.geometry import Geometry
from DiffSegCore.organs import organ
from DiffSegCore.volume import LabelMap
from Testing.scene.conftest import voxelsOf

LONGEST_S = 600.0


def load(case: BatchCase) -> Any:
    """The volume node of a case, as Slicer loads it: a file by its Volumes logic, a series as its DICOM module does, slices in order."""
    volumes = slicer.modules.volumes.logic()
    if case.series is None:
        return volumes.AddArchetypeVolume(str(case.source), case.name)
    names = vtk.vtkStringArray()
    for each in in_order(case.series):
        names.InsertNextValue(str(each.path))
    node = volumes.AddArchetypeVolume(names.GetValue(0), case.name, 0, names)
    _noteSeries(node, case.series.modality)
    return node


def _noteSeries(node: Any, modality: str) -> None:
    """The DICOM module says of which modality a series is in the subject hierarchy, and nowhere else."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), node, "Series")
    hierarchy.SetItemAttribute(item, slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMSeriesModalityAttributeName(), modality)


def segmented(panel: Any, volume: Any, wait: Callable[[Callable[[], bool], float], Any]) -> LabelMap:
    """Choose the volume, press Segment, wait; the labels of the segmentation that came. AssertionError with what the panel says where none did."""
    panel.ui.volumeSelector.setCurrentNode(volume)
    panel.ui.segmentationSelector.setCurrentNode(None)
    panel.ui.segmentButton.click()
    wait(lambda: not panel.work.busy, LONGEST_S)
    node = panel.ui.segmentationSelector.currentNode()
    assert node is not None, panel.ui.messageLabel.text
    return labelsIn(node, volume)


def labelsIn(node: Any, volume: Any) -> LabelMap:
    """The segments on the volume's grid, each with the id of the organ that its name means."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    geometry = Geometry.from_ijk(volume.GetImageData().GetDimensions(), slicer.util.arrayFromVTKMatrix(matrix))
    segmentation, ids, names = node.GetSegmentation(), np.zeros(geometry.shape, np.uint8), {}
    for identity in segmentation.GetSegmentIDs():
        known = organ(segmentation.GetSegment(identity).GetName())
        ids[voxelsOf(node, identity, geometry.shape)] = known.id
        names[known.id] = known.name
    return LabelMap(ids, geometry, names)
