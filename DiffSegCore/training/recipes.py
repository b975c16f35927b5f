"""Recipes: everything that decides a training but the data's place. What a recipe cost and reached stands in its model's card."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ..data.augmentation import Augmentation
from ..errors import BadInput
from ..preprocess import Preprocessing
from .loop import Budget

CT_KNOTS = ((-1000., -1.), (-150., -.6), (250., .6), (1000., 1.))  # soft tissue gets 60 % of the range instead of 4 %


ABDOMEN = ("spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior_vena_cava",
           "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left")


@dataclass(frozen=True)
class Made:
    """Cases that are made up: `count` to learn from, and `check` more to validate with, in place of real ones.

    source: phantoms, or abdomens imagined from label maps; of each `among` patches `patches` are of made cases;
    empty_is_undrawn: as of the recipe, for made cases. recoloured: of each `among` patches so many are of labelled MR shown as CT, where there is any
    (otherwise they are imagined ones), each person in `guises` guises. rephased: in how many other contrast phases every real case is shown, too.
    """

    source: str
    count: int
    patches: int
    among: int
    check: int = 0
    empty_is_undrawn: bool = True
    recoloured: int = 0
    guises: int = 6
    rephased: int = 0


@dataclass(frozen=True)
class HeadRecipe:
    """An organ network trained from scratch with supervision.

    organs: names in channel order, () takes the data set's; label_file: which labels of a case folder, None if there is one;
    window: (k, j, i) voxels of a patch; made: cases that are made up, beside the real ones;
    empty_is_undrawn: an organ without a voxel in a case was not contoured there (True) or is absent (False);
    whole: train on all of the image, which shows no body in air. Windows of one plane make a network of two dimensions.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    budget: Budget
    organs: tuple[str, ...] = ()
    widths: tuple[int, ...] = (16, 32, 64, 128, 160)
    label_file: str | None = None
    made: Made | None = None
    augmentation: Augmentation = Augmentation()
    empty_is_undrawn: bool = False
    image_channels: int = 1
    whole: bool = False
    seed: int = 0
    card: Mapping[str, Any] = field(default_factory=dict)


HEAD_NECK = HeadRecipe(
    name="head-neck-ct",
    title="Head and neck CT, 7 organs at risk, 4 mm",
    preprocessing=Preprocessing(spacing_mm=(2.5, 4., 4.), intensity_knots=CT_KNOTS, modality="CT"),
    organs=("brainstem", "spinal_cord", "parotid_gland_right", "parotid_gland_left", "esophagus", "larynx", "mandible"),
    window=(48, 48, 48),
    budget=Budget(steps=15000, batch=2, learning_rate=1.5e-3, validate_every=1000),
    label_file="oar",
    empty_is_undrawn=True,  # clinics contour what the plan needs
    made=Made("phantoms", count=64, patches=1, among=3),  # fields of view cut organs off: empty is undrawn
    card={"data": "OpenKBP head-and-neck CT (110 training, 15 validation cases of the official split; contours of the organs at risk "
                  "as clinics drew them), and synthetic phantoms",
          "data_licence": "OpenKBP: MIT (its repository); phantoms: Apache-2.0",
          "licence": "Apache-2.0",
          "for": "head and neck CT as planned for radiotherapy, at about 4 mm: a start that a person corrects",
          "not_for": "clinical decisions; other body parts; structures finer than 4 mm",
          "smallest_piece": .3,
          "coordinates_from": "body-ct",  # tells whether the patient lies as the header says
          "field_of_view_mm": [[190, 240, 240], [420, 650, 650]]},
)

