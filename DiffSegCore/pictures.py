"""One picture of a segmentation: three slices with coloured outlines, the organs in 3D, and a legend with millilitres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from .errors import BadInput
from .files import atomic, suffix_of
from .geometry import Box, Geometry
from .organ_volumes import OrganVolume, organ_volumes
from .pictures3d import BACKGROUND, skin_of, surfaces
from .resample import resample
from .volume import LabelMap, Volume

SUFFIXES = (".png", ".jpg", ".pdf", ".svg")
_TEXT, _FAINT = "#e8ecf1", "#8d98a5"
_CT_WINDOW_HU = (-160.0, 240.0)
_MARGIN_MM = 40.0
_PIXELS = 560
_LEGEND_ROWS = 14


def save_picture(path: str | Path, volume: Volume, labels: LabelMap, *, title: str = "", note: str = "") -> None:
    """Write the picture; its suffix says how (.png, .jpg, .pdf, .svg). Raises BadInput where that cannot be done."""
    check_picture(path)
    figure = draw(volume, labels, title=title, note=note)
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, facecolor=BACKGROUND)


def check_picture(path: str | Path) -> None:
    """Refuse, before slow work begins, what `save_picture` could not write."""
    if suffix_of(path) not in SUFFIXES:
        raise BadInput(f"Cannot write a picture to {path}: its name has to end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BadInput(f"Pictures need the package matplotlib ({error}): pip install 'diffseg[pictures]'.") from error


def draw(volume: Volume, labels: LabelMap, *, title: str = "", note: str = "") -> Any:
    """The matplotlib Figure of a volume and labels, which may lie on different grids of the same patient."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = organ_volumes(labels)
    present = [each for each in found if each.ml > 0]
    planes = cuts(volume.geometry, labels, present)
    layout = _layout(*(cut.grid.extent_mm[1:] for cut in planes[:2]))
    figure = Figure(figsize=layout.size, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    for cut in planes:
        _slice(layout.axes(figure, cut.name), cut, volume, labels, present)
    _solid(layout.axes(figure, "3D"), volume, labels, present)
    _legend(layout.axes(figure, "legend"), found)
    height = layout.size[1]
    figure.text(_GAP / layout.size[0], 1 - _HEAD / 2 / height, title, color=_TEXT, size=15, weight="bold", va="center")
    figure.text(_GAP / layout.size[0], _FOOT / 2 / height, note, color=_FAINT, size=9, va="center")
    return figure


_HEAD, _FOOT, _STRIP, _GAP = 0.6, 0.35, 0.3, 0.15  # inches


@dataclass(frozen=True)
class _Layout:
    """Places in inches: (left, bottom, width, height) of each panel in a figure of `size`."""

    size: tuple[float, float]
    places: dict[str, tuple[float, float, float, float]]

    def axes(self, figure: Any, panel: str) -> Any:
        left, bottom, width, height = self.places[panel]
        return figure.add_axes((left / self.size[0], bottom / self.size[1], width / self.size[0], height / self.size[1]))


def _layout(axial_mm: tuple[float, float], coronal_mm: tuple[float, float]) -> _Layout:
    """Coronal and sagittal side by side, axial below the coronal, all at one scale; legend in the corner, 3D beside them."""
    (front_to_back, across), (up, _) = axial_mm, coronal_mm
    scale = min(7.6 / (up + front_to_back), 8.4 / (across + front_to_back))  # inches a mm
    across, front_to_back, up = across * scale, front_to_back * scale, up * scale
    left, second = _GAP, 2 * _GAP + across
    lower, corner = max(front_to_back, 2.6), max(front_to_back, 2.9)
    upper = _FOOT + lower + _STRIP
    block = lower + _STRIP + up
    third, side = second + corner + _GAP, min(max(block, 5.0), 8.0)
    places = {"Axial": (left, _FOOT + lower - front_to_back, across, front_to_back), "Coronal": (left, upper, across, up),
              "Sagittal": (second, upper, front_to_back, up), "legend": (second, _FOOT, corner, lower),
              "3D": (third, _FOOT + (max(block, side) - side) / 2, side, side)}
    return _Layout((third + side + _GAP, _FOOT + max(block, side) + _STRIP + _HEAD), places)


@dataclass(frozen=True)
class Cut:
    """A plane through the patient: a grid one voxel thick, I to the right of the picture and J down it."""

    name: str
    axis: int  # of R, A, S: which one the plane stands on
    at_mm: float
    grid: Geometry
    edges: tuple[str, str, str, str]  # letters at the left, right, top and bottom


# As radiologists hang them: the patient's right on the left of the picture, the face to the left from the side.
_HANGINGS = (("Axial", 2, 0, 1, "RLAP"), ("Coronal", 1, 0, 2, "RLSI"), ("Sagittal", 0, 1, 2, "APSI"))


def cuts(geometry: Geometry, labels: LabelMap, present: Sequence[OrganVolume]) -> tuple[Cut, Cut, Cut]:
    """Axial, coronal and sagittal planes where most of the organs show most of themselves."""
    low, high = _bounds(geometry)  # RAS mm
    at = (low + high) / 2
    if present:
        boxes = {each.id: Box.of(labels.ids == each.id) for each in present}
        at = _busiest(labels, boxes)
        around = np.array([_bounds(labels.geometry.crop(box)) for box in boxes.values()])
        low, high = np.maximum(low, around[:, 0].min(axis=0) - _MARGIN_MM), np.minimum(high, around[:, 1].max(axis=0) + _MARGIN_MM)
    return tuple(_cut(*hanging, at, low, high) for hanging in _HANGINGS)


def _cut(name: str, axis: int, right: int, down: int, edges: str, at: np.ndarray, low: np.ndarray, high: np.ndarray) -> Cut:
    width, height = high[right] - low[right], high[down] - low[down]
    step = max(width, height) / _PIXELS
    matrix = np.zeros((4, 4))
    matrix[right, 0] = matrix[down, 1] = -step  # to the patient's left or back, and downwards
    matrix[axis, 2] = step
    matrix[:3, 3] = at
    matrix[right, 3], matrix[down, 3], matrix[3, 3] = high[right] - step / 2, high[down] - step / 2, 1
    shape = (1, max(1, round(height / step)), max(1, round(width / step)))
    return Cut(name, axis, float(at[axis]), Geometry(shape, matrix), tuple(edges))


def _bounds(geometry: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest RAS mm of the grid's voxel edges."""
    ends = np.array([(-0.5, n - 0.5) for n in geometry.shape])
    corners = geometry.to_ras(np.stack(np.meshgrid(*ends, indexing="ij"), -1)).reshape(-1, 3)
    return corners.min(axis=0), corners.max(axis=0)


def _busiest(labels: LabelMap, boxes: dict[int, Box]) -> np.ndarray:
    """RAS mm: on each axis the plane in which the organs' areas, each against its own largest, sum to the most."""
    low, high = _bounds(labels.geometry)
    step = max(labels.geometry.spacing)
    totals = [np.zeros(int((b - a) / step) + 1) for a, b in zip(low, high)]
    for id, box in boxes.items():
        ras = labels.geometry.to_ras(np.argwhere(labels.ids[box.slices] == id) + box.start)
        for total, start, along in zip(totals, low, ras.T):
            area = np.bincount(((along - start) / step).astype(int), minlength=len(total))
            total += area / area.max()
    return np.array([start + (np.argmax(total) + 0.5) * step for start, total in zip(low, totals)])


def _slice(axes: Any, cut: Cut, volume: Volume, labels: LabelMap, present: Sequence[OrganVolume]) -> None:
    array = volume.array if volume.array.ndim == 3 else volume.array[0]
    grey = resample(array, volume.geometry, cut.grid, outside=float(array.min()))[0].numpy()
    step = cut.grid.spacing[1]
    extent = (0, grey.shape[1] * step, grey.shape[0] * step, 0)  # mm, so that nothing is stretched
    low, high = _window(volume, grey)
    axes.imshow(grey, cmap="gray", vmin=low, vmax=high, extent=extent, interpolation="bilinear")
    x, y = ((np.arange(n) + 0.5) * step for n in grey.shape[::-1])
    for each in present:
        mask = _on(cut.grid, labels, each.id)
        if mask.max() > 0.5:
            axes.contourf(x, y, mask, levels=[0.5, 2], colors=[each.color], alpha=0.16)
            axes.contour(x, y, mask, levels=[0.5], colors=[each.color], linewidths=1.7)
    _frame(axes, cut, extent)


def _on(grid: Geometry, labels: LabelMap, id: int) -> np.ndarray:
    """How much of an organ is in each pixel of a plane, (h, w) 0..1."""
    box = Box.of(labels.ids == id).grow(1).clip(labels.ids.shape)
    return resample((labels.ids[box.slices] == id).astype(np.float32), labels.geometry.crop(box), grid)[0].numpy()


def _window(volume: Volume, grey: np.ndarray) -> tuple[float, float]:
    if volume.modality == "CT" or (not volume.modality and volume.array.min() < -200):
        return _CT_WINDOW_HU
    low, high = np.percentile(grey, (1, 99.5))
    return float(low), float(max(high, low + 1))


def _frame(axes: Any, cut: Cut, extent: tuple[float, float, float, float]) -> None:
    """Letters, position and a bar of 5 cm; no ticks."""
    axis = "RAS"[cut.axis] if cut.at_mm >= 0 else "LPI"[cut.axis]
    _name(axes, f"{cut.name}, {axis} {abs(cut.at_mm):.0f} mm")
    inch_x, inch_y = 72 / axes.bbox.width, 72 / axes.bbox.height  # letters keep their distance from the edge
    places = ((0.14 * inch_x, 0.5), (1 - 0.14 * inch_x, 0.5), (0.5, 1 - 0.14 * inch_y), (0.5, 0.14 * inch_y))
    for letter, place in zip(cut.edges, places):
        axes.text(*place, letter, size=12, weight="bold", ha="center", va="center", transform=axes.transAxes, **_ink())
    if extent[1] > 80:
        right, bottom = extent[1] - 8, extent[2] - 6
        axes.plot((right - 50, right), (bottom, bottom), linewidth=2, **_ink())
        axes.text(right - 25, bottom - 2, "5 cm", size=9, ha="center", va="bottom", **_ink())
    axes.set(xlim=extent[:2], ylim=extent[2:], facecolor="black")
    _bare(axes)


def _name(axes: Any, text: str) -> None:
    axes.set_title(text, color=_TEXT, size=11, loc="left", pad=5)


def _ink() -> dict[str, Any]:
    """Light with a dark rim: to be read on bone as on air."""
    from matplotlib.patheffects import withStroke

    return {"color": _TEXT, "path_effects": [withStroke(linewidth=3, foreground="black")]}


def _solid(axes: Any, volume: Volume, labels: LabelMap, present: Sequence[OrganVolume]) -> None:
    axes.imshow(surfaces(labels, {each.id: each.color for each in present}, skin=skin_of(volume)), interpolation="bilinear")
    _name(axes, "3D, from the front and a little from the patient's left")
    _bare(axes)


def _legend(axes: Any, found: Sequence[OrganVolume]) -> None:
    """Colour, title and ml of each organ, in two columns where they are many; the largest ones where they are too many."""
    shown = sorted(sorted(found, key=lambda each: -each.ml)[:2 * _LEGEND_ROWS], key=lambda each: each.id)
    columns = 1 if len(shown) <= _LEGEND_ROWS else 2
    rows, size = -(-len(shown) // columns), 10.5 if columns == 1 else 7.0
    axes.set(xlim=(0, columns), ylim=(max(rows, 8) + 1.5, -1.2), facecolor=BACKGROUND)
    for place, each in enumerate(shown):
        x, y = divmod(place, rows)
        color = _TEXT if each.ml else _FAINT
        axes.scatter(x + 0.05 * columns, y, s=7 * size, color=[each.color], marker="s", alpha=1 if each.ml else 0.35)
        axes.text(x + 0.10 * columns, y, each.title if columns == 1 or len(each.title) <= 19 else f"{each.title[:18]}…", color=color, size=size, va="center")
        axes.text(x + 0.97, y, f"{_ml(each.ml)} ml" if each.ml else "not found", color=color, size=size, ha="right", va="center")
    if not found:
        axes.text(0.05, 0, "Nothing was found.", color=_FAINT, size=size, va="center")
    elif len(shown) < len(found):
        axes.text(0.05, rows + 0.3, f"and {len(found) - len(shown)} more, smaller or not found", color=_FAINT, size=size, va="center")
    _bare(axes)


def _ml(ml: float) -> str:
    return f"{ml:.1f}" if ml < 100 else f"{ml:.0f}"


def _bare(axes: Any) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
