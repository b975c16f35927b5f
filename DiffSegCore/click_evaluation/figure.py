"""Curves over clicks: Dice and NSD of one method or several."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from ..files import atomic
from ..pictures import check_picture
from .summary import curves
from .trials import Trial

COLOURS = ("#1b6ca8", "#d1495b", "#3c8d53", "#8d6bb0", "#c98a1b", "#5b6770")
TITLES = {"dice": "Dice", "nsd": "NSD at 2 mm"}


def save_curves(path: str | Path, methods: Mapping[str, Sequence[Trial]], *, title: str = "") -> None:
    """Means over trials with the middle half of them shaded; the suffix says how it is written. BadInput where that cannot be done."""
    check_picture(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, what in zip(figure.subplots(1, 2), TITLES):
        for (name, trials), colour in zip(methods.items(), COLOURS):
            _curve(axes, curves(trials, what), f"{name} ({len(trials)})", colour)
        axes.set(title=TITLES[what], xlabel="clicks", ylim=(0, 1))
        axes.grid(alpha=.3)
    axes.legend(loc="lower right", frameon=False)
    figure.suptitle(title)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _curve(axes: Any, values: np.ndarray, name: str, colour: str) -> None:
    clicks = np.arange(values.shape[1])
    low, high = np.percentile(values, (25, 75), axis=0)
    axes.fill_between(clicks, low, high, color=colour, alpha=.15, linewidth=0)
    axes.plot(clicks, values.mean(0), color=colour, marker="o", markersize=3, label=name)
    axes.set_xticks(clicks[::max(1, len(clicks) // 10)])