ABDOMEN_MR = HeadRecipe(
    name="abdomen-mr",
    title="Abdominal T2 MR, liver, kidneys and spleen, 4 mm",
    preprocessing=Preprocessing(spacing_mm=(6., 4., 4.), intensity_knots=((0., -1.), (130., 1.)), modality="MR", body_percentile=95.),
    organs=("liver", "kidney_right", "kidney_left", "spleen"),
    window=(32, 48, 64),
    budget=Budget(steps=3600, batch=1, learning_rate=1.2e-3, validate_every=400),
    augmentation=Augmentation(rotation=15., scale=.25, shear=.08, shift=.1, contrast=.25, noise=.12, warp=8., gamma=.4, bias=.3, thick=.25,
                              mirror=False),  # nobody's liver lies on the left
    card={"data": "CHAOS, abdominal T2 SPIR MR (12 cases, numbers below 30; manual labels)",
          "data_licence": "CHAOS: CC BY-SA 4.0",
          "licence": "CC BY-SA 4.0",
          "for": "upper abdominal T2 MR, axial slices of 5 to 9 mm, fat suppressed: a start that a person corrects",
          "not_for": "clinical decisions; T1 or contrast-enhanced MR; CT; large tumours or cysts",
          "smallest_piece": .3,
          "field_of_view_mm": [[150, 250, 250], [400, 500, 500]]},
)

ABDOMEN_CT = HeadRecipe(
    name="abdomen-ct",
    title="Abdominal CT, 13 organs, 4 mm",
    preprocessing=Preprocessing(spacing_mm=(2.5, 4., 4.), intensity_knots=CT_KNOTS, modality="CT"),
    organs=ABDOMEN,
    window=(48, 64, 80),
    budget=Budget(steps=6000, batch=2, learning_rate=1.2e-3, validate_every=500),
    made=Made("abdomens", count=240, patches=4, among=6, check=6, empty_is_undrawn=False, recoloured=2, rephased=11),
    augmentation=Augmentation(rotation=10., scale=.2, shear=.06, warp=5., gamma=.1, mirror=False, filters=.25),
    card={"data": "CT synthesised from two label maps of TotalSegmentator's data set; CHAOS T2 SPIR MR (12 cases, numbers below 30; liver, kidneys and "
                  "spleen drawn by hand) shown as CT; one real slab of 40 mm with labels made by a model; AMOS 0018, a whole abdomen without labels, with those that "
                  "this model gave it half-way; the encoder began with head-neck-ct's (OpenKBP)",
          "data_licence": "TotalSegmentator's label maps: CC BY 4.0; CHAOS: CC BY-SA 4.0; AMOS: CC BY 4.0; the slab: Apache-2.0 (its repository); OpenKBP: MIT",
          "licence": "CC BY-SA 4.0",
          "for": "abdominal CT at about 3 mm, with or without contrast: a start that a person corrects",
          "not_for": "clinical decisions; organs after surgery; large tumours; children; other body parts",
          "smallest_piece": .3,
          "field_of_view_mm": [[35, 200, 250], [700, 500, 550]]},
)

QUICK = HeadRecipe(
    name="quick",
    title="A few steps on any CT data set: to see that the data and the machine work",
    preprocessing=Preprocessing(spacing_mm=(4., 4., 4.), intensity_knots=CT_KNOTS, modality="CT"),
    window=(32, 32, 32),
    budget=Budget(steps=40, batch=2, warmup=5, averaging=.9, validate_every=20),
    widths=(8, 16, 32),
    card={"for": "trying the training; its labels mean nothing", "licence": "Apache-2.0"},
)

PICTURES = HeadRecipe(
    name="pictures",
    title="Objects in colour pictures (images/ and masks/)",
    preprocessing=Preprocessing(spacing_mm=(1., 1., 1.), intensity_knots=((0., -1.), (255., 1.)), modality="picture"),
    window=(1, 96, 96),
    budget=Budget(steps=400, batch=8, learning_rate=2e-3, warmup=40, averaging=.98, validate_every=100),
    widths=(16, 24, 32, 48),
    image_channels=3,
    whole=True,
    card={"for": "a first segmentation that a refiner betters", "licence": "Apache-2.0"},
)

RECIPES = {recipe.name: recipe for recipe in (HEAD_NECK, ABDOMEN_CT, ABDOMEN_MR, QUICK, PICTURES)}


def recipe(name: str) -> HeadRecipe:
    """The recipe of that name; BadInput lists the names where there is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
