"""Between a volume as it was scanned and the grid and values that a model sees."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Mapping

import numpy as np
import torch
import torch.nn.functional as F

from .errors import BadInput
from .geometry import Box, Geometry
from .progress import Progress, part, silent
from .resample import block_size, resample
from .upsample import native_labels
from .volume import LabelMap, Volume

__all__ = ["Preprocessing", "to_model_grid", "labels_on_model_grid", "body_box", "native_labels"]


SAMPLED = 1 << 20  # voxels looked at for percentiles
DARKEST = .5  # the percentile of a volume that counts as its darkest


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a network sees it; it travels with the weights.

    spacing_mm (K, J, I) of the model grid; intensity_knots ((intensity, value), ...), rising: values between two
    knots are interpolated, values beyond the ends clamped, and what lies outside the volume is the first knot (air).
    body_percentile: for images whose numbers have no unit (MR). The knots are then in percent: 0 is the volume's darkest,
    100 this percentile of the body, which is what is brighter than the volume's mean.
    """

    spacing_mm: tuple[float, float, float]
    intensity_knots: tuple[tuple[float, float], ...]
    modality: str = "CT"
    body_percentile: float | None = None

    def __post_init__(self) -> None:
        spacing, knots = _numbers(self.spacing_mm, "spacing_mm"), self.intensity_knots
        if spacing.shape != (3,) or not (spacing > 0).all():
            raise BadInput(f"spacing_mm is three positive millimetres (K, J, I), not {self.spacing_mm!r}.")
        table = _numbers(knots, "intensity_knots")
        if table.ndim != 2 or table.shape[1] != 2 or len(table) < 2 or not (np.diff(table, axis=0) > 0).all():
            raise BadInput(f"intensity_knots are two or more rising pairs (intensity, value), not {knots!r}.")
        if not isinstance(self.modality, str):
            raise BadInput(f'modality is a word such as "CT" or "MR", not {self.modality!r}.')
        if self.body_percentile is not None and not 0 < _numbers(self.body_percentile, "body_percentile") <= 100:
            raise BadInput(f"body_percentile is a number above 0, up to 100, not {self.body_percentile!r}.")
        object.__setattr__(self, "spacing_mm", tuple(spacing.tolist()))
        object.__setattr__(self, "intensity_knots", tuple(map(tuple, table.tolist())))

    @property
    def air(self) -> float:
        """The intensity that surrounds a volume: HU -1000 for CT."""
        return self.intensity_knots[0][0]

    @property
    def body_threshold(self) -> float:
        """The model value that parts a body from what surrounds it: -400 HU for CT, a tenth of the range elsewhere."""
        first, last = self.intensity_knots[0][0], self.intensity_knots[-1][0]
        intensity = -400.0 if self.modality == "CT" else first + (last - first) / 10
        return float(self.values(torch.tensor(intensity)))

    def values(self, intensity: torch.Tensor) -> torch.Tensor:
        """Model values of intensities, any shape: a sum of clamped ramps, one per pair of knots."""
        result = torch.full_like(intensity, self.intensity_knots[0][1])
        for (left, low), (right, high) in zip(self.intensity_knots, self.intensity_knots[1:]):
            result += (intensity - left).clamp_(0, right - left).mul_((high - low) / (right - left))
        return result

    def ends(self, array: np.ndarray) -> tuple[float, float]:
        """The intensities of a channel (K, J, I) that are 0 and 100 to the knots: themselves, unless a percentile of the body is asked for."""
        if self.body_percentile is None:
            return 0., 100.
        flat = array.reshape(-1)
        some = flat[::max(1, flat.size // SAMPLED)].astype(np.float32)
        some = some[np.isfinite(some)]
        low = float(np.percentile(some, DARKEST)) if some.size else 0.
        body = some[some > some.mean()] if some.size else some
        return low, max(float(np.percentile(body, self.body_percentile)) if body.size else 0., low + 1e-6)

    def to_dict(self) -> dict[str, Any]:
        own = {} if self.body_percentile is None else {"body_percentile": self.body_percentile}
        return {"spacing_mm": list(self.spacing_mm), "intensity_knots": [list(knot) for knot in self.intensity_knots],
                "modality": self.modality, **own}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`; BadInput says which entry is missing, unknown or senseless."""
        names = {"spacing_mm", "intensity_knots", "modality"}
        if not isinstance(values, Mapping) or set(values) - {"body_percentile"} != names:
            given = sorted(map(str, values)) if isinstance(values, Mapping) else values
            raise BadInput(f"A preprocessing has the entries {sorted(names)}, not {given!r}.")
        return cls(**values)


def to_model_grid(volume: Volume, preprocessing: Preprocessing,
                  progress: Progress = silent) -> tuple[torch.Tensor, Geometry]:
    """The volume on its model grid: float32 (C, K, J, I) in model values (C is 1 for one channel), and the grid."""
    grid = volume.geometry.resampled(preprocessing.spacing_mm)
    channels = volume.array if volume.array.ndim == 4 else volume.array[None]
    image = [_model_values(channel, volume.geometry, grid, preprocessing, part(progress, n / len(channels), (n + 1) / len(channels)))
             for n, channel in enumerate(channels)]
    return torch.stack(image), grid


def labels_on_model_grid(labels: LabelMap, model_geometry: Geometry) -> np.ndarray:
    """Ids (K, J, I) of the labels on a model grid: the id with the largest share of each voxel, background in a tie.

    Each id's mask is resampled as the image is, so that outlines move by less than picking the nearest voxel would move them.
    """
    ids, grid = _around_labels(labels, model_geometry)
    best, background = torch.zeros(model_geometry.shape), torch.ones(model_geometry.shape)
    result = torch.zeros(model_geometry.shape, dtype=torch.int32)
    for label in np.unique(ids)[np.unique(ids) > 0].tolist():
        share = resample(ids == label, grid, model_geometry)
        background -= share
        result.masked_fill_(share > best, label)
        torch.maximum(best, share, out=best)
    return result.masked_fill_(best <= background, 0).numpy().astype(labels.ids.dtype)


def body_box(image: torch.Tensor, threshold: float = -0.7, margin: int = 3) -> Box:
    """The box round the patient in model values (C, K, J, I) or (K, J, I), grown by `margin` voxels; empty if nobody is there.

    A 3x3x3 erosion first removes couch, clothes and noise, which are thinner than any body.
    """
    dense = (image if image.ndim == 3 else image[0]) > threshold
    eroded = -F.max_pool3d(-dense.float()[None, None], 3, stride=1, padding=1)[0, 0]
    box = Box.of(eroded.cpu().numpy() > 0)
    return box if box.is_empty else box.grow(1 + margin).clip(dense.shape)


def _model_values(channel: np.ndarray, native: Geometry, grid: Geometry, preprocessing: Preprocessing, progress: Progress) -> torch.Tensor:
    low, high = preprocessing.ends(channel)
    scale = 100 / (high - low)
    intensity = resample(channel, native, grid, outside=low + preprocessing.air / scale, progress=progress)
    return preprocessing.values(intensity if scale == 1 else intensity.sub_(low).mul_(scale))


def _around_labels(labels: LabelMap, model_geometry: Geometry) -> tuple[np.ndarray, Geometry]:
    """The part of a label map that holds labels, with room for the block means and interpolation at its border."""
    box = Box.of(labels.ids)
    if box.is_empty:
        return labels.ids, labels.geometry
    room = 1 + 2 * block_size(min(labels.geometry.spacing), max(model_geometry.spacing))
    box = box.grow(room).clip(labels.ids.shape)
    return labels.ids[box.slices], labels.geometry.crop(box)


def _numbers(values: Any, name: str) -> np.ndarray:
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array([math.nan])
    if not np.isfinite(numbers).all():
        raise BadInput(f"{name} has to be finite numbers, not {values!r}.")
    return numbers
