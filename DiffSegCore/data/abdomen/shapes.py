"""From one labelled body to many: scanned at other heights, of another build, with organs moved, swollen, shrunken or gone."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from .bodies import COARSE_MM, FINE_MM, Body

MOVED = ("liver", "spleen", "stomach", "kidney_right", "kidney_left", "gallbladder", "pancreas", "colon", "urinary_bladder", "duodenum", "heart")
MISSING = {"gallbladder": .15, "kidney_right": .04, "kidney_left": .04, "spleen": .02}  # chance each
VIEWS = ((.4, "slab"), (.35, "upper"), (.25, "all"))


@dataclass(frozen=True, eq=False)
class Shape:
    """ids uint8 (K, J, I) every 2 mm; depth mm inside the trunk's hull and front -1..1, float32 of the same shape."""

    ids: np.ndarray
    depth: np.ndarray
    front: np.ndarray


def drawn_shape(body: Body, random: np.random.Generator) -> Shape:
    """A body much like this one in kind, and unlike it in every measure."""
    ids = _removed(body, random)
    low, high = _view(body, random)
    scale = np.exp(random.normal(0, (.07, .1, .1)).clip(-.2, .2))  # K, J, I
    grid = _coarse_grid(body, high - low, scale)
    at = _affine(grid, body, (low + high) / 2, scale, random)
    at = at + 6. * fields(grid.shape[:3], 9, random) + 2. * fields(grid.shape[:3], 4, random)
    at = _round_the_body(_moved(at, body, random), body, random)
    at = torch.from_numpy(at.astype(np.float32))
    ids = _sampled(ids, _enlarged(at) / FINE_MM, "nearest").astype(np.uint8)
    depth, front = (_enlarged(torch.from_numpy(_sampled(each, at / COARSE_MM, "bilinear"))[..., None])[..., 0].numpy() for each in (body.depth, body.front))
    return Shape(ids, depth * float(scale[1:].mean()), front)


def fields(shape: Sequence[int], width: float, random: np.random.Generator) -> np.ndarray:
    """Three fields of unit variance without a kink, (*shape, 3)."""
    found = np.stack([ndimage.gaussian_filter(smooth(shape, width, random), width / 3) for _ in range(3)], -1)
    return found / max(float(found.std()), .1)


def smooth(shape: Sequence[int], width: float, random: np.random.Generator) -> np.ndarray:
    """Noise float32 of unit variance, straight between knots `width` voxels apart."""
    knots = [int(np.ceil(n / width)) + 2 for n in shape]
    lattice = torch.from_numpy(random.standard_normal(knots, dtype=np.float32))[None, None]
    wide = F.interpolate(lattice, [round(n * width) for n in knots], mode="trilinear", align_corners=True)[0, 0]
    start = [int(random.integers(0, max(1, have - n + 1))) for have, n in zip(wide.shape, shape)]
    found = wide[tuple(slice(a, a + n) for a, n in zip(start, shape))].numpy()
    return (found / max(float(found.std()), .3)).astype(np.float32)


def _removed(body: Body, random: np.random.Generator) -> np.ndarray:
    """Ids without the organs that this person lacks: fat takes their place."""
    gone = [name for name, chance in MISSING.items() if random.random() < chance]
    values = [value for value, name in body.names.items() if name in gone]
    return np.where(np.isin(body.ids, values), 0, body.ids).astype(np.uint8) if values else body.ids


def _view(body: Body, random: np.random.Generator) -> tuple[float, float]:
    """Lowest and highest place of the scan, mm above the body's first slice."""
    (bottom, top), all_mm = body.heights_mm, len(body.ids) * FINE_MM
    kind = random.choice([name for _, name in VIEWS], p=[chance for chance, _ in VIEWS])
    if kind == "slab":
        middle, half = random.uniform(bottom - 10, top + 15), random.uniform(20, 45)
        low, high = middle - half, middle + half
    elif kind == "upper":
        low, high = bottom - random.uniform(-20, 70), top + random.uniform(-20, 60)
    else:
        low, high = random.uniform(-10, bottom / 2), top + random.uniform(0, 120)
    low = np.clip(low, 0, max(0, all_mm - 40))
    return float(low), float(min(all_mm, max(high, low + 40)))


