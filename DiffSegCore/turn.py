"""A prompt's turn: what it may change, what it decides for ever, and how an answer that was seen is laid on the volume."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch

from .crops import paste, reached
from .draft import Draft, within
from .geometry import Box, Geometry
from .looking import Seen, Sight
from .marks import core, mark
from .progress import Progress
from .prompt_maps import felt
from .prompts import Prompt

FELT = .5       # logits: where a prompt pushes no more than this, it is not the reason of a change


@dataclass(frozen=True, eq=False)
class Held:
    """A prompt and the voxels that it decides: a box of the volume and a bool mask in it."""

    prompt: Prompt
    box: Box
    mask: np.ndarray

    @classmethod
    def of(cls, prompt: Prompt, native: Geometry) -> Held:
        return cls(prompt, *core(prompt, native))

    def mask_in(self, box: Box) -> np.ndarray:
        """The mask on another box."""
        result, shared = np.zeros(box.shape, dtype=bool), self.box.intersect(box)
        if not shared.is_empty:
            result[within(shared, box)] = self.mask[within(shared, self.box)]
        return result

    def binds(self, label: int) -> bool:
        """Whether a later change of this label has to leave the voxels alone: another label's "not here" does not."""
        return self.prompt.label == label or self.prompt.inside


@dataclass(frozen=True, eq=False)
class Turn:
    """A prompt's turn to change the draft; earlier ones are of any label, oldest first."""

    sight: Sight
    draft: Draft
    new: Held
    earlier: Sequence[Held]
    progress: Progress

    @property
    def prompt(self) -> Prompt:
        return self.new.prompt

    @property
    def prompts(self) -> list[Prompt]:
        """Those of its label, itself the last."""
        return [each.prompt for each in (*self.earlier, self.new) if each.prompt.label == self.prompt.label]

    def look(self, grid: Geometry, *more: Prompt) -> Seen:
        """At a crop, as the prompts and a few more ask for it."""
        return self.sight.look(self.draft, self.prompt.label, [*self.prompts, *more], grid)

    def near(self, seen: Seen, depth_mm: float | None) -> Seen:
        """The look, as far as it concerns the prompt."""
        return seen.near(mark(self.prompt, seen.grid), len(self.prompts), depth_mm)

    def felt(self, grid: Geometry) -> np.ndarray:
        """bool (k, j, i): where the prompt decides or clearly pushes."""
        return felt(mark(self.prompt, grid), grid.shape, grid.spacing, FELT)

    def lay(self, seen: Seen, zone: np.ndarray) -> None:
        """What a look changes in its zone, as fine as the volume is."""
        if not zone.any():
            return
        part = Box.of(zone).grow(1).clip(zone.shape)
        grid, native = seen.grid.crop(part), self.sight.native
        box = reached(grid, native)
        ids = self.draft.ids[box.slices]
        free = pasted(zone[part.slices], grid, native, box) & may_change(ids, box, self.prompt)
        for each in self.earlier:
            if each.binds(self.prompt.label):
                free &= ~each.mask_in(box)
        inside = paste(seen.answer.chances[part.slices], grid, native, box).numpy() >= seen.answer.cut
        self.draft.put(box, _with(ids, self.prompt.label, free & inside, free & ~inside))

    def decide(self) -> None:
        """The prompt's own voxels obey it, whatever was seen."""
        box = self.new.box
        ids = self.draft.ids[box.slices]
        own = self.new.mask & may_change(ids, box, self.prompt)
        nothing = np.zeros_like(own)
        self.draft.put(box, _with(ids, self.prompt.label, *((own, nothing) if self.prompt.inside else (nothing, own))))


def may_change(ids: np.ndarray, box: Box, prompt: Prompt) -> np.ndarray:
    """bool: the voxels of a box, given its ids, that neither a lock nor the region keeps from this prompt."""
    if prompt.locked is None:
        free = (ids == 0) | (ids == prompt.label)
    else:
        free = ~np.isin(ids, prompt.locked)
    if prompt.region is not None:
        inside = np.zeros(box.shape, dtype=bool)
        inside[within(prompt.region.intersect(box), box)] = True
        free &= inside
    return free


def _with(ids: np.ndarray, label: int, added: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """New ids, the label put where it is added and taken where it is removed."""
    result = ids.copy()
    result[removed & (ids == label)] = 0
    result[added] = label
    return result


def pasted(mask: np.ndarray, grid: Geometry, onto: Geometry, box: Box) -> np.ndarray:
    """A bool mask (k, j, i) of one grid on a box of another."""
    return paste(torch.from_numpy(mask.astype(np.float32)), grid, onto, box).numpy() >= .5
