"""A correction in pictures: a mask, what each click adds and removes, the result, and where it is still unsure; axial, one panel each."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from .files import atomic
from .geometry import Geometry
from .pictures import check_picture
from .resample import resample
from .volume import Volume

PIXELS = 360
ADDED, REMOVED, OUTLINE = "#4fd18b", "#f0605d", "#ffc857"
BACKGROUND, TEXT = "#14181d", "#e8ecf1"
CT_WINDOW_HU = (-160., 240.)


@dataclass(frozen=True, eq=False)
class Panel:
    """mask bool (K, J, I), outlined; before: what it was, to colour what was added and removed; at: where it was clicked, RAS mm;
    doubt (K, J, I) in nats, laid over it.
    """

    title: str
    mask: np.ndarray
    before: np.ndarray | None = None
    at: tuple[float, float, float] | None = None
    inside: bool = True
    doubt: np.ndarray | None = None


def save_click_picture(path: str | Path, volume: Volume, panels: Sequence[Panel], centre_ras: Sequence[float], half_mm: float, *, title: str = "") -> None:
    """Squares of twice `half_mm` round a place, the patient's right on the left. Raises BadInput where the picture cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_picture(path)
    figure = Figure(figsize=(3.1 * len(panels), 3.7), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, panel in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels):
        z = centre_ras[2] if panel.at is None else panel.at[2]
        _draw(axes, volume, panel, _plane((*centre_ras[:2], z), half_mm), half_mm)
    figure.suptitle(title, color=TEXT, size=12, weight="bold")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def _plane(centre_ras: Sequence[float], half_mm: float) -> Geometry:
    """An axial plane, one voxel thick: I to the patient's left, J to the back."""
    step = 2 * half_mm / PIXELS
    matrix = np.diag([-step, -step, step, 1.])
    matrix[:3, 3] = np.array(centre_ras) + (half_mm - step / 2, half_mm - step / 2, 0)
    return Geometry((1, PIXELS, PIXELS), matrix)


def _draw(axes: Any, volume: Volume, panel: Panel, plane: Geometry, half_mm: float) -> None:
    def on(array: np.ndarray, outside: float = 0.) -> np.ndarray:
        return resample(array, volume.geometry, plane, outside=outside)[0].numpy()

    grey = on(volume.array, float(volume.array.min()))
    low, high = CT_WINDOW_HU if volume.modality == "CT" or volume.array.min() < -200 else np.percentile(grey, (1, 99.5))
    extent = (-half_mm, half_mm, half_mm, -half_mm)
    axes.imshow(grey, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    ends = np.linspace(-half_mm, half_mm, PIXELS)
    if panel.doubt is not None:
        doubt = on(panel.doubt)
        axes.imshow(doubt, cmap="inferno", vmin=0, vmax=np.log(2), extent=extent, alpha=np.clip(1.6 * doubt / np.log(2), 0, .8))
    if panel.before is not None:
        for change, color in ((panel.mask & ~panel.before, ADDED), (panel.before & ~panel.mask, REMOVED)):
            if (share := on(change)).max() > .5:
                axes.contourf(ends, ends, share, levels=[.5, 2], colors=[color], alpha=.55)
    if (share := on(panel.mask)).max() > .5:
        axes.contour(ends, ends, share, levels=[.5], colors=[OUTLINE], linewidths=1.6)
    if panel.at is not None:
        x, y = plane.to_index(panel.at)[[2, 1]] * plane.spacing[1] - half_mm
        axes.plot(x, y, marker="P" if panel.inside else "X", markersize=11, color=ADDED if panel.inside else REMOVED, markeredgecolor="black")
    axes.set_title(panel.title, color=TEXT, size=10)
    axes.set(xticks=[], yticks=[], xlim=(-half_mm, half_mm), ylim=(half_mm, -half_mm))
