"""The comparison as a picture: a panel a protocol, a row an encoder, a dot a seed."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from DiffSegCore.files import atomic

from .plan import GUIDED
from .results import TITLES, Results, Spread

PLAIN, DIFFUSION, GUIDED_COLOUR = "#8d98a5", "#5b8def", "#e8743b"


def save_figure(results: Results, path: Path) -> None:
    """Write the picture; its suffix says how (.png, .pdf, .svg)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [(str(setting), {name: results.of(name, setting) for name in results.encoders}) for setting in results.settings]
    nonlinear = [setting for setting in results.settings if setting.protocol == "nonlinear"][:1]
    panels += [(f"right taken for left, {setting}", {name: results.confused(name, setting) for name in results.encoders}) for setting in nonlinear]
    figure = Figure(figsize=(1.6 + 2.6 * len(panels), .8 + .36 * len(results.encoders)), layout="constrained")
    FigureCanvasAgg(figure)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, spreads) in zip(row, panels):
        _panel(axes, title, spreads)
    row[0].invert_yaxis()
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=140)


def _panel(axes: Any, title: str, spreads: dict[str, Spread | None]) -> None:
    for row, (name, spread) in enumerate(spreads.items()):
        if spread is not None:
            axes.barh(row, spread.mean, color=_colour(name), alpha=.55, height=.7)
            axes.plot(list(spread.values.values()), [row] * len(spread.values), "o", color=_colour(name), markersize=4)
            axes.annotate(f"{spread.mean:.3f}", (max(spread.mean, *spread.values.values()), row), xytext=(6, 0), textcoords="offset points", va="center", size=8)
    axes.set_title(title.replace(", ", ",\n", 1), size=10, loc="left")
    axes.set_yticks(range(len(spreads)), [TITLES[name] for name in spreads])
    axes.margins(x=.22)
    axes.spines[["top", "right"]].set_visible(False)


def _colour(name: str) -> str:
    return GUIDED_COLOUR if name in GUIDED else DIFFUSION if name == "diffusion" else PLAIN
