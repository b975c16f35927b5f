"""One picture of body coordinates: how they rise along several patients, and where the same organ falls in each."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np

from .alignment import Placed, Spread, spreads
from .files import atomic
from .organs import ORGANS
from .pictures import check_picture
from .pictures3d import BACKGROUND

_TEXT, _FAINT = "#e8ecf1", "#8d98a5"
_NAMES = ("to the right", "to the front", "towards the head")


def save_body_picture(path: str | Path, patients: Sequence[Placed], *, title: str = "") -> None:
    """Write the picture; its suffix says how (.png, .jpg, .pdf, .svg). Raises BadInput where that cannot be done."""
    check_picture(path)
    figure = draw_body(patients, title=title)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def draw_body(patients: Sequence[Placed], *, title: str = "") -> Any:
    """The matplotlib Figure: profiles along the body; organs' centroids from the front and from the side; their spread in mm."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 9), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    (along, front), (bars, side) = figure.subplots(2, 2)
    _profiles(along, patients)
    _centroids(front, patients, 0)
    _centroids(side, patients, 1)
    _spreads(bars, spreads(patients))
    figure.suptitle(title, color=_TEXT, size=14, weight="bold")
    return figure


def _profiles(axes: Any, patients: Sequence[Placed]) -> None:
    """A line a patient; an organ's dots stand at one height where coordinates do what they should."""
    for each in patients:
        z, u = each.profile()
        axes.plot(z - z.mean(), u, color=_FAINT, linewidth=1, alpha=.7)
        for organ, at in each.centre_u.items():
            axes.scatter(each.centre_ras[organ][2] - z.mean(), at[2], s=16, color=[_color(organ)], zorder=3)
    _dress(axes, f"Along the body, {len(patients)} patients", "mm towards the head, from the middle of the scan", "u towards the head")


def _centroids(axes: Any, patients: Sequence[Placed], across: int) -> None:
    """Dots at organs' centroids; from the front the patient's right is on the left, as radiologists hang it."""
    for organ in dict.fromkeys(organ for each in patients for organ in each.centre_u):
        at = np.array([each.centre_u[organ] for each in patients if organ in each.centre_u])
        axes.scatter(at[:, across], at[:, 2], s=18, color=[_color(organ)], label=_title(organ), alpha=.85)
    axes.invert_xaxis()
    _dress(axes, "Centroids of organs, from the " + ("front", "side")[across], f"u {_NAMES[across]}", "u towards the head")
    if across == 0 and axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, labelcolor=_TEXT, facecolor=BACKGROUND, edgecolor=_FAINT)


def _spreads(axes: Any, rows: Sequence[Spread]) -> None:
    """How far the same organ's centroids lie from their mean, in mm: by coordinates, and by laying bodies on each other."""
    y = np.arange(len(rows))
    axes.barh(y - .2, [row.mm for row in rows], .36, color=[_color(row.organ) for row in rows])
    axes.barh(y + .2, [row.before_mm for row in rows], .36, color=_FAINT, alpha=.6)
    for place, row in zip(y, rows):
        units = " ".join(f"{value:.3f}" for value in row.units)
        axes.text(row.mm, place - .2, f" {row.mm:.0f} mm, u ± {units} (R A S), n = {row.n}", color=_TEXT, size=8, va="center")
        axes.text(row.before_mm, place + .2, f" {row.before_mm:.0f} mm by centres of gravity", color=_FAINT, size=8, va="center")
    axes.set_yticks(y, [_title(row.organ) for row in rows])
    axes.set_xlim(0, 1.9 * max([1., *(value for row in rows for value in (row.mm, row.before_mm))]))
    axes.invert_yaxis()
    _dress(axes, "Spread of the same organ's centroid (root mean square)", "mm", "")


def _dress(axes: Any, title: str, x: str, y: str) -> None:
    axes.set_title(title, color=_TEXT, size=11, loc="left")
    axes.set_xlabel(x, color=_FAINT, size=9)
    axes.set_ylabel(y, color=_FAINT, size=9)
    axes.set_facecolor(BACKGROUND)
    axes.tick_params(colors=_FAINT, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)


def _color(organ: str) -> Any:
    return tuple(value / 255 for value in ORGANS[organ].color) if organ in ORGANS else _TEXT


def _title(organ: str) -> str:
    return ORGANS[organ].title if organ in ORGANS else organ
