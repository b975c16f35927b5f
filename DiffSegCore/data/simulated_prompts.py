"""A user as training imagines one: prompts of all kinds on a mask's errors, mostly well placed, now and then not (METHODS B3)."""
from __future__ import annotations

from dataclasses import replace
from typing import Sequence

import numpy as np
from scipy import ndimage

from ..marks import STRIDE, Mark
from .clicks import depth_mm

LARGEST = .6  # how often the largest piece of error is clicked, instead of one drawn by its size
OFF_CENTRE = .2  # how often anywhere in it
WRONG = .03  # how often with the wrong sign
KINDS = {"point": .74, "scribble": .14, "box": .06, "lasso": .06}
LOOSE = 3  # voxels by which a box or lasso lies beside the outline, at most


def with_next_mark(marks: Sequence[Mark], mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], random: np.random.Generator) -> list[Mark]:
    """The marks, each a prompt older, and a new one on an error of `mask` (both bool, k, j, i); as they are where there is none."""
    made = simulated_mark(mask, truth, spacing_mm, random)
    return [*(replace(each, age=each.age + 1) for each in marks), made] if made else list(marks)


def simulated_mark(mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float], random: np.random.Generator) -> Mark | None:
    """A prompt of any kind; None where mask and truth agree. A box or a positive lasso goes round all of the object."""
    piece = _piece(mask, truth, random)
    if piece is None:
        return None
    near, depth = depth_mm(piece, spacing_mm)
    place = _place(depth, random) + [part.start for part in near]
    inside = bool(truth[tuple(place)])
    kind = random.choice(list(KINDS), p=list(KINDS.values()))
    if kind == "box" and inside:
        return Mark("region", True, np.empty((0, 3)), _box(truth, random))
    if kind == "lasso":
        loop = _lasso(truth if inside else piece, place, random)
        return Mark("region", inside, np.empty((0, 3)), loop if inside else loop & ~truth)
    if kind == "scribble" and np.count_nonzero(piece) > 8:
        return Mark("scribble", inside, _scribble(piece, place, depth, near, random))
    inside ^= bool(random.random() < WRONG)
    return Mark("point", inside, place[None] + random.uniform(-.4, .4, (1, 3)))


def _piece(mask: np.ndarray, truth: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    missing, first = ndimage.label(truth & ~mask)
    surplus, second = ndimage.label(mask & ~truth)
    if not first + second:
        return None
    sizes = np.concatenate([np.bincount(each.ravel(), minlength=1)[1:] for each in (missing, surplus)])
    chosen = int(sizes.argmax()) if random.random() < LARGEST else int(random.choice(len(sizes), p=sizes / sizes.sum()))
    return missing == chosen + 1 if chosen < first else surplus == chosen - first + 1


def _place(depth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The deepest voxel or one nearly as deep; sometimes any of the piece."""
    least = 0. if random.random() < OFF_CENTRE else depth.max() * random.uniform(.8, 1.)
    return _any(depth >= max(least, 1e-6), random)


def _any(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    at = np.flatnonzero(mask)
    return np.array(np.unravel_index(at[random.integers(len(at))], mask.shape))


def _scribble(piece: np.ndarray, place: np.ndarray, depth: np.ndarray, near: Sequence[slice], random: np.random.Generator) -> np.ndarray:
    """Places (n, 3) along a line through two to four voxels of the piece, where it runs inside."""
    corners, start = [place], [part.start for part in near]
    for _ in range(random.integers(1, 4)):
        corners.append(_any(depth > depth.max() * random.uniform(.2, .8) - 1e-6, random) + start)
    line = [np.linspace(a, b, max(2, int(np.abs(b - a).max() / STRIDE) + 1)) for a, b in zip(corners, corners[1:])]
    line = np.concatenate([place[None], *line])
    return line[piece[tuple(np.rint(line).astype(int).T)]]


def _box(truth: np.ndarray, random: np.random.Generator) -> np.ndarray:
    mask = np.zeros_like(truth)
    tight = ndimage.find_objects(truth.astype(np.uint8))[0]
    low, high = random.integers(-1, LOOSE + 1, (2, truth.ndim))
    start = [min(max(0, part.start - more), part.stop - 1) for part, more in zip(tight, low)]
    mask[tuple(slice(first, max(first + 1, part.stop + more)) for first, part, more in zip(start, tight, high))] = True
    return mask


def _lasso(object_: np.ndarray, place: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """What a loop round the object in a plane through the place covers, a few slices deep."""
    axis = random.choice(object_.ndim, p=[.6, .2, .2])
    plane = object_.take(place[axis], axis)
    pieces, _ = ndimage.label(plane)
    loop = ndimage.binary_fill_holes(pieces == pieces[tuple(np.delete(place, axis))]) if plane.any() else plane
    loop = ndimage.binary_dilation(loop, iterations=int(random.integers(1, LOOSE + 1)))
    deep = int(random.integers(0, 4))
    slices = slice(max(0, place[axis] - deep), place[axis] + deep + 1)
    mask = np.zeros_like(object_)
    mask[tuple(slices if a == axis else slice(None) for a in range(object_.ndim))] = np.expand_dims(loop, axis)
    return mask
