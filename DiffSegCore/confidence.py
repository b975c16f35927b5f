"""How sure a prediction is of each organ, and between which volumes it may lie: from its chances, before anybody looks."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .organ_volumes import OrganVolume, organ_volumes
from .segmenter import Prediction
from .volume_ranges import range_of


@dataclass(frozen=True)
class OrganFound:
    """size: id, name, title, ml, colour; low_ml and high_ml: between which the true volume lies with the chance `rate`, as the model's validation
    cases say, or, where `rate` is None, where the chance is .75 and .25 or more; confidence 0..1: the Dice that is to be expected,
    2 E|P and T| / (|P| + E|T|) under the prediction's own chances, 0 where nothing was found.
    """

    size: OrganVolume
    low_ml: float
    high_ml: float
    confidence: float
    rate: float | None = None


def organs_found(prediction: Prediction) -> tuple[OrganFound, ...]:
    """Of every organ that the prediction names. Chances are counted on the model grid, and scaled to the native grid's volume."""
    best, scale = _best(prediction.logits)
    voxel_ml = math.prod(prediction.geometry.spacing) / 1000
    channel = {id: n + 1 for n, id in enumerate(prediction.labels.names)}
    found = []
    for size in organ_volumes(prediction.labels):
        chance, own = (prediction.logits[channel[size.id]].float() - scale).exp(), best == channel[size.id]  # both (k, j, i)
        count, inside, expected = int(own.sum()), float(chance[own].sum()), float(chance.sum())
        unit = size.ml / count if count and size.ml else voxel_ml
        low, high = (unit * voxels for voxels in range_of(chance))
        known = prediction.ranges.widened(size.name, low, high) if prediction.ranges else None
        low, high = known or (low, high)
        found.append(OrganFound(size, min(low, size.ml), max(high, size.ml), 2 * inside / (count + expected) if count else 0.,
                                prediction.ranges.rate if known else None))
    return tuple(found)


def _best(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The best channel and the log of the sum over channels, (k, j, i); channel by channel, as all at once would double the memory."""
    top = logits[0].float()
    best, scale = torch.zeros(top.shape, dtype=torch.int16), top
    for channel, plane in enumerate(logits[1:], 1):
        plane = plane.float()
        best[plane > top] = channel
        top, scale = torch.maximum(top, plane), torch.logaddexp(scale, plane)
    return best, scale
