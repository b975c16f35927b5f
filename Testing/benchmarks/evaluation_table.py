"""Records of an organ model's cases as plain numbers for its card, and those numbers as Markdown."""
from __future__ import annotations

import math
import statistics
from dataclasses import asdict
from typing import Any, Mapping

from DiffSegCore.metrics import OrganScore, summarise

from .records import Record, markdown as table

METRICS = {"dice": ("Dice", 3), "nsd": ("NSD", 3), "hd95_mm": ("HD95 mm", 1)}
CALIBRATION = ("ece", "nll", "auroc")


def summary(records: Mapping[str, Record]) -> dict[str, Any]:
    """Of each metric a row an organ (n, mean, sd, median, worst and its case) and the mean over organs; the worst case by its mean Dice."""
    scores = {case: [OrganScore(**each) for each in record["scores"]] for case, record in records.items()}
    rows = {metric: [_rounded(asdict(each)) for each in summarise(scores, metric)] for metric in METRICS}
    dice = {case: statistics.fmean(each.dice for each in ones) for case, ones in scores.items() if ones}
    worst = min(dice, key=dice.__getitem__, default="")
    return {"cases": len(records), "mean_over_organs": {metric: _mean([row["mean"] for row in ones]) for metric, ones in rows.items()}, **rows,
            "worst_case": worst, "worst_dice": round(dice[worst], 4) if worst else math.nan,
            "tolerance_mm": {each.organ: each.tolerance_mm for ones in scores.values() for each in ones},
            "calibration": calibration(records), "ranges": ranges(records), "false_finds": _false_finds(records),
            **{f"{key}_median": round(statistics.median(record[key] for record in records.values()), 2) for key in ("seconds", "cpu_seconds")},
            "measured_on": next(iter(records.values()))["machine"], "warned": sum(bool(record["warnings"]) for record in records.values())}


def calibration(records: Mapping[str, Record]) -> dict[str, float]:
    """Means over cases; expected_off: how far the Dice that the model expects of an organ lies from the true one, expected_over: by how much too high."""
    found = {key: _mean([record["calibration"][key] for record in records.values()]) for key in CALIBRATION}
    gaps = [record["expected"][one["organ"]] - one["dice"] for record in records.values() for one in record["scores"]]
    return {**found, "expected_off": _mean([abs(gap) for gap in gaps]), "expected_over": _mean(gaps)}


def ranges(records: Mapping[str, Record]) -> dict[str, Any]:
    """How often the true volume lay in the range that was given, by organ too, and the median of the ranges' widths as a share of the true volume.

    rate: how often it should, None where the model does not know.
    """
    told = [(one["organ"], *record["ranges"][one["organ"]], one["reference_ml"]) for record in records.values() for one in record["scores"] if one["reference_ml"]]
    held: dict[str, list[float]] = {}
    for organ, low, high, _, true in told:
        held.setdefault(organ, []).append(float(low <= true <= high))
    return {"rate": next((rate for *_, rate, _ in told if rate), None), "n": len(told), "held": _mean([each for some in held.values() for each in some]),
            "organs": {organ: _mean(some) for organ, some in held.items()}, "width": round(statistics.median([(high - low) / true for _, low, high, _, true in told] or [0.]), 4)}


def markdown(found: Mapping[str, Any]) -> str:
    """The numbers of a card or of `summary`; what an older card does not tell is left out."""
    keys = [(metric, title) for metric, (title, _) in METRICS.items() if metric in found]
    head = ("organ", "n", *(part for metric, title in keys for part in _titles(metric, title)))
    by_organ = [{row["organ"]: row for row in found[metric]} for metric, _ in keys]
    rows = [(organ, str(row["n"]), *(cell for (metric, _), ones in zip(keys, by_organ) for cell in _cells(metric, ones[organ])))
            for organ, row in by_organ[0].items()]
    means = [cell for metric, _ in keys for cell in (_text(metric, found["mean_over_organs"][metric]), *[""] * (len(_titles(metric, "")) - 1))]
    return "\n\n".join((_heading(found), table([head, *rows, ("mean over organs", "", *means)]), *_sentences(found)))


def _titles(metric: str, title: str) -> tuple[str, ...]:
    return (f"{title}, mean ± sd", "median", "worst (case)")


def _cells(metric: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    worst = _text(metric, row["worst"]) + (f" ({row['worst_case']})" if row.get("worst_case") else "")
    return f"{_text(metric, row['mean'])} ± {_text(metric, row['sd'])}", _text(metric, row["median"]), worst


def _heading(found: Mapping[str, Any]) -> str:
    return f"{found['cases']} cases of {found.get('title') or found.get('data')} ({found['split']})."


def _sentences(found: Mapping[str, Any]) -> list[str]:
    """What is no number of an organ."""
    sentences = []
    if fine := sorted(organ for organ, mm in found.get("tolerance_mm", {}).items() if mm < 2):
        sentences.append(f"NSD is at 2 mm, for {', '.join(fine)} at 1 mm.")
    elif "tolerance_mm" in found:
        sentences.append("NSD is at 2 mm.")
    if known := found.get("calibration"):
        sentences.append(f"Calibration near outlines and where the model is in doubt: ECE {known['ece']:.3f}, NLL {known['nll']:.3f}, AUROC of entropy "
                         f"for errors {known['auroc']:.3f}. The Dice that it expects of an organ is off by {known['expected_off']:.3f} on average, "
                         f"{_side(known['expected_over'])}.")
    if known := found.get("ranges"):
        sentences.append(_range_sentence(known))
    if false := found.get("false_finds"):
        each = (f"{organ} in {one['cases']} cases (at most {one['most_ml']:.1f} ml)" for organ, one in false.items())
        sentences.append(f"Found although absent: {', '.join(each)}.")
    if "worst_case" in found:
        sentences.append(f"The worst case is {found['worst_case']}, mean Dice {found['worst_dice']:.3f}; "
                         f"{found['warned']} of {found['cases']} cases came with a warning.")
    if "seconds_median" in found:
        sentences.append(f"{found['seconds_median']:.1f} s a case to read and segment, {found['cpu_seconds_median']:.1f} s of processor time (medians), "
                         f"on {found['measured_on']}.")
    return sentences


def _range_sentence(known: Mapping[str, Any]) -> str:
    promise = "by its chances alone" if known["rate"] is None else f"meant to hold in {100 * known['rate']:.0f} % of cases"
    worst = min(known["organs"], key=known["organs"].__getitem__)
    return (f"The true volume lay in the range that it gives, {promise}, in {100 * known['held']:.0f} % of {known['n']} organs ({worst} least, "
            f"{100 * known['organs'][worst]:.0f} %); half of the ranges were narrower than {known['width']:.2f} of the true volume.")


def _side(over: float) -> str:
    return f"{abs(over):.3f} too {'high' if over > 0 else 'low'} in the mean"


def _false_finds(records: Mapping[str, Record]) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {}
    for record in records.values():
        for organ, ml in record["false_ml"].items():
            found.setdefault(organ, []).append(ml)
    return {organ: {"cases": len(ml), "most_ml": round(max(ml), 2)} for organ, ml in found.items()}


def _text(metric: str, value: float) -> str:
    return f"{value:.{METRICS[metric][1]}f}"


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items() if key != "metric"}


def _mean(values: list[float]) -> float:
    there = [each for each in values if not math.isnan(each)]
    return round(statistics.fmean(there), 4) if there else math.nan
