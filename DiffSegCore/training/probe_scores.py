"""What a probe got right: Dice of every organ, and how often right and left are taken for each other."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

import numpy as np

from ..data.cache import GridCase


@dataclass(frozen=True)
class CaseScore:
    """dice: organ -> Dice on the model grid, of the organs drawn in this case. sides: right organ -> voxels of the pair in the
    truth that were called one of the two, and of these how many were called the other one.
    """

    case: str
    dice: Mapping[str, float]
    sides: Mapping[str, tuple[int, int]]


def score_case(case: GridCase, found: np.ndarray, organs: Sequence[str], pairs: Sequence[tuple[int, int]], empty_is_undrawn: bool) -> CaseScore:
    """Compare channels (K, J, I) with the case's. An organ without a voxel is left out (undrawn), or absent: 1 where none was found, else 0."""
    count = len(organs) + 1
    table = np.bincount(case.channels.ravel().astype(np.int64) * count + found.ravel(), minlength=count * count).reshape(count, count)
    drawn = [c for c in range(1, count) if c in case.places or not empty_is_undrawn]
    dice = {organs[c - 1]: _dice(table, c) for c in drawn}
    sides = {organs[right - 1]: _sides(table, right, left) for right, left in pairs if right in drawn and left in drawn}
    return CaseScore(case.name, dice, sides)


def _dice(table: np.ndarray, channel: int) -> float:
    sizes = int(table[channel].sum() + table[:, channel].sum())
    return 2 * int(table[channel, channel]) / sizes if sizes else 1.


def _sides(table: np.ndarray, right: int, left: int) -> tuple[int, int]:
    both = table[np.ix_((right, left), (right, left))]
    return int(both.sum()), int(both[0, 1] + both[1, 0])


def summary(scores: Sequence[CaseScore]) -> dict[str, Any]:
    """As the run record keeps it: mean Dice of every organ over cases, their mean, the pairs' confusion rate, and each case's Dice."""
    organs = list(dict.fromkeys(organ for score in scores for organ in score.dice))
    means = {organ: float(np.mean([score.dice[organ] for score in scores if organ in score.dice])) for organ in organs}
    pairs = dict.fromkeys(pair for score in scores for pair in score.sides)
    called = {pair: np.sum([score.sides[pair] for score in scores if pair in score.sides], axis=0) for pair in pairs}
    return {"cases": len(scores), "mean": float(np.mean(list(means.values()))), "organs": means,
            "confused": {pair: float(wrong / max(1, all_of)) for pair, (all_of, wrong) in called.items()},
            "by_case": {score.case: {organ: round(value, 4) for organ, value in score.dice.items()} for score in scores}}
