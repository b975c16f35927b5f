"""Edits written into segments, voxel by voxel, through Slicer's own editor logic.

An edit says which voxels change, never what a box looks like: a voxel that isn't named keeps its value, in every segment. Undo takes
back those voxels and nothing else. Slicer's undo restores whole segmentations: it would also take away a segment that was added, and
the name or the tick that was given, since the click.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Iterable, Sequence

import numpy as np
import slicer

from DiffSegCore.geometry import Box, Geometry

from .Editors import OwnEditor, SlicersEditor
from .Images import boxOf, orientedImage
from .Lattices import carried, latticeOf, maskOf, stamp
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
        self._editor = (SlicersEditor if slicersEditor else OwnEditor)(segmentationNode)
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
        box, (added, removed) = carried(change.box, (change.added, change.removed), grid, to)
        for places, mask, other in ((change.mustHave, added, removed), (change.mustLack, removed, added)):
            stamp(mask, other, box, places, grid, to)
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
                taken |= maskOf(image, part.GetLabelValue(), lattice, box)
        return taken


def _packed(mask: np.ndarray) -> bytes:
    return zlib.compress(np.packbits(mask).tobytes(), 1)
