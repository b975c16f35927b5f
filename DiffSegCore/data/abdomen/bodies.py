"""A labelled body without an image: its structures on a regular grid, and how deep each place lies in its trunk."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

import numpy as np
from scipy import ndimage

from ...errors import BadInput
from ...geometry import Geometry
from ...volume import LabelMap

FINE_MM, COARSE_MM = 2., 8.
ROOM_MM = 96.  # round the labels: skin and fat lie outside all of them
DIRECTIONS = 64
NOT_TRUNK = ("humerus", "scapula", "clavicula", "skull", "brain")
MIDDLE = ("liver", "spleen", "kidney_right", "kidney_left", "pancreas")  # what an abdominal scan is about


@dataclass(frozen=True, eq=False)
class Body:
    """ids uint8 (K, J, I) every 2 mm, axes to S, A and R; names: of the ids.

    depth float32 (k, j, i), mm inside the hull of the labelled trunk (negative outside), and front (-1 back .. 1 front): every 8 mm,
    the first voxels of both grids centred on the same place. heights_mm: lowest and highest slice (mm above the grid's first) of the
    organs that a scan of the abdomen is about.
    """

    ids: np.ndarray
    names: Mapping[int, str]
    depth: np.ndarray
    front: np.ndarray
    heights_mm: tuple[float, float]

    @classmethod
    def of(cls, labels: LabelMap, names: Mapping[int, str]) -> Body:
        """From a label map of any grid. BadInput where it holds none of the upper abdomen's organs, or label values above 255."""
        if labels.ids.max() > 255:
            raise BadInput(f"the label map has the value {labels.ids.max()}: images are imagined from labels of 1 to 255")
        ids = _arms_off(_regular(labels), names)
        wanted = [value for value, name in names.items() if name in MIDDLE]
        layers = np.flatnonzero(np.isin(ids, wanted).any((1, 2)))
        if not len(layers):
            raise BadInput(f"the label map holds none of {', '.join(MIDDLE)}: images are imagined from labelled abdomens")
        room = round(ROOM_MM / FINE_MM)
        ids = np.pad(ids, ((0, 0), (room, room), (room, room)))
        depth, front = _depth(ids)
        return cls(ids, dict(names), depth, front, (float(layers[0]) * FINE_MM, float(layers[-1]) * FINE_MM))


def _regular(labels: LabelMap) -> np.ndarray:
    """The nearest voxel's id on axes to S, A and R."""
    grid = labels.geometry.resampled((FINE_MM,) * 3)
    planes = []
    for k in range(grid.shape[0]):
        kji = np.stack(np.meshgrid([k], *map(np.arange, grid.shape[1:]), indexing="ij"), -1)
        planes.append(_nearest(labels.ids, labels.geometry.to_index(grid.to_ras(kji)))[0])
    return np.stack(planes).astype(np.uint8)


def _nearest(ids: np.ndarray, at: np.ndarray) -> np.ndarray:
    at = np.floor(at + .5).astype(int)
    inside = ((at >= 0) & (at < ids.shape)).all(-1)
    found = np.zeros(at.shape[:-1], ids.dtype)
    found[inside] = ids[tuple(at[inside].T)]
    return found


def _arms_off(ids: np.ndarray, names: Mapping[int, str]) -> np.ndarray:
    """Arms are raised in scans of the abdomen."""
    off = [value for value, name in names.items() if name.startswith(NOT_TRUNK)]
    return np.where(np.isin(ids, off), 0, ids).astype(np.uint8)


def _depth(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each slice's convex hull, as the support function of its labelled voxels, smooth from slice to slice."""
    step = round(COARSE_MM / FINE_MM)
    coarse = ids[::step, ::step, ::step]
    shape = np.array(coarse.shape)
    angle = np.linspace(0, 2 * np.pi, DIRECTIONS, endpoint=False)
    ways = np.stack([np.sin(angle), np.cos(angle)])  # (2, directions): J, I
    reach = _filled(np.stack([_support(ids[k * step:k * step + 1, ::2, ::2].any(0), ways) for k in range(shape[0])]))
    reach = ndimage.gaussian_filter1d(reach, 1.5, axis=0, mode="nearest")
    plane = np.stack(np.meshgrid(*(np.arange(n) * COARSE_MM for n in shape[1:]), indexing="ij"), -1)
    depth = (reach[:, None, None] - (plane @ ways)[None]).min(-1)
    middle = (reach[:, DIRECTIONS // 4] - reach[:, 3 * DIRECTIONS // 4]) / 2  # between the support to the front and to the back
    half = (reach[:, DIRECTIONS // 4] + reach[:, 3 * DIRECTIONS // 4]) / 2
    front = (plane[None, ..., 0] - middle[:, None, None]) / np.maximum(half, 1)[:, None, None]
    return depth.astype(np.float32), front.clip(-1.5, 1.5).astype(np.float32)


def _support(mask: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """How far (mm) a slice's labels, every 4 mm, reach in each direction; NaN where it has none."""
    places = np.argwhere(mask) * 2 * FINE_MM
    return (places @ ways).max(0) if len(places) else np.full(ways.shape[1], np.nan)


def _filled(reach: np.ndarray) -> np.ndarray:
    """Slices without labels get the nearest one's hull."""
    there = np.flatnonzero(~np.isnan(reach[:, 0]))
    nearest = there[np.abs(there[None] - np.arange(len(reach))[:, None]).argmin(1)]
    return reach[nearest]
