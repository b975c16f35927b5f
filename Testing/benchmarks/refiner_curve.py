"""Priors from elsewhere as a picture: Dice after refinement against Dice before, a dot a label, a line a data set's means.

    python -m Testing.benchmarks.refiner_curve docs/refining/priors.json -o Resources/Screenshots/priors.png
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import fmean

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from DiffSegCore.files import atomic

from .bundled import ending
from .refiner_priors import rows_of

TITLES = {"openkbp": "organs of the neck, which it learnt", "sarcoma": "sarcomas in CT, never seen", "mr": "abdominal organs in MR, never seen"}
COLOURS = {"openkbp": "#e8743b", "sarcoma": "#5b8def", "mr": "#8d98a5"}


def save_figure(found: dict[str, list[dict]], path: Path) -> None:
    """Write the picture; its suffix says how (.png, .pdf, .svg)."""
    figure = Figure(figsize=(5.4, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), "--", color="#b0b7c0", linewidth=1)
    axes.annotate("as good as before", (.3, .31), rotation=45, rotation_mode="anchor", color="#8d98a5", size=8)
    for name, rows in found.items():
        axes.plot(*zip(*(row["dice"] for row in rows)), "o", color=COLOURS[name], markersize=3, alpha=.3, markeredgewidth=0)
        axes.plot(*zip(*means(rows)), "o-", color=COLOURS[name], linewidth=2, markersize=6, label=TITLES[name])
    axes.set(xlabel="Dice of the prior", ylabel="Dice refined, one look", xlim=(.25, 1), ylim=(0, 1))
    axes.legend(frameon=False, loc="lower right", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=140)


def means(rows: list[dict]) -> list[tuple[float, float]]:
    """Of every wanted Dice: means of Dice before and after."""
    return [tuple(fmean(row["dice"][n] for row in rows if row["wanted"] == wanted) for n in (0, 1)) for wanted in sorted({row["wanted"] for row in rows})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="+", metavar="DIR|FILE.json")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.png")
    args = parser.parse_args()
    save_figure(rows_of(args.records), args.out)


if __name__ == "__main__":
    sys.exit(ending(main))
