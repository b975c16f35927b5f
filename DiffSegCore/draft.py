"""The labels of a session while they change: the voxels, where each label lies, and changes that can be taken back."""
from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from typing import Iterator

import numpy as np
from scipy import ndimage

from .geometry import Box

NOWHERE = Box((0, 0, 0), (0, 0, 0))


@dataclass(frozen=True)
class Delta:
    """What a change did: the ids of `box` before and after it, compressed. An empty box where nothing changed."""

    box: Box
    before: bytes
    after: bytes

    @classmethod
    def of(cls, box: Box, before: np.ndarray, after: np.ndarray) -> Delta:
        """before and after are the ids of `box`; the delta's own box is as tight as they allow."""
        tight = Box.of(before != after)
        parts = (np.ascontiguousarray(ids[tight.slices], dtype="<u2") for ids in (before, after))
        return cls(NOWHERE if tight.is_empty else tight.shift(box.start), *(zlib.compress(part, 1) for part in parts))

    def ids(self, *, after: bool) -> np.ndarray:
        """uint16, of the box."""
        return np.frombuffer(zlib.decompress(self.after if after else self.before), dtype="<u2").reshape(self.box.shape)


@dataclass
class Draft:
    """ids (K, J, I) and the tight box round each label that is there. `put` is the only way to change it.

    To copy the ids of a large scan takes a fifth of a second: changes are made in place, inside an `attempt`.
    """

    ids: np.ndarray
    boxes: dict[int, Box] = field(default_factory=dict)
    _journal: list[tuple[Box, np.ndarray]] = field(default_factory=list, repr=False)
    _depth: int = 0

    @classmethod
    def of(cls, ids: np.ndarray) -> Draft:
        """Of `ids` themselves, not of a copy."""
        found = ndimage.find_objects(ids)
        return cls(ids, {n + 1: Box(*zip(*((part.start, part.stop) for part in parts))) for n, parts in enumerate(found) if parts})

    def box_of(self, label: int) -> Box:
        return self.boxes.get(label, NOWHERE)

    def put(self, box: Box, ids: np.ndarray) -> None:
        """Write the ids of a box."""
        before = self.ids[box.slices].copy()
        if self._depth:
            self._journal.append((box, before))
        self._write(box, ids, before)

    @contextmanager
    def attempt(self) -> Iterator[Attempt]:
        """All that is put inside stays if it ends well, and is taken back if it does not. Attempts may lie inside each other."""
        attempt, self._depth = Attempt(self, len(self._journal)), self._depth + 1
        try:
            yield attempt
        except BaseException:
            while len(self._journal) > attempt.start:
                box, before = self._journal.pop()
                self._write(box, before, self.ids[box.slices].copy())
            raise
        finally:
            self._depth -= 1
            if not self._depth:
                self._journal.clear()

    def _write(self, box: Box, ids: np.ndarray, before: np.ndarray) -> None:
        self.ids[box.slices] = ids
        for label in {*np.unique(before).tolist(), *np.unique(ids).tolist()} - {0}:
            around = union(self.box_of(label), box)
            tight = Box.of(self.ids[around.slices] == label)
            self.boxes.pop(label, None)
            if not tight.is_empty:
                self.boxes[label] = tight.shift(around.start)


@dataclass(frozen=True)
class Attempt:
    """What was put since some moment."""

    draft: Draft
    start: int

    def delta(self) -> Delta:
        """From how the draft was at that moment to how it is."""
        puts = self.draft._journal[self.start:]
        box = reduce(union, (each for each, _ in puts), NOWHERE)
        after = self.draft.ids[box.slices]
        before = after.copy()
        for each, ids in reversed(puts):
            before[within(each, box)] = ids
        return Delta.of(box, before, after)


def union(one: Box, other: Box) -> Box:
    """The box round both."""
    if one.is_empty or other.is_empty:
        return other if one.is_empty else one
    return Box(tuple(map(min, one.start, other.start)), tuple(map(max, one.stop, other.stop)))


def within(box: Box, of: Box) -> tuple[slice, slice, slice]:
    """Where a box lies in the array of another that contains it."""
    return box.shift([-a for a in of.start]).slices
