"""Pieces of cached features with their labels: what a frozen probe trains on, and whole cases: what it is scored on."""
from __future__ import annotations

from typing import Any, Iterator, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data.patches import Patches
from .probe_features import FeatureCase

MARGIN = 2  # coarsest cells: trilinear steps down the pyramid reach less far than this
SLAB = 8    # coarsest cells of a slab of planes


class Piece(NamedTuple):
    """pyramid fine to coarse (B, widths[n], k/2**n, ...); target int64 (B, k, j, i); known bool (B, 1 + organs) as in Patch."""

    pyramid: list[Tensor]
    target: Tensor
    known: Tensor


class Pieces(Patches):
    """Numbered pieces, placed as patches are, on the grid of the coarsest level; features stay as the encoder gave them. how: as of Patches."""

    def __init__(self, cases: Sequence[FeatureCase], organs: int, size: tuple[int, int, int], **how: Any) -> None:
        super().__init__([each.case for each in cases], organs, size, **how)
        self.features = {each.case.name: each for each in cases}
        self.stride = 2 ** (len(cases[0].levels) - 1)

    def piece(self, number: int) -> Piece:
        """The piece with this number, without a batch axis."""
        case, centre = self._place(np.random.default_rng((self.seed, number)))
        features = self.features[case.name]
        room = np.array(features.levels[0].shape[:3]) - self.size
        start = np.clip(np.rint((centre - np.array(self.size) / 2) / self.stride).astype(int) * self.stride, 0, room)
        target = _padded(case.channels, start, self.size)
        known = torch.tensor([True] + [c in case.places or not self.empty_is_undrawn for c in range(1, self.organs + 1)])
        return Piece(features.cut(start, self.size), target, known)

    def batch(self, first: int, count: int) -> Piece:
        """Pieces first .. first + count - 1, stacked."""
        pieces = [self.piece(number) for number in range(first, first + count)]
        pyramid = [torch.stack(levels) for levels in zip(*(piece.pyramid for piece in pieces))]
        return Piece(pyramid, torch.stack([piece.target for piece in pieces]), torch.stack([piece.known for piece in pieces]))


@torch.inference_mode()
def winners(probe: nn.Module, features: FeatureCase, device: torch.device) -> np.ndarray:
    """Channel of every voxel, uint8 (K, J, I), slab by slab; equal to the whole volume at once."""
    stride, shape = 2 ** (len(features.levels) - 1), features.levels[0].shape[:3]
    planes = []
    for low, high in _slabs(shape[0], stride):
        start, stop = max(0, low - MARGIN * stride), min(shape[0], high + MARGIN * stride)
        pyramid = features.cut((start, 0, 0), (stop - start, *shape[1:]))
        logits = probe([level[None].to(device) for level in pyramid])[0, :, low - start:high - start]
        planes.append(logits.argmax(0).to(torch.uint8).cpu())
    k, j, i = features.case.channels.shape
    return torch.cat(planes)[:k, :j, :i].numpy()


def _slabs(depth: int, stride: int) -> Iterator[tuple[int, int]]:
    return ((low, min(depth, low + SLAB * stride)) for low in range(0, depth, SLAB * stride))


def _padded(channels: np.ndarray, start: Sequence[int], size: Sequence[int]) -> Tensor:
    """Labels of a box that may reach over the far ends, where there is background."""
    part = np.array(channels[tuple(slice(a, a + n) for a, n in zip(start, size))], np.int64)
    margins = [m for have, want in zip(reversed(part.shape), reversed(size)) for m in (0, want - have)]
    return F.pad(torch.from_numpy(part), margins)