def _coarse_grid(body: Body, height_mm: float, scale: np.ndarray) -> np.ndarray:
    """mm from the scan's middle, (k, j, i, 3)."""
    extent = np.array([height_mm, *(n * FINE_MM for n in body.ids.shape[1:])]) * scale
    axes = [(np.arange(n) - (n - 1) / 2) * COARSE_MM for n in np.maximum(4, np.ceil(extent / COARSE_MM).astype(int))]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def _affine(grid: np.ndarray, body: Body, height_mm: float, scale: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Places of the body (mm from its first voxel) for those of the grid: turned a little, and stretched."""
    turn = np.eye(3)
    for first, second in ((0, 1), (1, 2), (0, 2)):
        angle, part = np.radians(random.normal(0, 4)), np.eye(3)
        part[[first, second], [first, second]] = np.cos(angle)
        part[first, second], part[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ part
    middle = np.array([height_mm, *((n - 1) / 2 * FINE_MM for n in body.ids.shape[1:])])
    return (grid / scale) @ turn.T + middle


def _moved(at: np.ndarray, body: Body, random: np.random.Generator) -> np.ndarray:
    """Organs larger or smaller and elsewhere, with what lies round them giving way."""
    centres = _centres(body)
    moved = at.copy()
    for name in MOVED:
        size, shift = float(np.exp(np.clip(random.normal(0, .16), -.3, .35))), random.normal(0, 6, 3).clip(-12, 12)
        if name not in centres:
            continue
        centre, radius = centres[name]
        away = at - centre
        weight = np.exp(-(away ** 2).sum(-1) / (2 * (1.2 * radius + 8) ** 2))[..., None]
        moved += weight * ((1 / size - 1) * away - shift)
    return moved


def _centres(body: Body) -> dict[str, tuple[np.ndarray, float]]:
    """Organ -> its centre and the radius of a ball as large, mm."""
    some = body.ids[::2, ::2, ::2]
    found = {}
    for value, name in body.names.items():
        if name in MOVED and (count := int((some == value).sum())):
            places = np.array(ndimage.center_of_mass(some == value)) * 2 * FINE_MM
            found[name] = places, float(np.cbrt(count * (2 * FINE_MM) ** 3 * .75 / np.pi))
    return found


def _round_the_body(at: np.ndarray, body: Body, random: np.random.Generator) -> np.ndarray:
    """The part of a grid of places that a scanner would show: the trunk, its fat, and some air."""
    inside = _sampled(body.depth, torch.from_numpy((at / COARSE_MM).astype(np.float32)), "bilinear") > -random.uniform(45, 90)
    rows, columns = (np.flatnonzero(inside.any(axes)) for axes in ((0, 2), (0, 1)))
    return at[:, rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]


def _enlarged(coarse: torch.Tensor) -> torch.Tensor:
    """Values (k, j, i, c) of the coarse grid on the fine one, straight between its knots."""
    shape = tuple((n - 1) * round(COARSE_MM / FINE_MM) + 1 for n in coarse.shape[:3])
    return F.interpolate(coarse.movedim(-1, 0)[None], shape, mode="trilinear", align_corners=True)[0].movedim(0, -1)


def _sampled(array: np.ndarray, at: torch.Tensor, mode: str) -> np.ndarray:
    """Values at continuous voxel indices (..., 3); beyond the edge, the edge's."""
    last = torch.tensor([n - 1 for n in array.shape], dtype=torch.float32)
    unit = (2 * at / last - 1).flip(-1)[None]
    source = torch.from_numpy(array.astype(np.float32))[None, None]
    return F.grid_sample(source, unit, mode=mode, padding_mode="border", align_corners=True)[0, 0].numpy()
