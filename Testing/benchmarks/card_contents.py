"""What the card of a bundled model has to tell, and what is missing.

    python -m Testing.benchmarks.card_contents          # a line for each gap; exit code 1 if there are any
"""
from __future__ import annotations

import sys
from typing import Any, Mapping

from DiffSegCore.model import describe_model
from DiffSegCore.registry import name_of
from DiffSegCore.resources import resource

PURPOSE = {"for": "what it is for", "not_for": "what it is not for", "data": "what it learnt from", "data_licence": "the licences of that data",
           "licence": "its own licence", "recipe": "the recipe"}
TRAINING = {"hours": "hours of training", "machine": "the hardware of the training", "cases": "how many cases it learnt from and was checked with"}
MEASURED = {"title": "what it was tested on", "split": "the split", "calibration": "calibration", "seconds_median": "seconds a case", "worst_case": "the worst case"}
METRICS = ("dice", "nsd", "hd95_mm")
ROW = ("mean", "sd", "median", "worst", "worst_case")


def missing(described: Mapping[str, Any]) -> list[str]:
    """What a model file's description (`describe_model`) does not tell, in words."""
    card = described["card"]
    gaps = [words for key, words in PURPOSE.items() if not card.get(key)]
    gaps += [words for key, words in TRAINING.items() if not card.get("training", {}).get(key)]
    gaps += _organs(described["organs"], card) if described["organs"] else _clicks(card) if card.get("click") else _coordinates(card)
    return gaps if described.get("sha256") else [*gaps, "its hash"]


def _organs(organs: list[str], card: Mapping[str, Any]) -> list[str]:
    """An organ that no real test case shows has to be in the table of made images."""
    measured, made = card.get("measured", {}), card.get("synthesised", {})
    gaps = [words for key, words in MEASURED.items() if measured.get(key) in (None, "")]
    for metric in METRICS:
        rows = {row["organ"]: row for row in (*made.get(metric, ()), *measured.get(metric, ()))}
        bare = [organ for organ in organs if any(rows.get(organ, {}).get(key) in (None, "") for key in ROW)]
        if bare:
            gaps.append(f"{metric} with spread and worst case of {', '.join(bare)}")
    return gaps if card.get("robustness") else [*gaps, "robustness"]


def _clicks(card: Mapping[str, Any]) -> list[str]:
    return [] if card.get("click_curves", {}).get("sets") else ["click curves", "seconds a click"]


def _coordinates(card: Mapping[str, Any]) -> list[str]:
    return [] if card.get("coordinates") else ["how well coordinates lay patients over each other, and what they notice"]


def main() -> int:
    gaps = {name_of(path): missing(describe_model(path)) for path in sorted(resource("Models").glob("*.safetensors"))}
    for name, ones in gaps.items():
        for each in ones:
            print(f"{name}: {each}")
    return int(any(gaps.values()))


if __name__ == "__main__":
    sys.exit(main())
