"""Generated volumes beside real ones: slices, how often each HU occurs, and how fine the detail is."""
from __future__ import annotations

from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np
from torch import Tensor

from ..files import atomic
from ..pictures import check_picture
from ..pictures3d import BACKGROUND
from ..preprocess import Preprocessing
from .pretrain_sampling import intensities

_TEXT, _FAINT = "#e8ecf1", "#8d98a5"
_COLOURS = ("#e8ecf1", "#f2b84b", "#5aa9e6", "#8bd17c", "#e07a7a")
_WINDOW_HU = (-300., 400.)
SHOWN = 3  # volumes of each kind


def save_samples_picture(path: Path, kinds: Mapping[str, Sequence[Tensor]], preprocessing: Preprocessing) -> None:
    """Volumes (k, j, i) in model values by kind ("real" and wishes' names), all of one shape. BadInput where matplotlib is missing."""
    check_picture(path)
    figure = draw_samples(kinds, preprocessing)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def draw_samples(kinds: Mapping[str, Sequence[Tensor]], preprocessing: Preprocessing) -> Any:
    """A row a kind: coronal and axial slices of its first volumes; below, two curves over all of them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 2.2 * len(kinds) + 3.4), facecolor=BACKGROUND, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subfigures(2, 1, height_ratios=(2.2 * len(kinds), 3.4))
    for part in (upper, lower):
        part.set_facecolor(BACKGROUND)
    panels = upper.subplots(len(kinds), 2 * SHOWN, squeeze=False)
    for row, (name, volumes) in zip(panels, kinds.items()):
        _row(row, name, volumes, preprocessing)
    often, fine = lower.subplots(1, 2)
    for colour, (name, volumes) in zip(_COLOURS, kinds.items()):
        often.plot(*hu_histogram(volumes, preprocessing), color=colour, label=name)
        fine.loglog(*power_spectrum(volumes, preprocessing.spacing_mm), color=colour, label=name)
    _curves(often, "HU", "share of voxels")
    _curves(fine, "cycles/mm", "power")
    return figure


def hu_histogram(volumes: Sequence[Tensor], preprocessing: Preprocessing, bins: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """Middles of bins in HU, and the share of voxels in each."""
    ends = preprocessing.intensity_knots[0][0], preprocessing.intensity_knots[-1][0]
    counts, edges = np.histogram(np.concatenate([intensities(each, preprocessing).ravel() for each in volumes]), bins, ends)
    return (edges[1:] + edges[:-1]) / 2, counts / counts.sum()


def power_spectrum(volumes: Sequence[Tensor], spacing_mm: Sequence[float], bins: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in cycles/mm, and the mean power there over directions and volumes; the edges are faded out, for they do not meet."""
    shape = tuple(volumes[0].shape)
    axes = np.meshgrid(*(np.fft.fftfreq(n, mm) for n, mm in zip(shape, spacing_mm)), indexing="ij")
    length = np.sqrt(sum(axis ** 2 for axis in axes)).ravel()
    edges = np.linspace(0, .5 / max(spacing_mm), bins + 1)
    place = np.digitize(length, edges) - 1
    inside = (place < bins) & (length > 0)
    fade = np.einsum("k,j,i->kji", *map(np.hanning, shape))
    power = sum(np.abs(np.fft.fftn((each - each.mean()).numpy() * fade)).ravel() ** 2 for each in volumes) / len(volumes)
    count = np.bincount(place[inside], minlength=bins)
    total = np.bincount(place[inside], power[inside], minlength=bins)
    return ((edges[1:] + edges[:-1]) / 2)[count > 0], total[count > 0] / count[count > 0] / np.prod(shape)


def _row(panels: Sequence[Any], name: str, volumes: Sequence[Tensor], preprocessing: Preprocessing) -> None:
    """Radiologists' way round: the patient's right on the left, the front up."""
    mm = preprocessing.spacing_mm
    for n, (coronal, axial) in enumerate(zip(panels[::2], panels[1::2])):
        for panel in (coronal, axial):
            panel.set_axis_off()
        if n < len(volumes):
            hu = intensities(volumes[n], preprocessing)
            _slice(coronal, hu[:, hu.shape[1] // 2], mm[0] / mm[2])
            _slice(axial, hu[hu.shape[0] // 2], mm[1] / mm[2])
    panels[0].set_title(name, color=_TEXT, size=11, loc="left")


def _slice(panel: Any, plane: np.ndarray, aspect: float) -> None:
    low, high = _WINDOW_HU
    panel.imshow(plane[::-1, ::-1], cmap="gray", vmin=low, vmax=high, aspect=aspect, interpolation="bilinear")


def _curves(axes: Any, across: str, up: str) -> None:
    axes.set_facecolor(BACKGROUND)
    axes.set_xlabel(across, color=_FAINT)
    axes.set_ylabel(up, color=_FAINT)
    axes.set_yscale("log")
    axes.tick_params(which="both", colors=_FAINT)
    axes.legend(frameon=False, labelcolor=_TEXT)
    for spine in axes.spines.values():
        spine.set_color(_FAINT)
