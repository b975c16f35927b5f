"""Which side of an array is the patient's right one: where windpipe, gullet and great vessels lie tells."""
from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 4


class Sides(nn.Module):
    """Density (B, 1, k, j, i), zero for air, head up and front forward -> logits (B,) that R runs the wrong way.

    It looks at a column round the body's middle, `column` (k, j, i) voxels, higher if the body is, at half the planes, and at the column's mirror image:
    what it says of one is minus what it says of the other, so that it can't prefer a side, and every volume teaches twice. Hardly any
    place tells, and those that do are small: how much a plane counts depends on what is seen there.
    """

    def __init__(self, *, widths: Sequence[int] = (8, 16, 32, 64), column: tuple[int, int, int] = (96, 32, 26)) -> None:
        super().__init__()
        self.column = column
        steps = zip((1, *widths[:-1]), widths, (1, *[2] * (len(widths) - 1)))
        self.look = nn.Sequential(*(_level(fine, coarse, stride) for fine, coarse, stride in steps))
        self.say = nn.Conv3d(widths[-1], 2, 1)

    def forward(self, dense: Tensor) -> Tensor:
        seen = F.avg_pool3d(middle(dense, self.column), (2, 1, 1))
        return self._said(seen) - self._said(seen.flip(-1))

    def _said(self, seen: Tensor) -> Tensor:
        opinion, interest = self.say(self.look(seen)).flatten(2).unbind(1)
        return (opinion * interest.softmax(-1)).sum(-1)


def middle(dense: Tensor, column: Sequence[int]) -> Tensor:
    """(B, 1, k, j, i) -> a column (B, 1, ...) round every body's centre of mass, of all its planes, an even number; what lies outside is air."""
    planes, (k, j, i) = dense.shape[2], column
    dense = F.pad(dense, (i, i, j, j, 0, max(k, planes + planes % 2) - planes))
    return torch.stack([one[:, :, a:a + j, b:b + i] for one, a, b in zip(dense, _starts(dense.sum((2, 4)), j), _starts(dense.sum((2, 3)), i))])


def _starts(mass: Tensor, length: int) -> list[int]:
    """mass (B, 1, n) along an axis -> where `length` voxels round its centre begin."""
    at = torch.arange(mass.shape[-1], device=mass.device)
    centre = (mass * at).sum(-1) / mass.sum(-1).clamp(min=1e-6)
    return (centre[:, 0] - (length - 1) / 2).round().long().clamp(0, mass.shape[-1] - length).tolist()


def _level(fine: int, coarse: int, stride: int) -> nn.Module:
    layers = [(nn.Conv3d(a, coarse, 3, stride=b, padding=1), nn.GroupNorm(GROUPS, coarse), nn.SiLU())
              for a, b in ((fine, stride), (coarse, 1))]
    return nn.Sequential(*layers[0], *layers[1])
