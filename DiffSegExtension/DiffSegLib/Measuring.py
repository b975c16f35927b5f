"""What is measured of each segment: volume with its range, mean intensity, longest diameter, before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Sequence

import numpy as np

from DiffSegCore.geometry import Box, Geometry

from . import SceneBridge
from .Images import arrayOf, geometryOf
from .Lattices import offsetBetween
from .Organs import OrganRow
from .VolumeFrame import gridInSegmentation

_DIRECTIONS = 500  # the farthest two of so many directions' extremes miss the longest diameter by less than .1 %


@dataclass(frozen=True)
class MeasureRow:
    """`mean` in the volume's own units (HU of a CT); `automaticMl` before any correction; None where it can't be said."""

    segmentId: str
    name: str
    ml: float
    range: tuple[float, float] | None
    mean: float | None
    diameterMm: float | None
    automaticMl: float | None
    rangeRate: float | None = None


def rows(volumeNode: Any, segmentationNode: Any, organs: Sequence[OrganRow]) -> list[MeasureRow]:
    """In the order of `organs`."""
    image, _ = SceneBridge.imageOf(volumeNode)
    grid = gridInSegmentation(volumeNode, segmentationNode)
    return [_row(segmentationNode, organ, image, grid) for organ in organs]


def _row(segmentationNode: Any, organ: OrganRow, image: np.ndarray, grid: Geometry) -> MeasureRow:
    segment = segmentationNode.GetSegmentation().GetSegment(organ.segmentId)
    layer = segment.GetRepresentation("Binary labelmap")
    mean = diameter = None
    if layer is not None and organ.ml > 0:
        mask = arrayOf(layer) == segment.GetLabelValue()
        own = geometryOf(layer)
        mean, diameter = _mean(mask, own, image, grid), _diameter(mask, own)
    return MeasureRow(organ.segmentId, organ.name, organ.ml, organ.range, mean, diameter, organ.automaticMl, organ.rangeRate)


def _mean(mask: np.ndarray, own: Geometry, image: np.ndarray, grid: Geometry) -> float | None:
    """Of the image at the centre of each voxel of the segment; outside the image, nothing is counted."""
    offset = offsetBetween(own, grid.ijk_to_ras)
    if offset is not None:
        where = Box.whole(mask.shape).shift(offset)
        seen = where.clip(image.shape)
        values = image[seen.slices][mask[seen.shift([-n for n in offset]).slices]]
    else:
        places = np.floor(grid.to_index(own.to_ras(np.argwhere(mask))) + 0.5).astype(int)
        inside = ((places >= 0) & (places < grid.shape)).all(1)
        values = image[tuple(places[inside].T)]
    return float(values.mean(dtype=np.float64)) if len(values) else None


def _diameter(mask: np.ndarray, own: Geometry) -> float:
    """Between the centres of the two voxels that are farthest apart, in mm."""
    places = own.to_ras(_rowEnds(mask))
    turns = np.arange(_DIRECTIONS) + 0.5
    tilt, around = np.arccos(1 - 2 * turns / _DIRECTIONS), np.pi * (1 + 5**0.5) * turns  # a spiral of even directions
    ways = np.stack([np.cos(around) * np.sin(tilt), np.sin(around) * np.sin(tilt), np.cos(tilt)], axis=1)
    ends = places[np.unique([index for way in ways for index in _extremes(places @ way)])]
    return float(np.sqrt(((ends[:, None] - ends[None]) ** 2).sum(-1).max()))


def _rowEnds(mask: np.ndarray) -> np.ndarray:
    """(n, 3) kji of the first and the last voxel of every row: the farthest two are among them."""
    kj = np.argwhere(mask.any(axis=2))
    rows = mask[kj[:, 0], kj[:, 1]]
    first, last = rows.argmax(axis=1), rows.shape[1] - 1 - rows[:, ::-1].argmax(axis=1)
    return np.concatenate([np.c_[kj, first], np.c_[kj, last]])


def _extremes(along: np.ndarray) -> tuple[int, int]:
    return int(along.argmin()), int(along.argmax())
