"""One linear resample from any grid to another, in slabs, without a float copy of the whole volume."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Geometry
from .linear import Taps, parallel_axes, taps
from .progress import Progress, silent

EDGE = 1e-6             # voxels of rounding granted to a position on the volume's edge
SLAB_VOXELS = 1 << 19   # voxels turned to float at a time: 2 MB; larger ones leave the cache (1.6 times slower at 16 MB)


def resample(array: np.ndarray, native: Geometry, target: Geometry, *, outside: float = 0.0,
             progress: Progress = silent) -> Tensor:
    """Values of `array` (K, J, I) on the voxel centres of `target`: float32, target.shape.

    Trilinear, after a mean over whole blocks of floor(target spacing / own spacing) voxels where that is two or
    more (otherwise the voxels between the target's would be skipped, and noise with them kept). Within half a
    voxel of the border the edge value holds; beyond it the result is `outside`.
    """
    index_map = target.index_map(native)
    if (native_of := parallel_axes(index_map, target.shape)) is None:
        return _oblique(array, native, target, outside, progress)
    axes, beyond = [], []
    for axis in range(3):
        to = native_of.index(axis)
        positions = index_map[axis, to] * np.arange(target.shape[to]) + index_map[axis, 3]
        block = block_size(native.spacing[axis], target.spacing[to])
        if index_map[axis, to] < 0 and native.shape[axis] % block:  # blocks begin on the same side of the patient however it is stored
            array, positions = np.flip(array, axis), native.shape[axis] - 1 - positions
        axes.append(Axis.at(positions, native.shape[axis], block))
        beyond.append(torch.from_numpy(~_inside(positions, native.shape[axis])).nonzero()[:, 0])
    stored = _separable(array, axes, outside, progress)
    for axis, where in enumerate(beyond):
        stored.index_fill_(axis, where, outside)
    return stored.permute(native_of).contiguous()


def block_size(own_mm: float, wanted_mm: float) -> int:
    """How many whole voxels fit into one of the target: 1 where the target is not at least twice as coarse."""
    return max(1, int(wanted_mm / own_mm + 1e-3))


@dataclass(frozen=True)
class Axis:
    """Resampling along one axis of `size` samples: means of blocks, then linear between them.

    Block b averages samples b*block ... (b+1)*block - 1; the last repeats the border sample where they run out.
    """

    size: int
    block: int
    taps: Taps

    @classmethod
    def at(cls, positions: np.ndarray, size: int, block: int) -> Axis:
        return cls(size, block, taps(_in_blocks(positions, block), -(-size // block)))

    def along(self, x: Tensor, dim: int) -> Tensor:
        x = self.blocks(x, dim)
        weight = self.taps.weight.view([-1 if axis == dim else 1 for axis in range(x.ndim)])
        return torch.lerp(x.index_select(dim, self.taps.low), x.index_select(dim, self.taps.high), weight)

    def matrix(self) -> Tensor:
        """The same as a matrix, (positions, size)."""
        return self.along(torch.eye(self.size), 0)

    def between_blocks(self) -> Axis:
        """What is left to do when the blocks have been averaged."""
        return Axis(-(-self.size // self.block), 1, self.taps)

    def blocks(self, x: Tensor, dim: int) -> Tensor:
        """Means of the blocks along `dim`, of the whole axis or of a part that begins with a block and ends with one or with the border."""
        if self.block == 1:
            return x
        whole, rest = divmod(x.shape[dim], self.block)
        first = [slice(None)] * dim
        mean = x[(*first, slice(0, whole * self.block, self.block))].clone()
        for offset in range(1, self.block):
            mean += x[(*first, slice(offset, whole * self.block, self.block))]
        if rest:
            last, border = x.narrow(dim, whole * self.block, rest), x.narrow(dim, x.shape[dim] - 1, 1)
            mean = torch.cat([mean, last.sum(dim, keepdim=True) + border * (self.block - rest)], dim)
        return mean.div_(self.block)


def _in_blocks(positions: Any, block: int) -> Any:
    """Block index of native positions: block b is centred at b*block + (block - 1)/2."""
    return (positions - (block - 1) / 2) / block


def _inside(positions: Any, size: int) -> Any:
    return (positions >= -0.5 - EDGE) & (positions <= size - 0.5 + EDGE)


def _separable(array: np.ndarray, axes: list[Axis], outside: float, progress: Progress) -> Tensor:
    """All three axes in storage order: each slab in plane, then summed into the planes it touches."""
    along, rows, columns = axes
    weights, shape = along.between_blocks().matrix(), [len(axis.taps.low) for axis in axes]
    result = torch.zeros(shape[0], shape[1] * shape[2])
    step = along.block * max(1, SLAB_VOXELS // array[0].size)  # whole blocks, averaged first: the rest has less to do
    for start in range(0, len(array), step):
        progress(start / len(array), "Resampling")
        slab = along.blocks(_floats(array[start:start + step], np.float32, outside), 0)
        here = weights[:, start // along.block:start // along.block + len(slab)]
        touched = here.any(dim=1).nonzero()[:, 0]
        if len(touched):
            into = slice(int(touched[0]), int(touched[-1]) + 1)
            plane = columns.along(rows.along(slab, 1), 2)
            result[into].addmm_(here[into], plane.view(len(slab), -1))
    return result.view(shape)


def _floats(part: np.ndarray, dtype: type, outside: float) -> Tensor:
    """A float copy in which NaN and infinity, which a weight of zero would spread, are `outside`."""
    floats = torch.from_numpy(part.astype(dtype))
    return floats.nan_to_num_(outside, outside, outside) if part.dtype.kind == "f" else floats


def _oblique(array: np.ndarray, native: Geometry, target: Geometry, outside: float, progress: Progress) -> Tensor:
    """Block means in storage order, then grid_sample on the part of them that each slab of the target sees.

    In float64: with float32 coordinates 512 voxels across an edge of 1000 HU moves by .1 HU.
    """
    index_map = target.index_map(native)
    blocks = [block_size(native.spacing[axis], target.spacing[int(np.abs(index_map[axis, :3]).argmax())])
              for axis in range(3)]
    means = _block_means(array, blocks, outside, progress)
    result = torch.empty(target.shape)
    step = max(1, 2 * SLAB_VOXELS // (target.shape[1] * target.shape[2]))
    for start in range(0, target.shape[0], step):
        progress(start / target.shape[0], "Resampling")
        stop = min(start + step, target.shape[0])
        at = _positions(index_map, (start, stop), target.shape)
        result[start:stop] = _sampled(means, at, native.shape, blocks, outside)
    return result


def _block_means(array: np.ndarray, blocks: list[int], outside: float, progress: Progress) -> np.ndarray:
    if blocks == [1, 1, 1]:
        return array
    centres = [np.arange(-(-size // block)) * block + (block - 1) / 2 for size, block in zip(array.shape, blocks)]
    axes = [Axis.at(*one) for one in zip(centres, array.shape, blocks)]
    return _separable(array, axes, outside, progress).numpy()


def _positions(index_map: np.ndarray, planes: tuple[int, int], shape: tuple[int, ...]) -> Tensor:
    """Native kji, float64 (3, planes, J, I), of the target's voxels in these planes."""
    k, j, i = (torch.arange(*span, dtype=torch.float64) for span in (planes, (0, shape[1]), (0, shape[2])))
    rows = torch.from_numpy(np.array(index_map[:3]))
    return torch.stack([row[0] * k[:, None, None] + row[1] * j[:, None] + row[2] * i + row[3] for row in rows])


def _sampled(means: np.ndarray, at: Tensor, size: tuple[int, ...], blocks: list[int], outside: float) -> Tensor:
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
