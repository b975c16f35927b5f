"""Random fields that belong to places in the world, not to voxels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

_PERIOD = 32  # lattice points along each side before the pattern repeats; a power of two
_UNIT = 1.5**1.5  # trilinear weights leave 2/3 of the variance along each axis


@dataclass(frozen=True)
class Texture:
    """Noise of unit variance on a periodic lattice of `step_mm`, interpolated between its points.

    Voxels larger than the lattice average it, so coarse images are less noisy, as a scanner's are.
    """

    lattice: np.ndarray
    step_mm: float
    turn: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, step_mm: float) -> Texture:
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))  # askew, so that no grid lines up with the lattice
        return cls(rng.normal(size=(_PERIOD,) * 3).astype(np.float32), step_mm, turn)

    def at(self, ras: np.ndarray, voxel_mm: float) -> np.ndarray:
        """Values at points (N, 3) in RAS mm, as voxels of `voxel_mm` see them; (N,) float32."""
        where = (ras @ (self.turn / self.step_mm)).astype(np.float32).T
        below = np.floor(where)
        share = where - below
        first = below.astype(np.int32)
        value = np.zeros(len(ras), np.float32)
        for corner in product((0, 1), repeat=3):
            index = tuple((start + step) % _PERIOD for start, step in zip(first, corner))
            x, y, z = (part if step else 1 - part for part, step in zip(share, corner))
            value += x * y * z * self.lattice[index]
        sharpness = min(1.0, (1.5 * self.step_mm / voxel_mm) ** 1.5)
        return value * np.float32(_UNIT * sharpness)
