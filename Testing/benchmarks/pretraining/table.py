"""The comparison as text: mean and spread over seeds, every organ, right taken for left, and each claim with its verdict."""
from __future__ import annotations

from typing import Callable

from DiffSegCore.evaluation import aligned

from .claims import claims
from .results import TITLES, Results, Setting, Spread

SHORT = {"brainstem": "stem", "spinal_cord": "cord", "parotid_gland_right": "parotid R", "parotid_gland_left": "parotid L",
         "esophagus": "esoph.", "larynx": "larynx", "mandible": "mandible"}


def table(results: Results) -> str:
    """Everything, from records alone."""
    if not results.records:
        return "There is no run record yet."
    parts = [_means(results), *(_organs(results, setting) for setting in results.settings), _confused(results), _readings(results),
             "\n".join(map(str, claims(results)))]
    return "\n\n".join(part for part in parts if part)


def markdown(results: Results) -> str:
    """The means alone, as the README shows them."""
    lines = [f"| encoder | {' | '.join(map(str, results.settings))} |", f"|---|{'---|' * len(results.settings)}"]
    lines += [f"| {TITLES[name].strip()} | {' | '.join(_cell(results.of(name, setting)) for setting in results.settings)} |" for name in results.encoders]
    return "\n".join(lines)


def _means(results: Results) -> str:
    rows = [("Dice, mean over organs", *map(str, results.settings))]
    rows += [(TITLES[name], *(_cell(results.of(name, setting)) for setting in results.settings)) for name in results.encoders]
    seeds = sorted({seed for runs in results.records.values() for seed in runs})
    return f"{aligned(rows)}\nTest cases on the model grid; mean ± deviation over seeds {', '.join(map(str, seeds))}."


def _organs(results: Results, setting: Setting) -> str:
    organs = results.organs()
    rows = [(f"Dice, {setting}", *(SHORT.get(organ, organ) for organ in organs))]
    for name in results.encoders:
        if results.of(name, setting):
            rows.append((TITLES[name], *(_cell(results.of(name, setting, organ=organ)) for organ in organs)))
    return aligned(rows)


def _confused(results: Results) -> str:
    settings = [setting for setting in results.settings if any(results.confused(name, setting) for name in results.encoders)]
    rows = [("right taken for left, %", *map(str, settings))]
    rows += [(TITLES[name], *(_cell(results.confused(name, setting), _per_cent) for setting in settings)) for name in results.encoders]
    return aligned(rows) if settings else ""


def _readings(results: Results) -> str:
    told = results.readings()
    lines = [f"  {TITLES[name].strip()}: {told[name]}" for name in results.encoders if name in told]
    return "\n".join(["Read at (chosen on validation cases):", *lines]) if lines else ""


def _cell(spread: Spread | None, written: Callable[[Spread], str] = str) -> str:
    return "-" if spread is None else written(spread)


def _per_cent(spread: Spread) -> str:
    return f"{100 * spread.mean:.2f} ± {100 * spread.sd:.2f}"
