"""What another tool's model found in a volume, before it has DiffSeg's names."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ..geometry import Geometry
from ..progress import Progress
from ..volume import Volume


@dataclass(frozen=True, eq=False)
class Found:
    """values: (K, J, I) on the volume's grid, the tool's own numbers; logits (1 + organs, k, j, i) float32 on `geometry`."""

    values: np.ndarray
    logits: Tensor
    geometry: Geometry


class Runner(Protocol):
    """Another tool's predictor, loaded."""

    def run(self, volume: Volume, progress: Progress) -> Found: ...


def exclusive(logits: Tensor) -> Tensor:
    """Overlapping regions (n, ...) in the order they're painted, each a logit of its own -> (1 + n, ...) log chances of what is seen.

    A region shows where it is and none painted later is, taken as independent: p_n times the (1 - p_m) of all m > n.
    """
    later = torch.zeros_like(logits[0])
    shown = []
    for region in logits.flip(0):
        shown.append(torch.nn.functional.logsigmoid(region) + later)
        later = later + torch.nn.functional.logsigmoid(-region)
    return torch.stack([later, *reversed(shown)])
