"""Why samples of several steps do or do not reach what one look says: how much of their error is that they are few.

The squared error (Brier score) of the mean of n independent samples is that of endlessly many, and their variance divided by n. So two
counts tell the limit. A chain whose network knows its own noise has in the limit the chances of its first look: each step only draws
from them. What the limit lies above the first look is the network's error, which more samples do not mend.
"""
from __future__ import annotations

import re
from statistics import fmean
from typing import Iterator, Mapping

from refiner_table import Records

from DiffSegCore.evaluation import aligned

LOOK = "exact-1x1"


def limits(settings: Mapping[str, Records]) -> str:
    """A row for every kernel and number of steps with 1 sample and more, beside one look; means over cases, and in how many the limit is the worse one."""
    look = settings[LOOK]
    rows = [("Brier score", "one sample", "samples", "mean of them", "of endlessly many", "one look", "worse than one look")]
    for way, count in _ways(settings):
        one, many = settings[f"{way}x1"], settings[f"{way}x{count}"]
        without_end = {case: limit(one[case]["brier"], many[case]["brier"], count) for case in look}
        numbers = [fmean(found.values()) for found in (_brier(one), _brier(many), without_end, _brier(look))]
        worse = sum(without_end[case] > look[case]["brier"] for case in look)
        rows.append((f"{way} steps", f"{numbers[0]:.4f}", str(count), *(f"{number:.4f}" for number in numbers[1:]), f"{worse} of {len(look)}"))
    return aligned(rows)


def limit(one: float, many: float, count: int) -> float:
    """Of the squared errors of one sample and of the mean of `count`, that of endlessly many."""
    return (count * many - one) / (count - 1)


def _ways(settings: Mapping[str, Records]) -> Iterator[tuple[str, int]]:
    for name in settings:
        match = re.fullmatch(r"(.+-\d+)x(\d+)", name)
        if match and int(match[2]) > 1 and f"{match[1]}x1" in settings:
            yield match[1], int(match[2])


def _brier(records: Records) -> dict[str, float]:
    return {case: record["brier"] for case, record in records.items()}
