"""Which way round a patient lies in the array, seen at a glance."""
from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import GROUP

MOMENTS = 4  # of each feature: its mean, and its rise along K, J and I


class Orientation(nn.Module):
    """Density (B, 1, k, j, i), zero for air, sizes multiples of `stride` -> logits (B, 2) that A or S runs the wrong way.

    Half the resolution will do, at an eighth of the price.
    A network of its own: learnt together with coordinates, whose errors weigh hundreds of times more, it stayed at chance on
    phantoms for 300 steps; alone it tells head from feet after 100.
    """

    def __init__(self, *, widths: Sequence[int] = (16, 32, 64, 64)) -> None:
        super().__init__()
        steps = list(zip((1, *widths[:-1]), widths))
        self.steps = nn.ModuleList(
            nn.Sequential(nn.SiLU() if fine > 1 else nn.Identity(), nn.Conv3d(fine, coarse, 4, stride=2, padding=1)) for fine, coarse in steps)
        self.judge = nn.Sequential(nn.Linear(MOMENTS * sum(widths[1:]), 64), nn.SiLU(), nn.Linear(64, 2))

    @property
    def stride(self) -> int:
        return 2 ** (1 + len(self.steps))

    def forward(self, dense: Tensor) -> Tensor:
        levels, x = [], F.avg_pool3d(dense, 2)
        for step in self.steps:
            x = step(x)
            x = F.group_norm(x, x.shape[1] // GROUP)
            levels.append(x)
        return self.judge(body_moments(levels[1:], dense))


def body_moments(levels: Sequence[Tensor], dense: Tensor) -> Tensor:
    """What each feature is in the mean over the body and how it rises along K, J and I: (B, MOMENTS * sum of widths).

    The means alone don't tell a head above shoulders from shoulders above a head. Density weighs, so that air counts for nothing;
    positions are counted from the body's centre, in its standard deviations.
    """
    found = []
    for level in levels:
        weight = F.adaptive_avg_pool3d(dense, level.shape[2:])
        weight = weight / weight.sum((1, 2, 3, 4), keepdim=True).clamp(min=1e-3)
        basis = torch.cat([weight, *(weight * _standing(weight, axis) for axis in (2, 3, 4))], dim=1)
        found.append(torch.einsum("bckji,bmkji->bcm", F.silu(level), basis).flatten(1))
    return torch.cat(found, dim=1)


def _standing(weight: Tensor, axis: int) -> Tensor:
    """Positions along an axis, shaped to multiply `weight` (B, 1, k, j, i), with weighted mean 0 and standard deviation 1."""
    shape = [-1 if n == axis else 1 for n in range(5)]
    at = torch.linspace(-1, 1, weight.shape[axis], device=weight.device).view(shape)
    at = at - (weight * at).sum((1, 2, 3, 4), keepdim=True)
    return at / ((weight * at ** 2).sum((1, 2, 3, 4), keepdim=True) + 1e-4).sqrt()
