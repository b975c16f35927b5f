"""What a click model learns beside answering clicks: to name every labelled structure that a crop shows.

A click teaches one object of a crop, and which one it means is hard to see for a network that knows none. Naming teaches all of them at once. The heads
that name are left behind after training; clicks stay free of classes.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..data.click_cases import ClickCase
from ..geometry import Geometry
from ..networks import OrganHead
from .losses import organ_loss

Structures = Mapping[str, Sequence[int]]  # data set -> its labels


@dataclass(frozen=True, eq=False)
class Named:
    """What a crop shows of its data set's structures, at half of its resolution: ids int64 (k/2, j/2, i/2), 0 for none, n + 1 for the n-th;
    known bool (1 + structures,): those that the case has. Others may be there undrawn, and count as none."""

    group: str
    ids: Tensor
    known: Tensor

    @classmethod
    def of(cls, case: ClickCase, grid: Geometry, structures: Structures) -> Named:
        """On the crop with this grid."""
        labels, found = structures[case.group], case.labels_on(_halved(grid))
        table = np.zeros(max(int(found.max()), *labels) + 1, np.int64)
        for number, label in enumerate(labels, 1):
            table[label] = number if label in case.boxes else 0
        return cls(case.group, torch.from_numpy(table[found]), torch.tensor([True, *(label in case.boxes for label in labels)]))


class Naming(nn.Module):
    """An organ head for every data set, on all levels of a pyramid but the finest. widths: the pyramid's."""

    def __init__(self, structures: Structures, widths: Sequence[int]) -> None:
        super().__init__()
        self.groups = list(structures)
        self.heads = nn.ModuleList(OrganHead(widths[1:], len(labels)) for labels in structures.values())

    def forward(self, pyramid: Sequence[Tensor], named: Sequence[Named]) -> Tensor:
        """The mean loss of the elements of a batch."""
        losses = []
        for n, one in enumerate(named):
            logits = self.heads[self.groups.index(one.group)]([level[n:n + 1] for level in pyramid[1:]])
            losses.append(organ_loss(logits, one.ids[None].to(logits.device), one.known[None].to(logits.device)))
        return torch.stack(losses).mean()


def _halved(grid: Geometry) -> Geometry:
    """Voxels twice as large over the same crop."""
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] *= 2
    matrix[:3, 3] = grid.to_ras((.5, .5, .5))
    return Geometry(tuple(n // 2 for n in grid.shape), matrix)
