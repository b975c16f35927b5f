"""Recipes of click models: plain values that decide everything but the data's place."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..errors import BadInput
from ..preprocess import Preprocessing
from ..refiner_card import RefinerCard
from .loop import Budget
from .recipes import CT_KNOTS


@dataclass(frozen=True)
class ClickRecipe:
    """How a click model is trained.

    window: (k, j, i) voxels of a crop; small: of the crops that training begins with, until its learning rate restarts, and which take a third of the
    time; widths, step_widths: of the refiner; levels, odds: of the chain's schedule; shares: of patches that
    start from nothing (empty), whose image is made from labels, whose object is grown from the image; own: how likely the network answers first and is
    prompted again, and then once more, up to five times; recycled: as of a refiner. phantoms: how many there are beside the cases; watched: crops that are scored.
    """

    name: str
    title: str
    budget: Budget
    ran: str
    window: tuple[int, int, int] = (48, 48, 48)
    small: tuple[int, int, int] = (32, 32, 32)
    widths: tuple[int, ...] = (16, 32, 64, 128, 160)
    step_widths: tuple[int, ...] = (16, 24)
    levels: int = 20
    odds: float = RefinerCard().odds
    empty: float = .4
    made: float = .05
    grown: float = .1
    own: float = .6
    recycled: float = .5
    phantoms: int = 8
    watched: int = 18
    preprocessing: Preprocessing = Preprocessing((2., 2., 2.), CT_KNOTS, "CT")
    seed: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)


CLICK = ClickRecipe(
    name="click", title="Any structure in CT and MR, from clicks",
    budget=Budget(steps=32000, batch=2, learning_rate=1e-3, warmup=100, averaging=.998, validate_every=1000, restart=.65),
    ran="what was run of it stands in its model's card",
    card={"licence": "Apache-2.0", "for": "drawing and correcting one structure at a time, with a person who looks",
          "data_licence": "OpenKBP: MIT (its repository); TotalSegmentator: CC BY 4.0 (label maps), Apache-2.0 (example slab); CHAOS: CC BY-SA 4.0; "
                          "soft-tissue sarcomas (IBSI): CC BY 3.0; chest CT of the Chest Imaging Platform: BSD-style",
          "not_for": "clinical decisions without a person's check"})

QUICK_CLICK = ClickRecipe(
    name="quick", title="A few steps on any data set: to see that the data and the machine work",
    budget=Budget(steps=8, batch=2, warmup=2, averaging=.5, validate_every=4, restart=.75), ran="run in the tests",
    window=(16, 16, 16), small=(8, 8, 8), widths=(8, 16, 24), step_widths=(8, 16), phantoms=0, watched=2,
    card={"for": "trying the training; its answers mean nothing", "licence": "Apache-2.0"})

RECIPES = {recipe.name: recipe for recipe in (CLICK, QUICK_CLICK)}


def recipe(name: str) -> ClickRecipe:
    """The recipe of that name; BadInput lists the names where there is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
