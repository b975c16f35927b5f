"""The lattices that voxels lie on: where one lies in another, and masks carried between them."""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
import slicer

from DiffSegCore.geometry import Box, Geometry

from .Images import arrayOf, boxOf, ijkToRasOf

_VOXEL = 0.01  # of a voxel: how far apart two lattices may lie and still be one
_LABELMAP = "Binary labelmap"


def offsetBetween(grid: Geometry, lattice: np.ndarray) -> tuple[int, int, int] | None:
    """Where voxel (0, 0, 0) of the grid lies in the lattice (ijk to RAS), (K, J, I); None unless both share their points."""
    steps = grid.index_map(Geometry(grid.shape, lattice))
    offset = np.round(steps[:3, 3])
    corners = np.array([[n * (m - 1) for n, m in zip(corner, grid.shape)] for corner in np.ndindex(2, 2, 2)])
    apart = corners @ steps[:3, :3].T + steps[:3, 3] - (corners + offset)
    return tuple(offset.astype(int).tolist()) if np.abs(apart).max() < _VOXEL else None


def latticeOf(segmentationNode: Any, segmentId: str, grid: Geometry) -> np.ndarray:
    """(4, 4) ijk to RAS of the voxels a segment has, or will have: those of its layer, of the other layers, of the volume."""
    segmentation = segmentationNode.GetSegmentation()
    for id in (segmentId, *(segmentation.GetNthSegmentID(n) for n in range(segmentation.GetNumberOfSegments()))):
        image = segmentation.GetSegment(id).GetRepresentation(_LABELMAP)
        if image is not None and not boxOf(image).is_empty:
            return ijkToRasOf(image)
    reference = _referenceLattice(segmentation)
    return grid.ijk_to_ras if reference is None else reference


def _referenceLattice(segmentation: Any) -> np.ndarray | None:
    converter = slicer.vtkSegmentationConverter
    text = segmentation.GetConversionParameter(converter.GetReferenceImageGeometryParameterName())
    image = slicer.vtkOrientedImageData()
    return ijkToRasOf(image) if text and converter.DeserializeImageGeometry(text, image, False) else None


def carried(box: Box, masks: Sequence[np.ndarray], grid: Geometry, to: Geometry) -> tuple[Box, list[np.ndarray]]:
    """Masks of a box of the grid on another lattice, copied where both share their points, else taken at the nearest voxel."""
    offset = offsetBetween(grid, to.ijk_to_ras)
    if offset is not None:
        return box.shift(offset), [mask.copy() for mask in masks]
    corners = np.array([[(box.start, [n - 1 for n in box.stop])[side][axis] for axis, side in enumerate(corner)] for corner in np.ndindex(2, 2, 2)])
    target = _moved(corners, grid.index_map(to))
    wide = Box(tuple(np.floor(target.min(0)).astype(int)), tuple(np.ceil(target.max(0)).astype(int) + 1))
    places = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(wide.start, wide.stop)), indexing="ij"), -1)
    source = np.floor(_moved(places, to.index_map(grid)) + 0.5).astype(int) - box.start
    inside = ((source >= 0) & (source < box.shape)).all(-1)
    k, j, i = np.moveaxis(np.clip(source, 0, np.array(box.shape) - 1), -1, 0)
    return wide, [mask[k, j, i] & inside for mask in masks]


def stamp(mask: np.ndarray, other: np.ndarray, box: Box, places: Sequence[Sequence[float]], grid: Geometry, to: Geometry) -> None:
    """Set the voxels of a box of `to` that hold places (kji of the grid) in one mask, and clear them in the other."""
    for place in places:
        voxel = np.floor(_moved(np.asarray(place, dtype=float), grid.index_map(to)) + 0.5).astype(int) - box.start
        if (voxel >= 0).all() and (voxel < box.shape).all():
            mask[tuple(voxel)], other[tuple(voxel)] = True, False


def _moved(places: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return places @ matrix[:3, :3].T + matrix[:3, 3]


def maskOf(image: Any, value: int, lattice: np.ndarray, box: Box) -> np.ndarray:
    """Where a layer has a value, on a box of a lattice that may be another than the layer's."""
    own, to = Geometry(boxOf(image).shape, ijkToRasOf(image)), Geometry((1, 1, 1), lattice)
    layer = boxOf(image)
    shared = offsetBetween(Geometry(box.shape, lattice), own.ijk_to_ras)
    if shared is None:
        where, (mask,) = carried(layer, [arrayOf(image) == value], own, to)
        return _cut(mask, where, box)
    seen = layer.intersect(box.shift(shared))
    return _cut(arrayOf(image)[seen.shift([-n for n in layer.start]).slices] == value, seen.shift([-n for n in shared]), box)


def _cut(mask: np.ndarray, where: Box, box: Box) -> np.ndarray:
    """A mask that lies at `where` as one that lies at `box`; False where it has nothing to say."""
    out = np.zeros(box.shape, dtype=bool)
    both = where.intersect(box)
    out[both.shift([-n for n in box.start]).slices] = mask[both.shift([-n for n in where.start]).slices]
    return out
