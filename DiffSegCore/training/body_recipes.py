"""Recipes of `diffseg train body`. What a recipe cost and reached stands in its model's card."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..errors import BadInput
from ..preprocess import Preprocessing
from .body_losses import Weights
from .body_views import Strengths
from .loop import Budget
from .recipes import HEAD_NECK


@dataclass(frozen=True)
class BodyRecipe:
    """Body coordinates, learnt from offsets in millimetres and, where there are labels, from organs' centroids.

    window: (k, j, i) voxels of a view; organs: as in the data set's cache of an organ training, () takes the data set's;
    anchors: those of them that tie patients together, () takes all; label_file: which labels of a case folder, None if there
    is one; unlabelled_share: of the pairs that show a case of the unlabelled folders; sides: how right is learnt from left.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    budget: Budget
    sides: Budget
    organs: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    label_file: str | None = None
    widths: tuple[int, ...] = (32, 64, 96, 128)
    unlabelled_share: float = .2
    pairs: int = 2048
    strengths: Strengths = Strengths()
    weights: Weights = Weights()
    seed: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)


BODY_CT = BodyRecipe(
    name="body-ct",
    title="Body coordinates in CT, anchored in the head and neck",
    preprocessing=HEAD_NECK.preprocessing,
    organs=HEAD_NECK.organs,
    anchors=("brainstem", "parotid_gland_right", "parotid_gland_left", "larynx", "mandible"),  # contours of cord and oesophagus end where a clinic stopped
    label_file="oar",
    window=(96, 64, 96),  # 240 x 256 x 384 mm
    budget=Budget(steps=800, batch=2, learning_rate=1e-3, warmup=30, averaging=.99, validate_every=200, clip=50.),
    sides=Budget(steps=300, batch=8, learning_rate=2e-3, warmup=30, averaging=.97, validate_every=100),
    card={"data": "OpenKBP head-and-neck CT (110 training, 15 validation cases of the official split, centroids of five contoured organs), "
                  "and the unlabelled CTs that the training counts",
          "data_licence": "OpenKBP: MIT (its repository)",
          "licence": "Apache-2.0",
          "for": "saying where in the head and neck a voxel of a CT lies, and whether the volume is turned over",
          "not_for": "clinical decisions; comparing places below the shoulders between patients, where nothing anchors them"},
)

QUICK = BodyRecipe(
    name="quick",
    title="A few steps on any CT data set: to see that the data and the machine work",
    preprocessing=Preprocessing(spacing_mm=(4., 4., 4.), intensity_knots=HEAD_NECK.preprocessing.intensity_knots, modality="CT"),
    window=(32, 32, 32),
    budget=Budget(steps=40, batch=2, warmup=5, averaging=.9, validate_every=20),
    sides=Budget(steps=4, batch=2, warmup=1, averaging=.5, validate_every=2),
    widths=(16, 16, 24),
    pairs=256,
    card={"for": "trying the training; its coordinates mean nothing", "licence": "Apache-2.0"},
)

RECIPES = {recipe.name: recipe for recipe in (BODY_CT, QUICK)}


def recipe(name: str) -> BodyRecipe:
    """The recipe of that name; BadInput lists the names where there is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
