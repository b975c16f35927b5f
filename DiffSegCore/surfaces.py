"""The surface of a mask as points in mm, and distances from one surface to another."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np


def surface_elements(mask: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 3) mm (K, J, I) where the surface of a (K, J, I) mask runs between voxels, and its area there, mm^2.

    The area is marching cubes' in the cell of eight voxels, from MONAI's table (after Nikolov et al., "Deep learning
    to achieve clinically applicable segmentation of head and neck anatomy", arXiv 1809.04430). MONAI's own function
    convolves in float32: a body of 60 million voxels is scored in 7 s and .3 GB this way, in 45 s and 4.5 GB that way.
    """
    from monai.metrics.utils import get_code_to_measure_table

    table, bits = get_code_to_measure_table(tuple(spacing_mm))  # (256,) mm^2, and each corner's bit (1, 1, 2, 2, 2)
    solid = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([n - 1 for n in solid.shape], np.uint8)
    for corner in product((0, 1), repeat=3):
        code |= solid[tuple(slice(c, c + n) for c, n in zip(corner, code.shape))] * np.uint8(bits[0, 0][corner])
    points = np.argwhere((code != 0) & (code != 255))
    return points * np.asarray(spacing_mm), table.numpy()[code[tuple(points.T)]]


def edge_voxels(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """Points (n, 3) mm (K, J, I): the voxels of a (K, J, I) mask with a neighbour, of six, outside it or the image."""
    solid = np.pad(mask, 1)
    inner = solid.copy()
    for axis, step in product(range(3), (-1, 1)):
        inner &= np.roll(solid, step, axis)  # what wraps round is padding
    return np.argwhere(solid & ~inner) * np.asarray(spacing_mm)


def distances(points: np.ndarray, to: np.ndarray, *, up_to_mm: float = np.inf) -> np.ndarray:
    """From each of the points (n, 3) to the nearest of `to` (m, 3), in mm; infinite beyond `up_to_mm`."""
    from scipy.spatial import KDTree

    tree = KDTree(to, leafsize=32, compact_nodes=False, balanced_tree=False)  # points of a grid need no careful tree
    return tree.query(points, distance_upper_bound=up_to_mm)[0]
