"""Organs as shaded surfaces, drawn by casting a ray through each pixel: no graphics card, no window system, no mesh.

A view is a `Geometry` like any other: I to the right of the picture, J down, K away from the viewer, so that bringing an
organ into it is one resampling. Each organ is cast in its own box and the nearest surface wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Box, Geometry
from .resample import resample
from .volume import LabelMap, Volume

BACKGROUND = (0.055, 0.067, 0.082)
SKIN_HU = -300.0
_LIGHT = np.array((-0.45, -0.55, -0.70))  # towards the light in (right, down, away): from above, to the left of the viewer
_SKIN_GRID_MM = 4.0


@dataclass(frozen=True)
class Camera:
    """Degrees: `azimuth` 0 looks the patient in the face, positive walks to the patient's left; `elevation` looks down."""

    azimuth: float = 28.0
    elevation: float = 12.0

    def axes(self) -> np.ndarray:
        """(3, 3): rows are away from the viewer, down and right of the picture, unit vectors in RAS."""
        a, e = np.deg2rad((self.azimuth, self.elevation))
        right = np.array((-np.cos(a), -np.sin(a), 0.0))
        away = np.array((np.sin(a) * np.cos(e), -np.cos(a) * np.cos(e), -np.sin(e)))
        return np.stack([away, np.cross(away, right), right])


def surfaces(labels: LabelMap, colors: Mapping[int, Sequence[float]], *, skin: tuple[Tensor, Geometry] | None = None,
             pixels: int = 600, camera: Camera = Camera()) -> np.ndarray:
    """The organs of `colors` (id -> RGB 0..1) as a picture: (pixels, pixels, 3) float 0..1.

    skin: what `skin_of` found, drawn as a translucent shell.
    """
    boxes = {id: Box.of(labels.ids == id) for id in colors}
    boxes = {id: box for id, box in boxes.items() if not box.is_empty}
    grids = [labels.geometry.crop(box) for box in boxes.values()] or [skin[1] if skin else labels.geometry]
    screen = _screen(grids, camera, pixels, room=1.06 if skin is None else 1.3)
    picture = np.empty((*screen.shape[1:], 3), np.float32)
    picture[:] = BACKGROUND
    depth = np.full(screen.shape[1:], np.inf)
    for id, box in boxes.items():
        surface = _cast(*_smooth(labels, id, box), screen)
        if surface is not None:
            _draw(picture, depth, surface, np.asarray(colors[id], np.float32))
    if skin is not None:
        _veil(picture, depth, skin, screen)
    return picture.clip(0, 1)


def skin_of(volume: Volume) -> tuple[Tensor, Geometry] | None:
    """The body of a CT as values 0..1 on a coarse grid, without the table under it; None for anything but a CT."""
    if volume.modality not in ("CT", "") or volume.array.ndim != 3 or volume.array.min() > SKIN_HU:
        return None
    import SimpleITK as sitk

    grid = volume.geometry.resampled(_SKIN_GRID_MM)
    inside = resample(volume.array, volume.geometry, grid, outside=-1000.0) > SKIN_HU
    image = sitk.BinaryMorphologicalOpening(sitk.GetImageFromArray(inside.numpy().astype(np.uint8)), [2, 2, 1])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(image)) == 1
    return _blur(torch.from_numpy(sitk.GetArrayFromImage(largest)).float()), grid


@dataclass(frozen=True)
class _Surface:
    """First hits of the rays through a window of the screen: depth in mm (inf: none), and how they face."""

    window: tuple[slice, slice]
    depth: np.ndarray  # (h, w)
    normal: np.ndarray  # (3, h, w): right, down, away


def _screen(grids: Sequence[Geometry], camera: Camera, pixels: int, room: float) -> Geometry:
    """One plane of the view, `room` times as large as what the grids need, in cubes as deep as a pixel."""
    axes = camera.axes()
    corners = np.concatenate([_corners(grid) for grid in grids]) @ axes.T  # mm: away, down, right
    low, high = corners.min(axis=0), corners.max(axis=0)
    step = max(high[1] - low[1], high[2] - low[2]) * room / pixels
    matrix = np.eye(4)
    matrix[:3, :3] = axes[::-1].T * step
    first = (low + high)[1:] / 2 - (pixels - 1) / 2 * step
    matrix[:3, 3] = np.array([low[0], *first]) @ axes
    return Geometry((1, pixels, pixels), matrix)


def _corners(grid: Geometry) -> np.ndarray:
    last = np.array(grid.shape) - 0.5
    return grid.to_ras(np.stack(np.meshgrid(*zip((-0.5,) * 3, last), indexing="ij"), -1)).reshape(-1, 3)


def _smooth(labels: LabelMap, id: int, box: Box) -> tuple[Tensor, Geometry, float]:
    """An organ without its voxel steps, and the level at which it keeps its volume (thin organs would vanish at 0.5)."""
    padded = box.grow(3)
    inner = padded.clip(labels.ids.shape)
    mask = np.zeros(padded.shape, np.float32)
    mask[inner.shift([-s for s in padded.start]).slices] = labels.ids[inner.slices] == id
    smooth = _blur(torch.from_numpy(mask))
    count = int(mask.sum())
    level = float(np.partition(smooth.numpy().ravel(), -count)[-count])
    return smooth, labels.geometry.crop(padded), min(level, 0.5)


def _blur(field: Tensor) -> Tensor:
    for _ in range(2):
        field = F.avg_pool3d(field[None, None], 3, stride=1, padding=1)[0, 0]
    return field


