"""Edits written into segments, voxel by voxel, through Slicer's own editor logic.

An edit says which voxels change, never what a box looks like: a voxel that isn't named keeps its value, in every segment. Undo takes
back those voxels and nothing else. Slicer's undo restores whole segmentations: it would also take away a segment that was added, and
the name or the tick that was given, since the click.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Callable, Iterable, Sequence

import numpy as np
import slicer

from DiffSegCore.geometry import Box, Geometry

from .Images import arrayOf, boxOf, ijkToRasOf, orientedImage
from .SceneBridge import offsetBetween, segmentIds
from .VolumeFrame import gridInSegmentation

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


@dataclass(frozen=True, eq=False)
class _Piece:
    """One segment's voxels in a box of its own lattice, before and after a write."""

    segmentId: str
    lattice: np.ndarray
    box: Box
    before: bytes
    after: bytes

    def mask(self, packed: bytes) -> np.ndarray:
        return np.unpackbits(np.frombuffer(zlib.decompress(packed), np.uint8), count=self.box.size).reshape(self.box.shape).astype(bool)


class SegmentWriter:
    """Writes into one segmentation. `slicersEditor`: whether to use vtkSlicerSegmentEditorLogic, which Slicer has from 5.10 on."""

    def __init__(self, segmentationNode: Any, volumeNode: Any, slicersEditor: bool | None = None) -> None:
        self._node, self._volume = segmentationNode, volumeNode
        if slicersEditor is None:
            slicersEditor = hasattr(slicer, "vtkSlicerSegmentEditorLogic")
        self._editor = (_SlicersEditor if slicersEditor else _OwnEditor)(segmentationNode)
        self._done: list[list[_Piece]] = []
        self._undone: list[list[_Piece]] = []

    def write(self, changes: Iterable[Change], locked: Iterable[str] = ()) -> None:
        """One undo step. No voxel of a `locked` segment changes, and none is given to another segment."""
        locked = set(locked)
        pieces = [self._piece(change, locked - {change.segmentId}) for change in changes]
        self._make(pieces, [piece.mask(piece.after) for piece in pieces])
        self._done.append(pieces)
        self._undone = []

    def undo(self) -> bool:
        """The voxels of the last write as they were before it; whether there was one."""
        if not self._done:
            return False
        self._undone.append(self._done.pop())
        self._make(self._undone[-1], [piece.mask(piece.before) for piece in self._undone[-1]])
        return True

    def redo(self) -> bool:
        if not self._undone:
            return False
        self._done.append(self._undone.pop())
        self._make(self._done[-1], [piece.mask(piece.after) for piece in self._done[-1]])
        return True

    def forget(self) -> None:
        """Drop all undo steps: somebody else changed the segmentation, and the steps don't fit it any more."""
        self._done, self._undone = [], []

    def close(self) -> None:
        self._editor.close()

    def _make(self, pieces: Sequence[_Piece], wanted: Sequence[np.ndarray]) -> None:
        """Each piece's voxels as wanted; first all that leave, so that what comes finds the place free."""
        now = [self._occupied({piece.segmentId}, piece.lattice, piece.box) for piece in pieces]
        pausing = self._node.StartModify()
        try:
            for piece, have, want in zip(pieces, now, wanted):
                self._modify(self._editor.remove, piece, have & ~want)
            for piece, have, want in zip(pieces, now, wanted):
                self._modify(self._editor.add, piece, want & ~have)
        finally:
            self._node.EndModify(pausing)

    def _modify(self, how: Any, piece: _Piece, mask: np.ndarray) -> None:
        if mask.any():
            tight = Box.of(mask)
            how(piece.segmentId, orientedImage(mask[tight.slices], piece.lattice, tight.shift(piece.box.start).start))

    def _piece(self, change: Change, locked: set[str]) -> _Piece:
        """The change on the segment's own lattice, clear of locked segments."""
        grid = gridInSegmentation(self._volume, self._node)
        lattice = latticeOf(self._node, change.segmentId, grid)
        to = Geometry((1, 1, 1), lattice)
        box, (added, removed) = _carried(change.box, (change.added, change.removed), grid, to)
        for places, mask, other in ((change.mustHave, added, removed), (change.mustLack, removed, added)):
            _stamp(mask, other, box, places, grid, to)
        added &= ~self._occupied(locked, lattice, box)
        before = self._occupied({change.segmentId}, lattice, box)
        return _Piece(change.segmentId, lattice, box, _packed(before), _packed(before & ~removed | added))

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


def _packed(mask: np.ndarray) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes(), 1)


def _stamp(mask: np.ndarray, other: np.ndarray, box: Box, places: Sequence[Sequence[float]], grid: Geometry, to: Geometry) -> None:
    for place in places:
        voxel = np.floor(_moved(np.asarray(place, dtype=float), grid.index_map(to)) + 0.5).astype(int) - box.start
        if (voxel >= 0).all() and (voxel < box.shape).all():
            mask[tuple(voxel)], other[tuple(voxel)] = True, False


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


class _OwnEditor:
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
