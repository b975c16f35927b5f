"""What several trainings of the same recipe agree on: paired tests over cases do not know how much two trainings differ."""
from __future__ import annotations

from statistics import fmean, stdev
from typing import Mapping, Sequence

from refiner_table import COLUMNS, Records, overall

from DiffSegCore.evaluation import aligned

Settings = Mapping[str, Records]  # of one training
COMPARED = ("Dice", "NSD", "ECE", "NLL")


def across(trainings: Sequence[Settings]) -> str:
    """Means and standard deviations over trainings, of the settings that all have; then each training's difference to the head and to the control."""
    common = [name for name in trainings[0] if all(name in each for each in trainings)]
    rows = [("setting", *COLUMNS)]
    for name in common:
        found = {what: [overall(each[name], key) for each in trainings] for what, (key, _) in COLUMNS.items()}
        rows.append((name, *(f"{fmean(found[what]):.{digits}f} ± {stdev(found[what]):.{digits}f}" for what, (_, digits) in COLUMNS.items())))
    return "\n\n".join([aligned(rows), *(_differences(trainings, common, other) for other in ("head", "control"))])


def _differences(trainings: Sequence[Settings], names: Sequence[str], other: str) -> str:
    rows = [(f"against {other}", *COMPARED)]
    for name in names:
        if name != other:
            rows.append((name, *(" ".join(_difference(each[name], each[other], what) for each in trainings) for what in COMPARED)))
    return aligned(rows)


def _difference(one: Records, other: Records, what: str) -> str:
    key, digits = COLUMNS[what]
    return f"{overall(one, key) - overall(other, key):+.{digits}f}"
