"""What lies before a click model when somebody has just prompted: a crop, the mask as it was, and the prompts until now."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.simulated_prompts import with_next_mark
from ..decision import object_cut
from ..marks import Mark
from ..prompt_maps import believed, held, steered, steering
from .click_naming import Named

AROUND = 1 / 6  # of the crop's side: one sigma of what counts as near the newest prompt


class Rendered(NamedTuple):
    """As a network reads it: prior p' and truth float32 (1, k, j, i), exactly 0 or 1 in prompts' cores, where what the user says is
    the truth; prompts (11, k, j, i); near (1, k, j, i) 0..1, how close a voxel is to the newest prompt, and how much prompts push it.
    """

    prior: Tensor
    truth: Tensor
    prompts: Tensor
    near: Tensor


@dataclass(frozen=True, eq=False)
class Situation:
    """image float32 (2, k, j, i); truth bool and mask float32 (k, j, i), the share of each voxel that is object so far; spacing_mm (k, j, i);
    own: whether the prompts alone made the mask; named: all that the crop shows, for a network that learns to name it."""

    image: Tensor
    truth: np.ndarray
    mask: np.ndarray
    marks: tuple[Mark, ...]
    spacing_mm: tuple[float, float, float]
    own: bool = True
    named: Named | None = None

    def prompted(self, random: np.random.Generator) -> Situation:
        """With one prompt more on an error of the mask; the same where there is none."""
        return replace(self, marks=tuple(with_next_mark(self.marks, self.mask >= .5, self.truth, self.spacing_mm, random)))

    def answered(self, chances: np.ndarray) -> Situation:
        """With another mask, from chances (k, j, i): a session keeps labels."""
        return replace(self, mask=(chances >= object_cut(torch.from_numpy(chances))).astype(np.float32))

    def obeying(self) -> Situation:
        """With a mask that holds what the prompts fix."""
        core = held(self.marks, self.truth.shape, self.spacing_mm)
        return replace(self, mask=np.where(core < 0, self.mask, core).astype(np.float32))

    def rendered(self) -> Rendered:
        mask = torch.from_numpy(self.mask)
        given = steering(self.marks, mask, self.image[1], self.spacing_mm, own=self.own)
        prior = steered(believed(mask, given), given)
        truth = torch.where(given.core < 0, torch.from_numpy(self.truth).float(), given.core.float())
        pushed = given.push.abs()
        near = torch.maximum(pushed / pushed.max().clamp(min=1e-6), self._round_newest())
        return Rendered(prior[None], truth[None], given.channels, near[None])

    def _round_newest(self) -> Tensor:
        """1 at the newest point's or scribble's middle, less around it; it knows nothing of the truth, so that a weighted score stays proper."""
        places = self.marks[-1].places if self.marks else ()
        if not len(places):
            return torch.zeros(self.truth.shape)
        middle, sides = places.mean(0), np.ogrid[tuple(map(slice, self.truth.shape))]
        away = sum((axis - at) ** 2 for axis, at in zip(sides, middle))
        return torch.from_numpy(np.exp(-away / (2 * (AROUND * self.truth.shape[0]) ** 2)).astype(np.float32))