def _cast(field: Tensor, grid: Geometry, level: float, screen: Geometry) -> _Surface | None:
    """Where rays along K first rise above `level`, on the part of the screen that the field covers."""
    pixel = screen.spacing[1]
    step = max(min(grid.spacing), 2 * pixel)  # mm along a ray: a field is smooth over a voxel, and the crossing interpolated
    rays = _deepened(screen, step)
    corners = rays.to_index(grid.to_ras(np.stack(np.meshgrid(*((0, n - 1) for n in grid.shape), indexing="ij"), -1)))
    near, far = np.floor(corners.min(axis=(0, 1, 2))).astype(int), np.ceil(corners.max(axis=(0, 1, 2))).astype(int) + 1
    box = Box(tuple(near), tuple(far)).intersect(Box((near[0], 0, 0), (far[0], *screen.shape[1:])))
    if box.is_empty:
        return None
    values = F.pad(_seen(field, grid, rays.crop(box)), (0, 0, 0, 0, 1, 0))  # a ray starts outside
    above = values > level
    first = above.to(torch.uint8).argmax(dim=0, keepdim=True).clamp_min(1)
    here, before = values.gather(0, first), values.gather(0, first - 1)
    depth = (first - (here - level) / (here - before).clamp_min(1e-6) - 1 + box.start[0])[0] * step
    reach = max(1, round(step / pixel))
    normal = -torch.stack([_slope(values, first, 2, reach) / pixel, _slope(values, first, 1, reach) / pixel, _slope(values, first, 0, 1) / step])
    normal = normal / normal.norm(dim=0).clamp_min(1e-6)
    return _Surface(box.slices[1:], torch.where(above.any(dim=0), depth, torch.inf).numpy(), normal.numpy())


def _deepened(screen: Geometry, step_mm: float) -> Geometry:
    """The same pixels with another step along the rays."""
    matrix = screen.ijk_to_ras.copy()
    matrix[:3, 2] *= step_mm / screen.spacing[0]
    return Geometry(screen.shape, matrix)


def _seen(field: Tensor, grid: Geometry, view: Geometry) -> Tensor:
    """`field` on the voxels of `view`, trilinear, 0 outside: in float32, six times as fast as the `resample` of intensities."""
    to_ends, from_ends = np.diag([*(2 / np.maximum(np.array(field.shape) - 1, 1)), 1.0]), np.diag([*((np.array(view.shape) - 1) / 2), 1.0])
    to_ends[:3, 3], from_ends[:3, 3] = -1, from_ends.diagonal()[:3]  # torch counts from -1 at the first voxel to 1 at the last
    theta = (to_ends @ view.index_map(grid) @ from_ends)[[2, 1, 0]][:, [2, 1, 0, 3]]  # and its axes run I, J, K
    places = F.affine_grid(torch.from_numpy(theta).float()[None], [1, 1, *view.shape], align_corners=True)
    return F.grid_sample(field[None, None], places, align_corners=True)[0, 0]


def _slope(values: Tensor, first: Tensor, axis: int, reach: int) -> Tensor:
    """Central difference along an axis at the first hits (1, h, w), over `reach` steps to either side."""
    rows, columns = (torch.arange(n) for n in values.shape[1:])
    at = [first[0], rows[:, None], columns[None]]
    ahead, behind = list(at), list(at)
    ahead[axis] = (at[axis] + reach).clamp(max=values.shape[axis] - 1)
    behind[axis] = (at[axis] - reach).clamp(min=0)
    return (values[tuple(ahead)] - values[tuple(behind)]) / (2 * reach)


def _draw(picture: np.ndarray, depth: np.ndarray, surface: _Surface, color: np.ndarray) -> None:
    nearer = surface.depth < depth[surface.window]
    toward = _LIGHT / np.linalg.norm(_LIGHT)
    facing = np.einsum("chw,c->hw", surface.normal, toward).clip(0)
    half = toward + (0, 0, -1)
    glint = np.einsum("chw,c->hw", surface.normal, half / np.linalg.norm(half)).clip(0) ** 30
    rim = (1 + surface.normal[2]).clip(0, 1) ** 2  # darker where the surface turns away, so that overlaps show an edge
    light = (0.28 + 0.80 * facing) * (1 - 0.55 * rim)
    shaded = color * light[..., None] + 0.22 * glint[..., None]
    picture[surface.window][nearer] = shaded[nearer]
    depth[surface.window][nearer] = surface.depth[nearer]


def _veil(picture: np.ndarray, depth: np.ndarray, skin: tuple[Tensor, Geometry], screen: Geometry) -> None:
    """The body as a shell that is clear where it faces the viewer and shows where it turns away."""
    surface = _cast(*skin, 0.5, _coarser(screen, 2))
    if surface is None:
        return
    edge = np.zeros(screen.shape[1:], np.float32)
    turned = np.where(np.isfinite(surface.depth), 0.05 + 0.45 * (1 + surface.normal[2]).clip(0, 1) ** 2, 0)
    small = np.zeros([n // 2 for n in screen.shape[1:]], np.float32)
    small[surface.window] = turned
    edge[:] = F.interpolate(torch.from_numpy(small)[None, None], size=edge.shape, mode="bilinear", align_corners=False)[0, 0]
    edge[np.isfinite(depth)] *= 0.35  # organs show through
    picture += edge[..., None] * (np.array((0.72, 0.80, 0.92), np.float32) - picture)


def _coarser(screen: Geometry, factor: int) -> Geometry:
    """The same view with pixels and steps `factor` times as large."""
    matrix = screen.ijk_to_ras.copy()
    matrix[:3, :3] *= factor
    matrix[:3, 3] = screen.to_ras([-0.5] * 3) + matrix[:3, :3].sum(axis=1) / 2
    return Geometry((1, *(n // factor for n in screen.shape[1:])), matrix)
