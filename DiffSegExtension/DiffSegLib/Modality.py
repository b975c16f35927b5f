"""What kind of image a volume is, as far as the scene says."""

from __future__ import annotations

from typing import Any

_ATTRIBUTE = "DICOM.Modality"
_NO_ITEM = 0


def modalityOf(volumeNode: Any) -> str:
    """"CT", "MR" or DICOM's word for another; CT where voxels are said to be Hounsfield units; "" where the scene does not say.

    The DICOM module notes it at the series' item of the subject hierarchy, some other modules at the volume itself.
    """
    noted = volumeNode.GetAttribute(_ATTRIBUTE) or _inHierarchy(volumeNode)
    if noted:
        return noted
    units = volumeNode.GetVoxelValueUnits()
    return "CT" if units and units.GetCodeMeaning() == "Hounsfield unit" else ""


def _inHierarchy(volumeNode: Any) -> str:
    scene = volumeNode.GetScene()
    hierarchy = scene.GetFirstNodeByClass("vtkMRMLSubjectHierarchyNode") if scene is not None else None
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else _NO_ITEM
    return hierarchy.GetItemAttribute(item, _ATTRIBUTE) if item != _NO_ITEM else ""
