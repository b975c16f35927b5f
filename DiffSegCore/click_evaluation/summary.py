"""What trials add up to: Dice and NSD by click, area under the curve, clicks needed, and what a user would complain of."""
from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Iterable, Sequence

import numpy as np

from ..evaluation import aligned
from ..files import atomic
from .trials import Trial

GOALS = (.85, .9)
WORSE = .001  # of Dice: a click that costs more was harmful
SHOWN = (0, 1, 3, 5, 10)  # clicks, and after the last
ROW = ("data", "case", "organ", "ml", "clicks", "dice", "nsd", "seconds", "far_ml", "far_wrong_ml", "satisfied")


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """Plain numbers: `overall`, the mean over trials, and the same for every `organ` by its name."""
    organs = sorted({trial.organ for trial in trials})
    return {"overall": _numbers(trials), "organs": {organ: _numbers([t for t in trials if t.organ == organ]) for organ in organs}}


def curves(trials: Sequence[Trial], what: str = "dice") -> np.ndarray:
    """(trials, clicks + 1) of Dice or NSD."""
    return np.array([[getattr(each, what) for each in trial.rounds] for trial in trials])


def _numbers(trials: Sequence[Trial]) -> dict[str, Any]:
    dice, nsd = curves(trials), curves(trials, "nsd")
    clicks = dice.shape[1] - 1
    answered = [each for trial in trials for each in trial.rounds[1:trial.clicked + 1]]
    gains = np.concatenate([np.diff(row)[:trial.clicked] for row, trial in zip(dice, trials)])
    seconds = np.array([each.seconds for each in answered])
    shown = sorted({*(n for n in SHOWN if n <= clicks), clicks})
    some = len(answered) > 0
    return {"objects": len(trials), "clicks": clicks,
            "dice": {str(n): _rounded(dice[:, n].mean()) for n in shown}, "nsd": {str(n): _rounded(nsd[:, n].mean()) for n in shown},
            "auc": _rounded(area(dice).mean()), "nsd_auc": _rounded(area(nsd).mean()),
            **{f"noc{round(100 * goal)}": _rounded(needed(dice, goal).mean()) for goal in GOALS},
            **{f"reached{round(100 * goal)}": _rounded((dice.max(1) >= goal).mean()) for goal in GOALS},
            "harmful": _rounded((gains < -WORSE).mean()) if some else 0.,
            "satisfied": _rounded(min((each.satisfied for each in answered), default=1.)),
            "far_ml": _rounded(np.mean([each.far_ml for each in answered])) if some else 0.,
            "far_wrong_ml": _rounded(np.mean([each.far_wrong_ml for each in answered])) if some else 0.,
            "seconds_p50": _rounded(np.percentile(seconds, 50)) if some else 0., "seconds_p95": _rounded(np.percentile(seconds, 95)) if some else 0.}


def area(values: np.ndarray) -> np.ndarray:
    """Area under curves (trials, clicks + 1), by trapezoids, divided by the number of clicks: 1 is perfect from the start."""
    return ((values[:, 1:] + values[:, :-1]) / 2).mean(1) if values.shape[1] > 1 else values[:, 0]


def needed(dice: np.ndarray, goal: float) -> np.ndarray:
    """NoC: how many clicks it takes to reach a Dice; one that is never reached counts with all the clicks there were."""
    reached = dice >= goal
    return np.where(reached.any(1), reached.argmax(1), dice.shape[1] - 1)


def table(found: dict[str, Any]) -> str:
    """The summary in columns, organs first."""
    shown = list(found["overall"]["dice"])
    rows = [("organ", "objects", *(f"Dice@{n}" for n in shown), f"NSD@{shown[-1]}", "AUC", "NoC85", "NoC90", "harmful", "p50 s", "p95 s")]
    for name, each in (*found["organs"].items(), ("all", found["overall"])):
        rows.append((name, str(each["objects"]), *(f"{each['dice'][n]:.3f}" for n in shown), f"{each['nsd'][shown[-1]]:.3f}", f"{each['auc']:.3f}",
                     f"{each['noc85']:.1f}", f"{each['noc90']:.1f}", f"{each['harmful']:.1%}", f"{each['seconds_p50']:.2f}", f"{each['seconds_p95']:.2f}"))
    return aligned(rows)


def write_rows(trials: Iterable[Trial], path: Path) -> None:
    """A line a click, as CSV."""
    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(ROW)
        for trial in trials:
            for number, each in enumerate(trial.rounds):
                values = asdict(each)
                writer.writerow([trial.data, trial.case, trial.organ, _rounded(trial.ml), number, *(_rounded(values[name]) for name in ROW[5:])])


def write_summary(found: dict[str, Any], settings: dict[str, Any], path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"settings": settings, **found}, indent=1), encoding="utf-8")


def _rounded(value: float) -> float:
    return round(float(value), 4)
