"""One linear resample from any grid to another, in slabs, without a float copy of the whole volume."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .geometry import Geometry
from .progress import Progress, silent

DRIFT = 1e-3           # voxels an axis may stray over the whole grid and still count as parallel
EDGE = 1e-6           # voxels of rounding granted to a position on the volume's edge
SLAB_VOXELS = 1 << 22  # voxels turned to float at a time: 16 MB


def resample(array: np.ndarray, native: Geometry, target: Geometry, *, outside: float = 0.0,
             progress: Progress = silent) -> torch.Tensor:
    """Values of `array` (K, J, I) on the voxel centres of `target`: float32, target.shape.

    Trilinear, after a mean over whole blocks of floor(target spacing / own spacing) voxels where that is two or
    more (otherwise the voxels between the target's would be skipped, and noise with them kept). Within half a
    voxel of the border the edge value holds; beyond it the result is `outside`.
    """
    index_map = target.index_map(native)
    if (native_of := parallel_axes(index_map, target.shape)) is None:
        return _oblique(array, native, target, outside, progress)
    matrices = []
    for axis in range(3):
        to = native_of.index(axis)
        positions = index_map[axis, to] * np.arange(target.shape[to]) + index_map[axis, 3]
        blocks = block_size(native.spacing[axis], target.spacing[to])
        matrices.append(axis_matrix(positions, native.shape[axis], blocks))
    stored = _apply(array, matrices, outside, progress)
    return stored.permute(native_of).contiguous()


def block_size(own_mm: float, wanted_mm: float) -> int:
    """How many whole voxels fit into one of the target: 1 where the target is not at least twice as coarse."""
    return max(1, int(wanted_mm / own_mm + 1e-3))


def axis_matrix(positions: np.ndarray, size: int, block: int) -> torch.Tensor:
    """Resampling along one axis as a matrix (positions, size): block mean, then linear; an all-zero row is outside."""
    means = block_matrix(size, block)
    at = np.clip(_in_blocks(positions, block), 0, len(means) - 1)
    low = np.minimum(at.astype(np.int64), max(len(means) - 2, 0))
    high = np.minimum(low + 1, len(means) - 1)
    matrix = means[low] * (1 - (at - low))[:, None] + means[high] * (at - low)[:, None]
    return torch.from_numpy((matrix * _inside(positions, size)[:, None]).astype(np.float32))


def block_matrix(size: int, block: int) -> np.ndarray:
    """(blocks, size): row b averages voxels b*block ... (b+1)*block - 1; the last repeats the border where they run out."""
    count = -(-size // block)
    matrix = np.zeros((count, size))
    np.add.at(matrix, (np.arange(count * block) // block, np.minimum(np.arange(count * block), size - 1)), 1 / block)
    return matrix


def _in_blocks(positions: Any, block: int) -> Any:
    """Block index of native positions: block b is centred at b*block + (block - 1)/2."""
    return (positions - (block - 1) / 2) / block


def _inside(positions: Any, size: int) -> Any:
    return (positions >= -0.5 - EDGE) & (positions <= size - 0.5 + EDGE)


def parallel_axes(index_map: np.ndarray, shape: tuple[int, ...]) -> list[int] | None:
    """For each axis of the target the native axis parallel to it, or None for an oblique pair of grids."""
    drift = np.abs(index_map[:3, :3]) * np.asarray(shape)
    native_of = [int(axis) for axis in np.abs(index_map[:3, :3]).argmax(axis=0)]
    if sorted(native_of) != [0, 1, 2]:
        return None
    drift[native_of, range(3)] = 0
    return native_of if drift.max() < DRIFT else None


def _apply(array: np.ndarray, matrices: list[torch.Tensor], outside: float, progress: Progress) -> torch.Tensor:
    """All three axis matrices in storage order: in plane slab by slab, then summed into the planes it touches."""
    along, rows, columns = matrices
    result = torch.zeros(len(along), len(rows) * len(columns))
    step = max(1, SLAB_VOXELS // max(1, array[0].size))
    for start in range(0, len(array), step):
        progress(start / len(array), "Resampling")
        weights = along[:, start:start + step]
        touched = weights.any(dim=1).nonzero()[:, 0]
        if len(touched):
            slab = _floats(array[start:start + step], np.float32, outside) - outside
            plane = _banded(columns, _banded(rows, slab).transpose(1, 2)).transpose(1, 2)
            result[touched] += weights[touched] @ plane.reshape(len(slab), -1)
    return result.add_(outside).view(len(along), len(rows), len(columns))


def _floats(part: np.ndarray, dtype: type, outside: float) -> torch.Tensor:
    """A float copy in which NaN and infinity, which a weight of zero would spread, are `outside`."""
    return torch.from_numpy(part.astype(dtype)).nan_to_num_(outside, outside, outside)


def _banded(matrix: torch.Tensor, slab: torch.Tensor, rows: int = 64) -> torch.Tensor:
    """matrix @ slab for every plane of the slab, in bands of rows, so that the zeros far from the diagonal cost nothing."""
    result = slab.new_zeros(slab.shape[0], len(matrix), slab.shape[2])
    for start in range(0, len(matrix), rows):
        band = matrix[start:start + rows]
        used = band.any(dim=0).nonzero()[:, 0]
        if len(used):
            first, last = int(used[0]), int(used[-1]) + 1
            result[:, start:start + rows] = band[:, first:last] @ slab[:, first:last]
    return result


def _oblique(array: np.ndarray, native: Geometry, target: Geometry, outside: float, progress: Progress) -> torch.Tensor:
    """Block means in storage order, then grid_sample on the part of them that each slab of the target sees.

    In float64: with float32 coordinates 512 voxels across an edge of 1000 HU moves by .1 HU.
    """
    index_map = target.index_map(native)
    blocks = [block_size(native.spacing[axis], target.spacing[int(np.abs(index_map[axis, :3]).argmax())])
              for axis in range(3)]
    means = _block_means(array, blocks, progress)
    result = torch.empty(target.shape)
    step = max(1, SLAB_VOXELS // 4 // (target.shape[1] * target.shape[2]))
    for start in range(0, target.shape[0], step):
        progress(start / target.shape[0], "Resampling")
        stop = min(start + step, target.shape[0])
        at = _positions(index_map, (start, stop), target.shape)
        result[start:stop] = _sampled(means, at, native.shape, blocks, outside)
    return result


def _block_means(array: np.ndarray, blocks: list[int], progress: Progress) -> np.ndarray:
    if blocks == [1, 1, 1]:
        return array
    matrices = [torch.from_numpy(block_matrix(size, block).astype(np.float32)) for size, block in zip(array.shape, blocks)]
    return _apply(array, matrices, 0.0, progress).numpy()


def _positions(index_map: np.ndarray, planes: tuple[int, int], shape: tuple[int, ...]) -> torch.Tensor:
    """Native kji, float64 (3, planes, J, I), of the target's voxels in these planes."""
    k, j, i = (torch.arange(*span, dtype=torch.float64) for span in (planes, (0, shape[1]), (0, shape[2])))
    rows = torch.from_numpy(np.array(index_map[:3]))
    return torch.stack([row[0] * k[:, None, None] + row[1] * j[:, None] + row[2] * i + row[3] for row in rows])


def _sampled(means: np.ndarray, at: torch.Tensor, size: tuple[int, ...], blocks: list[int],
             outside: float) -> torch.Tensor:
    """Trilinear values at native positions `at` (3, k, j, i) from the block means of a volume of that size."""
    inside = _inside(at[0], size[0]) & _inside(at[1], size[1]) & _inside(at[2], size[2])
    if not inside.any():
        return torch.full(at.shape[1:], outside)
    local, grid = [], []
    for axis, block in enumerate(blocks):
        index = _in_blocks(at[axis], block).clamp(0, means.shape[axis] - 1)
        first, last = int(index[inside].min()), int(index[inside].max()) + 2
        local.append(slice(first, last))
        extent = min(last, means.shape[axis]) - first - 1
        grid.append((index - first) * (2 / max(extent, 1)) - 1)
    part = _floats(means[tuple(local)], np.float64, outside)[None, None]
    values = F.grid_sample(part, torch.stack(grid[::-1], dim=-1)[None], mode="bilinear",
                           padding_mode="border", align_corners=True)[0, 0]
    return torch.where(inside, values, outside).float()
