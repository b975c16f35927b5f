"""What one prompt does to the labels: look, as closely as the object wants and as far as it goes, keep what belongs to the prompt, and lay it on the volume.

What happens depends on the labels, the prompts and nothing else, so a replay gives the same voxels.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
from scipy import ndimage

from .crops import crop_grid
from .draft import Draft
from .geometry import Box, Geometry
from .looking import Seen, Sight
from .marks import mark, span
from .progress import Progress, silent
from .prompts import BoxPrompt, Lasso, Point, Prompt
from .turn import Held, Turn, pasted
from .zoom import FIRST_MM, at_least, closer_looks, coarser, framing, is_broad, piece_near, refitted, runs_out, thin_ends, well_inside

MOST_LOOKS = 4  # at one prompt: what a click may cost is bounded
MORE = 1.5      # times as much as a finer look saw: below that, a coarser one only sees the same less well


@dataclass(frozen=True, eq=False)
class Found:
    """A look, the change that a prompt is the reason of, bool (k, j, i), how many further looks it deserves and may have, how deep in the mask the
    prompt lay, where (RAS) a thin object goes on beyond the crop, and whether the change does in any way."""

    seen: Seen
    zone: np.ndarray
    left: int
    depth_mm: float | None
    ends: Sequence[np.ndarray]
    cut_off: bool

    @property
    def grown(self) -> np.ndarray:
        return _grown(self.zone)


def click(sight: Sight, draft: Draft, new: Held, earlier: Sequence[Held], progress: Progress = silent) -> None:
    """Put what a prompt changes into the draft; earlier prompts are of any label, oldest first."""
    turn = Turn(sight, draft, new, earlier, progress)
    found = _found(turn)
    turn.lay(found.seen, found.grown)
    if found.ends:
        _follow(turn, found)
    else:
        _look_closer(turn, found)
    turn.decide()


def pieces_at(changed: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The pieces of a change that touch `near`; both bool, of one shape."""
    pieces, _ = ndimage.label(changed)
    touched = np.zeros(pieces.max() + 1, dtype=bool)
    touched[pieces[near]] = True
    touched[0] = False
    return touched[pieces]


def _found(turn: Turn) -> Found:
    """The look that shows the change whole, or all that a crop can show of something thin; it goes coarser where the change leaves the crop or the
    object is broad, finer where it is tiny."""
    new, sight, draft, found = turn.prompt, turn.sight, turn.draft, None
    window = sight.model.window
    piece = piece_near(draft.ids, new.label, draft.box_of(new.label), sight.native, sight.native.to_index(np.array(new.places)))
    frame = framing(piece, span(new), isinstance(new, (BoxPrompt, Lasso)), sight.ladder, window)
    for looks in range(1, MOST_LOOKS):
        turn.progress((looks - 1) / MOST_LOOKS, "Looking")
        seen = turn.look(crop_grid(sight.native, *frame, window))
        depth_mm = seen.depth_mm(mark(new, seen.grid))
        seen = turn.near(seen, depth_mm)
        zone = pieces_at(seen.changed, turn.felt(seen.grid))
        if found is not None and not _more(zone, seen.grid, found):
            break  # what one look saw and the next did not stays as it was seen
        ends = _ends(sight, zone, seen.grid) if isinstance(new, Point) and new.inside else []
        found = Found(seen, zone, MOST_LOOKS - looks if ends or seen.grid.spacing[0] > FIRST_MM else 0, depth_mm, ends, runs_out(zone, seen.grid, sight.native))
        if ends or (frame := _further(sight, found, fresh=piece is None)) is None:
            break
    return found


def _look_closer(turn: Turn, found: Found) -> None:
    """Along the outline of a coarse answer."""
    for grid in _closer(turn.sight, found, turn.prompt):
        turn.progress(1 - found.left / MOST_LOOKS, "Looking closer")
        seen = turn.near(turn.look(grid), found.depth_mm)
        zone = pieces_at(seen.changed, pasted(found.grown, found.seen.grid, grid, Box.whole(grid.shape)))
        turn.lay(seen, _grown(zone))


