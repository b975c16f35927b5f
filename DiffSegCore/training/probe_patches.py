"""Labelled patches for an encoder that is run in every step: turned, stretched and shaded, as a reading shows them, coordinates beside."""
from __future__ import annotations

from typing import Any, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.patches import AIR, Augmentation, Patches, look_up
from ..networks.coordinates import STRIDE as BODY_STRIDE
from .probe_features import Scene
from .probe_reading import Reading

SEEN = Augmentation(mirror=False)  # right stays right, or coordinates would tell a lie


class SeenPatch(NamedTuple):
    """image (B, 1, k, j, i); body (B, 3, k/4, j/4, i/4), NaN where unknown; target int64 (B, k, j, i); known bool (B, 1 + organs)."""

    image: Tensor
    body: Tensor
    target: Tensor
    known: Tensor


class SeenPatches(Patches):
    """Numbered patches: a function of (seed, number) alone. how: as of Patches."""

    def __init__(self, scenes: Sequence[Scene], organs: int, size: tuple[int, int, int], reading: Reading, **how: Any) -> None:
        super().__init__([each.case for each in scenes], organs, size, augmentation=SEEN, **how)
        self.bodies = {each.case.name: each.body for each in scenes}
        self.reading = reading

    def patch(self, number: int) -> SeenPatch:
        """The patch with this number, without a batch axis."""
        random = np.random.default_rng((self.seed, number))
        case, centre = self._place(random)
        points = torch.from_numpy(self._points(case, centre, False, random))
        image = self._shaded(look_up(case.image, points, "bilinear", AIR), random) * self.reading.keep ** .5
        if self.reading.noise == "keyed":
            image = image + (1 - self.reading.keep) ** .5 * torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
        target = look_up(case.channels, points, "nearest", 0)[0].long()
        known = torch.tensor([True] + [c in case.places or not self.empty_is_undrawn for c in range(1, self.organs + 1)])
        return SeenPatch(image, coordinates_at(self.bodies[case.name], points), target, known)

    def batch(self, first: int, count: int) -> SeenPatch:
        """Patches first .. first + count - 1, stacked."""
        return SeenPatch(*(torch.stack(parts) for parts in zip(*map(self.patch, range(first, first + count)))))


def coordinates_at(body: np.ndarray | None, points: Tensor) -> Tensor:
    """Body coordinates (3, k/4, j/4, i/4) of a patch whose voxels lie at `points` (k, j, i, 3), voxel indices of the case.

    NaN outside the volume, and everywhere without coordinates.
    """
    cells = F.avg_pool3d(points.movedim(-1, 0)[None], BODY_STRIDE)[0].movedim(0, -1)  # points are affine: a mean is the cell's centre
    if body is None:
        return torch.full((3, *cells.shape[:3]), float("nan"))
    size = torch.tensor(body.shape[1:])
    unit = (2 * cells + 1) / (BODY_STRIDE * size) - 1  # align_corners=False: edges of the grid are +-1
    values = F.grid_sample(torch.from_numpy(np.array(body, np.float32))[None], unit.flip(-1)[None], padding_mode="border", align_corners=False)[0]
    return values.masked_fill((unit.abs() > 1).any(-1), float("nan"))
