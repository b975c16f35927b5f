"""Where a prior may be wrong, and the windows that look there."""
from __future__ import annotations

from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Box
from .windows import plan_windows

REACH_MM = 8.  # from an outline: twice a voxel of a coarse CT, and about the HD95 of a fair segmentation
UNSURE = .02  # chance that the likeliest label is not the true one


def doubtful(prior: Tensor, spacing_mm: Sequence[float], *, reach_mm: float = REACH_MM, unsure: float = UNSURE) -> Tensor:
    """bool (K, J, I): unsure voxels, and those within reach_mm (along each axis) of an outline; prior (1 or K labels, K, J, I), chances."""
    chances = prior if len(prior) > 1 else torch.cat([1 - prior, prior])
    best, labels = chances.max(0)
    near = _outline(labels)[None, None].float()
    reach = [int(reach_mm / mm) for mm in spacing_mm]
    for axis, n in enumerate(reach):
        kernel, padding = ([2 * n + 1 if a == axis else 1 for a in range(3)], [n if a == axis else 0 for a in range(3)])
        near = F.max_pool3d(near, kernel, stride=1, padding=padding)
    return (near[0, 0] > 0) | (best < 1 - unsure)


def windows_over(region: Tensor, window: Sequence[int], overlap: float = .25) -> list[Box]:
    """The windows that `region` (K, J, I) needs, of those that would cover the whole image; they may reach over its edges.

    Each window answers for its middle; the middles tile the image. So which windows are asked never depends on what lies
    far away, and every voxel of the region is seen with some surroundings.
    """
    windows = plan_windows(Box.whole(region.shape), window, region.shape, overlap)
    ends = [_middles(sorted({each.start[axis] for each in windows}), size, n)
            for axis, (size, n) in enumerate(zip(window, region.shape))]
    wanted = []
    for each in windows:
        low, high = zip(*(ends[axis][each.start[axis]] for axis in range(3)))
        if bool(region[Box(low, high).slices].any()):
            wanted.append(each)
    return wanted


def spanned(windows: Sequence[Box]) -> Box:
    """The box round them all."""
    return Box(tuple(map(min, zip(*(each.start for each in windows)))), tuple(map(max, zip(*(each.stop for each in windows)))))


def _outline(labels: Tensor) -> Tensor:
    """Voxels with a neighbour, along an axis, of another label."""
    edge = torch.zeros_like(labels, dtype=torch.bool)
    for axis in range(3):
        n = labels.shape[axis]
        if n > 1:
            differs = labels.narrow(axis, 1, n - 1) != labels.narrow(axis, 0, n - 1)
            edge.narrow(axis, 1, n - 1).logical_or_(differs)
            edge.narrow(axis, 0, n - 1).logical_or_(differs)
    return edge


def _middles(starts: Sequence[int], size: int, length: int) -> dict[int, tuple[int, int]]:
    """start -> the stretch of an axis that its window answers for: up to halfway into the overlap with the next."""
    borders = [0, *((before + size + after) // 2 for before, after in zip(starts, starts[1:])), length]
    return {start: (low, high) for start, low, high in zip(starts, borders, borders[1:])}
