"""Where a prompt lies on a grid: from RAS millimetres to voxels, of a crop or of the volume itself."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from .geometry import Box, Geometry
from .prompts import BoxPrompt, Lasso, Point, Prompt, Scribble

STRIDE = .5  # voxels between the places of a scribble, so that its line has no gap


@dataclass(frozen=True, eq=False)
class Mark:
    """kind "point", "scribble" or "region"; places: float (n, 3), continuous kji of the grid; mask: bool (k, j, i) of a region, else None.

    age: how many prompts of the same label came after it, 0 for the newest. Places may lie outside the grid.
    """

    kind: str
    inside: bool
    places: np.ndarray
    mask: np.ndarray | None = None
    age: int = 0


def mark(prompt: Prompt, grid: Geometry, age: int = 0) -> Mark:
    """The prompt on a grid; a box or lasso covers at least the voxels that it runs through."""
    if isinstance(prompt, (BoxPrompt, Lasso)):
        box, covered = region(prompt, grid)
        mask = np.zeros(grid.shape, dtype=bool)
        mask[box.slices] = covered
        return Mark("region", prompt.inside, np.empty((0, 3)), mask, age)
    return Mark(prompt.kind, prompt.inside, line(prompt, grid), None, age)


def marks(prompts: Sequence[Prompt], grid: Geometry) -> list[Mark]:
    """Prompts of one label, oldest first, on a grid."""
    return [mark(each, grid, len(prompts) - 1 - n) for n, each in enumerate(prompts)]


def line(prompt: Point | Scribble, grid: Geometry) -> np.ndarray:
    """Continuous kji (n, 3) along a scribble, no two further apart than STRIDE; of a point just itself."""
    corners = grid.to_index(np.array(prompt.places))
    parts = [corners[:1]]
    for a, b in zip(corners, corners[1:]):
        steps = max(1, int(np.ceil(np.abs(b - a).max() / STRIDE)))
        parts.append(a + (b - a) * (np.arange(1, steps + 1) / steps)[:, None])
    return np.concatenate(parts)


def region(prompt: BoxPrompt | Lasso, grid: Geometry) -> tuple[Box, np.ndarray]:
    """The box of the grid that a box or lasso touches (empty if none), and the bool mask of its voxels there."""
    half = _half_voxel_mm(grid)
    corners = np.array(prompt.places)
    room = half if isinstance(prompt, BoxPrompt) else half + prompt.depth_mm / 2
    low, high = corners.min(0) - room, corners.max(0) + room
    at = grid.to_index(np.stack(np.meshgrid(*zip(low, high), indexing="ij"), -1).reshape(-1, 3))
    limits = np.array([np.full(3, -1), grid.shape])
    start, stop = np.clip(np.floor(at.min(0)), *limits), np.clip(np.ceil(at.max(0)), *limits)
    box = Box(tuple(start), tuple(stop + 1)).clip(grid.shape)
    if box.is_empty:
        return box, np.zeros(box.shape, dtype=bool)
    covered, part = np.empty(box.shape, dtype=bool), grid.crop(box)
    j, i = np.indices(box.shape[1:])
    for k, plane in enumerate(covered):  # plane by plane: places of a whole volume would take gigabytes
        ras = part.to_ras(np.stack([np.full_like(j, k), j, i], -1))
        plane[:] = _in_box(ras, prompt, half) if isinstance(prompt, BoxPrompt) else _in_lasso(ras, prompt, grid)
    return box, covered


def away_mm(mark: Mark, grid: Geometry) -> np.ndarray:
    """float (k, j, i): from each voxel of the grid to the mark, which may lie outside; infinite where a region does."""
    if mark.kind == "region":
        return ndimage.distance_transform_edt(~mark.mask, sampling=grid.spacing) if mark.mask.any() else np.full(grid.shape, np.inf)
    if len(mark.places) == 1:  # a click, which should not wait for a tree
        axes = zip(np.ogrid[tuple(map(slice, grid.shape))], mark.places[0], grid.spacing)
        return np.sqrt(sum(((axis - at) * mm) ** 2 for axis, at, mm in axes))
    voxels = np.stack(np.indices(grid.shape), -1) * grid.spacing
    return KDTree(mark.places * grid.spacing).query(voxels)[0]


def core(prompt: Prompt, grid: Geometry) -> tuple[Box, np.ndarray]:
    """The voxels that a prompt decides for ever, as a box and the bool mask in it: those it runs through, the inside of a negative region.

    A positive region decides nothing alone.
    """
    if isinstance(prompt, (BoxPrompt, Lasso)):
        box, covered = region(prompt, grid)
        return (box, covered & False) if prompt.inside else (box, covered)
    at = np.floor(line(prompt, grid) + .5).astype(int)
    at = at[((at >= 0) & (at < grid.shape)).all(1)]
    if not len(at):
        return Box((0, 0, 0), (0, 0, 0)), np.zeros((0, 0, 0), dtype=bool)
    box = Box(tuple(at.min(0)), tuple(at.max(0) + 1))
    mask = np.zeros(box.shape, dtype=bool)
    mask[tuple((at - box.start).T)] = True
    return box, mask


def span(prompt: Prompt) -> np.ndarray:
    """Lowest and highest RAS (2, 3) of a prompt."""
    places = np.array(prompt.places)
    return np.stack([places.min(0), places.max(0)])


def _half_voxel_mm(grid: Geometry) -> np.ndarray:
    """How far a voxel reaches from its centre along R, A and S."""
    return np.abs(grid.ijk_to_ras[:3, :3]).sum(1) / 2


def _in_box(ras: np.ndarray, box: BoxPrompt, half: np.ndarray) -> np.ndarray:
    low, high = np.sort(np.array(box.corners), axis=0)
    thin = (high - low) / 2 < half  # a side thinner than a voxel still covers the voxel it runs through
    middle = (low + high) / 2
    low, high = np.where(thin, middle - half, low), np.where(thin, middle + half, high)
    return ((ras >= low) & (ras <= high)).all(-1)


def _in_lasso(ras: np.ndarray, lasso: Lasso, grid: Geometry) -> np.ndarray:
    normal = np.array(lasso.area_vector)
    normal /= np.linalg.norm(normal)
    depth = max(lasso.depth_mm / 2, np.abs(normal @ grid.ijk_to_ras[:3, :3]).sum() / 2)
    along = np.eye(3)[np.abs(normal).argmin()]
    right = np.cross(normal, along) / np.linalg.norm(np.cross(normal, along))
    plane = np.stack([right, np.cross(normal, right)], axis=1)  # (3, 2): the polygon's own axes
    middle = np.array(lasso.middle)
    covered = np.abs((ras - middle) @ normal) <= depth
    covered[covered] = _in_polygon((ras[covered] - middle) @ plane, (np.array(lasso.ras) - middle) @ plane)
    return covered


def _in_polygon(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Even-odd rule: points (n, 2), polygon (m, 2) -> bool (n,)."""
    odd = np.zeros(len(points), dtype=bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, -1, axis=0)):
        if ay != by:
            crosses = (ay > points[:, 1]) != (by > points[:, 1])
            odd ^= crosses & (points[:, 0] < ax + (points[:, 1] - ay) * ((bx - ax) / (by - ay)))
    return odd
