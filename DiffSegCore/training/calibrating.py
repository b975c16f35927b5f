"""Chances and volume ranges that mean what they say: fitted to validation cases.

A network that learns with Dice and cross-entropy is too sure of its outlines. Logits divided by one temperature (Guo et al. 2017) have the same
labels and better chances, and as the head is linear in its last layers, its own weights can be divided instead: nobody has to know.
"""
from __future__ import annotations

from typing import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.cache import GridCase
from ..networks import OrganHead
from ..volume_ranges import KnownVolume, VolumeRanges, range_of
from .losses import merge_unknown

TEMPERATURES = tuple(2 ** (n / 4) for n in range(-4, 13))  # of .5 to 8; to divide by a power of two changes no bit but the exponent's
EVERY = 2  # which voxel along each axis is looked at


def fitted_temperature(logits_of: Callable[[GridCase], Tensor], cases: Sequence[GridCase], *, empty_is_undrawn: bool) -> float:
    """The temperature of least mean negative log-likelihood over the cases' voxels.

    logits_of: (1 + organs, k, j, i) of a whole case; empty_is_undrawn: organs that a case does not show may be there, and are judged
    as background.
    """
    nll = np.mean([_at_all(logits_of(case), case, empty_is_undrawn) for case in cases], axis=0)
    return TEMPERATURES[int(np.argmin(nll))]


def negative_log_likelihood(logits: Tensor, case: GridCase, temperature: float, empty_is_undrawn: bool) -> float:
    """Mean over the case's voxels, in nats; logits (1 + organs, k, j, i)."""
    some = (slice(None, None, EVERY),) * 3
    target = torch.from_numpy(np.array(case.channels[some])).long().to(logits.device)[None]
    known = torch.tensor([[not empty_is_undrawn or channel == 0 or channel in case.places for channel in range(len(logits))]], device=logits.device)
    return float(F.nll_loss(merge_unknown(logits[(slice(None), *some)][None].float() / temperature, known), target))


@torch.no_grad()
def cool(head: OrganHead, temperature: float) -> None:
    """Divide the head's logits by a temperature, by dividing the weights that they are linear in."""
    for *_, linear in head.read:
        for weight in linear.parameters():
            weight.div_(temperature)


def fitted_ranges(logits_of: Callable[[GridCase], Tensor], cases: Sequence[GridCase], organs: Sequence[str]) -> VolumeRanges:
    """How far a range of volumes by chances has to be widened. logits_of: (1 + organs, k, j, i) of a whole case, calibrated."""
    return VolumeRanges.fitted([each for case in cases for each in seen_in(case, logits_of(case).softmax(0), organs)], len(cases))


def seen_in(case: GridCase, chances: Tensor, organs: Sequence[str]) -> list[KnownVolume]:
    """Ranges and true volumes in voxels; chances (1 + organs, k, j, i) on the case's grid. Organs that the case does not show tell nothing."""
    return [KnownVolume(organs[channel - 1], *range_of(chances[channel]), float((case.channels == channel).sum())) for channel in case.places]


def _at_all(logits: Tensor, case: GridCase, empty_is_undrawn: bool) -> list[float]:
    return [negative_log_likelihood(logits, case, each, empty_is_undrawn) for each in TEMPERATURES]
