"""Edits written into segments, voxel by voxel, through Slicer's own editor logic, with Slicer's own undo.

An edit says which voxels change, never what a box looks like: a voxel that isn't named keeps its value, in every segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import slicer

from DiffSegCore.geometry import Box, Geometry

from .Images import arrayOf, boxOf, ijkToRasOf, orientedImage
from .SceneBridge import offsetBetween, segmentIds
from .VolumeFrame import gridInSegmentation

UNDO_STEPS = 30
_LABELMAP = "Binary labelmap"


@dataclass(frozen=True, eq=False)
class Change:
    """Voxels that come to a segment and voxels that leave it: bool arrays of one box on the volume's grid.

    `mustHave` and `mustLack`, (n, 3) kji of the grid, are clicked places: they obey also where the segmentation's voxels are so
    coarse that no centre of one lies in the change.
    """

    segmentId: str
    box: Box
    added: np.ndarray
    removed: np.ndarray
    mustHave: Sequence[Sequence[float]] = ()
    mustLack: Sequence[Sequence[float]] = ()


class SegmentWriter:
    """Writes into one segmentation. `slicersEditor`: whether to use vtkSlicerSegmentEditorLogic, which Slicer has from 5.10 on."""

    def __init__(self, segmentationNode: Any, volumeNode: Any, slicersEditor: bool | None = None) -> None:
        self._node, self._volume = segmentationNode, volumeNode
        if slicersEditor is None:
            slicersEditor = hasattr(slicer, "vtkSlicerSegmentEditorLogic")
        self._editor = (_SlicersEditor if slicersEditor else _OwnEditor)(segmentationNode)

    def write(self, changes: Iterable[Change], locked: Iterable[str] = ()) -> None:
        """One undo step. No voxel of a `locked` segment changes, and none is given to another segment."""
        changes = list(changes)
        locked = set(locked)
        prepared = [(change.segmentId, *self._onLattice(change, locked - {change.segmentId})) for change in changes]
        self._editor.saveState()
        pausing = self._node.StartModify()
        try:
            for segment, lattice, box, _, removed in prepared:
                self._editor.remove(segment, lattice, box, removed)
            for segment, lattice, box, added, _ in prepared:
                self._editor.add(segment, lattice, box, added)
        finally:
            self._node.EndModify(pausing)

    def undo(self) -> bool:
        """Back to before the last write, all segments; whether there was one."""
        return self._editor.undo()

    def redo(self) -> bool:
        return self._editor.redo()

    def forget(self) -> None:
        """Drop all undo steps: the segmentation was changed by somebody else, whose work an undo would lose."""
        self._editor.forget()

    def close(self) -> None:
        self._editor.close()

    def _onLattice(self, change: Change, locked: set[str]) -> tuple[np.ndarray, Box, np.ndarray, np.ndarray]:
        """The change on the segment's own lattice, clear of locked segments: lattice, box, added, removed."""
        grid = gridInSegmentation(self._volume, self._node)
        lattice = latticeOf(self._node, change.segmentId, grid)
        to = Geometry((1, 1, 1), lattice)
        box, (added, removed) = _carried(change.box, (change.added, change.removed), grid, to)
        for places, mask in ((change.mustHave, added), (change.mustLack, removed)):
            _stamp(mask, box, places, grid, to)
        added &= ~self._occupied(locked, lattice, box)
        return lattice, box, added, removed

    def _occupied(self, segments: set[str], lattice: np.ndarray, box: Box) -> np.ndarray:
        """Voxels of the box that belong to any of the segments."""
        taken = np.zeros(box.shape, dtype=bool)
        for segment in segments:
            part = self._node.GetSegmentation().GetSegment(segment)
            image = part.GetRepresentation(_LABELMAP) if part else None
            if image is not None and not boxOf(image).is_empty:
                taken |= _maskOf(image, part.GetLabelValue(), lattice, box)
        return taken


def latticeOf(segmentationNode: Any, segmentId: str, grid: Geometry) -> np.ndarray:
    """(4, 4) ijk to RAS of the voxels a segment has, or will have: those of its layer, of the other layers, of the volume."""
    segmentation = segmentationNode.GetSegmentation()
    for id in (segmentId, *segmentIds(segmentationNode)):
        image = segmentation.GetSegment(id).GetRepresentation(_LABELMAP)
        if image is not None and not boxOf(image).is_empty:
            return ijkToRasOf(image)
    reference = _referenceLattice(segmentation)
    return grid.ijk_to_ras if reference is None else reference


def _referenceLattice(segmentation: Any) -> np.ndarray | None:
    converter = slicer.vtkSegmentationConverter
    text = segmentation.GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    image = slicer.vtkOrientedImageData()
    return ijkToRasOf(image) if text and converter.DeserializeImageGeometry(text, image, False) else None


def _carried(box: Box, masks: Sequence[np.ndarray], grid: Geometry, to: Geometry) -> tuple[Box, list[np.ndarray]]:
    """Masks of a box of the grid on another lattice, copied where both share their points, else taken at the nearest voxel."""
    offset = offsetBetween(grid, to.ijk_to_ras)
    if offset is not None:
        return box.shift(offset), [mask.copy() for mask in masks]
    corners = np.array([[(box.start, [n - 1 for n in box.stop])[side][axis] for axis, side in enumerate(corner)] for corner in np.ndindex(2, 2, 2)])
    target = _moved(corners, grid.index_map(to))
    wide = Box(tuple(np.floor(target.min(0)).astype(int)), tuple(np.ceil(target.max(0)).astype(int) + 1))
    places = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(wide.start, wide.stop)), indexing="ij"), -1)
    source = np.floor(_moved(places, to.index_map(grid)) + 0.5).astype(int) - box.start
    inside = ((source >= 0) & (source < box.shape)).all(-1)
    k, j, i = np.moveaxis(np.clip(source, 0, np.array(box.shape) - 1), -1, 0)
    return wide, [mask[k, j, i] & inside for mask in masks]


