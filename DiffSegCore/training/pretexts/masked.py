"""Masked autoencoding for a convolutional encoder: cubes are hidden, and only they are to be guessed (He et al., arXiv 2111.06377;
with the mask kept in the input as in SimMIM, Xie et al., arXiv 2111.09886, because a convolution needs every voxel)."""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ...networks import DiffusionEncoder
from ..pretrain_patches import ImagePatches


class Hidden(NamedTuple):
    """image float32 (B, 1, k, j, i); mask bool alike, True where it is hidden."""

    image: Tensor
    mask: Tensor


class Masked(nn.Module):
    """Hidden voxels show one learnt value; the loss is the mean squared error of the hidden voxels alone."""

    def __init__(self, encoder: DiffusionEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.token = nn.Parameter(torch.zeros(1))

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        guess = self.encoder.velocity(self.encoder.features(torch.where(mask, self.token.to(image), image))[0])
        return ((guess.float() - image).square() * mask).sum() / mask.sum().clamp(min=1)


class HiddenPatches:
    """Numbered patches with `share` of their cubes of `side` voxels hidden: a function of (seed, number) alone."""

    def __init__(self, patches: ImagePatches, *, side: int = 8, share: float = .6) -> None:
        self.patches, self.side, self.share = patches, side, share

    def batch(self, first: int, count: int) -> Hidden:
        """Patches first .. first + count - 1."""
        images = torch.stack([self.patches.patch(number)[0] for number in range(first, first + count)])
        randoms = (np.random.default_rng((self.patches.seed, number, 1)) for number in range(first, first + count))
        masks = [torch.from_numpy(cube_mask(images.shape[2:], self.side, self.share, random)) for random in randoms]
        return Hidden(images, torch.stack(masks)[:, None])


def cube_mask(shape: Sequence[int], side: int, share: float, random: np.random.Generator) -> np.ndarray:
    """bool (k, j, i): exactly `share` (rounded) of the cubes that tile the patch are True; cubes at the far edges may be cut."""
    cells = [-(-n // side) for n in shape]
    chosen = random.permutation(np.arange(np.prod(cells)) < round(share * np.prod(cells))).reshape(cells)
    for axis in range(3):
        chosen = chosen.repeat(side, axis)
    return np.ascontiguousarray(chosen[tuple(map(slice, shape))])
