"""MRML nodes as arrays on a volume's grid, and labels as segments. Writing an edit into a segment is SegmentWriter's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
import slicer
import vtk

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry

from .Images import arrayOf, boxOf, ijkToRasOf, latticeImage, orientedImage
from .Lattices import offsetBetween
from .Modality import modalityOf
from .VolumeFrame import gridInSegmentation

MADE_BY = "DiffSeg.Organ"  # tag of a segment that the module made: the organ's name
_LABELMAP = "Binary labelmap"


@dataclass(frozen=True, eq=False)
class SceneLabels:
    """Segments on a volume's grid: `ids` (K, J, I) uint8 or uint16; `segments` segment id -> label id; `names` label id -> the organ's
    name where the module made the segment, else the segment's own."""

    ids: np.ndarray
    segments: Mapping[str, int]
    names: Mapping[int, str]
    overlapping: bool = False  # whether some voxel belonged to several segments and went to the last one


@dataclass(frozen=True)
class Organ:
    """One label that is to become a segment; `color` is RGB 0..255."""

    id: int
    name: str
    title: str
    color: tuple[int, int, int]
    tags: Mapping[str, str] = field(default_factory=dict)


def imageOf(volumeNode: Any) -> tuple[np.ndarray, str]:
    """(K, J, I) view of the voxels and the modality ("CT", "MR" or "" where the scene does not say)."""
    if volumeNode is None or volumeNode.GetImageData() is None:
        raise BadInput("There is no image in the chosen volume; load one, or choose another input volume.")
    array = arrayOf(volumeNode.GetImageData())
    if array.ndim != 3:
        raise BadInput(f"The volume has {array.shape[3]} values a voxel; choose one with a single value, as CT and MR have.")
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        raise BadInput("The chosen volume is a label map, not an image; choose the CT or MR that it was drawn on.")
    return array, modalityOf(volumeNode)


def labelsOf(segmentationNode: Any, volumeNode: Any, *, known: Mapping[str, int] | None = None, last: str = "") -> SceneLabels:
    """All segments, hidden ones too, on the volume's grid; the segmentation itself is left as it is.

    `known` segments keep their label ids. Where segments overlap the later one wins, and `last` over all.
    """
    segmentation = segmentationNode.GetSegmentation()
    grid = gridInSegmentation(volumeNode, segmentationNode)
    numbers = labelNumbers(segmentIds(segmentationNode), known or {})
    ids = np.zeros(grid.shape, np.uint8 if max(numbers.values(), default=0) < 256 else np.uint16)
    overlapping = False
    for image, values in _layers(segmentation, last):
        table = _table(values, numbers, ids.dtype)
        overlapping |= _paint(ids, image, table, grid)
    names = {id: tagOf(segmentationNode, segment, MADE_BY) or segmentation.GetSegment(segment).GetName() for segment, id in numbers.items()}
    return SceneLabels(ids, numbers, names, overlapping)


def labelNumbers(segments: Sequence[str], known: Mapping[str, int]) -> dict[str, int]:
    """Label ids: the known ones as they were, 1, 2, ... that are free for the others."""
    taken = set(known.values())
    free = (number for number in range(1, 65536) if number not in taken)
    return {segment: known[segment] if segment in known else next(free) for segment in segments}


def segmentIds(segmentationNode: Any) -> list[str]:
    segmentation = segmentationNode.GetSegmentation()
    return [segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments())]


def signature(segmentationNode: Any) -> tuple[Any, ...]:
    """Equal before and after means that no voxel changed; segments without one don't count."""
    return tuple((id, segment.GetLabelValue(), image.GetMTime(), image.GetExtent())
                 for id, segment, image in _images(segmentationNode.GetSegmentation()) if image is not None and not boxOf(image).is_empty)


def prepare(segmentationNode: Any, volumeNode: Any) -> None:
    """Make a segmentation editable as labelmaps: one without voxels lies where the volume lies, surfaces and contours become voxels."""
    segmentation = segmentationNode.GetSegmentation()
    if segmentationNode.GetDisplayNode() is None:
        segmentationNode.CreateDefaultDisplayNodes()
    if segmentation.GetSourceRepresentationName() == _LABELMAP and not signature(segmentationNode):
        segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    elif segmentation.GetSourceRepresentationName() != _LABELMAP:
        if not segmentation.ContainsRepresentation(_LABELMAP):
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
            segmentationNode.CreateBinaryLabelmapRepresentation()
        segmentationNode.SetSourceRepresentationToBinaryLabelmap()


