"""How large each organ of a label map is, with the title and colour to show it by."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np

from .errors import BadInput
from .files import atomic
from .organs import organ
from .volume import LabelMap

_SPARE_COLORS = ((86, 180, 233), (230, 159, 0), (0, 158, 115), (204, 121, 167), (240, 228, 66), (213, 94, 0), (0, 114, 178))


@dataclass(frozen=True)
class OrganVolume:
    """An organ's id in the label map, its name and title, `ml` (0: not found) and `color` RGB 0..1."""

    id: int
    name: str
    title: str
    ml: float
    color: tuple[float, float, float]


def organ_volumes(labels: LabelMap) -> tuple[OrganVolume, ...]:
    """Every organ the label map names or holds, in the order of ids."""
    counts = np.bincount(labels.ids.ravel())
    voxel_ml = math.prod(labels.geometry.spacing) / 1000
    ids = sorted({*labels.names, *np.flatnonzero(counts).tolist()} - {0})
    return tuple(_measured(id, labels.names.get(id, f"label_{id}"), counts[id] * voxel_ml if id < len(counts) else 0.0) for id in ids)


def write_csv(volumes: Sequence[OrganVolume], path: str | Path) -> None:
    """A table with the columns id, name, title, ml. Raises BadInput where it cannot be written."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("id", "name", "title", "ml"))
        rows.writerows((each.id, each.name, each.title, f"{each.ml:.3f}") for each in volumes)


def _measured(id: int, name: str, ml: float) -> OrganVolume:
    try:
        known = organ(name)
    except BadInput:  # files may name what the organ table does not have
        title, color = name.replace("_", " ").capitalize(), _SPARE_COLORS[id % len(_SPARE_COLORS)]
    else:
        title, color = known.title, known.color
    return OrganVolume(id, name, title, float(ml), tuple(c / 255 for c in color))
