"""Noise schedules: `keep`, a float64 tensor of T + 1 numbers that falls from exactly 1 to (nearly) 0.

A chain of fewer steps is no other schedule, only another choice of levels: see `levels`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

LOGSNR_LIMIT = 20.0


def cosine_squared(last: int, offset: float = 0.008) -> Tensor:
    """keep[t] ~ cos^2 of an angle that grows evenly over 0..last (Nichol and Dhariwal, arXiv 2102.09672).

    Their `offset` keeps the first steps from being too small. keep[last] is exactly 0.
    """
    angle = (torch.arange(last + 1, dtype=torch.float64) / last + offset) / (1 + offset) * (math.pi / 2)
    keep = (angle.cos() / angle[0].cos()) ** 2
    keep[-1] = 0.0
    return checked(keep)


def linear_logsnr(last: int, highest: float = 10.0, lowest: float = -10.0) -> Tensor:
    """keep[t] = sigmoid of a logSNR that falls evenly from `highest` at t = 1 to `lowest` at t = last; keep[0] = 1."""
    keep = torch.sigmoid(torch.linspace(highest, lowest, last, dtype=torch.float64))
    return checked(torch.cat([keep.new_ones(1), keep]))


def shifted(keep: Tensor, odds: float) -> Tensor:
    """The schedule with the odds of keeping, keep / (1 - keep), multiplied by `odds` at every level.

    A block of n^d voxels shows its label n^(d/2) times more clearly than one voxel does, so what is half hidden in 2D
    lies open in 3D. `odds = n ** -0.5` gives 3D blocks of side n what 2D blocks had: about .26 for n = 15.
    """
    return checked(keep * odds / (keep * odds + (1 - keep)))


def checked(keep: Tensor) -> Tensor:
    """A float64 CPU copy of `keep`; ValueError unless keep[0] = 1, it falls strictly, and keep[T] lies in 0..0.05."""
    keep = torch.as_tensor(keep).detach().to("cpu", torch.float64, copy=True)
    if keep.ndim != 1 or len(keep) < 2:
        raise ValueError(f"A schedule is a row of T + 1 >= 2 numbers, not a tensor of shape {tuple(keep.shape)}.")
    if keep[0] != 1:
        raise ValueError(f"keep[0] must be 1, for level 0 is the clean mask or image; it is {keep[0]:g}.")
    if not bool((keep.diff() < 0).all()):
        raise ValueError("keep must fall strictly: a step that loses nothing has no reverse.")
    if not 0 <= keep[-1] <= 0.05:
        raise ValueError(f"keep[T] must be near 0, for sampling starts there without the data; it is {keep[-1]:g}.")
    return keep


def logsnr(keep: Tensor) -> Tensor:
    """log(keep / (1 - keep)), held within +-20 so that a network can be conditioned on it at both ends."""
    return (keep.log() - (-keep).log1p()).clamp(-LOGSNR_LIMIT, LOGSNR_LIMIT)


def level_at(keep: Tensor, wanted: float) -> int:
    """The noisy level t >= 1 whose logSNR is nearest to `wanted`: where features are read."""
    return 1 + int((logsnr(keep)[1:] - wanted).abs().argmin())


def levels(last: int, steps: int) -> tuple[int, ...]:
    """`steps + 1` levels from `last` down to 0, as evenly as whole numbers allow."""
    if not 1 <= steps <= last:
        raise ValueError(f"A chain of {last} levels can be walked in 1 to {last} steps, not in {steps}.")
    return tuple(round(last * (steps - i) / steps) for i in range(steps + 1))
