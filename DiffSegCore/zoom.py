"""How closely to look: the spacing and the middle of the crop for a prompt, where a coarse answer deserves a closer look, and where an object goes on."""
from __future__ import annotations

from typing import Iterator, Sequence

import numpy as np
from scipy import ndimage

from .crops import ras_span
from .geometry import Box, Geometry

FILLED = .6         # of a crop that an object may fill, so that its surroundings are seen
FIRST_MM = 3.       # for an object that isn't there yet, and for large ones: what is wrong with them is wrong somewhere
NEAR_MM = 10.       # a prompt further than this from every piece of its label begins a new piece
LEAST_SHARE = .45   # of the scan's finest spacing: below it a crop shows nothing more, and training shows no such crop
TINY = 6            # voxels across: an object as small as this wants a finer look
BROAD = .45         # of the crop: what fills more of it in every direction wants a coarser look, as only what lies near the first prompt was believed
RIM = .1            # of a crop, along each of its sides: little is believed there, and answers fade
THIN = .06          # of a crop's side: an object that leaves it through less is followed
TAPERED = .5        # of its mean cross-section: what leaves the crop thinner is the cap of something round that ends there
FEW = 1 << 20       # voxels in which pieces are looked for


def piece_near(ids: np.ndarray, label: int, box: Box, native: Geometry, places: np.ndarray) -> np.ndarray | None:
    """Lowest and highest RAS (2, 3) of the pieces of a label within NEAR_MM of continuous kji `places` (n, 3); None where there are none.

    box: where the label lies. Large ones are read at a stride.
    """
    if box.is_empty:
        return None
    stride = int(np.ceil((box.size / FEW) ** (1 / 3)))
    pieces, count = ndimage.label(ids[box.slices][::stride, ::stride, ::stride] == label, np.ones((3, 3, 3)))
    if not count:  # thinner than the stride
        return ras_span(native, box)
    room = NEAR_MM / np.array(native.spacing)
    low = np.floor((places.min(0) - room - box.start) / stride).clip(0).astype(int)
    high = np.ceil((places.max(0) + room - box.start) / stride + 1).clip(0).astype(int)
    near = set(np.unique(pieces[tuple(map(slice, low, high))]).tolist()) - {0}
    if not near:
        return None
    spans = [parts for n, parts in enumerate(ndimage.find_objects(pieces), 1) if n in near]
    start = np.min([[part.start for part in parts] for parts in spans], axis=0) * stride + box.start
    stop = np.max([[part.stop for part in parts] for parts in spans], axis=0) * stride + box.start
    return ras_span(native, Box(tuple(start), tuple(stop)))


def useful(ladder: Sequence[float], native: Geometry) -> list[float]:
    """The spacings at which a scan has something to show: not much below half of its finest."""
    return [step for step in ladder if step >= LEAST_SHARE * min(native.spacing)] or [ladder[-1]]


def framing(piece: np.ndarray | None, prompt: np.ndarray, whole: bool, ladder: Sequence[float], window: Sequence[int]) -> tuple[np.ndarray, float]:
    """Middle (RAS) and spacing of the first crop; piece and prompt are (2, 3), lowest and highest RAS.

    whole: the prompt goes round the object, which is then seen whole; otherwise the crop goes with the prompt where it cannot hold the piece.
    A prompt beside the piece speaks of a region that reaches beyond it, about as far as it lies from the piece: people click in the middle.
    """
    if piece is not None:
        gap = np.linalg.norm(np.maximum(0, np.maximum(piece[0] - prompt[1], prompt[0] - piece[1])))
        prompt = prompt + np.array([[-gap], [gap]])
    spans = prompt if piece is None else np.concatenate([piece, prompt])
    both = np.stack([spans.min(0), spans.max(0)])
    fits, holds_prompt = (at_least(np.ptp(ends, axis=0).max() / (FILLED * min(window)), ladder) for ends in (both, prompt))
    if whole or piece is not None and fits <= FIRST_MM:
        return both.mean(0), fits
    return prompt.mean(0), max(at_least(FIRST_MM, ladder), holds_prompt)


