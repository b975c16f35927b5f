"""Pretexts that compete with diffusion: each wraps the same encoder and sees the same numbered patches.

A pretext's network takes a batch's tensors and returns the loss; what is kept of it is its `encoder`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

from torch import nn

from ...errors import BadInput
from ...networks import DiffusionEncoder
from ..pretrain_patches import ImagePatches
from ..probe_recipes import PretextRecipe
from .contrastive import Contrastive, Views
from .masked import HiddenPatches, Masked
from .restorative import Restorations, Restorative


@dataclass(frozen=True)
class Pretext:
    """network(encoder)(*batch_of(first, count)) -> loss; its `.encoder` is what is kept. batches: of patches, batch_of."""

    network: Callable[[DiffusionEncoder], nn.Module]
    batches: Callable[[ImagePatches, PretextRecipe], Callable[[int, int], Any]]


PRETEXTS = {
    "restorative": Pretext(Restorative, lambda patches, recipe: Restorations(patches).batch),
    "masked": Pretext(Masked, lambda patches, recipe: HiddenPatches(patches, side=recipe.cube, share=recipe.masked).batch),
    "contrastive": Pretext(Contrastive, lambda patches, recipe: Views(patches).batch),
}


def pretext(name: str) -> Pretext:
    """The pretext of that name; BadInput lists the names where there is none."""
    if name not in PRETEXTS:
        raise BadInput(f"there is no pretext {name!r}; there are {', '.join(PRETEXTS)}")
    return PRETEXTS[name]
