"""Whether right and left look exchanged, by the organs that were found: a mirrored image is a wrong side operated on.

In the trunk they tell. Those of a neck are nearly symmetrical: there body coordinates look at what lies between them (coordinates.py).
"""
from __future__ import annotations

from typing import Collection, Iterator, Mapping

import numpy as np

from .volume import LabelMap

ASYMMETRIC = (("liver", "spleen"), ("liver", "stomach"), ("gallbladder", "spleen"), ("inferior_vena_cava", "aorta"))  # the right one first
CLEARLY_MM = 10.  # less apart says nothing
UNLESS = "Check the orientation of the image, unless the patient's organs are known to be mirrored (situs inversus)."
IN_THE_MIRROR = f"Right and left look exchanged: organs have their usual size in the mirror image only. {UNLESS}"
ENOUGH = 128  # voxels along an axis, to find the middle of an organ


def side_doubts(labels: LabelMap) -> tuple[str, ...]:
    """A sentence where more organs lie on the wrong side of their partners than on the right one; none where nothing can be told."""
    across = {name: right_mm(labels, id) for id, name in labels.names.items()}
    apart = {(right, left): across[right] - across[left] for right, left in _partners(across) if None not in (across[right], across[left])}
    wrong = [names for names, mm in apart.items() if mm < -CLEARLY_MM]
    if len(wrong) <= sum(mm > CLEARLY_MM for mm in apart.values()):
        return ()
    right, left = wrong[0]
    return (f"Right and left look exchanged: the {right.replace('_', ' ')} lies {-apart[right, left]:.0f} mm to the patient's left of the "
            f"{left.replace('_', ' ')}. {UNLESS}",)


def has_sides(organs: Collection[str]) -> bool:
    """Whether a model of these organs would answer a mirrored patient otherwise."""
    return any(set(pair) <= set(organs) for pair in ASYMMETRIC)


def right_mm(labels: LabelMap, id: int) -> float | None:
    """How far to the patient's right the middle of a label lies; None where there is none of it."""
    steps = [max(1, size // ENOUGH) for size in labels.ids.shape]
    places = np.argwhere(labels.ids[tuple(slice(None, None, step) for step in steps)] == id)
    return float(labels.geometry.to_ras(places.mean(axis=0) * steps)[0]) if len(places) else None


def _partners(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    yield from (pair for pair in ASYMMETRIC if set(pair) <= set(names))
    for name in names:
        if name.endswith("_right") and (other := name.removesuffix("right") + "left") in names:
            yield name, other
