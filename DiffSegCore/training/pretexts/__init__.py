"""Pretexts that compete with diffusion: each wraps the same encoder and sees the same numbered patches.

A pretext's network takes a batch's tensors and returns the loss; what is kept of it is its `encoder`.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Sequence

from torch import nn

from ...data.cache import GridCase
from ...data.patches import Augmentation, Patches
from ...errors import BadInput
from ...networks import DiffusionEncoder
from ..probe_recipes import PretextRecipe
from .contrastive import Contrastive, Views
from .masked import HiddenPatches, Masked
from .restorative import Restorations, Restorative

VIEWED = Augmentation(mirror=False)  # right stays right: a later probe is asked which is which


@dataclass(frozen=True)
class Pretext:
    """network(*batch_of(first, count)) -> loss; network.encoder is what is kept."""

    network: nn.Module
    batch_of: Callable[[int, int], Any]


def _restorative(encoder: DiffusionEncoder, cases: Sequence[GridCase], recipe: PretextRecipe, seed: int) -> Pretext:
    return Pretext(Restorative(encoder), Restorations(_patches(Patches, cases, recipe, seed)).batch)


def _masked(encoder: DiffusionEncoder, cases: Sequence[GridCase], recipe: PretextRecipe, seed: int) -> Pretext:
    hidden = HiddenPatches(_patches(Patches, cases, recipe, seed), side=recipe.cube, share=recipe.masked)
    return Pretext(Masked(encoder), hidden.batch)


def _contrastive(encoder: DiffusionEncoder, cases: Sequence[GridCase], recipe: PretextRecipe, seed: int) -> Pretext:
    if recipe.budget.batch % 2:
        raise BadInput(f"contrastive pretraining reads pairs of windows: a batch of {recipe.budget.batch} cannot be halved")
    return Pretext(Contrastive(encoder), _patches(Views, cases, recipe, seed).batch)


def _patches(kind: type[Patches], cases: Sequence[GridCase], recipe: PretextRecipe, seed: int) -> Any:
    return kind(cases, 0, recipe.window, augmentation=VIEWED, seed=seed)


PRETEXTS = {"restorative": _restorative, "masked": _masked, "contrastive": _contrastive}


def pretext(name: str, encoder: DiffusionEncoder, cases: Sequence[GridCase], recipe: PretextRecipe, seed: int) -> Pretext:
    """The pretext of that name over these cases; BadInput lists the names where there is none."""
    if name not in PRETEXTS:
        raise BadInput(f"there is no pretext {name!r}; there are {', '.join(PRETEXTS)}")
    return PRETEXTS[name](encoder, cases, recipe, seed)
