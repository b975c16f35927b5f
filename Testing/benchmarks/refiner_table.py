"""Records of refinements (one folder a setting, one JSON a case; or all packed into one JSON) as tables, with paired tests over the cases."""
from __future__ import annotations

import json
import math
import re
import statistics
from pathlib import Path
from typing import Any, Mapping, Sequence

from scipy.stats import wilcoxon

from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import aligned
from Testing.benchmarks.records import write

Records = Mapping[str, dict[str, Any]]  # by case
COLUMNS = {"Dice": ("dice", 3), "NSD": ("nsd", 3), "HD95 mm": ("hd95_mm", 1), "ECE": ("ece", 4), "NLL": ("nll", 4), "AUROC": ("auroc", 3)}
BETTER = {"Dice": 1, "NSD": 1, "HD95 mm": -1, "ECE": -1, "NLL": -1}
FEWEST = 6  # pairs; below that no signed-rank test can reach 5 %


def report(place: Path, against: Sequence[str], only: Sequence[str] = ()) -> str:
    """The settings' means, each organ's Dice, and what the paired tests say; of `only` these settings, where some are named."""
    settings = {name: records for name, records in shared(place).items() if name in only or not only}
    parts = [f"{len(next(iter(settings.values())))} cases that all settings have", means(settings), organs(settings)]
    parts += [tests(settings, other) for other in against if other in settings]
    return "\n\n".join(parts)


def shared(place: Path) -> dict[str, Records]:
    """Records of the cases that all settings have, of a folder or of a file that `pack` wrote."""
    found = json.loads(place.read_text(encoding="utf-8")) if place.is_file() else {path.name: _read(path) for path in place.glob("*") if path.is_dir()}
    if not found:
        raise BadInput(f"There are no records in {place}.")
    cases = sorted(set.intersection(*(set(records) for records in found.values())))
    return {name: {case: found[name][case] for case in cases} for name in sorted(found, key=_order)}


def pack(folder: Path, file: Path) -> None:
    """All that the tables are made of, in one file."""
    kept = {*(key for key, _ in COLUMNS.values()), "brier", "sizes", "seconds"}
    write(file, {name: {case: {key: record[key] for key in sorted(kept & record.keys())} for case, record in records.items()} for name, records in shared(folder).items()})


def means(settings: Mapping[str, Records]) -> str:
    """Dice, NSD and HD95: the mean over organs of the mean over the cases that have them. The rest: over cases."""
    rows = [("setting", *COLUMNS, "seconds")]
    for name, records in settings.items():
        numbers = [f"{overall(records, key):.{digits}f}" for key, digits in COLUMNS.values()]
        rows.append((name, *numbers, f"{statistics.median(r['seconds'] for r in records.values()):.1f}"))
    return aligned(rows)


def organs(settings: Mapping[str, Records]) -> str:
    """Dice of every organ."""
    names = list(dict.fromkeys(organ for records in settings.values() for r in records.values() for organ in r["dice"]))
    rows = [("Dice of", *settings)]
    for organ in sorted(names):
        rows.append((organ, *(f"{_mean([r['dice'][organ] for r in records.values() if organ in r['dice']]):.3f}" for records in settings.values())))
    return aligned(rows)


def tests(settings: Mapping[str, Records], other: str) -> str:
    """Mean difference over cases (each case's mean over its organs), cases better : worse, and Wilcoxon's signed-rank p, two-sided."""
    rows = [(f"against {other}", "what", "difference", "better", "worse", "p")]
    for name, records in settings.items():
        for what in BETTER if name != other else ():
            key = COLUMNS[what][0]
            pairs = [(of_case(r, key), of_case(settings[other][case], key)) for case, r in records.items()]
            gains = [BETTER[what] * (a - b) for a, b in pairs]
            rows.append((name, what, f"{_mean([a - b for a, b in pairs]):+.4f}", str(sum(g > 0 for g in gains)), str(sum(g < 0 for g in gains)), _p(gains)))
    return aligned(rows)


def overall(records: Records, key: str) -> float:
    first = next(iter(records.values()))[key]
    if not isinstance(first, dict):
        return _mean([r[key] for r in records.values()])
    names = {organ for r in records.values() for organ in r[key]}
    return _mean([_mean([r[key][organ] for r in records.values() if organ in r[key]]) for organ in names])


def of_case(record: dict[str, Any], key: str) -> float:
    value = record[key]
    return _mean(list(value.values())) if isinstance(value, dict) else value


def _p(gains: Sequence[float]) -> str:
    return "too few" if len(gains) < FEWEST else "1" if not any(gains) else f"{wilcoxon(gains).pvalue:.2g}"


def _mean(values: Sequence[float]) -> float:
    there = [v for v in values if not math.isnan(v)]
    return statistics.fmean(there) if there else math.nan


def _read(folder: Path) -> Records:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}


def _order(name: str) -> tuple[int, list[Any]]:
    """The head, the control, then by kernel and numbers."""
    first = {"head": 0, "head-decided": 1, "control": 2}.get(name, 3)
    return first, [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", name)]