def at_least(mm: float, ladder: Sequence[float]) -> float:
    """The finest spacing of the ladder that is no finer than this; its coarsest, if all are."""
    return next((step for step in ladder if step >= mm * (1 - 1e-6)), ladder[-1])


def coarser(spacing: float, ladder: Sequence[float]) -> float | None:
    """About twice as coarse; None at the end of the ladder."""
    return None if spacing >= ladder[-1] else at_least(2 * spacing, ladder)


def refitted(across: Sequence[int], spacing: float, native: Geometry, ladder: Sequence[float], window: Sequence[int]) -> float | None:
    """The spacing for a new object of so many voxels (k, j, i) that wants another look, a broad one a coarser and a tiny one a finer; None where
    none is wanted or the scan has no more to show."""
    if is_broad(across, spacing, native, window):
        return coarser(spacing, ladder)
    wanted = max(at_least(min(native.spacing), ladder), at_least(spacing * max(across) / (2 * TINY), ladder))
    return wanted if 0 < max(across) < TINY and wanted < spacing else None


def is_broad(across: Sequence[int], spacing: float, native: Geometry, window: Sequence[int]) -> bool:
    """Whether an object of so many voxels (k, j, i) fills much of what the crop shows of the volume, along every axis."""
    shown = np.minimum(window, np.ptp(ras_span(native), axis=0)[::-1] / spacing)
    return bool((np.array(across) > BROAD * shown).all())


def runs_out(zone: np.ndarray, grid: Geometry, native: Geometry) -> bool:
    """Whether a zone (k, j, i) of a crop touches a side beyond which the volume goes on."""
    return any(zone.take(0 if side < 0 else -1, axis).any() for axis, side in _open_sides(grid, native))


def thin_ends(zone: np.ndarray, grid: Geometry, native: Geometry) -> list[np.ndarray]:
    """Places (RAS), in the RIM of a crop, at which a zone (k, j, i) goes on beyond it as something thin, the thickest first; none where any of it is
    thick."""
    found, across = [], Box.of(zone).shape
    for axis, side in _open_sides(grid, native):
        rim = round(RIM * zone.shape[axis])
        at = rim if side < 0 else zone.shape[axis] - 1 - rim
        plane = zone.take(at, axis)
        if plane.mean() > THIN:
            return []
        pieces, count = ndimage.label(plane, np.ones((3, 3)))
        for inside in (np.argwhere(pieces == piece) for piece in range(1, count + 1)):
            if len(inside) >= TAPERED * zone.sum() / across[axis]:
                middle = inside[np.linalg.norm(inside - inside.mean(0), axis=1).argmin()]
                found.append((len(inside), grid.to_ras(np.insert(middle, axis, at))))
    return [place for _, place in sorted(found, key=lambda each: -each[0])]


def well_inside(grid: Geometry, ras: np.ndarray) -> np.ndarray:
    """bool (...): which places (..., 3) a crop shows further inside than its RIM."""
    at, sides = grid.to_index(ras), np.array(grid.shape)
    rim = np.round(RIM * sides) + .5
    return ((at > rim) & (at < sides - 1 - rim)).all(-1)


def closer_looks(outline_ras: np.ndarray, from_ras: np.ndarray, spacing: float, window: Sequence[int], most: int) -> list[np.ndarray]:
    """Middles (RAS) of at most so many crops along an outline (n, 3), nearest to the prompt first; each answers for what it can fill."""
    middles, left = [], outline_ras
    half = FILLED * min(window) * spacing / 2
    while len(left) and len(middles) < most:
        middles.append(left[np.linalg.norm(left - from_ras, axis=1).argmin()])
        left = left[(np.abs(left - middles[-1]) > half).any(1)]
    return middles


def _open_sides(grid: Geometry, native: Geometry) -> Iterator[tuple[int, int]]:
    """Axis and -1 or 1, of each side of a crop beyond which the volume goes on."""
    low, high = ras_span(native, room=0)
    first, last = grid.to_ras((0, 0, 0)), grid.to_ras(np.array(grid.shape) - 1)
    for axis in range(3):
        along = 2 - axis  # K runs along S, J along A, I along R
        if first[along] - grid.spacing[axis] > low[along]:
            yield axis, -1
        if last[along] + grid.spacing[axis] < high[along]:
            yield axis, 1
