"""What a denoiser learns from: noisy patches of unlabelled volumes, and where in the body they lie. All a function of (seed, number)."""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.cache import GridCase
from ..data.patches import AIR, Augmentation, Patches, look_up
from ..diffusion import GaussianDiffusion, draw_times, linear_logsnr, logsnr, pretraining_weights
from ..networks.denoiser import CLEAN
from .probe_patches import coordinates_at

TURNED = Augmentation(rotation=12., scale=.12, shear=0., mirror=False)  # right stays right, and HU stay HU: generated ones are held against real ones
GOLDEN = .6180339887498949  # multiples of it, less their whole part, spread evenly however many there are


class Scan(NamedTuple):
    """A volume and its body coordinates, float16 (3, k/4, j/4, i/4), None where they are not needed."""

    case: GridCase
    body: np.ndarray | None

    @property
    def image(self) -> np.ndarray:
        return self.case.image


class NoisyBatch(NamedTuple):
    """noisy, velocity (B, 1, k, j, i); log_snr (B,); body coordinates (B, 3, k/4, j/4, i/4), NaN where untold or unasked."""

    noisy: Tensor
    velocity: Tensor
    log_snr: Tensor
    told: Tensor
    asked: Tensor


class ImagePatches(Patches):
    """Patches of unlabelled volumes, each place as likely as another; `turned` is the share that is rotated and stretched.

    The others are cut between the voxels' own borders: interpolation blurs, and a denoiser would learn to blur.
    voxels: of every scan, so that none needs opening to be weighed against the others.
    """

    def __init__(self, scans: Sequence[Scan], voxels: Sequence[int], size: tuple[int, int, int], *, turned: float = .5, seed: int = 0) -> None:
        super().__init__(scans, 0, size, augmentation=TURNED, seed=seed)
        self.turned = turned
        self._edges = np.cumsum(np.maximum(voxels, np.prod(size)), dtype=np.float64)

    def patch(self, number: int) -> tuple[Tensor, Tensor]:
        """Image (1, k, j, i) and body coordinates (3, k/4, j/4, i/4), NaN where unknown."""
        random = np.random.default_rng((self.seed, number))
        scan = self.cases[int(np.searchsorted(self._edges, random.random() * self._edges[-1], side="right"))]
        room = np.array(scan.image.shape) - self.size
        corner = np.where(room > 0, random.integers(0, np.maximum(room, 0) + 1), room // 2)
        centre = corner + (np.array(self.size) - 1) / 2
        turned = random.random() < self.turned
        points = torch.from_numpy(self._points(scan.case, centre, False, random) if turned else self._straight(corner))
        return look_up(scan.image, points, "bilinear", AIR), coordinates_at(scan.body, points)

    def _straight(self, corner: np.ndarray) -> np.ndarray:
        axes = [np.arange(n) + first for n, first in zip(self.size, corner)]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


class NoisyPatches:
    """Numbered patches with noise: batch(first, count) is the training's `batch_of`.

    guidance: as of GuidedDenoiser; dropped: the share of patches that are not told where they lie, and asked instead;
    near: the share of small noise levels.
    """

    def __init__(self, patches: ImagePatches, guidance: str, dropped: float, seed: int, near: float = .75) -> None:
        self.patches, self.seed = patches, seed
        self.dropped = dropped if guidance in ("input", "both") else 1.
        self.diffusion = chain()
        self._weights = pretraining_weights(self.diffusion.keep, inside=near)
        self._log_snr = logsnr(self.diffusion.keep).float()

    def batch(self, first: int, count: int) -> NoisyBatch:
        """Patches first .. first + count - 1, stacked."""
        return NoisyBatch(*(torch.stack(parts) for parts in zip(*map(self._one, range(first, first + count)))))

    def _one(self, number: int) -> tuple[Tensor, ...]:
        image, body = self.patches.patch(number)
        random = np.random.default_rng((self.seed, number, 1))
        noise = torch.from_numpy(random.standard_normal(image.shape, dtype=np.float32))
        t = draw_times(self._weights, torch.tensor([(number + 1) * GOLDEN % 1.]))[0]
        unknown, dropped = torch.full_like(body, float("nan")), random.random() < self.dropped
        told, asked = (unknown, body) if dropped else (body, unknown)
        return self.diffusion.noisy(image, noise, t), self.diffusion.velocity(image, noise, t), self._log_snr[t], told, asked


def chain() -> GaussianDiffusion:
    """The chain of every pretraining: 1000 levels, logSNR from 10 to -10."""
    return GaussianDiffusion(linear_logsnr(1000, highest=CLEAN, lowest=-CLEAN))
