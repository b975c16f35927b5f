"""What lies before a click model when somebody has just prompted: a crop, the mask as it was, and the prompts until now."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.simulated_prompts import with_next_mark
from ..marks import Mark
from ..prompt_maps import believed, steered, steering


class Rendered(NamedTuple):
    """As a network reads it: prior p' and truth float32 (1, k, j, i), exactly 0 or 1 in prompts' cores, where what the user says is
    the truth; prompts (7, k, j, i); near (1, k, j, i) 0..1, how much a voxel is in reach of the prompts.
    """

    prior: Tensor
    truth: Tensor
    prompts: Tensor
    near: Tensor


@dataclass(frozen=True, eq=False)
class Situation:
    """image float32 (2, k, j, i); truth bool and mask float32 (k, j, i), the share of each voxel that is object so far; spacing_mm (k, j, i)."""

    image: Tensor
    truth: np.ndarray
    mask: np.ndarray
    marks: tuple[Mark, ...]
    spacing_mm: tuple[float, float, float]

    def prompted(self, random: np.random.Generator) -> Situation:
        """With one prompt more on an error of the mask; the same where there is none."""
        return replace(self, marks=tuple(with_next_mark(self.marks, self.mask >= .5, self.truth, self.spacing_mm, random)))

    def answered(self, chances: np.ndarray) -> Situation:
        """With another mask, from chances (k, j, i): a session keeps labels."""
        return replace(self, mask=(chances >= .5).astype(np.float32))

    def obeying(self) -> Situation:
        """With a mask that holds what the prompts fix."""
        core = steering(self.marks, torch.from_numpy(self.mask), self.truth.shape, self.spacing_mm).core.numpy()
        return replace(self, mask=np.where(core < 0, self.mask, core).astype(np.float32))

    def rendered(self) -> Rendered:
        given = steering(self.marks, torch.from_numpy(self.mask), self.truth.shape, self.spacing_mm)
        prior = steered(believed(torch.from_numpy(self.mask)), given)
        truth = torch.where(given.core < 0, torch.from_numpy(self.truth).float(), given.core.float())
        near = given.push.abs()
        return Rendered(prior[None], truth[None], given.channels, (near / near.max().clamp(min=1e-6))[None])
