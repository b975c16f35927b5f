"""Paints implicit shapes onto any grid, with partial volume."""
from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .shapes import Shape
from ..geometry import Geometry


@dataclass(frozen=True)
class Part:
    """One shape of the body.

    `coats`: (depth_mm, HU) from the surface inwards, each painted over the one before; a negative depth lies outside.
    `label`: the id that voxels with their centre inside the shape take; None leaves the labels alone.
    """

    shape: Shape
    coats: tuple[tuple[float, float], ...]
    label: int | None = None


@dataclass(frozen=True)
class Pose:
    """patient = rotation @ (ras - origin) / scale, then bent by a few long sine waves.

    `waves`: rows of (axis bent, wave vector (3) in radians/mm, phase, amplitude_mm).
    """

    rotation: np.ndarray
    origin: np.ndarray
    scale: float = 1.0
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 6)))

    @property
    def bend_mm(self) -> float:
        return float(np.abs(self.waves[:, 5]).sum())

    def matrix(self) -> tuple[np.ndarray, np.ndarray]:
        linear = self.rotation / self.scale
        return linear, -linear @ self.origin

    def to_ras(self, patient: np.ndarray) -> np.ndarray:
        """Patient points (..., 3) to RAS mm, without the bend."""
        return self.scale * patient @ self.rotation + self.origin


class Canvas:
    """Image and labels under the brush; all coordinates the shapes see are patient millimetres."""

    def __init__(self, geometry: Geometry, pose: Pose, background: float = -1000.0) -> None:
        self.image = np.full(geometry.shape, background, np.float32)
        self.ids = np.zeros(geometry.shape, np.uint8)
        self._geometry, self._pose = geometry, pose
        self._points = _patient_points(geometry, pose)
        self._narrowest = float(min(geometry.spacing)) / pose.scale

    def paint(self, part: Part) -> None:
        region = self._region(part)
        if region is None:
            return
        distance = part.shape.field(*(axis[region] for axis in self._points))
        across_voxel = np.maximum(_change_across_voxel(distance), np.float32(0.5 * self._narrowest))
        image = self.image[region]
        for depth, value in part.coats:
            inside = np.clip(0.5 - (distance + np.float32(depth)) / across_voxel, 0, 1)
            image += inside * (np.float32(value) - image)
        if part.label is not None:
            self.ids[region][distance < 0] = part.label

    def _region(self, part: Part) -> tuple[slice, ...] | None:
        """The voxels that the shape can touch, two more on each side; None where it misses the grid."""
        outermost = max(0.0, -min(depth for depth, _ in part.coats))
        reach = outermost + self._pose.bend_mm
        low, high = part.shape.low - reach, part.shape.high + reach
        corners = np.stack(np.meshgrid(*zip(low, high), indexing="ij"), -1).reshape(-1, 3)
        index = self._geometry.to_index(self._pose.to_ras(corners))
        start = np.maximum(np.floor(index.min(0)).astype(int) - 2, 0)
        stop = np.minimum(np.ceil(index.max(0)).astype(int) + 3, self._geometry.shape)
        return tuple(map(slice, start, stop)) if (start < stop).all() else None


def _patient_points(geometry: Geometry, pose: Pose) -> list[np.ndarray]:
    """Three float32 arrays (K, J, I): right, anterior and superior of every voxel centre."""
    linear, offset = pose.matrix()
    origin, *steps = geometry.to_ras(np.vstack([np.zeros(3), np.eye(3)]))
    start = linear @ origin + offset
    kji = [index.astype(np.float32) for index in np.ogrid[tuple(slice(0, size) for size in geometry.shape)]]
    moves = [(linear @ (step - origin)).astype(np.float32) for step in steps]
    start = start.astype(np.float32)
    straight = [start[axis] + sum(index * move[axis] for index, move in zip(kji, moves)) for axis in range(3)]
    return _bent(straight, pose.waves)


def _bent(points: list[np.ndarray], waves: np.ndarray) -> list[np.ndarray]:
    bent = [axis.copy() for axis in points]
    for axis, *vector, phase, amplitude in waves.astype(np.float32):
        angle = sum(v * p for v, p in zip(vector, points)) + phase
        bent[int(axis)] += amplitude * np.sin(angle)
    return bent


def _change_across_voxel(distance: np.ndarray) -> np.ndarray:
    """How much the field changes from one side of a voxel to the other: for a plane the sum of |dn| over the axes,
    so occupancy is right on anisotropic and oblique grids whatever the field's scale."""
    change = np.zeros_like(distance)
    for axis, size in enumerate(distance.shape):
        if size > 1:
            change += np.abs(np.gradient(distance, axis=axis))
    return change
