"""A volume's array turned so that its axes run to the right, to the front and up, as some tools read it; no voxel changes."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..geometry import Geometry


@dataclass(frozen=True)
class Turn:
    """order: which axis of the array (K, J, I) becomes the first, second and third; flipped: of these, the ones that run backwards then."""

    order: tuple[int, int, int]
    flipped: tuple[int, ...]
    geometry: Geometry

    @classmethod
    def none(cls, geometry: Geometry) -> Turn:
        return cls((0, 1, 2), (), geometry)

    @classmethod
    def canonical(cls, geometry: Geometry) -> Turn:
        """To the axes nearest R, A and S, as nibabel's `as_closest_canonical` chooses them."""
        from nibabel.orientations import io_orientation

        towards = io_orientation(geometry.ijk_to_ras)[::-1]  # rows K, J, I: which of R, A, S, and its sign
        order = tuple(int(np.flatnonzero(towards[:, 0] == ras)[0]) for ras in (2, 1, 0))
        flipped = tuple(n for n, axis in enumerate(order) if towards[axis, 1] < 0)
        return cls(order, flipped, geometry.turned(order, flipped))

    def there(self, array: np.ndarray) -> np.ndarray:
        """(..., K, J, I) as stored -> turned, a view."""
        front = array.ndim - 3
        turned = array.transpose(*range(front), *(front + axis for axis in self.order))
        return np.flip(turned, [front + n for n in self.flipped])

    def back(self, array: np.ndarray) -> np.ndarray:
        """(K, J, I) turned -> as stored, a view."""
        return np.flip(array, self.flipped).transpose(np.argsort(self.order))
