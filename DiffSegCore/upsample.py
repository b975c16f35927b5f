"""Logits on the model grid to labels on the native grid, without ever upsampling the logits.

The label of a native voxel is the argmax of eight trilinearly weighted logits. Where the eight corners of a model cell agree
on the largest channel, every point inside agrees too; only the other cells (a few per cent) are interpolated.
"""
from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .geometry import Geometry
from .linear import Taps, parallel_axes, taps
from .progress import Progress, silent

STAGE = "Labels on the scan's own grid"


def native_labels(logits: Tensor, model_geometry: Geometry, native_geometry: Geometry,
                  progress: Progress = silent) -> np.ndarray:
    """Channel index, uint8 (K, J, I) on the native grid, of logits (C, k, j, i) on the model grid; C <= 256.

    Equals the argmax (the first in a tie) of the logits interpolated in float32 along I, then J, then K, which is
    the order of torch's trilinear upsampling. Native voxels outside the model grid take its border.
    """
    index_map = native_geometry.index_map(model_geometry)
    labels = np.empty(native_geometry.shape, dtype=np.uint8)
    axes = parallel_axes(index_map, native_geometry.shape)
    if axes is None:
        _oblique(logits, index_map, labels, progress)
    else:
        positions = [index_map[to, axis] * np.arange(labels.shape[axis]) + index_map[to, 3] for axis, to in enumerate(axes)]
        stored = logits.permute(0, *(1 + axis for axis in axes))
        _parallel(stored, [taps(p, n, logits.device) for p, n in zip(positions, stored.shape[1:])], labels, progress)
    return labels


def _parallel(logits: Tensor, axes: list[Taps], labels: np.ndarray, progress: Progress) -> None:
    """Layer by layer of model cells: what lies in plane is interpolated once for all native planes of the layer."""
    along, rows, columns = axes
    winners = _winners(logits)
    mixed = mixed_cells(winners)
    layers = torch.unique(along.low).tolist()
    for done, low in enumerate(layers):
        progress(done / len(layers), STAGE)
        planes = (along.low == low).nonzero()[:, 0].tolist()
        plain = winners[low][rows.low][:, columns.low]
        unsure = mixed[low][rows.low][:, columns.low].flatten().nonzero()[:, 0]
        below, above = _ends(logits, low, rows, columns, unsure)
        for k in planes:
            plane = plain.flatten()
            plane[unsure] = largest_channel(blend(below, above, along.weight[k]))
            labels[k] = plane.view(plain.shape).cpu().numpy()


def _ends(logits: Tensor, low: int, rows: Tensor, columns: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (C, voxels) in plane, at the layer's lower and upper model plane, for flat native (J, I) indices."""
    j, i = at // len(columns.low), at % len(columns.low)
    width = logits.shape[3]
    in_rows = Taps(rows.low[j] * width, rows.high[j] * width, rows.weight[j])
    in_columns = Taps(*(part[i] for part in columns))
    high = min(low + 1, logits.shape[1] - 1)
    return tuple(bilinear(logits[:, k].float().flatten(1), in_rows, in_columns) for k in (low, high))


def _oblique(logits: Tensor, index_map: np.ndarray, labels: np.ndarray, progress: Progress) -> None:
    """Native plane by plane, every voxel with its own cell."""
    shape = logits.shape[1:]
    flat = logits.reshape(len(logits), -1)
    winners = _winners(logits)
    mixed = mixed_cells(winners).flatten()
    j, i = np.ogrid[:labels.shape[1], :labels.shape[2]]
    for k in range(len(labels)):
        progress(k / len(labels), STAGE)
        axes = [taps((row[0] * k + row[1] * j + row[2] * i + row[3]).ravel(), size, logits.device)
                for row, size in zip(index_map, shape)]
        cell = (axes[0].low * shape[1] + axes[1].low) * shape[2] + axes[2].low
        plane = winners.flatten()[cell]
        unsure = mixed[cell].nonzero()[:, 0]
        depth, rows, columns = (Taps(*(part[unsure] for part in axis)) for axis in axes)
        ends = [bilinear(flat, Taps((end * shape[1] + rows.low) * shape[2], (end * shape[1] + rows.high) * shape[2], rows.weight),
                         columns) for end in (depth.low, depth.high)]
        plane[unsure] = largest_channel(blend(*ends, depth.weight))
        labels[k] = plane.view(labels.shape[1:]).cpu().numpy()


def bilinear(flat: Tensor, rows: Taps, columns: Taps) -> Tensor:
    """(C, n) samples, row offsets and column indices (voxels,) -> (C, voxels): along the columns first."""
    low, high = (blend(_at(flat, row + columns.low), _at(flat, row + columns.high), columns.weight) for row in (rows.low, rows.high))
    return blend(low, high, rows.weight)


def blend(low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
    """(1 - weight) * low + weight * high with the sum fused into the first product, as torch's upsampling rounds it."""
    return (high * weight).addcmul_(low, 1 - weight)


def _at(flat: Tensor, index: Tensor) -> Tensor:
    return flat.index_select(1, index).float()  # six times faster than flat[:, index]


def largest_channel(logits: Tensor) -> Tensor:
    """uint8 argmax over the first axis, the first in a tie. torch.argmax over a short leading axis is not vectorised: this is faster."""
    best = logits[0].clone()
    result = torch.zeros(best.shape, dtype=torch.uint8, device=logits.device)
    for channel in range(1, len(logits)):
        result.masked_fill_(logits[channel] > best, channel)
        torch.maximum(best, logits[channel], out=best)
    return result


def _winners(logits: Tensor) -> Tensor:
    """largest_channel of logits in any memory layout, (C, k, j, i) to (k, j, i)."""
    return torch.stack([largest_channel(logits[:, k].contiguous()) for k in range(logits.shape[1])])


def mixed_cells(winners: Tensor) -> Tensor:
    """bool (k, j, i): whether the eight corners of the cell from this voxel upwards disagree; border cells repeat the border."""
    least, most = winners, winners
    for axis in range(3):
        size = winners.shape[axis]
        above = torch.arange(1, size + 1, device=winners.device).clamp_(max=size - 1)
        least = torch.minimum(least, least.index_select(axis, above))
        most = torch.maximum(most, most.index_select(axis, above))
    return least != most
