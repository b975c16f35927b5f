"""Recipes of refiners: plain values that decide everything but the data's place and where priors come from."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping

from ..errors import BadInput
from ..networks.refiner import FLOOR
from ..preprocess import Preprocessing
from ..refiner_card import RefinerCard
from .loop import Budget
from .recipes import HEAD_NECK, PICTURES, QUICK, HeadRecipe

OPEN = RefinerCard().odds  # of a 3D schedule: a block of voxels shows its label early


@dataclass(frozen=True)
class RefinerRecipe:
    """How a refiner is trained.

    window: (k, j, i) voxels of a patch, k = 1 for flat images; organs: as of HeadRecipe; one: one object of any kind against all else,
    with a Bernoulli chain, instead of exclusive labels. levels, odds: of the chain's schedule. reads: which levels of a segmentor's
    pyramid the refiner reads, 0 the finest. as_segmentor: the refiner's encoder begins as that of the model given, of the same widths.
    floor: how nearly, at most, the prior is believed. spoilt: share of patches whose prior is a corrupted truth even where a segmentor's is at hand;
    recycled: share of noisy masks made from the refiner's own answer. head: what `--folds` trains, as long as its budget says.
    mu: weight of the refiner's loss in the segmentor's steps of an alternating training, after a ramp over `ramp` of the steps.
    watched: patches of validation cases that are scored. ran: what was run of it, and what not.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    budget: Budget
    ran: str
    head: HeadRecipe | None = None
    organs: tuple[str, ...] = ()
    one: bool = False
    image_channels: int = 1
    widths: tuple[int, ...] = (16, 32, 64, 96)
    step_widths: tuple[int, ...] = (16, 24)
    levels: int = 20
    odds: float = OPEN
    reads: tuple[int, ...] = ()
    as_segmentor: bool = False
    floor: float = FLOOR
    spoilt: float = .25
    recycled: float = .5
    own: float = .5
    mu: float = .1
    ramp: float = .5
    watched: int = 48
    label_file: str | None = None
    empty_is_undrawn: bool = False
    whole: bool = False
    seed: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flat(self) -> bool:
        """True for images of one plane, which a 2D network reads."""
        return self.window[0] == 1


HEAD_NECK_REFINER = RefinerRecipe(
    name="head-neck-refiner", title="Refiner of seven organs at risk in head and neck CT at 4 mm: half an hour on one core",
    preprocessing=HEAD_NECK.preprocessing, window=HEAD_NECK.window, organs=HEAD_NECK.organs, label_file="oar", empty_is_undrawn=True,
    budget=Budget(steps=1500, batch=2, learning_rate=3e-4, warmup=50, averaging=.995, validate_every=300),
    head=replace(HEAD_NECK, budget=Budget(steps=1200, batch=2, learning_rate=2e-3, averaging=.99, validate_every=600)),
    floor=.002,  # the head's chances are calibrated
    # From random weights, 1500 steps left NLL on validation cases worse (.219 against .195), whether or not the head's features were read. Begun as
    # the head, they better it on training patches (.0208 -> .0194), on validation patches not yet (.0451 -> .0467).
    widths=HEAD_NECK.widths, as_segmentor=True,
    ran="what was run of it stands in its model's card",
    card={"data": HEAD_NECK.card["data"], "data_licence": HEAD_NECK.card["data_licence"], "licence": "Apache-2.0",
          "for": "bettering a segmentation of these organs; it needs a prior", "not_for": HEAD_NECK.card["not_for"]})

OBJECT = RefinerRecipe(
    name="object", title="Refiner of one object of any kind in CT at 4 mm, whoever segmented it first",
    preprocessing=HEAD_NECK.preprocessing, window=(48, 48, 48), label_file="oar", one=True,
    budget=Budget(steps=3000, batch=2, learning_rate=1e-3, warmup=100, averaging=.995, validate_every=1000),
    spoilt=.5, ran="what was run of it stands in its model's card",
    card={"licence": "Apache-2.0", "for": "bettering a mask of one object", "not_for": HEAD_NECK.card["not_for"]})

POLYPS_2D = RefinerRecipe(
    name="polyps-2d", title="Refiner of one object in colour pictures (polyps)",
    preprocessing=PICTURES.preprocessing, window=(1, 128, 128), one=True, image_channels=3, head=PICTURES, reads=(0, 1, 2),
    budget=Budget(steps=4000, batch=8, learning_rate=1e-3, warmup=100, averaging=.998, validate_every=500),
    odds=1., whole=True, ran="not run: no polyp data were at hand", card={"licence": "Apache-2.0", "for": "bettering a mask of one object"})

VESSELS_2D = replace(
    POLYPS_2D, name="vessels-2d", title="Refiner of thin vessels in colour pictures (retina)", window=(1, 96, 96),
    budget=Budget(steps=1500, batch=8, learning_rate=1e-3, warmup=100, averaging=.995, validate_every=500),
    ran="on generated vessel trees: see the benchmarks", card={"licence": "Apache-2.0", "for": "bettering a mask of thin vessels"})

QUICK_REFINER = RefinerRecipe(
    name="quick", title="A few steps on any CT data set: to see that the data and the machine work",
    preprocessing=QUICK.preprocessing, window=(16, 16, 16), widths=(8, 16, 24), step_widths=(8, 16), reads=(1, 2), watched=4,
    budget=Budget(steps=20, batch=2, warmup=5, averaging=.9, validate_every=10), ran="run in the tests",
    head=replace(QUICK, window=(16, 16, 16), budget=Budget(steps=4, batch=2, warmup=1, averaging=.5, validate_every=4)),
    card={"for": "trying the training; its answers mean nothing", "licence": "Apache-2.0"})

RECIPES = {recipe.name: recipe for recipe in (HEAD_NECK_REFINER, OBJECT, POLYPS_2D, VESSELS_2D, QUICK_REFINER)}


def recipe(name: str) -> RefinerRecipe:
    """The recipe of that name; BadInput lists the names where there is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
