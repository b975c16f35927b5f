"""A CT that never was, as fine as a scanner's, made in seconds."""
from __future__ import annotations

import numpy as np

from DiffSegCore.data.phantom import phantom
from DiffSegCore.geometry import Geometry
from DiffSegCore.resample import resample
from DiffSegCore.volume import Volume


def scan(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], seed: int = 5) -> Volume:
    """The head-and-neck phantom, drawn coarsely, interpolated to `shape` round its middle, with a scanner's noise."""
    coarse, _ = phantom(seed, noise_hu=0)
    matrix = coarse.geometry.direction @ np.diag(spacing_mm[::-1])
    fine = np.eye(4)
    fine[:3, :3] = matrix
    middle = coarse.geometry.to_ras((np.array(coarse.geometry.shape) - 1) / 2)
    fine[:3, 3] = middle - matrix @ ((np.array(shape[::-1]) - 1) / 2)
    geometry = Geometry(shape, fine)
    hu = resample(coarse.array, coarse.geometry, geometry, outside=-1000).numpy()
    noise = np.random.default_rng(seed).normal(0, 15, (8, *shape[1:])).astype(np.float32)
    for start in range(0, len(hu), len(noise)):
        hu[start:start + len(noise)] += noise[:len(hu) - start]
    return Volume(hu.astype(np.int16), geometry, "CT")
