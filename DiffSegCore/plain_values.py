"""What crosses to another process as plain values: grids, names, organs and edits, and back."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

import numpy as np

from .confidence import OrganFound
from .errors import BadInput
from .geometry import Box, Geometry
from .measuring import Measured
from .organ_volumes import OrganVolume
from .volume import LabelMap


def grid_of(values: Mapping[str, Any]) -> Geometry:
    """From {"shape": (K, J, I), "ijk_to_ras": 4 x 4}; BadInput where it makes no grid."""
    try:
        return Geometry(tuple(values["shape"]), np.array(values["ijk_to_ras"], dtype=np.float64))
    except (KeyError, TypeError) as error:
        raise BadInput(f"A geometry has a shape (K, J, I) and ijk_to_ras, four rows of four numbers; {error} does not fit.") from error


def plain_grid(grid: Geometry) -> dict[str, Any]:
    return {"shape": list(grid.shape), "ijk_to_ras": grid.ijk_to_ras.tolist()}


def label_map(ids: np.ndarray, grid: Geometry, names: Mapping[str, str] | None) -> LabelMap:
    """Ids of any whole-number kind; names by id, whose keys JSON makes text."""
    if ids.dtype not in (np.uint8, np.uint16):
        if ids.dtype.kind not in "biu" or ids.size and (ids.min() < 0 or ids.max() > 65535):
            raise BadInput(f"Labels are whole numbers from 0 to 65535, these are {ids.dtype}; convert them first.")
        ids = ids.astype(np.uint16)
    return LabelMap(ids, grid, {int(id): name for id, name in (names or {}).items()})


def plain_names(names: Mapping[int, str]) -> dict[str, str]:
    return {str(id): name for id, name in names.items()}


def box_of(values: Sequence[Sequence[int]] | None) -> Box | None:
    """From [start, stop], each (K, J, I), or None."""
    if values is None:
        return None
    try:
        start, stop = values
        return Box(tuple(start), tuple(stop))
    except (TypeError, ValueError) as error:
        raise BadInput(f"A region is [start, stop], each of three whole numbers (K, J, I), not {values!r}.") from error


def plain_box(box: Box) -> list[list[int]]:
    return [list(box.start), list(box.stop)]


def plain_size(size: OrganVolume) -> dict[str, Any]:
    return {"id": size.id, "name": size.name, "title": size.title, "color": list(size.color), "ml": size.ml}


def plain_organ(found: OrganFound) -> dict[str, Any]:
    return {**plain_size(found.size), "low_ml": found.low_ml, "high_ml": found.high_ml, "range_rate": found.rate, "confidence": found.confidence}


def plain_measured(row: Measured, before: OrganFound | None) -> dict[str, Any]:
    """before: what the automatic result said of it. Its range holds as long as its volume does."""
    same = before is not None and before.size.ml == row.size.ml
    return {**plain_size(row.size), "mean": row.mean, "sd": row.sd, "diameter_mm": row.diameter_mm, "before_ml": before.size.ml if before else None,
            "low_ml": before.low_ml if same else None, "high_ml": before.high_ml if same else None}
