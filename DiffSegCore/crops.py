"""What the click model looks at: a cube of isotropic voxels along R, A and S, cut from a volume of any grid.

Voxel centres lie on whole multiples of the spacing in RAS, so crops round near clicks share their voxels, and with them the noise.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from .geometry import Box, Geometry
from .linear import parallel_axes
from .preprocess import Preprocessing
from .resample import block_size, resample
from .volume import Volume

SPACINGS_MM = (1., 1.5, 2., 3., 4., 6., 8.)
IMAGE_CHANNELS = 2
SAMPLED = 1 << 20  # voxels looked at for the percentiles of a volume
CLEARLY_HU = -200.  # no other image without a stated modality goes below


@dataclass(frozen=True)
class ImageRange:
    """How intensities become values of the first channel: by the model's knots for CT, else from `low` to `high`."""

    low: float
    high: float
    hounsfield: bool

    @classmethod
    def of(cls, volume: Volume) -> ImageRange:
        """The .5th and 99.5th percentile. Without a stated modality, values as low as only air in a CT make it one."""
        flat = volume.array.reshape(-1)
        some = flat[::max(1, flat.size // SAMPLED)].astype(np.float32)
        low, high = np.percentile(some[np.isfinite(some)], [.5, 99.5]) if np.isfinite(some).any() else (0., 1.)
        return cls(float(low), float(max(high, low + 1e-6)), volume.modality == "CT" or not volume.modality and low < CLEARLY_HU)


def crop_grid(native: Geometry, centre_ras: Sequence[float], spacing_mm: float, window: Sequence[int]) -> Geometry:
    """The crop of `window` (k, j, i) voxels whose middle is nearest to `centre_ras`, without leaving the volume where it fits into it."""
    low, high = ras_span(native, room=0)
    size = np.array(window[::-1])
    start, first, last = (np.floor(np.asarray(at) / spacing_mm + .5) for at in (centre_ras, low, high))
    start = start - size // 2
    room = last - first + 1 - size
    start = np.where(room >= 0, start.clip(first, first + room.clip(0)), first + np.ceil(room / 2))
    matrix = np.diag([spacing_mm] * 3 + [1.])
    matrix[:3, 3] = start * spacing_mm
    return Geometry(tuple(window), matrix)


def lattice_index(grid: Geometry) -> tuple[int, int, int]:
    """Where the first voxel (k, j, i) of a crop lies on the lattice of its spacing: what its noise is keyed by."""
    at = np.array(grid.origin)[::-1] / grid.spacing
    return tuple(np.floor(at + .5).astype(int).tolist())


def crop_image(volume: Volume, grid: Geometry, values: ImageRange, preprocessing: Preprocessing) -> Tensor:
    """float32 (2, k, j, i), -1..1, what lies outside the volume -1: values that mean the same in every crop, and the crop's own contrast.

    The second channel spreads the 5th..95th percentile of the crop's middle, half as wide as the crop.
    """
    outside = preprocessing.air if values.hounsfield else values.low
    intensity = _resampled(volume.array, volume.geometry, grid, outside)
    middle = intensity[tuple(slice(n // 4, n - n // 4) for n in grid.shape)].flatten()
    low, high = (float(np.percentile(middle.numpy(), at)) for at in (5, 95))
    plain = preprocessing.values(intensity) if values.hounsfield else _spread(intensity, values.low, values.high)
    return torch.stack([plain, _spread(intensity, low, high)])


def crop_mask(mask: np.ndarray, native: Geometry, grid: Geometry) -> Tensor:
    """The share (k, j, i), 0..1, of each voxel of the grid that a bool mask (K, J, I) covers."""
    return _resampled(mask, native, grid, 0.)


def paste(pi: Tensor, grid: Geometry, native: Geometry, box: Box) -> Tensor:
    """Chances pi (k, j, i) of a crop on the voxels of `box` of the volume, float32 box.shape; 0 outside the crop."""
    return resample(pi.cpu().numpy(), grid, native.crop(box))


def reached(grid: Geometry, native: Geometry) -> Box:
    """The voxels of the volume whose centres a crop covers; empty where they miss each other."""
    at = _corners_in(grid, native)
    return Box(tuple(np.ceil(at.min(0) - 1e-6)), tuple(np.floor(at.max(0) + 1e-6) + 1)).clip(native.shape)


def ras_span(geometry: Geometry, box: Box | None = None, room: float = .5) -> np.ndarray:
    """Lowest and highest RAS (2, 3) of a box of voxels, of all by default: of their edges, or of their centres with room 0."""
    ras = geometry.to_ras(_corners(box or Box.whole(geometry.shape), room))
    return np.stack([ras.min(0), ras.max(0)])


def seen(native: Geometry, grid: Geometry) -> Box:
    """The part of a volume from which `resample` onto the grid gives what it would give from all of it."""
    blocks = np.array([block_size(mm, grid.spacing[0]) for mm in native.spacing])
    at = _corners_in(grid, native)
    first = _first_blocks(native, grid, blocks)
    start = first + np.floor((at.min(0) - 1 - first) / blocks - 1) * blocks
    stop = first + np.ceil((at.max(0) + 2 - first) / blocks + 1) * blocks
    return Box(tuple(start), tuple(stop)).clip(native.shape)


def _resampled(array: np.ndarray, native: Geometry, grid: Geometry, outside: float) -> Tensor:
    """`resample`, of no more of the volume than the crop needs."""
    part = seen(native, grid)
    if part.is_empty:
        return torch.full(grid.shape, outside)
    return resample(array[part.slices], native.crop(part), grid, outside=outside)


def _first_blocks(native: Geometry, grid: Geometry, blocks: np.ndarray) -> np.ndarray:
    """A voxel (K, J, I) at which a block begins: `resample` counts blocks from the far end of axes that run the other way."""
    index_map = grid.index_map(native)
    native_of = parallel_axes(index_map, grid.shape)
    if native_of is None:
        return np.zeros(3)
    back = [index_map[axis, native_of.index(axis)] < 0 for axis in range(3)]
    return np.where(back, np.array(native.shape) % blocks, 0)


def _corners_in(grid: Geometry, native: Geometry) -> np.ndarray:
    """The corners (8, 3) of a grid, its voxels' edges included, in continuous kji of another."""
    return native.to_index(grid.to_ras(_corners(Box.whole(grid.shape), .5)))


def _corners(box: Box, room: float) -> np.ndarray:
    ends = ((a - room, b - 1 + room) for a, b in zip(box.start, box.stop))
    return np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, 3)


def _spread(intensity: Tensor, low: float, high: float) -> Tensor:
    return ((intensity - low) * (2 / max(high - low, 1e-6)) - 1).clamp_(-1, 1)
