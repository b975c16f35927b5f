"""What a report says of each label: volume, intensities and the longest diameter."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .geometry import Box, Geometry
from .organ_volumes import OrganVolume, organ_volumes
from .volume import LabelMap, Volume


@dataclass(frozen=True)
class Measured:
    """size: id, name, title, ml, colour; mean and sd of the image in the label (HU in a CT); diameter_mm between the voxel centres
    that are farthest apart. All three are None for a label without voxels.
    """

    size: OrganVolume
    mean: float | None = None
    sd: float | None = None
    diameter_mm: float | None = None


def measured(volume: Volume, labels: LabelMap) -> tuple[Measured, ...]:
    """Every label that the map names or holds; of an image with several channels, the first is measured."""
    image = volume.array if volume.array.ndim == 3 else volume.array[0]
    return tuple(_of(size, image, labels) for size in organ_volumes(labels))


def longest_diameter(mask: np.ndarray, grid: Geometry) -> float:
    """Millimetres between the two voxel centres of a bool (k, j, i), with the spacing and axes of `grid`, that are farthest apart."""
    from scipy.spatial import ConvexHull, QhullError  # a tenth of a second that nothing else here needs
    from scipy.spatial.distance import pdist

    k, j = np.nonzero(mask.any(axis=2))
    rows = mask[k, j]  # only the ends of rows can be corners of the convex hull
    ends = [np.stack([k, j, at], 1) for at in (rows.argmax(1), rows.shape[1] - 1 - rows[:, ::-1].argmax(1))]
    points = grid.to_ras(np.unique(np.concatenate(ends), axis=0))
    try:
        points = points[ConvexHull(points).vertices] if len(points) > 4 else points
    except QhullError:  # all in one plane or on one line: the ends along eight ways in it hold the farthest pair, or nearly
        points = _outermost(points)
    return float(pdist(points).max()) if len(points) > 1 else 0.


def _of(size: OrganVolume, image: np.ndarray, labels: LabelMap) -> Measured:
    if not size.ml:
        return Measured(size)
    box = Box.of(labels.ids == size.id)
    mask = labels.ids[box.slices] == size.id
    values = image[box.slices][mask].astype(np.float64)
    return Measured(size, float(values.mean()), float(values.std()), longest_diameter(mask, labels.geometry))


def _outermost(points: np.ndarray, ways: int = 64) -> np.ndarray:
    _, _, axes = np.linalg.svd(points - points.mean(0), full_matrices=False)
    angles = np.pi * np.arange(ways) / ways
    along = points @ (np.cos(angles)[:, None] * axes[0] + np.sin(angles)[:, None] * axes[1]).T
    return points[np.unique([along.argmin(0), along.argmax(0)])]