def _stamp(mask: np.ndarray, box: Box, places: Sequence[Sequence[float]], grid: Geometry, to: Geometry) -> None:
    for place in places:
        voxel = np.floor(_moved(np.asarray(place, dtype=float), grid.index_map(to)) + 0.5).astype(int) - box.start
        if (voxel >= 0).all() and (voxel < box.shape).all():
            mask[tuple(voxel)] = True


def _moved(places: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return places @ matrix[:3, :3].T + matrix[:3, 3]


def _maskOf(image: Any, value: int, lattice: np.ndarray, box: Box) -> np.ndarray:
    """Where a layer has a value, on a box of a lattice that may be another than the layer's."""
    own, to = Geometry(boxOf(image).shape, ijkToRasOf(image)), Geometry((1, 1, 1), lattice)
    layer = boxOf(image)
    shared = offsetBetween(Geometry(box.shape, lattice), own.ijk_to_ras)
    if shared is None:
        carried, (mask,) = _carried(layer, [arrayOf(image) == value], own, to)
        return _cut(mask, carried, box)
    seen = layer.intersect(box.shift(shared))
    return _cut(arrayOf(image)[seen.shift([-n for n in layer.start]).slices] == value, seen.shift([-n for n in shared]), box)


def _cut(mask: np.ndarray, where: Box, box: Box) -> np.ndarray:
    """A mask that lies at `where` as one that lies at `box`; False where it has nothing to say."""
    out = np.zeros(box.shape, dtype=bool)
    both = where.intersect(box)
    out[both.shift([-n for n in box.start]).slices] = mask[both.shift([-n for n in where.start]).slices]
    return out


class _SlicersEditor:
    """vtkSlicerSegmentEditorLogic with a parameter node of our own: another module's masks and brushes don't reach in."""

    def __init__(self, segmentationNode: Any) -> None:
        scene = segmentationNode.GetScene()
        self._node = segmentationNode
        self._settings = slicer.vtkMRMLSegmentEditorNode()
        self._settings.SetSaveWithScene(False)
        self._settings.SetHideFromEditors(True)
        self._settings.SetOverwriteMode(self._settings.OverwriteNone)  # who loses voxels is said by the changes
        scene.AddNode(self._settings)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._settings)
        self._logic.SetSegmentationNode(segmentationNode)
        self._logic.SetMaximumNumberOfUndoStates(UNDO_STEPS)

    def saveState(self) -> None:
        self._logic.SaveStateForUndo()

    def add(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray) -> None:
        self._modify(segment, lattice, box, mask, self._logic.ModificationModeAdd)

    def remove(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray) -> None:
        self._modify(segment, lattice, box, mask, self._logic.ModificationModeRemove)

    def _modify(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray, mode: int) -> None:
        if not mask.any():
            return
        self._settings.SetSelectedSegmentID(segment)
        image = orientedImage(mask, lattice, box.start)
        self._logic.ModifySegmentByLabelmap(self._node, segment, image, mode, image.GetExtent(), False, False)

    def undo(self) -> bool:
        return _stepped(self._logic.CanUndo(), self._logic.Undo)

    def redo(self) -> bool:
        return _stepped(self._logic.CanRedo(), self._logic.Redo)

    def forget(self) -> None:
        self._logic.ClearUndoState()

    def close(self) -> None:
        self._logic.SetSegmentationNode(None)
        self._logic.SetSegmentEditorNode(None)
        if self._settings.GetScene() is not None:
            self._settings.GetScene().RemoveNode(self._settings)


class _OwnEditor:
    """The same promises on Slicer 5.8, which has neither that logic nor its undo."""

    def __init__(self, segmentationNode: Any) -> None:
        self._node = segmentationNode
        self._history = slicer.vtkSegmentationHistory()
        self._history.SetSegmentation(segmentationNode.GetSegmentation())
        self._history.SetMaximumNumberOfStates(UNDO_STEPS)

    def saveState(self) -> None:
        self._history.SaveState()

    def add(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray) -> None:
        self._merge(segment, lattice, box, mask, slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MAX)

    def remove(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray) -> None:
        if mask.any():  # the minimum with 0 where voxels leave, with 1 elsewhere
            self._merge(segment, lattice, box, ~mask, slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MIN)

    def _merge(self, segment: str, lattice: np.ndarray, box: Box, mask: np.ndarray, mode: int) -> None:
        if not mask.any() and mode == slicer.vtkSlicerSegmentationsModuleLogic.MODE_MERGE_MAX:
            return
        segmentation = self._node.GetSegmentation()
        if segmentation.IsSharedBinaryLabelmap(segment):  # merging writes the mask's own numbers, which name a neighbour there
            segmentation.SeparateSegmentLabelmap(segment)
        value = segmentation.GetSegment(segment).GetLabelValue()
        image = orientedImage((mask * value).astype(np.uint16 if value > 255 else np.uint8), lattice, box.start)
        slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment(image, self._node, segment, mode, image.GetExtent())

    def undo(self) -> bool:
        return _stepped(self._history.IsRestorePreviousStateAvailable(), self._history.RestorePreviousState)

    def redo(self) -> bool:
        return _stepped(self._history.IsRestoreNextStateAvailable(), self._history.RestoreNextState)

    def forget(self) -> None:
        self._history.RemoveAllStates()

    def close(self) -> None:
        self._history.SetSegmentation(None)


def _stepped(possible: bool, step: Any) -> bool:
    if possible:
        step()
    return bool(possible)
