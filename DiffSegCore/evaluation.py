"""Two label files compared organ by organ: what `diffseg evaluate PREDICTION REFERENCE` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from .data.label_names import organ_name, read_label_names
from .data.layouts import stem
from .errors import BadInput
from .metrics import OrganScore, compare
from .reading import read_labels
from .volume import LabelMap

COLUMNS = ("organ", "Dice", "NSD", "at mm", "HD95 mm", "predicted ml", "reference ml")


def evaluate(prediction_path: str | Path, reference_path: str | Path, label_map: str | Path | None = None, *,
             skip_empty: bool = False) -> list[OrganScore]:
    """Score the organs of the reference file, matched by name; by id where neither file has names.

    label_map: the reference's id -> name as JSON, dataset.json or labels.txt, which wins over its own names; a
    prediction without names is read with it too. skip_empty: an organ without a voxel in the reference was not
    contoured, and is left out. Raises BadInput where a file, the table or the grids do not fit.
    """
    prediction, reference = read_labels(prediction_path), read_labels(reference_path)
    names = reference.names
    if label_map is not None:
        names = read_label_names(Path(label_map), kind=stem(Path(reference_path)))
    if prediction.names and not names:
        raise BadInput(f"{prediction_path} names its organs and {reference_path} does not: say what the reference's "
                       "ids mean with --labels (a labels.json or labels.txt).")
    names = names or _ids(prediction, reference)
    return compare(_named(prediction, prediction.names or names), _named(reference, names), skip_empty=skip_empty)


def table(scores: Sequence[OrganScore]) -> str:
    """The scores as aligned text, a line an organ and the mean over organs below."""
    rows = [(s.organ, f"{s.dice:.3f}", f"{s.nsd:.3f}", f"{s.tolerance_mm:g}", f"{s.hd95_mm:.1f}",
             f"{s.prediction_ml:.1f}", f"{s.reference_ml:.1f}") for s in scores]
    if len(scores) > 1:
        dice, nsd, hd95 = (np.mean([getattr(s, m) for s in scores]) for m in ("dice", "nsd", "hd95_mm"))
        rows.append((f"mean of {len(scores)}", f"{dice:.3f}", f"{nsd:.3f}", "", f"{hd95:.1f}", "", ""))
    return aligned([COLUMNS, *rows])


def as_json(scores: Sequence[OrganScore]) -> str:
    """The scores as a JSON list of objects, one an organ."""
    return json.dumps([asdict(score) for score in scores], indent=2)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Lines of columns: the first to the left, the rest to the right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ([cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths))] for row in rows)
    return "\n".join("  ".join(cells).rstrip() for cells in lines)


def _named(labels: LabelMap, names: Mapping[int, str]) -> LabelMap:
    return replace(labels, names={i: organ_name(name) for i, name in names.items()})


def _ids(*maps: LabelMap) -> dict[int, str]:
    found = sorted({int(i) for labels in maps for i in np.unique(labels.ids)} - {0})
    return {i: f"label_{i}" for i in found}