def importLabels(segmentationNode: Any, volumeNode: Any, ids: np.ndarray, organs: Iterable[Organ], keep: Collection[str] = ()) -> dict[str, int]:
    """Each organ a segment, all in one new layer; returns segment id -> label id.

    What the module made before of the same organ is replaced, unless its segment id is in `keep`: then it stays, and the new one is
    left out. Segments of other origin are never touched. Raises BadInput before anything is changed.
    """
    grid = gridInSegmentation(volumeNode, segmentationNode)
    kept = {name for name, segment in _made(segmentationNode) if segment in keep}
    organs = [organ for organ in organs if organ.name not in kept]
    layer = orientedImage(_only(ids, [organ.id for organ in organs]), grid.ijk_to_ras)
    pausing = segmentationNode.StartModify()
    try:
        _removeOld(segmentationNode, {organ.name for organ in organs})
        return {_addSegment(segmentationNode, organ, layer): organ.id for organ in organs}
    finally:
        segmentationNode.EndModify(pausing)


def isChecked(segmentationNode: Any, segmentId: str) -> bool:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    return segment is not None and logic.GetSegmentStatus(segment) == logic.Completed


def setChecked(segmentationNode: Any, segmentId: str, checked: bool) -> None:
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    logic.SetSegmentStatus(segment, logic.Completed if checked else logic.InProgress)


def tagOf(segmentationNode: Any, segmentId: str, tag: str) -> str:
    """A segment's tag, "" where it has none."""
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    text = vtk.reference("")
    return text.get() if segment is not None and segment.GetTag(tag, text) else ""


def _images(segmentation: Any) -> Iterator[tuple[str, Any, Any]]:
    for number in range(segmentation.GetNumberOfSegments()):
        id = segmentation.GetNthSegmentID(number)
        segment = segmentation.GetSegment(id)
        yield id, segment, segment.GetRepresentation(_LABELMAP)


def _layers(segmentation: Any, last: str) -> list[tuple[Any, dict[int, str]]]:
    """Each distinct image with the segments in it by label value, in the order of their first segment; `last` alone at the end."""
    layers: dict[int, tuple[Any, dict[int, str]]] = {}
    end = []
    for id, segment, image in _images(segmentation):
        if image is None or boxOf(image).is_empty:
            continue
        layers.setdefault(_address(image), (image, {}))[1][segment.GetLabelValue()] = id
        if id == last:
            end = [(image, {segment.GetLabelValue(): id})]
    return [*layers.values(), *end]


def _address(image: Any) -> str:
    return image.GetAddressAsString("vtkDataObject")


def _table(values: Mapping[int, str], numbers: Mapping[str, int], dtype: np.dtype) -> np.ndarray:
    """Label value in the layer -> label id, 0 for values that no segment has."""
    table = np.zeros(max(values) + 2, dtype)
    for value, segment in values.items():
        table[value] = numbers[segment]
    return table


def _paint(ids: np.ndarray, image: Any, table: np.ndarray, grid: Geometry) -> bool:
    """Write a layer's segments over `ids`; whether it covered a voxel that another segment had."""
    offset = offsetBetween(grid, ijkToRasOf(image))
    if offset is None:
        image, offset = _resampled(image, grid), (0, 0, 0)
    box = boxOf(image).shift([-n for n in offset])
    inside = box.clip(ids.shape)
    values = arrayOf(image)[inside.shift([-n for n in box.start]).slices]
    covered = False
    for target, plane in zip(ids[inside.slices], values):  # plane by plane, in the cache: a whole CT in .3 s
        painted = table.take(plane, mode="clip")
        drawn = painted != 0
        covered |= bool((drawn & (target != 0) & (target != painted)).any())
        np.copyto(target, painted, where=drawn)
    return covered


def _resampled(image: Any, grid: Geometry) -> Any:
    output = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, latticeImage(grid), output, False, False):
        raise BadInput("A segment could not be brought onto the volume's grid; check the geometry of the segmentation.")
    return output


def _only(ids: np.ndarray, wanted: Sequence[int]) -> np.ndarray:
    """The wanted label ids, in the smallest type, so that VTK keeps it."""
    table = np.zeros(int(ids.max(initial=0)) + 1, np.uint8 if max(wanted, default=0) < 256 else np.uint16)
    present = [id for id in wanted if id < len(table)]
    table[present] = present
    return table[ids]


def _made(segmentationNode: Any) -> list[tuple[str, str]]:
    """(organ, segment id) of the segments that the module made."""
    pairs = ((tagOf(segmentationNode, segment, MADE_BY), segment) for segment in segmentIds(segmentationNode))
    return [pair for pair in pairs if pair[0]]


def _removeOld(segmentationNode: Any, organs: set[str]) -> None:
    for name, segment in _made(segmentationNode):
        if name in organs:
            segmentationNode.GetSegmentation().RemoveSegment(segment)


def _addSegment(segmentationNode: Any, organ: Organ, layer: Any) -> str:
    segmentation = segmentationNode.GetSegmentation()
    segment = slicer.vtkSegment()
    segment.SetName(organ.title)
    segment.SetColor(*(part / 255 for part in organ.color))
    segment.SetLabelValue(organ.id)
    for tag, value in {**organ.tags, MADE_BY: organ.name}.items():
        segment.SetTag(tag, value)
    segment.AddRepresentation(_LABELMAP, layer)
    id = segmentation.GenerateUniqueSegmentID(organ.name)
    segmentation.AddSegment(segment, id)
    return id
