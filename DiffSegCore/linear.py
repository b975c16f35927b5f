"""Linear interpolation along one axis, and which axes of two grids run along each other."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DRIFT = 1e-3  # voxels an axis may stray over the whole grid and still count as parallel


class Taps(NamedTuple):
    """value = (1 - weight) * samples[low] + weight * samples[high]; each (positions,)."""

    low: Tensor
    high: Tensor
    weight: Tensor


def taps(positions: np.ndarray, size: int, device: torch.device | str = "cpu") -> Taps:
    """Where float64 positions fall among `size` samples; beyond either end the border sample counts alone."""
    at = np.maximum(positions, 0)
    low = np.minimum(at.astype(np.int64), size - 1)
    weight = np.minimum(at - low, 1).astype(np.float32)
    high = np.minimum(low + 1, size - 1)
    return Taps(*(torch.from_numpy(part).to(device) for part in (low, high, weight)))


def parallel_axes(index_map: np.ndarray, shape: tuple[int, ...]) -> list[int] | None:
    """For each axis of a grid of `shape` the axis of the other grid parallel to it, or None for an oblique pair.

    index_map (4, 4): kji of this grid to kji of the other, as `Geometry.index_map` gives it.
    """
    drift = np.abs(index_map[:3, :3]) * np.asarray(shape)
    others = [int(axis) for axis in np.abs(index_map[:3, :3]).argmax(axis=0)]
    if sorted(others) != [0, 1, 2]:
        return None
    drift[others, range(3)] = 0
    return others if drift.max() < DRIFT else None
