"""Restoring corrupted patches, in the manner of Models Genesis (Zhou et al., Medical Image Analysis 2021, arXiv 2004.07882)."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...networks import DiffusionEncoder
from ..pretrain_patches import ImagePatches

CURVED, SHUFFLED, PAINTED, INSIDE = .9, .5, .9, .2  # chances; INSIDE: of in-painting rather than out-painting
FALLING = .2  # chance that the intensity curve falls: bone dark, air bright


class Restoration(NamedTuple):
    """Both float32 (B, 1, k, j, i): what the network sees and what it shall give back."""

    corrupted: Tensor
    image: Tensor


class Restorative(nn.Module):
    """Encoder and its own output convolution; the loss is the mean squared error of the whole patch."""

    def __init__(self, encoder: DiffusionEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, corrupted: Tensor, image: Tensor) -> Tensor:
        return (self.encoder.velocity(self.encoder.features(corrupted)[0]).float() - image).square().mean()


class Restorations:
    """Numbered patches and their corrupted selves: a function of (seed, number) alone."""

    def __init__(self, patches: ImagePatches) -> None:
        self.patches = patches

    def batch(self, first: int, count: int) -> Restoration:
        """Patches first .. first + count - 1."""
        images = [self.patches.patch(number)[0] for number in range(first, first + count)]
        randoms = (np.random.default_rng((self.patches.seed, number, 1)) for number in range(first, first + count))
        corrupted = [torch.from_numpy(corrupt(image[0].numpy(), random))[None] for image, random in zip(images, randoms)]
        return Restoration(torch.stack(corrupted), torch.stack(images))


def corrupt(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy of the patch (k, j, i), model values, of which contrast, texture or parts are lost."""
    corrupted = curved(image, random) if random.random() < CURVED else image.copy()
    if random.random() < SHUFFLED:
        corrupted = shuffled(corrupted, random)
    if random.random() < PAINTED:
        corrupted = (inpainted if random.random() < INSIDE else outpainted)(corrupted, random)
    return corrupted.astype(np.float32)


def curved(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Intensities through a monotone cubic Bezier curve from (-1, -1) to (1, 1), sometimes falling instead."""
    points = np.vstack([[-1, -1], random.uniform(-1, 1, (2, 2)), [1, 1]])
    t = np.linspace(0, 1, 200)[:, None]
    weights = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t ** 2 * (1 - t), t ** 3])
    x, y = np.sort((weights @ points).T)
    return np.interp(image, x, y[::-1] if random.random() < FALLING else y)


def shuffled(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Voxels trade places inside half of the small blocks that tile the patch: texture goes, shapes stay."""
    block = random.integers(2, 6, 3)
    cells = np.array(image.shape) // block
    start = random.integers(0, np.array(image.shape) - cells * block + 1)
    region = tuple(slice(a, a + n) for a, n in zip(start, cells * block))
    split = [n for pair in zip(cells, block) for n in pair]
    blocks = image[region].reshape(split).transpose(0, 2, 4, 1, 3, 5).reshape(-1, block.prod())
    mixed = np.where(random.random((len(blocks), 1)) < .5, random.permuted(blocks, axis=1), blocks)
    result = image.copy()
    result[region] = mixed.reshape(*cells, *block).transpose(0, 3, 1, 4, 2, 5).reshape(cells * block)
    return result


def inpainted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One to five boxes, a sixth to a third of the patch's side, filled with noise."""
    result = image.copy()
    for box in _boxes(image.shape, 1 / 6, 1 / 3, random):
        result[box] = random.uniform(-1, 1, result[box].shape)
    return result


def outpainted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Noise but for the union of one to five boxes of three to four sevenths of the patch's side."""
    result = random.uniform(-1, 1, image.shape)
    for box in _boxes(image.shape, 3 / 7, 4 / 7, random):
        result[box] = image[box]
    return result


def _boxes(shape: tuple[int, ...], least: float, most: float, random: np.random.Generator) -> list[tuple[slice, ...]]:
    boxes = []
    for _ in range(random.integers(1, 6)):
        size = np.maximum(1, np.rint(np.array(shape) * random.uniform(least, most, 3)).astype(int))
        start = random.integers(0, np.array(shape) - size + 1)
        boxes.append(tuple(map(slice, start, start + size)))
    return boxes
