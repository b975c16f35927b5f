"""How well a segmentation agrees with a reference: Dice, surface Dice, Hausdorff distance and volumes, organ by organ.

MONAI measures; this file says on what, and what an empty mask means.
"""

from __future__ import annotations

import math
import re
import statistics
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import BadInput
from .geometry import Box
from .volume import LabelMap

TOLERANCE_MM = 2.0
FINE_TOLERANCE_MM = 1.0  # vessels and adrenals: 2 mm is as much as such an organ is thick
_FINE = re.compile(r"adrenal|aorta|arter|vein|vena|_trunk|vessel")
_ROUNDING_MM = 1e-4  # a surface exactly at the tolerance stays within it
_WORST = {"dice": min, "nsd": min, "hd95_mm": max}


@dataclass(frozen=True)
class OrganScore:
    """Agreement on one organ. dice and nsd run 0..1; nsd is the share of both surfaces closer than tolerance_mm.

    Both masks empty: 1, 1 and 0 mm. One empty: 0, 0 and the image's diagonal.
    """

    organ: str
    dice: float
    nsd: float
    hd95_mm: float
    prediction_ml: float
    reference_ml: float
    tolerance_mm: float


@dataclass(frozen=True)
class Summary:
    """One metric of one organ over n cases; `worst` is the value of `worst_case`, `sd` the sample's (0 for one case)."""

    organ: str
    metric: str
    n: int
    mean: float
    sd: float
    median: float
    worst: float
    worst_case: str


def tolerance_mm(organ: str) -> float:
    """The distance up to which the organ's surface counts as right."""
    return FINE_TOLERANCE_MM if _FINE.search(organ) else TOLERANCE_MM


def score(prediction: np.ndarray, reference: np.ndarray, spacing_mm: Sequence[float], *, organ: str = "") -> OrganScore:
    """Compare two (K, J, I) masks on one grid with spacing_mm (K, J, I).

    NSD weighs surface elements by their area (marching cubes), HD95 is the larger of the two directed 95th percentiles
    over edge voxels.
    """
    if prediction.shape != reference.shape:
        raise BadInput(f"The prediction has {prediction.shape} voxels (K, J, I) and the reference {reference.shape}.")
    prediction, reference = prediction.astype(bool, copy=False), reference.astype(bool, copy=False)
    spacing = tuple(float(s) for s in spacing_mm)
    voxel_ml = math.prod(spacing) / 1000
    volumes = (int(prediction.sum()) * voxel_ml, int(reference.sum()) * voxel_ml)
    tolerance = tolerance_mm(organ)
    if not any(volumes):
        return OrganScore(organ, 1.0, 1.0, 0.0, *volumes, tolerance)
    if not all(volumes):
        return OrganScore(organ, 0.0, 0.0, math.dist((0, 0, 0), _extent(prediction, spacing)), *volumes, tolerance)
    box = Box.of(prediction | reference)  # outside there is nothing to measure, and memory is short
    return OrganScore(organ, *_agreement(prediction[box.slices], reference[box.slices], spacing, tolerance), *volumes, tolerance)


def _agreement(prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> tuple[float, float, float]:
    """Dice, NSD and HD95 mm of two masks of which neither is empty."""
    import torch
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_surface_dice

    # a rim of background: a mask that the image cuts off has a surface there
    pair = [torch.from_numpy(np.pad(mask, 1).astype(np.float32))[None, None] for mask in (prediction, reference)]
    how = {"include_background": True, "spacing": spacing}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of an argument that MONAI 1.6 passes itself
        nsd = compute_surface_dice(*pair, [tolerance + _ROUNDING_MM], use_subvoxels=True, **how)
        hd95 = compute_hausdorff_distance(*pair, percentile=95, **how)
    return float(compute_dice(*pair, include_background=True)), float(nsd), float(hd95)


def compare(prediction: LabelMap, reference: LabelMap, *, organs: Collection[str] | None = None,
            skip_empty: bool = False) -> list[OrganScore]:
    """Score every organ the reference names, in the order of its ids; an organ the prediction lacks is empty there.

    organs: only these. skip_empty: leave out organs without a voxel in the reference, where empty means "not
    contoured". Raises BadInput where the grids differ.
    """
    if not prediction.geometry.same_grid(reference.geometry):
        raise BadInput(f"Prediction and reference lie on different grids: {_grid(prediction)} and {_grid(reference)}. "
                       "Resample one of them first.")
    predicted_ids = {name: i for i, name in prediction.names.items()}
    scores = []
    for label, organ in sorted(reference.names.items()):
        truth = reference.ids == label
        if (organs is not None and organ not in organs) or (skip_empty and not truth.any()):
            continue
        found = prediction.ids == predicted_ids[organ] if organ in predicted_ids else np.zeros_like(truth)
        scores.append(score(found, truth, reference.geometry.spacing, organ=organ))
    return scores


def summarise(cases: Mapping[str, Sequence[OrganScore]], metric: str) -> list[Summary]:
    """Each organ's metric ("dice", "nsd" or "hd95_mm") over cases, {case name: its scores}, organs as first met."""
    values: dict[str, dict[str, float]] = {}
    for case, scores in cases.items():
        for one in scores:
            values.setdefault(one.organ, {})[case] = getattr(one, metric)
    return [_summary(organ, metric, by_case) for organ, by_case in values.items()]


def _summary(organ: str, metric: str, by_case: Mapping[str, float]) -> Summary:
    numbers = list(by_case.values())
    worst = _WORST[metric](by_case, key=by_case.__getitem__)
    sd = statistics.stdev(numbers) if len(numbers) > 1 else 0.0
    return Summary(organ, metric, len(numbers), statistics.fmean(numbers), sd, statistics.median(numbers),
                   by_case[worst], worst)


def _extent(mask: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(n * s for n, s in zip(mask.shape, spacing))


def _grid(labels: LabelMap) -> str:
    grid = labels.geometry
    spacing, origin = (" x ".join(f"{v:.4g}" for v in values) for values in (grid.spacing, grid.origin))
    return f"{grid.shape} voxels of {spacing} mm (K, J, I) from RAS {origin}"
