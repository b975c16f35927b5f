"""Contrastive voxel embeddings in the manner of vox2vec (Goncharov et al., MICCAI 2023, arXiv 2307.14725).

The same voxel seen in two augmented, overlapping views shall be embedded alike, and unlike all other voxels of the batch.
A voxel's vector is read from every level of the pyramid at its place, so no level is left without a signal.
"""
from __future__ import annotations

from typing import NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...data.patches import AIR, look_up
from ...errors import BadInput
from ...networks import DiffusionEncoder
from ..pretrain_patches import ImagePatches, Scan

TEMPERATURE = .1
BODY = -.8  # model value below which a voxel is air: two voxels of air are no negatives


class Pair(NamedTuple):
    """Two views float32 (B, 1, k, j, i), and the same n places in both, int64 (B, n, 3) voxel indices."""

    first: Tensor
    second: Tensor
    at_first: Tensor
    at_second: Tensor


class Contrastive(nn.Module):
    """Encoder and projection; the loss is InfoNCE over the batch's voxels in both directions."""

    def __init__(self, encoder: DiffusionEncoder, width: int = 128) -> None:
        super().__init__()
        self.encoder = encoder
        sizes = (sum(encoder.widths), 2 * width, 2 * width)
        layers = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.LayerNorm(b), nn.ReLU())]
        self.project = nn.Sequential(*layers, nn.Linear(sizes[-1], width))

    def forward(self, first: Tensor, second: Tensor, at_first: Tensor, at_second: Tensor) -> Tensor:
        pyramid = self.encoder.features(torch.cat([first, second]))
        vectors = self.project(read_at(pyramid, torch.cat([at_first, at_second])))
        return info_nce(*vectors.float().flatten(0, 1).chunk(2))


def read_at(pyramid: Sequence[Tensor], places: Tensor) -> Tensor:
    """Vectors (B, n, sum of widths) of the voxels at `places` (B, n, 3): every level's cell that holds the voxel."""
    batch = torch.arange(len(places), device=places.device)[:, None]
    return torch.cat([level[(batch, slice(None), *(places >> n).unbind(-1))] for n, level in enumerate(pyramid)], dim=-1)


def info_nce(first: Tensor, second: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean cross-entropy of finding each vector's partner among all others of both views; first and second (n, width)."""
    vectors = F.normalize(torch.cat([first, second]), dim=1)
    alike = vectors @ vectors.T / temperature
    alike.fill_diagonal_(float("-inf"))
    partner = torch.arange(len(vectors), device=vectors.device).roll(len(first))
    return F.cross_entropy(alike, partner)


class Views:
    """Numbered pairs of overlapping views, each turned, stretched and shaded in its own way: a function of (seed, number) alone."""

    places = 512  # pairs of voxels

    def __init__(self, patches: ImagePatches) -> None:
        self.patches, self.size = patches, np.array(patches.size)

    def batch(self, first: int, count: int) -> Pair:
        """As many windows as `count` patches have: pairs first / 2 .. (first + count) / 2 - 1. BadInput for an odd number of patches."""
        if first % 2 or count % 2:
            raise BadInput(f"contrastive pretraining compares pairs of views, so each process needs an even number of patches, not {count}; "
                           "use fewer processes or a larger batch")
        pairs = [self.pair(number) for number in range(first // 2, (first + count) // 2)]
        return Pair(*(torch.stack(parts) for parts in zip(*pairs)))

    def pair(self, number: int) -> Pair:
        """The pair with this number, without a batch axis."""
        random = np.random.default_rng((self.patches.seed, number, 2))
        scan, centre = self._somewhere(random)
        centres = centre + random.uniform(-1, 1, (2, 3)) * self.size / 6
        points = [torch.from_numpy(self.patches._points(scan.case, each, False, random)) for each in centres]
        clear = [look_up(scan.image, each, "bilinear", AIR) for each in points]
        at_first, at_second = self._shared(points, clear[0][0].numpy() > BODY, random)
        return Pair(*(self.patches._shaded(image, random) for image in clear), at_first, at_second)

    def _somewhere(self, random: np.random.Generator) -> tuple[Scan, np.ndarray]:
        """A volume, and the middle of a window in it, each place as likely as another."""
        edges = self.patches._edges
        scan = self.patches.cases[int(np.searchsorted(edges, random.random() * edges[-1], side="right"))]
        half = np.minimum(self.size, scan.image.shape) / 2
        return scan, random.uniform(half, scan.image.shape - half) - .5

    def _shared(self, points: Sequence[Tensor], body: np.ndarray, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same places in both views, inside the body where there is any of it."""
        here = np.argwhere(np.ones(self.size, bool))
        there = _indices(points[1].numpy(), points[0].numpy().reshape(-1, 3))
        seen = np.all((there >= -.5) & (there < self.size - .5), axis=1)
        among = np.flatnonzero(seen & body.ravel())
        among = among if len(among) else np.flatnonzero(seen)
        chosen = random.choice(among, self.places, replace=len(among) < self.places)
        return torch.from_numpy(here[chosen]), torch.from_numpy(np.rint(there[chosen]).astype(np.int64))


def _indices(points: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Continuous voxel indices (n, 3) in a view whose voxels lie at `points` (k, j, i, 3), of places `wanted` (n, 3) of the case."""
    corner = points[0, 0, 0]
    steps = np.stack([points[1, 0, 0] - corner, points[0, 1, 0] - corner, points[0, 0, 1] - corner], axis=1)
    return (wanted - corner) @ np.linalg.inv(steps).T
