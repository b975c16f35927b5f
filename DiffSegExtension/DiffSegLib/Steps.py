"""What was clicked: steps that wait for Accept, that were accepted, and that were undone, each with the prompts by then.

Going back and forth changes the mirror at once and tells the worker, whose answer is known.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from DiffSegCore.geometry import Box

from .Edits import Difference, Patch
from .Mirror import Mirror


class Steps:
    """`prompts` are the worker's, as plain values; `waiting` are patches that the scene does not have."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.forget()

    def forget(self) -> None:
        """Nothing can be accepted, undone or removed any more: the worker begins anew."""
        self.prompts: tuple[dict[str, Any], ...] = ()
        self.waiting: list[Patch] = []
        self.forgetAccepted()

    def forgetAccepted(self) -> None:
        """Nothing can be undone any more; prompts stay."""
        self._done: list[list[Patch]] = []  # one list an accept
        self._undone: list[list[Patch]] = []

    @property
    def canUndo(self) -> bool:
        return bool(self._done)

    @property
    def canRedo(self) -> bool:
        return bool(self._undone) and not self.waiting

    @property
    def accepted(self) -> tuple[dict[str, Any], ...]:
        """The prompts that the scene has the effect of."""
        return self.waiting[0].promptsBefore if self.waiting else self.prompts

    @property
    def new(self) -> list[dict[str, Any]]:
        """The prompts that wait."""
        return [each for each in self.prompts if each not in self.accepted]

    @property
    def difference(self) -> Difference:
        """All that waits, together."""
        return Difference.of(self.waiting, self._mirror.ids)

    def take(self, edit: dict[str, Any], labels: np.ndarray, prompts: tuple[dict[str, Any], ...]) -> None:
        """An answer of the worker, with the prompts after it."""
        box, ids = Box(*map(tuple, edit["box"])), self._mirror.ids
        patch = Patch.of(box, ids[box.slices], labels, self.prompts, prompts)
        patch.apply(ids)
        self.waiting.append(patch)
        self.prompts = prompts

    def dropLast(self) -> None:
        self._back(self.waiting.pop())

    def accept(self) -> None:
        self._done.append(self.waiting)
        self.waiting, self._undone = [], []

    def undo(self) -> None:
        self._undone.append(self._done.pop())
        for patch in reversed(self._undone[-1]):
            self._back(patch)

    def redo(self) -> None:
        self._done.append(self._undone.pop())
        for patch in self._done[-1]:
            patch.apply(self._mirror.ids)
            self.prompts = patch.promptsAfter
            self._mirror.tell("redo")

    def _back(self, patch: Patch) -> None:
        patch.revert(self._mirror.ids)
        self.prompts = patch.promptsBefore
        self._mirror.tell("undo")
