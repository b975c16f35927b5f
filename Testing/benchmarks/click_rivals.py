"""docs/Clicks.md of the records in docs/clicking: the click model beside others that answer the same clicks.

    python -m Testing.benchmarks.click_rivals > docs/Clicks.md
    python -m Testing.benchmarks.click_rivals --figure Resources/Screenshots/rivals.png

The records come from `click_baselines.py --pack` and `click_networks.py --pack`, which tell how.
"""
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Mapping

from DiffSegCore.files import atomic

from .bundled import ending
from .click_networks import NETWORKS, sections
from .records import markdown as table

RIVALS = Path(__file__).resolve().parents[2] / "docs" / "clicking" / "rivals.json"
NAMES = {"click": "click, 2 steps", "one-look": "click, 1 step", "grow-cut": "grow-cut", "random-walker": "random walker"}
COLOURS = {"click": "#e8743b", "one-look": "#f2b48f", "grow-cut": "#5b8def", "random-walker": "#3c8d53"}
TEXT = """# Clicks, beside other methods

From an empty mask, ten clicks, each into the middle of the largest error (`diffseg evaluate-clicks`), on cases that no training saw. Every method sits in the same session, gets the
same rule for the next click, keeps clicked voxels and changes what hangs together with a click; only what answers on a crop differs. Grow-cut is Slicer's "Grow from seeds"
(`vtkImageGrowCutSegment`), the random walker scikit-image's; where nobody clicked outside yet, the crop's border is their seed of what is not the object. One step is what the click
model says before anything is drawn: its mean answer. The random walker's `beta` was chosen on
other cases; grow-cut sees the image smoothed by a voxel.
Dice@n: after n clicks; NSD at 2 mm; harmful: clicks that cost more than .001 of Dice. `python -m Testing.benchmarks.click_baselines` measures it.

The click model's Dice is ahead of grow-cut's and the random walker's in every set from the first click on. One step is about as good as two, less than .02 of
Dice apart after ten clicks, after five in all sets but the slabs, where two are .023 ahead. After ten, two are a little ahead in the abdomen in CT, one in the other sets.
That the session follows thin objects, and looks at broad ones from further away, serves the click model and costs the other two, which leak along what they are led to: in the session before, which did neither,
Dice after five clicks was, in the order of the table, .39, .66, .42, .44 and .44 for grow-cut, .23, .68, .26, .17 and .42 for the random walker (this page's records in the repository's history). The click model is ahead of those, too."""


def document(found: Mapping[str, Any], networks: Mapping[str, Any]) -> str:
    """Markdown: the picture, a row a set and method, and what networks trained for comparison say."""
    rows = [("set", "method", "objects", *(f"Dice@{n}" for n in (1, 3, 5, 10)), "NSD@10", "harmful", "p50 s")]
    for each in found.values():
        for method, one in _in_order(each["methods"]):
            rows.append((each["title"], NAMES[method], str(one["objects"]), *(f"{one['dice'][str(n)]:.3f}" for n in (1, 3, 5, 10)), f"{one['nsd']['10']:.3f}",
                         f"{one['harmful']:.1%}", f"{one['seconds_p50']:.2f}"))
    return "\n\n".join((TEXT, "![Dice by click of every method, a panel a set](../Resources/Screenshots/rivals.png)", table(rows), sections(networks))) + "\n"


def _in_order(methods: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(method, methods[method]) for method in NAMES if method in methods]


def save_figure(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture, a panel a set; its suffix says how (.png, .pdf, .svg)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.9 * len(found), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, each in zip(figure.subplots(1, len(found), sharey=True, squeeze=False)[0], found.values()):
        for method, one in _in_order(each["methods"]):
            axes.plot([int(n) for n in one["dice"]], list(one["dice"].values()), "o-", color=COLOURS[method], markersize=4, label=NAMES[method])
        axes.set_title(each["title"].replace(", ", ",\n", 1), size=9, loc="left")
        axes.set(xlabel="clicks", ylim=(0, 1))
        axes.grid(alpha=.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("Dice")
    figure.axes[-1].legend(frameon=False, fontsize=8)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=Path, default=RIVALS, metavar="FILE.json")
    parser.add_argument("--figure", type=Path, metavar="FILE.png", help="write the picture instead of the page")
    args = parser.parse_args()
    found = json.loads(args.records.read_text(encoding="utf-8"))
    if args.figure:
        save_figure(found, args.figure)
    else:
        print(document(found, json.loads(NETWORKS.read_text(encoding="utf-8"))), end="")


if __name__ == "__main__":
    sys.exit(ending(main))
