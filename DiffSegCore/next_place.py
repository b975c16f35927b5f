"""Where to look next: the largest coherent disagreement among samples of the refiner, in millilitres, and why."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .crops import crop_grid, paste, ras_span, reached
from .draft import Draft
from .geometry import Geometry
from .looking import Seen, Sight
from .prompts import Prompt
from .volume import Volume
from .zoom import FILLED, at_least

AWAY_MM = 10.     # from the object, old or new: beyond, nothing is said
CHECKED_MM = 8.   # round a prompt of the label nothing is asked again
WORTH = .02       # nats of disagreement at a voxel that count
PEAK = .25        # of the largest disagreement: what belongs to one place


@dataclass(frozen=True)
class Place:
    """ras mm; score: nats of disagreement times millilitres, to compare places; reason: a sentence for the user."""

    ras: tuple[float, float, float]
    label: int
    reason: str
    score: float


def whole_look(sight: Sight, draft: Draft, label: int, prompts: Sequence[Prompt], samples: int) -> Seen | None:
    """Several samples of all of a label in one crop, as fine as it fits; None where the label has no voxel."""
    if draft.box_of(label).is_empty:
        return None
    ends = ras_span(sight.native, draft.box_of(label))
    spacing = at_least(np.ptp(ends, axis=0).max() / (FILLED * min(sight.model.window)), sight.ladder)
    return sight.look(draft, label, prompts, crop_grid(sight.native, ends.mean(0), spacing, sight.model.window), samples)


def uncertainty(seen: Seen | None, native: Geometry) -> Volume:
    """Entropy in nats, float32, on the volume's grid; 0 further than AWAY_MM from the object."""
    result = np.zeros(native.shape, dtype=np.float32)  # pages that are never written cost nothing
    if seen is not None:
        box = reached(seen.grid, native)
        result[box.slices] = paste(seen.answer.entropy * near_object(seen), seen.grid, native, box).numpy()
    return Volume(result, native)


def place_in(seen: Seen | None, label: int, name: str, prompts: Sequence[Prompt]) -> Place | None:
    """The place of the largest sum of disagreement; None where samples agree, or prompts lie there already."""
    if seen is None:
        return None
    doubt = (seen.answer.information * near_object(seen)).numpy()
    ras = seen.grid.to_ras(np.stack(np.indices(doubt.shape), -1))
    for at in (place for prompt in prompts for place in prompt.places):
        doubt[np.linalg.norm(ras - at, axis=-1) < CHECKED_MM] = 0
    pieces, count = ndimage.label(doubt > max(WORTH, PEAK * doubt.max()))
    if not count:
        return None
    sums = ndimage.sum_labels(doubt, pieces, range(1, count + 1))
    piece = pieces == 1 + int(sums.argmax())
    at = np.unravel_index(int(np.where(piece, doubt, 0).argmax()), doubt.shape)
    voxel_ml = float(np.prod(seen.grid.spacing)) / 1000
    now = "is" if seen.share[at] >= .5 else "is not"
    reason = f"{name}: samples disagree over {piece.sum() * voxel_ml:.1f} ml that {now} part of it now."
    return Place(tuple(seen.grid.to_ras(at).tolist()), label, reason, float(sums.max() * voxel_ml))


def near_object(seen: Seen) -> Tensor:
    """bool (k, j, i): within AWAY_MM of the object as it was or as it is answered."""
    inside = ((seen.share >= .5) | seen.answer.mask).numpy()
    if not inside.any():
        return torch.from_numpy(inside)
    return torch.from_numpy(ndimage.distance_transform_edt(~inside, sampling=seen.grid.spacing) <= AWAY_MM)
