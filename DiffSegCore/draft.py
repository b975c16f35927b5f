"""The labels of a session while they change: the voxels, where each label lies, and changes that can be taken back."""
from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from .geometry import Box

NOWHERE = Box((0, 0, 0), (0, 0, 0))


@dataclass(frozen=True)
class Delta:
    """What one change did: the ids of `box` before and after it, compressed."""

    box: Box
    before: bytes
    after: bytes

    @classmethod
    def of(cls, box: Box, before: np.ndarray, after: np.ndarray) -> Delta:
        return cls(box, _packed(before), _packed(after))

    def ids(self, *, after: bool) -> np.ndarray:
        """uint16, of the box."""
        return np.frombuffer(zlib.decompress(self.after if after else self.before), dtype="<u2").reshape(self.box.shape)


@dataclass
class Draft:
    """ids (K, J, I) and the tight box round each label that is there. `put` is the only way to change it."""

    ids: np.ndarray
    boxes: dict[int, Box] = field(default_factory=dict)

    @classmethod
    def of(cls, ids: np.ndarray) -> Draft:
        """Of `ids` themselves, not of a copy."""
        found = ndimage.find_objects(ids)
        return cls(ids, {n + 1: Box(*zip(*((part.start, part.stop) for part in parts))) for n, parts in enumerate(found) if parts})

    def copy(self) -> Draft:
        return Draft(self.ids.copy(), dict(self.boxes))

    def box_of(self, label: int) -> Box:
        return self.boxes.get(label, NOWHERE)

    def put(self, box: Box, ids: np.ndarray) -> None:
        """Write the ids of a box."""
        touched = {*np.unique(self.ids[box.slices]).tolist(), *np.unique(ids).tolist()} - {0}
        self.ids[box.slices] = ids
        for label in touched:
            self._measure(label, union(self.box_of(label), box))

    def undo(self, delta: Delta) -> None:
        self.put(delta.box, delta.ids(after=False))

    def redo(self, delta: Delta) -> None:
        self.put(delta.box, delta.ids(after=True))

    def _measure(self, label: int, within: Box) -> None:
        tight = Box.of(self.ids[within.slices] == label)
        self.boxes.pop(label, None)
        if not tight.is_empty:
            self.boxes[label] = tight.shift(within.start)


def union(one: Box, other: Box) -> Box:
    """The box round both."""
    if one.is_empty or other.is_empty:
        return other if one.is_empty else one
    return Box(tuple(map(min, one.start, other.start)), tuple(map(max, one.stop, other.stop)))


def difference(before: np.ndarray, after: np.ndarray, within: Box) -> Box:
    """The tight box round the voxels of `within` in which two arrays differ; NOWHERE if none do."""
    tight = Box.of(before[within.slices] != after[within.slices])
    return NOWHERE if tight.is_empty else tight.shift(within.start)


def _packed(ids: np.ndarray) -> bytes:
    return zlib.compress(np.ascontiguousarray(ids, dtype="<u2"), 1)
