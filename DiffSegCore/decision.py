"""Which voxels to call object, given chances: those that promise the best Dice.

A cut at one half promises the fewest wrong voxels. Where a few clicks leave much open, most chances lie below it, and the mask would be
next to nothing. The best cut for Dice is half of the Dice that it promises (Lipton, Elkan, Naryanaswamy 2014, for F1, which is Dice):
one half where all is clear, less where little is.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

NEGLIGIBLE = 1e-3  # of a whole volume most chances are smaller: together they promise little, and sorting them takes seconds
SMALLEST = 1e-6  # of a chance whose logarithm is taken
GENEROUS = .85  # of the cut, for an object that prompts describe: of .7, .85 and 1 the best on validation cases
LEAST_CUT = .15  # where less than a Dice of .3 is promised, the object is hardly there


def dice_cut(chances: Tensor) -> float:
    """From chances of any shape; in LEAST_CUT .. one half. A voxel belongs to the object from this chance on."""
    if not chances.numel():
        return LEAST_CUT
    ordered = chances.flatten().float().sort(descending=True).values
    promised = 2 * ordered.cumsum(0) / (torch.arange(1, len(ordered) + 1, device=ordered.device) + ordered.sum()).clamp(min=1e-6)
    return min(max(float(promised.max()) / 2, LEAST_CUT), .5)


def object_cut(chances: Tensor) -> float:
    """For an object that prompts describe, a little lower than `dice_cut`, with which objects came out too small; one that is hardly there is given nothing."""
    return max(GENEROUS * dice_cut(chances), LEAST_CUT)


def decided(chances: Tensor) -> Tensor:
    """Logits (labels, *spatial), background first, whose largest names the label that promises its organ the best Dice, of exclusive chances.

    An organ's odds against the background are weighed as its own cut says: one of .3 counts as one half does otherwise. An organ of which
    a Dice of less than .3 is promised stays as likely as it is, lest it be drawn where hardly anything speaks for it.
    """
    logits = chances.clamp(min=SMALLEST).log()
    for label in range(1, len(chances)):
        cut = dice_cut(chances[label][chances[label] > NEGLIGIBLE])
        if cut > LEAST_CUT:
            logits[label] += math.log((1 - cut) / cut)
    return logits
