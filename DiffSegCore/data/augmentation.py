"""How a training patch differs from what was scanned: strengths, shading and a smooth warp."""
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

KNOTS = 4  # of a smooth field along each side of a patch
FILTERS = (2, 2, 2, 2)  # channels of the layers of random filters


@dataclass(frozen=True)
class Augmentation:
    """Strengths; zero switches one off. Rotation in degrees, scale as a log range, warp in mm, the rest in model values.

    gamma: log range of the exponent that bends the values; bias: of a smooth drift of brightness, as a coil leaves it;
    thick: the chance that slices run into each other; filters: that random filters change what brightness and texture say (see `refiltered`).
    """

    rotation: float = 12.
    scale: float = .18
    shear: float = .05
    shift: float = .08
    contrast: float = .15
    noise: float = .05
    mirror: bool = True
    warp: float = 0.
    gamma: float = 0.
    bias: float = 0.
    thick: float = 0.
    filters: float = 0.


def warped(points: np.ndarray, mm: float, spacing: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Points (k, j, i, 3), voxel indices, moved smoothly by a standard deviation of `mm` at the field's knots."""
    field = torch.from_numpy(random.normal(0, mm, (1, 3, KNOTS, KNOTS, KNOTS)).astype(np.float32))
    moved = F.interpolate(field, points.shape[:3], mode="trilinear", align_corners=True)[0].movedim(0, -1).numpy()
    return points + moved / spacing.astype(np.float32)


def shaded(image: Tensor, strengths: Augmentation, random: np.random.Generator) -> Tensor:
    """The image (C, k, j, i) in other contrast, brightness, sharpness and noise."""
    a = strengths
    if a.filters and random.random() < a.filters:
        image = refiltered(image, random)
    if a.gamma or a.bias:
        image = _bent(image, a, random)
    image = image * float(np.exp(random.uniform(-a.contrast, a.contrast))) + float(random.uniform(-a.shift, a.shift))
    if a.thick and random.random() < a.thick and image.shape[1] > 2:
        image = F.avg_pool3d(image[None], (3, 1, 1), 1, (1, 0, 0), count_include_pad=False)[0]
    if random.random() < .2:
        sides = [min(3, n // 2 * 2 + 1) for n in image.shape[1:]]  # odd, and 1 across what is flat
        image = F.avg_pool3d(image[None], sides, 1, [n // 2 for n in sides], count_include_pad=False)[0]
    if random.random() < .5:
        image = image + float(random.uniform(0, a.noise)) * torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
    return image


def refiltered(image: Tensor, random: np.random.Generator) -> Tensor:
    """The image (C, k, j, i) mixed with its answer to a shallow network of random weights, as bright and as varied as before: shapes stay, how tissues and
    their textures look does not. "Global intensity non-linear augmentation" of Ouyang et al., IEEE TMI 2023.
    """
    found, channels = image[None], len(image)
    for layer, width in enumerate(FILTERS):
        out, side = (channels if layer == len(FILTERS) - 1 else width), 1 if random.random() < .5 else min(3, *(n // 2 * 2 + 1 for n in image.shape[1:]))
        weight = torch.from_numpy(random.standard_normal((out, found.shape[1], side, side, side), dtype=np.float32))
        found = F.conv3d(found, weight, torch.from_numpy(random.standard_normal(out, dtype=np.float32)), padding=side // 2)
        found = F.leaky_relu(found) if layer < len(FILTERS) - 1 else found
    share = float(random.random())
    mixed = share * (found[0] - found.mean()) / found.std().clamp(min=1e-3) + (1 - share) * (image - image.mean()) / image.std().clamp(min=1e-3)
    return mixed / mixed.std().clamp(min=1e-3) * image.std() + image.mean()


def _bent(image: Tensor, a: Augmentation, random: np.random.Generator) -> Tensor:
    """Values of -1 (nothing) stay; the others follow a power and a smooth factor."""
    bright = ((image + 1) / 2).clamp(min=0) ** float(np.exp(random.uniform(-a.gamma, a.gamma)))
    drift = torch.from_numpy(random.uniform(-a.bias, a.bias, (1, 1, KNOTS, KNOTS, KNOTS)).astype(np.float32))
    return 2 * bright * F.interpolate(drift, image.shape[1:], mode="trilinear", align_corners=True)[0].exp() - 1
