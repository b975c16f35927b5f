"""Implicit shapes in patient millimetres: negative inside, roughly a distance outside."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Shape:
    """`field(right, anterior, superior)` in mm, negative inside; `low` and `high` bound where it is negative."""

    field: Field
    low: np.ndarray
    high: np.ndarray


def ellipsoid(centre: Sequence[float], radii: Sequence[float]) -> Shape:
    centre, radii = _floats(centre), _floats(radii)
    (cx, cy, cz), (rx, ry, rz) = centre, radii

    def field(x, y, z):
        x, y, z = x - cx, y - cy, z - cz
        scaled = np.sqrt((x / rx) ** 2 + (y / ry) ** 2 + (z / rz) ** 2)
        length = np.sqrt(x * x + y * y + z * z)
        return length - length / np.maximum(scaled, np.float32(1e-3))   # along the ray from the centre

    return Shape(field, centre - radii, centre + radii)


def tube(points: Sequence[Point], radii: float | Sequence[float], stretch: Point = (1.0, 1.0, 1.0)) -> Shape:
    """A polyline thickened by `radii` (one, or one for each point); `stretch` makes the section an ellipse.

    A stretch of (1, 1, 3) gives a ribbon three times as high as thick.
    """
    points, stretch = _floats(points), _floats(stretch)
    radii = np.broadcast_to(_floats(radii), len(points))
    scaled = points / stretch

    def field(x, y, z):
        x, y, z = x / stretch[0], y / stretch[1], z / stretch[2]
        parts = (_segment(x, y, z, *ends) for ends in zip(scaled[:-1], scaled[1:], radii[:-1], radii[1:]))
        return _least(parts)

    reach = radii[:, None] * stretch
    return Shape(field, (points - reach).min(0), (points + reach).max(0))


def slab(low: Sequence[float], high: Sequence[float], rounding_mm: float = 2.0) -> Shape:
    low, high = _floats(low), _floats(high)
    centre, half = (low + high) / 2, (high - low) / 2 - np.float32(rounding_mm)

    def field(x, y, z):
        sides = [np.abs(value - centre[n]) - half[n] for n, value in enumerate((x, y, z))]
        outside = np.sqrt(sum(np.maximum(side, 0) ** 2 for side in sides))
        return outside + np.minimum(np.maximum(np.maximum(*sides[:2]), sides[2]), 0) - np.float32(rounding_mm)

    return Shape(field, low, high)


def loft(levels: Sequence[Sequence[float]], step_mm: float = 1.0, smooth_mm: float = 8.0) -> Shape:
    """Egg-shaped sections stacked along the superior axis.

    `levels`: rows of (superior, half width, front, back, taper) in mm, ascending; taper 0 is an ellipse,
    .3 narrows the front by that share and widens the back by as much.
    """
    rows = _floats(levels)
    bottom, top = rows[0, 0], rows[-1, 0]
    heights = np.arange(bottom, top + step_mm, step_mm)
    table = np.stack([_smooth(np.interp(heights, rows[:, 0], column), smooth_mm / step_mm) for column in rows[:, 1:].T])
    width, front, back, taper = table.astype(np.float32)
    middle, depth = (front + back) / 2, (front - back) / 2

    def field(x, y, z):
        level = np.clip((z - bottom) / np.float32(step_mm), 0, len(heights) - 1)
        below = np.minimum(level.astype(np.int32), len(heights) - 2)
        share = level - below

        def at(column):
            return column[below] + share * np.diff(column)[below]

        y, half = y - at(middle), at(depth)
        across = x / (at(width) * (1 - at(taper) * np.clip(y / half, -1, 1)))
        scaled = np.sqrt(across**2 + (y / half) ** 2)
        length = np.sqrt(x * x + y * y)
        radial = length - length / np.maximum(scaled, np.float32(1e-3))
        return np.maximum(radial, np.maximum(bottom - z, z - top))

    reach = (width * (1 + np.abs(taper))).max()
    return Shape(field, _floats((-reach, back.min(), bottom)), _floats((reach, front.max(), top)))


def mirrored(shape: Shape) -> Shape:
    """The shape on the patient's right, and its mirror image on the left."""
    low, high = shape.low.copy(), shape.high.copy()
    low[0] = -high[0]
    return Shape(lambda x, y, z: shape.field(np.abs(x), y, z), low, high)


def on_the_left(shape: Shape) -> Shape:
    low, high = shape.low.copy(), shape.high.copy()
    low[0], high[0] = -shape.high[0], -shape.low[0]
    return Shape(lambda x, y, z: shape.field(-x, y, z), low, high)


def joined(*shapes: Shape, blend_mm: float = 0.0) -> Shape:
    """The union; `blend_mm` fills the creases between the shapes."""
    low = np.min([shape.low for shape in shapes], 0) - np.float32(blend_mm / 4)
    high = np.max([shape.high for shape in shapes], 0) + np.float32(blend_mm / 4)
    return Shape(lambda x, y, z: _least((s.field(x, y, z) for s in shapes), blend_mm), low, high)


def without(shape: Shape, *holes: Shape) -> Shape:
    def field(x, y, z):
        value = shape.field(x, y, z)
        for hole in holes:
            value = np.maximum(value, -hole.field(x, y, z))
        return value

    return Shape(field, shape.low, shape.high)


def within(shape: Shape, hull: Shape, depth_mm: float = 0.0) -> Shape:
    """The part of the shape that lies `depth_mm` or more below the surface of `hull`."""

    def field(x, y, z):
        return np.maximum(shape.field(x, y, z), hull.field(x, y, z) + np.float32(depth_mm))

    return Shape(field, shape.low, shape.high)


def above(shape: Shape, point: Sequence[float], normal: Sequence[float]) -> Shape:
    """The part of the shape on the side of a plane to which `normal` points."""
    point, normal = _floats(point), _floats(normal)
    normal = normal / np.linalg.norm(normal)
    offset = float(point @ normal)

    def field(x, y, z):
        plane = np.float32(offset) - (normal[0] * x + normal[1] * y + normal[2] * z)
        return np.maximum(shape.field(x, y, z), plane)

    return Shape(field, shape.low, shape.high)


def _segment(x, y, z, start, stop, start_radius, stop_radius):
    along = stop - start
    t = ((x - start[0]) * along[0] + (y - start[1]) * along[1] + (z - start[2]) * along[2]) / max(along @ along, 1e-6)
    t = np.clip(t, 0, 1).astype(np.float32)
    dx, dy, dz = (value - (start[n] + t * along[n]) for n, value in enumerate((x, y, z)))
    return np.sqrt(dx * dx + dy * dy + dz * dz) - (start_radius + t * (stop_radius - start_radius))


def _least(fields, blend_mm: float = 0.0):
    """The smallest of some fields; within `blend_mm` of each other they merge by the polynomial smooth minimum."""
    value = None
    for field in fields:
        if value is None:
            value = field
            continue
        lower = np.minimum(value, field)
        if blend_mm:
            nearness = np.maximum(blend_mm - np.abs(value - field), 0) / np.float32(blend_mm)
            lower -= nearness * nearness * np.float32(blend_mm / 4)
        value = lower
    return value


def _smooth(values: np.ndarray, width: float) -> np.ndarray:
    size = int(width) | 1
    padded = np.pad(values, size // 2, mode="edge")
    return np.convolve(padded, np.full(size, 1 / size), mode="valid")


def _floats(values) -> np.ndarray:
    return np.asarray(values, np.float32)
