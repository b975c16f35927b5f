"""Where somebody who corrects a mask would click next: the rule of evaluation, and of training's simulated user (METHODS B3)."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import ndimage


@dataclass(frozen=True)
class Click:
    """A voxel (K, J, I), or (J, I) in a picture; `inside`: it belongs to the object."""

    place: tuple[int, ...]
    inside: bool


def next_click(mask: np.ndarray, truth: np.ndarray, spacing_mm: Sequence[float]) -> Click | None:
    """The deepest voxel, in mm, of the largest piece of error; None where `mask` is `truth` already. Both boolean, spacing_mm an axis each.

    The deterministic rule of the CVPR 2025 interactive 3D challenge: pieces are connected by faces, missing and surplus ones apart;
    of equally large or deep ones the first in memory's order.
    """
    mask, truth = np.asarray(mask, bool), np.asarray(truth, bool)
    largest = max((_largest_piece(wrong) for wrong in (truth & ~mask, mask & ~truth)), key=np.count_nonzero)
    if not largest.any():
        return None
    near, depth = depth_mm(largest, spacing_mm)
    place = np.unravel_index(int(depth.argmax()), depth.shape)
    place = tuple(int(at) + part.start for at, part in zip(place, near))
    return Click(place, bool(truth[place]))


def depth_mm(piece: np.ndarray, spacing_mm: Sequence[float]) -> tuple[tuple[slice, ...], np.ndarray]:
    """The box of a piece that isn't empty, and there each voxel's way out of it in mm, 0 outside the piece."""
    near = ndimage.find_objects(piece.astype(np.uint8))[0]
    room = np.pad(piece[near], 1)  # what lies beyond the image is no error: depth counts from there too
    depth = ndimage.distance_transform_edt(room, sampling=spacing_mm)
    return near, depth[(slice(1, -1),) * piece.ndim]


def _largest_piece(wrong: np.ndarray) -> np.ndarray:
    pieces, count = ndimage.label(wrong)
    return pieces == 1 + np.bincount(pieces.ravel())[1:].argmax() if count else wrong
