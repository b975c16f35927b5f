"""Training patches: which place, how it is turned, stretched and shaded. A patch is a function of (seed, number) alone.

So a resumed run, or one spread over several processes, sees exactly the patches of an uninterrupted one.
"""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import Augmentation, shaded, warped
from .cache import GridCase

AIR = -1.  # model value outside a volume


class Patch(NamedTuple):
    """image float32 (1, k, j, i); target int64 (k, j, i); known bool (1 + organs,): False where the case's organ was not contoured."""

    image: Tensor
    target: Tensor
    known: Tensor


class Patches:
    """Patches of several cases. `paired`: channels that swap when right and left are mirrored, ((right, left), ...).

    empty_is_undrawn: an organ without a voxel in a case was not contoured there (True), or is absent (False).

    Two thirds are centred on an organ: first the organ is drawn, then a case that has it, so that rarely contoured
    organs are seen as often as others. The rest lies anywhere in the body box.
    """

    def __init__(self, cases: Sequence[GridCase], organs: int, size: tuple[int, int, int], *, paired: Sequence[tuple[int, int]] = (),
                 augmentation: Augmentation = Augmentation(), on_organ: float = 2 / 3,
                 empty_is_undrawn: bool = True, seed: int = 0) -> None:
        self.cases, self.organs, self.size, self.paired = cases, organs, size, tuple(paired)
        self.augmentation, self.on_organ = augmentation, on_organ
        self.empty_is_undrawn, self.seed = empty_is_undrawn, seed
        self._holders = {c: [case for case in self.cases if c in case.places] for c in range(1, organs + 1)}
        self._drawable = [c for c, holders in self._holders.items() if holders]

    def patch(self, number: int) -> Patch:
        """The patch with this number."""
        random = np.random.default_rng((self.seed, number))
        case, centre = self._place(random)
        mirrored = self.augmentation.mirror and random.random() < .5
        points = torch.from_numpy(self._points(case, centre, mirrored, random))
        image = look_up(case.image, points, "bilinear", AIR)
        target = look_up(case.channels, points, "nearest", 0)[0].long()
        known = torch.tensor([True] + [c in case.places or not self.empty_is_undrawn for c in range(1, self.organs + 1)])
        if mirrored:
            target, known = self._swapped(target, known)
        return Patch(self._shaded(image, random), target, known)

    def batch(self, first: int, count: int) -> Patch:
        """Patches first .. first + count - 1, stacked."""
        return Patch(*(torch.stack(parts) for parts in zip(*map(self.patch, range(first, first + count)))))

    def _place(self, random: np.random.Generator) -> tuple[GridCase, np.ndarray]:
        if self._drawable and random.random() < self.on_organ:
            channel = self._drawable[random.integers(len(self._drawable))]
            case = self._holders[channel][random.integers(len(self._holders[channel]))]
            places = case.places[channel]
            return case, places[random.integers(len(places))] + random.normal(0, np.array(self.size) / 8)
        case = self.cases[random.integers(len(self.cases))]
        return case, random.uniform(0, np.array(case.channels.shape) - 1)

    def _points(self, case: GridCase, centre: np.ndarray, mirrored: bool, random: np.random.Generator) -> np.ndarray:
        """Where the patch's voxels lie, (k, j, i, 3) voxel indices of the case. Turned in mm, so that anisotropic grids aren't sheared."""
        a, spacing = self.augmentation, np.array(case.geometry.spacing)
        angles, shear = np.radians(random.uniform(-a.rotation, a.rotation, 3)), random.uniform(-a.shear, a.shear, (3, 3))
        if self.size[0] == 1:  # what is flat stays in its plane
            angles[1:], shear[0], shear[:, 0] = 0, 0, 0
        turn = rotation(angles) @ (np.eye(3) + shear)
        turn = turn * np.exp(random.uniform(-a.scale, a.scale)) @ np.diag([1, 1, -1 if mirrored else 1])
        matrix = np.diag(1 / spacing) @ turn @ np.diag(spacing)
        axes = [np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in self.size]
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        points = (offsets @ matrix.T + centre).astype(np.float32)
        return warped(points, a.warp, spacing, random) if a.warp else points

    def _swapped(self, target: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        order = torch.arange(self.organs + 1)
        for right, left in self.paired:
            order[right], order[left] = left, right
        return order[target], known[order]

    def _shaded(self, image: Tensor, random: np.random.Generator) -> Tensor:
        return shaded(image, self.augmentation, random)


def look_up(array: np.ndarray, points: Tensor, mode: str, outside: float) -> Tensor:
    """Values (1 or C, k, j, i) of array (k, j, i) or (C, k, j, i) at points (k, j, i, 3); only the box that the points reach is read from disk."""
    shape = np.array(array.shape[-3:])
    low = np.clip(np.floor(points.amin((0, 1, 2)).numpy()).astype(int) - 1, 0, shape - 1)
    high = np.clip(np.ceil(points.amax((0, 1, 2)).numpy()).astype(int) + 2, low + 1, shape)
    part = torch.from_numpy(np.array(array[(..., *map(slice, low, high))], np.float32)) - outside
    size = torch.from_numpy(high - low)
    unit = (2 * (points - torch.from_numpy(low)) + 1) / size - 1  # align_corners=False: edges of the box are +-1
    part = part[None] if part.ndim == 4 else part[None, None]
    return F.grid_sample(part, unit.flip(-1)[None].float(), mode=mode, padding_mode="zeros", align_corners=False)[0] + outside


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation about the k, then the j, then the i axis; radians."""
    (a, b, c), matrices = angles, []
    for axis, angle in ((0, a), (1, b), (2, c)):
        matrix = np.eye(3)
        first, second = [n for n in range(3) if n != axis]
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        matrices.append(matrix)
    return matrices[0] @ matrices[1] @ matrices[2]
