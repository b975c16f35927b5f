"""What one answer on one case is worth: overlap and distances on the scan's grid, calibration and use of doubt on the model's."""
from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Mapping, Sequence

import numpy as np
import torch
from scipy import ndimage
from scipy.stats import rankdata
from torch import Tensor

from DiffSegCore.geometry import Geometry
from DiffSegCore.metrics import compare
from DiffSegCore.preprocess import labels_on_model_grid, native_labels
from DiffSegCore.refining import entropy
from DiffSegCore.volume import LabelMap
from DiffSegCore.volume_ranges import range_of

BAND_MM = 5.
BINS = 15
LEAST = 1e-6  # chance of the truth below which NLL no longer grows


@dataclass(frozen=True, eq=False)
class Truth:
    """A case's reference: on the scan's grid, and as channels (k, j, i) on the model grid with the organs (channels) that were drawn."""

    labels: LabelMap
    channels: np.ndarray
    drawn: tuple[int, ...]
    grid: Geometry

    @classmethod
    def of(cls, labels: LabelMap, organs: Sequence[str], grid: Geometry) -> Truth:
        table = np.zeros(int(labels.ids.max()) + 1, np.uint8)
        for id, name in labels.names.items():
            if id < len(table) and name in organs:
                table[id] = list(organs).index(name) + 1
        channels = labels_on_model_grid(LabelMap(table[labels.ids], labels.geometry), grid)
        return cls(labels, channels, tuple(c for c in range(1, len(organs) + 1) if (channels == c).any()), grid)


def judged(chances: Tensor, truth: Truth, organs: Sequence[str], region: Tensor, seconds: float, *, logits: Tensor | None = None,
           voxels: Tensor | None = None) -> dict[str, Any]:
    """A record of plain values. chances (1 + organs, k, j, i) on the model grid; region: voxels that calibration is measured on, the same
    for all answers; logits: what labels follow from, the chances' logarithms by default; voxels (samples, organs): sizes of the samples, where there are some.
    """
    logits = chances.clamp(min=LEAST).log() if logits is None else logits
    ids = np.array([0, *(next((i for i, name in truth.labels.names.items() if name == organ), 0) for organ in organs)], np.uint8)
    found = LabelMap(ids[native_labels(logits, truth.grid, truth.labels.geometry)], truth.labels.geometry, truth.labels.names)
    scores = {s.organ: s for s in compare(found, truth.labels, organs=organs, skip_empty=True)}
    return {"dice": {o: s.dice for o, s in scores.items()}, "nsd": {o: s.nsd for o, s in scores.items()},
            "hd95_mm": {o: s.hd95_mm for o, s in scores.items()}, "scores": {o: asdict(s) for o, s in scores.items()},
            **calibrated(chances, truth, region), "seconds": seconds,
            "sizes": sizes(chances, voxels, truth, organs)}


def calibrated(chances: Tensor, truth: Truth, region: Tensor) -> dict[str, float]:
    """ECE, NLL and Brier score in the region and near the reference's outlines; AUROC of entropy for the errors near the answer's own outlines."""
    merged = known_only(chances, truth.drawn)
    true = torch.from_numpy(truth.channels.astype(np.int64))
    place = torch.from_numpy(near_outlines(truth.channels, truth.grid)) | region
    p = merged[:, place]
    doubts = merged.max(0).indices.numpy()
    band = near_outlines(doubts, truth.grid)
    wrong = (doubts != truth.channels)[band]
    return {"ece": ece(p, true[place]), "brier": brier(p, true[place]), "nll": float(-p.gather(0, true[place][None]).clamp(min=LEAST).log().mean()),
            "auroc": auroc(entropy(merged)[torch.from_numpy(band)].numpy(), wrong)}


def known_only(chances: Tensor, drawn: Sequence[int]) -> Tensor:
    """Chances in which organs that nobody drew count as background, as they do in the reference."""
    merged = chances.clone().float()
    for channel in range(1, len(chances)):
        if channel not in drawn:
            merged[0] += merged[channel]
            merged[channel] = 0
    return merged


def near_outlines(labels: np.ndarray, grid: Geometry, within_mm: float = BAND_MM) -> np.ndarray:
    """bool: voxels within that distance of where labels change."""
    edge = np.zeros(labels.shape, bool)
    for axis in range(3):
        differs = np.diff(labels.astype(np.int16), axis=axis) != 0
        for side in (slice(1, None), slice(None, -1)):
            edge[tuple(side if a == axis else slice(None) for a in range(3))] |= differs
    return edge if not edge.any() else ndimage.distance_transform_edt(~edge, grid.spacing) <= within_mm


def ece(chances: Tensor, true: Tensor) -> float:
    """Expected calibration error of the likeliest label, equal bins of confidence; chances (labels, voxels)."""
    confidence, label = chances.max(0)
    right, bins = (label == true).double(), (confidence * BINS).long().clamp(max=BINS - 1)
    count, sums = torch.bincount(bins, minlength=BINS), [torch.bincount(bins, x.double(), BINS) for x in (right, confidence)]
    return float((sums[0] - sums[1]).abs().sum() / count.sum().clamp(min=1))


def brier(chances: Tensor, true: Tensor) -> float:
    """Mean over voxels of the squared distance between the chances (labels, voxels) and the truth, 0 to 2."""
    return float((chances.square().sum(0) + 1 - 2 * chances.gather(0, true[None])[0]).mean())


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Chance that a positive scores above a negative; NaN without both."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return math.nan
    return float((rankdata(score)[positive].sum() - n * (n + 1) / 2) / (n * m))


def sizes(chances: Tensor, voxels: Tensor | None, truth: Truth, organs: Sequence[str]) -> dict[str, Mapping[str, Any]]:
    """Organ -> ml on the model grid: of the truth, the range by chances alone, and the samples' 5th and 95th percentile where there are several."""
    ml = math.prod(truth.grid.spacing) / 1000
    drawn = None if voxels is None or len(voxels) < 2 else np.quantile(voxels.numpy(), (.05, .95), axis=0) * ml
    return {organs[c - 1]: {"true": float((truth.channels == c).sum() * ml), "range": [n * ml for n in range_of(chances[c])],
                            "samples": None if drawn is None else drawn[:, c - 1].tolist()} for c in truth.drawn}
