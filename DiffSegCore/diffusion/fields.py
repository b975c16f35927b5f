"""Random fields that belong to a place: a voxel draws by (seed, step, its index in the volume) and by nothing else.

A crop therefore gives what the whole gives, and the same clicks give the same mask, in any batch, order or device.
The numbers come from a counter-based hash in whole-number arithmetic: splitmix64's finaliser with Stafford's constants
(Steele, Lea, Flood, OOPSLA 2014) over a Weyl sequence of the voxel index. Uniform and normal values use only exact
operations and look-ups after it, so they agree bit for bit everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Field = Callable[[int, int], Tensor]  # field(level, stream) -> (B, C, *spatial); new numbers for every pair
KEEP, REDRAW = 0, 1  # the streams of mask sampling: whether a value stays, and what is drawn if it does not

_WEYL = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_WORD = (1 << 64) - 1
_AXIS = 1 << 21  # an axis holds 2^20 voxels either side of 0


def voxel_index(start: Sequence[int], shape: Sequence[int], device: torch.device | str | None = None) -> Tensor:
    """One int64 a voxel of the box at `start` with `shape`, (K, J, I) or (J, I); equal voxels get equal numbers.

    Indices are absolute in the volume and may be negative: a window that hangs over the edge is no special case.
    """
    if len(start) != len(shape):
        raise ValueError(f"A box has a start and a size along every axis; got {tuple(start)} and {tuple(shape)}.")
    index = torch.zeros((), dtype=torch.int64, device=device)
    for first, size in zip(start, shape):
        index = index[..., None] * _AXIS + torch.arange(first, first + size, device=device)
    return index


@dataclass(frozen=True)
class VoxelFields:
    """Fields of a batch of boxes. `uniform` and `normal` are of type Field; both give (B, channels, *spatial) float32."""

    seeds: tuple[int, ...]  # one for every element of the batch
    index: Tensor  # (B or 1, 1, *spatial) from voxel_index
    channels: int = 1

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        *,
        starts: Sequence[Sequence[int]] | None = None,
        seeds: Sequence[int] = (0,),
        channels: int = 1,
        device: torch.device | str | None = None,
    ) -> VoxelFields:
        """Boxes of one `shape` (*spatial) at `starts` in their volumes (one for all, or one for every seed)."""
        starts = starts or [(0,) * len(shape)]
        if len(starts) not in (1, len(seeds)):
            raise ValueError(f"Give one start for all seeds, or one for each; got {len(starts)} for {len(seeds)} seeds.")
        index = torch.stack([voxel_index(start, shape, device) for start in starts])
        return cls(tuple(seeds), index[:, None], channels)

    def uniform(self, step: int, stream: int = 0) -> Tensor:
        """Uniform in (0, 1), never 0 or 1: the odd multiples of 2^-24, each exact in float32."""
        high = (self._hashed(step, stream) >> 41) & 0x7FFFFF
        return (high.to(torch.float32) + 0.5) * 2.0**-23

    def normal(self, step: int, stream: int = 0) -> Tensor:
        """Standard normal, |value| < 6: the sum of two looked-up normals, independent of `uniform` at the same step."""
        hashed = self._hashed(step, stream + (1 << 32))
        table = _normal_quantiles().to(hashed.device)
        return (table[(hashed >> 48) & 0xFFFF] + table[(hashed >> 16) & 0xFFFF]) * 0.5**0.5

    def _hashed(self, step: int, stream: int) -> Tensor:
        keys = [[_signed(_key(seed, step, stream, c)) for c in range(self.channels)] for seed in self.seeds]
        spatial = (1,) * (self.index.ndim - 2)
        keys = torch.tensor(keys, device=self.index.device).reshape(len(self.seeds), self.channels, *spatial)
        return _scrambled(self.index * _signed(_WEYL) + keys)


def _scrambled(bits: Tensor) -> Tensor:
    """splitmix64's finaliser, in place on int64; products wrap, and a mask makes the shift a logical one."""
    bits.bitwise_xor_((bits >> 30) & (_WORD >> 30)).mul_(_signed(_FIRST))
    bits.bitwise_xor_((bits >> 27) & (_WORD >> 27)).mul_(_signed(_SECOND))
    return bits.bitwise_xor_((bits >> 31) & (_WORD >> 31))


def _key(*parts: int) -> int:
    """One 64-bit word of several whole numbers, by the same finaliser in Python's."""
    key = 0
    for part in parts:
        key = (key + part + _WEYL) & _WORD
        key = ((key ^ (key >> 30)) * _FIRST) & _WORD
        key = ((key ^ (key >> 27)) * _SECOND) & _WORD
        key ^= key >> 31
    return key


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


@lru_cache(maxsize=1)
def _normal_quantiles() -> Tensor:
    """Normal quantiles at the middles of 65,536 equal chances, scaled to variance 1. A table, because erfinv, log and
    cos differ in the last digit between devices, and between the ends and the middle of a vectorised loop."""
    chance = (torch.arange(1 << 16, dtype=torch.float64) + 0.5) / (1 << 16)
    quantiles = torch.special.ndtri(chance)
    return (quantiles / quantiles.square().mean().sqrt()).to(torch.float32)
