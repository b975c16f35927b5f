"""Which voxels to call object, given chances: those that promise the best Dice.

A cut at one half promises the fewest wrong voxels. Where a few clicks leave much open, most chances lie below it, and the mask would be
next to nothing. The best cut for Dice is half of the Dice that it promises (Lipton, Elkan, Naryanaswamy 2014, for F1, which is Dice):
one half where all is clear, less where little is.
"""
from __future__ import annotations

import torch
from torch import Tensor

LEAST_CUT = .15  # where less than a Dice of .3 is promised, the object is hardly there


def dice_cut(chances: Tensor) -> float:
    """From chances of any shape; in LEAST_CUT .. one half. A voxel belongs to the object from this chance on."""
    ordered = chances.flatten().float().sort(descending=True).values
    promised = 2 * ordered.cumsum(0) / (torch.arange(1, len(ordered) + 1) + ordered.sum()).clamp(min=1e-6)
    return min(max(float(promised.max()) / 2, LEAST_CUT), .5)
