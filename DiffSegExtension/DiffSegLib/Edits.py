"""What clicks changed, as patches of the label map: enough to show it, to write it, and to take it back voxel for voxel."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from DiffSegCore.geometry import Box

from .SegmentWriter import Change

_FAST = 1  # zlib: labels of a box shrink a hundredfold at once


@dataclass(frozen=True)
class Patch:
    """One answer of the worker: label ids of a box before and after it, and the session's prompts before and after it."""

    box: Box
    dtype: str
    packedBefore: bytes
    packedAfter: bytes
    promptsBefore: tuple[dict[str, Any], ...] = ()
    promptsAfter: tuple[dict[str, Any], ...] = ()

    @classmethod
    def of(cls, box: Box, before: np.ndarray, after: np.ndarray, promptsBefore: Sequence[dict] = (), promptsAfter: Sequence[dict] = ()) -> Patch:
        after = np.asarray(after, dtype=before.dtype)
        packed = (zlib.compress(np.ascontiguousarray(each).tobytes(), _FAST) for each in (before, after))
        return cls(box, before.dtype.str, *packed, tuple(promptsBefore), tuple(promptsAfter))

    @property
    def before(self) -> np.ndarray:
        return self._unpacked(self.packedBefore)

    @property
    def after(self) -> np.ndarray:
        return self._unpacked(self.packedAfter)

    def apply(self, ids: np.ndarray) -> None:
        ids[self.box.slices] = self.after

    def revert(self, ids: np.ndarray) -> None:
        ids[self.box.slices] = self.before

    def _unpacked(self, packed: bytes) -> np.ndarray:
        return np.frombuffer(zlib.decompress(packed), dtype=self.dtype).reshape(self.box.shape)


@dataclass(frozen=True, eq=False)
class Difference:
    """All that several patches did together: label ids of one box before the first and after the last."""

    box: Box
    before: np.ndarray
    after: np.ndarray

    @classmethod
    def of(cls, patches: Sequence[Patch], ids: np.ndarray) -> Difference:
        """`ids`: the whole label map, after the patches."""
        box = _around([patch.box for patch in patches])
        after = ids[box.slices].copy()
        before = after.copy()
        for patch in reversed(patches):
            before[patch.box.shift([-n for n in box.start]).slices] = patch.before
        return cls(box, before, after)

    @property
    def added(self) -> np.ndarray:
        """Bool: voxels that a segment gained."""
        return (self.after != self.before) & (self.after != 0)

    @property
    def removed(self) -> np.ndarray:
        """Bool: voxels that became background."""
        return (self.after != self.before) & (self.after == 0)

    def changes(self, segmentOf: Mapping[int, str], points: Sequence[tuple[int, bool, Sequence[float]]] = ()) -> list[Change]:
        """One for each segment that gained or lost voxels or was clicked; `points` are (label id, inside, kji) of clicks."""
        if self.box.is_empty:
            return []
        different = self.after != self.before
        touched = {*np.unique(self.before[different]).tolist(), *np.unique(self.after[different]).tolist(), *(label for label, _, _ in points)}
        return [self._change(label, segmentOf[label], points) for label in sorted(touched - {0}) if label in segmentOf]

    def _change(self, label: int, segment: str, points: Sequence[tuple[int, bool, Sequence[float]]]) -> Change:
        was, will = self.before == label, self.after == label
        places = {side: [kji for number, inside, kji in points if number == label and inside == side] for side in (True, False)}
        return Change(segment, self.box, will & ~was, was & ~will, places[True], places[False])


def _around(boxes: Sequence[Box]) -> Box:
    boxes = [box for box in boxes if not box.is_empty] or list(boxes[:1])
    return Box(tuple(map(min, zip(*(box.start for box in boxes)))), tuple(map(max, zip(*(box.stop for box in boxes)))))