def _follow(turn: Turn, found: Found) -> None:
    """On along something thin, such as a vessel or the spinal cord, as if somebody had clicked where it leaves the crop. What earlier looks showed
    well is not decided again."""
    sight, ends, grids = turn.sight, list(found.ends), [found.seen.grid]
    while ends and len(grids) <= found.left:
        end = ends.pop(0)
        if any(well_inside(grid, end) for grid in grids):
            continue
        turn.progress(1 - (found.left - len(grids) + 1) / MOST_LOOKS, "Following")
        grid = crop_grid(sight.native, end, found.seen.grid.spacing[0], sight.model.window)
        there = Point(turn.prompt.number, turn.prompt.label, True, tuple(end.tolist()))
        seen = turn.near(turn.look(grid, there), found.depth_mm)
        beyond = ~np.any([well_inside(each, _places(grid)) for each in grids], axis=0)
        zone = pieces_at(seen.changed & beyond, _grown(seen.share.numpy() >= .5))
        turn.lay(seen, _grown(zone) & beyond)
        ends += _ends(sight, zone, grid)
        grids.append(grid)


def _further(sight: Sight, found: Found, *, fresh: bool) -> tuple[np.ndarray, float] | None:
    """Where and at which spacing to look again: coarser where the change leaves the crop or a fresh object is broad, finer where it is tiny."""
    grid, box, wanted = found.seen.grid, Box.of(found.zone), None
    if found.cut_off:
        wanted = coarser(grid.spacing[0], sight.ladder)
    elif fresh:
        wanted = refitted(box.shape, grid.spacing[0], sight.native, sight.ladder, sight.model.window)
    return None if wanted is None else (grid.to_ras((np.array(box.start) + box.stop - 1) / 2), wanted)


def _more(zone: np.ndarray, grid: Geometry, found: Found) -> bool:
    """Whether a look sees anything new: a finer one anything at all, a coarser one more than was found, unless that ran out of its crop."""
    mm3, before_mm3 = zone.sum() * np.prod(grid.spacing), found.zone.sum() * np.prod(found.seen.grid.spacing)
    return bool(zone.any()) and (found.cut_off or grid.spacing[0] < found.seen.grid.spacing[0] or mm3 > MORE * before_mm3)


def _ends(sight: Sight, zone: np.ndarray, grid: Geometry) -> list[np.ndarray]:
    """Where (RAS) a thin object goes on beyond the crop; a broad one wants a coarser look instead."""
    broad = is_broad(Box.of(zone).shape, grid.spacing[0], sight.native, sight.model.window)
    return [] if broad else thin_ends(zone, grid, sight.native)


def _closer(sight: Sight, found: Found, new: Prompt) -> list[Geometry]:
    """Crops of half the spacing along the outline of a coarse answer, as many as there are looks left, the nearest first."""
    grid, spacing = found.seen.grid, at_least(found.seen.grid.spacing[0] / 2, sight.ladder)
    inside = found.seen.answer.mask.numpy()
    outline = found.grown & inside & ~ndimage.binary_erosion(inside, border_value=1)
    middles = closer_looks(grid.to_ras(np.argwhere(outline)), span(new).mean(0), spacing, sight.model.window, found.left)
    return [crop_grid(sight.native, middle, spacing, sight.model.window) for middle in middles]


def _grown(zone: np.ndarray) -> np.ndarray:
    """By a voxel, corners included: an outline lies between voxels."""
    return ndimage.binary_dilation(zone, np.ones((3, 3, 3), dtype=bool))


def _places(grid: Geometry) -> np.ndarray:
    """RAS (k, j, i, 3) of a grid's voxels."""
    return grid.to_ras(np.stack(np.indices(grid.shape), -1))
