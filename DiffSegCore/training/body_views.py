"""Pairs of views of one patient: tilted, resized, cropped and shaded differently, with every voxel's true place known.

A pair is a function of (seed, number) alone, as a training patch is.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.cache import GridCase
from ..data.patches import AIR, look_up, rotation
from ..networks.coordinates import MIDDLE, STRIDE
from .body_places import Place

NOWHERE = Place(np.full((3, 4), np.nan), np.nan)
LEAST_LEFT = 1 / 8  # of the body in a view that a narrower field of view may leave


@dataclass(frozen=True)
class Strengths:
    """How much views differ. Zero switches one off.

    rotation: the most degrees in all; scale as a log range; cropped: the chance of a narrower field of view; narrowest: the least
    share of a side that it keeps; contrast as a log range; noise in model values.
    """

    rotation: float = 15.
    scale: float = .12
    cropped: float = .5
    narrowest: float = .4
    contrast: float = .2
    noise: float = .08


class View(NamedTuple):
    """One view; a batch of pairs has (B, 2) in front of every shape.

    image float32 (1, k, j, i); body bool (k/4, j/4, i/4): where something was scanned; pairs int64 (n, 2): flat indices of
    body voxels of that grid; to_patient float32 (3, 4): homogeneous kji of that grid to RAS mm of the patient, who may
    be a mirror image of the scanned one; log_scale (): log of patient mm a view mm stands for; to_body float32 (3, 4): of that
    grid to mm of the common body, and patient (): the log of his scale, both NaN where he is not laid over others;
    mirrored bool (): it is a mirror image; flips bool (3,): K, J, I to turn over before asking which way round the patient lies.
    """

    image: Tensor
    body: Tensor
    pairs: Tensor
    to_patient: Tensor
    log_scale: Tensor
    to_body: Tensor
    patient: Tensor
    mirrored: Tensor
    flips: Tensor


class Views:
    """Pairs of views of several cases.

    places: of the cases that are laid over a common body, by name; threshold: model value from which on there is body; others:
    cases without labels, seen in `share` of the pairs; pairs: pairs of voxels a view is compared in.
    """

    def __init__(self, cases: Sequence[GridCase], size: tuple[int, int, int], *, places: Mapping[str, Place] = {},
                 others: Sequence[GridCase] = (), share: float = .2, threshold: float = -.7, pairs: int = 2048,
                 strengths: Strengths = Strengths(), seed: int = 0) -> None:
        self.cases, self.others, self.size = list(cases), list(others), np.array(size)
        self.places, self.share, self.threshold, self.pairs = places, share, threshold, pairs
        self.strengths, self.seed = strengths, seed

    def batch(self, first: int, count: int) -> View:
        """Pairs first .. first + count - 1, stacked."""
        return _stacked([self.twins(number) for number in range(first, first + count)])

    def twins(self, number: int) -> View:
        """Two views of one patient, or of his mirror image."""
        random = np.random.default_rng((self.seed, number))
        unlabelled = bool(self.others) and (random.random() < self.share or not self.cases)
        source = self.others if unlabelled else self.cases
        case, mirrored = source[random.integers(len(source))], bool(random.random() < .5)
        return _stacked([self._view(case, mirrored, random) for _ in range(2)])

    def _view(self, case: GridCase, mirrored: bool, random: np.random.Generator) -> View:
        matrix, log_scale = self._pose(case, mirrored, random)
        image = self._shaded(look_up(case.image, _points(matrix, self.size), "bilinear", AIR), random)
        image, field = self._cropped(image, random)
        body = self._body(image)
        coarse = _on_coarse(matrix)
        pairs = _some_pairs(body & field, self.pairs, random)
        to_patient = _index_to_ras(case) @ np.vstack([coarse, [0, 0, 0, 1]])
        place = self.places.get(case.name, NOWHERE)
        to_body = place.to_body @ np.vstack([to_patient, [0, 0, 0, 1]])
        if mirrored:
            to_patient[0], to_body[0] = -to_patient[0], -to_body[0]
        return View(image, body & field, pairs, _floats(to_patient), _floats(log_scale), _floats(to_body), _floats(place.log_scale),
                    torch.tensor(mirrored), torch.from_numpy(random.random(3) < .5))

    def _pose(self, case: GridCase, mirrored: bool, random: np.random.Generator) -> tuple[np.ndarray, float]:
        """(3, 4): homogeneous kji of the view to kji of the case; and the log scale. Turned in mm, so that nothing is sheared."""
        s, spacing, shape = self.strengths, np.array(case.geometry.spacing), np.array(case.image.shape)
        log_scale = random.uniform(-s.scale, s.scale)
        tilt = rotation(np.radians(s.rotation / np.sqrt(3)) * random.uniform(-1, 1, 3))
        turn = np.diag([1, 1, -1 if mirrored else 1]) @ tilt * np.exp(log_scale)
        half = self.size / 2
        centre = random.uniform(np.minimum(half, shape - half), np.maximum(half, shape - half)) - .5
        linear = np.diag(1 / spacing) @ turn @ np.diag(spacing)
        return np.column_stack([linear, centre - linear @ (self.size - 1) / 2]), log_scale

    def _shaded(self, image: Tensor, random: np.random.Generator) -> Tensor:
        """Other contrast and some noise; air stays the darkest there is, as intensity knots make it."""
        s = self.strengths
        image = (image - AIR) * float(np.exp(random.uniform(-s.contrast, s.contrast))) + AIR
        if random.random() < .5:
            image = image + float(random.uniform(0, s.noise)) * torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
        return image.clamp(-1, 1)

    def _cropped(self, image: Tensor, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The image with air outside a field of view, and that field on the coarse grid; untouched where too little would be left."""
        keep = (random.uniform(self.strengths.narrowest, 1, 3) * self.size).astype(int) // STRIDE * STRIDE
        start = (random.uniform(0, self.size - keep + 1)).astype(int) // STRIDE * STRIDE
        wanted = random.random() < self.strengths.cropped
        field = torch.zeros(tuple(self.size // STRIDE), dtype=torch.bool)
        field[tuple(slice(a // STRIDE, (a + n) // STRIDE) for a, n in zip(start, keep))] = True
        body = self._body(image)
        if not wanted or (body & field).sum() < LEAST_LEFT * body.sum():
            return image, torch.ones_like(field)
        seen = F.interpolate(field[None, None].float(), scale_factor=STRIDE, mode="nearest")[0] > 0
        return image.where(seen, AIR), field

    def _body(self, image: Tensor) -> Tensor:
        """Coarse voxels with body in them, and those that touch one: u should be right at the skin, too."""
        return F.max_pool3d(F.avg_pool3d((image > self.threshold).float(), STRIDE), 3, 1, 1)[0] > .25


def organ_centres(case: GridCase, channels: Sequence[int]) -> np.ndarray:
    """Centroids in voxels of the case (channels, 3), NaN for organs that it does not show whole.

    An organ that reaches the first or last plane goes on outside, so its centroid is not that of what is seen.
    """
    centres = np.full((len(channels), 3), np.nan)
    for number, channel in enumerate(channels):
        places = case.places.get(channel)
        if places is not None and places[:, 0].min() > 0 and places[:, 0].max() < case.image.shape[0] - 1:
            centres[number] = places.mean(axis=0)
    return centres


def _points(matrix: np.ndarray, size: np.ndarray) -> Tensor:
    """Voxels of the case (k, j, i, 3) that a view's voxels see."""
    k, j, i = (np.arange(n, dtype=np.float32)[:, None] * matrix[:, axis].astype(np.float32) for axis, n in enumerate(size))
    return torch.from_numpy((k + matrix[:, 3].astype(np.float32))[:, None, None] + j[:, None] + i)


def _on_coarse(matrix: np.ndarray) -> np.ndarray:
    """The same matrix for indices of the grid STRIDE times coarser."""
    return np.column_stack([matrix[:, :3] * STRIDE, matrix[:, 3] + matrix[:, :3].sum(axis=1) * MIDDLE])


def _index_to_ras(case: GridCase) -> np.ndarray:
    origin, *steps = case.geometry.to_ras(np.vstack([np.zeros(3), np.eye(3)]))
    return np.column_stack([*(step - origin for step in steps), origin])


def _some_pairs(body: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """Pairs of flat indices of body voxels, (count, 2); of voxel 0 with itself, which says nothing, where there is no body."""
    places = np.flatnonzero(body.numpy())
    places = places if len(places) else np.zeros(1, np.int64)
    return torch.from_numpy(places[random.integers(len(places), size=(count, 2))])


def _stacked(views: Sequence[View]) -> View:
    return View(*(torch.stack(parts) for parts in zip(*views)))


def _floats(values) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)
