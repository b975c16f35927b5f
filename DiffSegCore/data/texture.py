"""Random fields that belong to places in the world, not to voxels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PERIOD = 32   # lattice points along each side before the pattern repeats


@dataclass(frozen=True)
class Texture:
    """Unit-variance noise on a periodic lattice of `step_mm`, interpolated between its points.

    Voxels larger than the lattice average it, so coarse images are less noisy, as a scanner's are.
    """

    lattice: np.ndarray
    step_mm: float
    turn: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, step_mm: float) -> Texture:
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))   # askew, so that no grid lines up with the lattice
        return cls(rng.normal(size=(_PERIOD,) * 3).astype(np.float32), step_mm, turn)

    def at(self, ras: np.ndarray, voxel_mm: float) -> np.ndarray:
        """Values at points (N, 3) in RAS mm, as voxels of `voxel_mm` see them; (N,) float32."""
        from scipy.ndimage import map_coordinates

        where = (ras @ (self.turn / self.step_mm).astype(np.float32)).T
        field = map_coordinates(self.lattice, where, order=1, mode="grid-wrap", output=np.float32)
        return field * np.float32(min(1.0, (1.5 * self.step_mm / voxel_mm) ** 1.5))
