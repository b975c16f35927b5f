"""Recipes of diffusion pretraining: everything that decides it but the data's place."""
from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Mapping

from ..errors import BadInput
from ..preprocess import Preprocessing
from .loop import Budget
from .probe_recipes import PRETEXT_RECIPES, HEAD_NECK_CPU, PretextRecipe
from .recipes import CT_KNOTS

GB = 1 << 30


@dataclass(frozen=True)
class PretrainRecipe:
    """window: (k, j, i) voxels of a patch; guidance and dropped: as of NoisyPatches; auxiliary_weight: of the mean absolute error in
    coordinates (0..1) beside the mean squared error in velocity; turned: share of patches that are rotated and stretched;
    near: share of
    the draws at the small noise levels at which features are read, the rest over all levels alike; open_bytes: memory-mapped volumes held open; protocol: how encoders of the recipe are evaluated; ran: what was run of it, and what not.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    widths: tuple[int, ...]
    budget: Budget
    ran: str
    guidance: str = "both"
    dropped: float = .5
    octaves: int = 4
    auxiliary_weight: float = .5
    turned: float = .5
    near: float = .75
    open_bytes: int = 4 * GB
    seed: int = 0
    protocol: Mapping[str, Any] = field(default_factory=dict)


def _as_the_pretexts(recipe: PretextRecipe, ran: str) -> PretrainRecipe:
    """The same patches, encoder and budget as the pretexts that diffusion is compared with."""
    return PretrainRecipe(recipe.name, recipe.title, recipe.preprocessing, recipe.window, recipe.widths, recipe.budget, ran, near=recipe.near, seed=recipe.seed)


HEAD_NECK = PretrainRecipe(
    name="head-neck", title="The product's encoder, head and neck CT at 4 mm", preprocessing=HEAD_NECK_CPU.preprocessing,
    window=(48, 48, 48), widths=(16, 32, 64, 128, 160), ran="what was run of it stands in the model's card",
    budget=Budget(steps=6000, batch=4, learning_rate=1e-3, warmup=200, validate_every=500, averaging=.998))

CT_FINE = PretrainRecipe(
    name="ct-1.5mm", title="The product's encoder for a GPU, any CT at 1.5 mm",
    preprocessing=Preprocessing(spacing_mm=(1.5, 1.5, 1.5), intensity_knots=CT_KNOTS, modality="CT"),
    window=(96, 96, 96), widths=(32, 64, 128, 256, 320, 320), ran="not run: it wants a GPU for days, and a large data set",
    budget=Budget(steps=200_000, batch=8, learning_rate=2e-4, warmup=2000, validate_every=5000, averaging=.9999), open_bytes=16 * GB)

COMPARABLE = PretrainRecipe(
    name="comparable", title="The papers' comparable setting: 1 x 1 x 2 mm, patches of 128 x 128 x 32",
    preprocessing=Preprocessing(spacing_mm=(2., 1., 1.), intensity_knots=((-1350., -1.), (1000., 1.)), modality="CT"),
    window=(32, 128, 128), widths=(32, 64, 128, 256, 320, 320), ran="not run: it wants a GPU for days, and a public data set",
    budget=Budget(steps=200_000, batch=8, learning_rate=2e-4, warmup=2000, validate_every=5000, averaging=.9999), open_bytes=16 * GB,
    protocol={"on": "BTCV", "folds": 5, "seed": 42, "organs": [
        "spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior_vena_cava",
        "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left"],
        "half of the patches": "centred on an organ that is there", "optimiser": "Adam, 3e-4"})

QUICK = PretrainRecipe(
    name="quick", title="A few steps on any CT: to see that the data and the machine work",
    preprocessing=Preprocessing(spacing_mm=(4., 4., 4.), intensity_knots=CT_KNOTS, modality="CT"),
    window=(16, 16, 16), widths=(8, 16, 24), ran="run in the tests", guidance="none",
    budget=Budget(steps=20, batch=2, learning_rate=1e-3, warmup=2, validate_every=10, averaging=.9, log_every=1))

# Data sets a researcher would take: what of them is learnt from, and how `diffseg train pretrain --data` reads it.
PUBLIC = {
    "btcv": "BTCV (Synapse, registration): 30 abdominal CTs with 13 organs, as an MSD-like dataset.json; too few to pretrain on alone, it is what encoders are probed on",
    "amos": "AMOS22 (CC BY 4.0): 500 CTs with 15 organs, as nnU-Net raw; its MR cases have to be left out with --leave-out",
    "flare": "FLARE 2022 (registration): 2000 CTs without labels, a folder of volumes; 50 with 13 organs",
    "totalsegmentator": "TotalSegmentator v2 (CC BY 4.0): 1228 CTs, one folder a case with ct.nii.gz",
    "lidc": "LIDC-IDRI (TCIA, CC BY 3.0): 1018 chest CTs as DICOM, a folder a series",
    "nlst": "NLST (TCIA, CC BY 4.0): chest CTs as DICOM, a folder a series; tens of thousands, so --workers and room for the cache matter",
}


def _on(data: str, setting: PretrainRecipe, name: str) -> PretrainRecipe:
    return replace(setting, name=f"{data}-{name}", title=f"{setting.title}. Data: {PUBLIC[data]}",
                   ran=f"not run: the data set was not at hand; the same setting is tested on small data as {QUICK.name!r}")


RECIPES = {recipe.name: recipe for recipe in (
    HEAD_NECK, CT_FINE, COMPARABLE, QUICK,
    *(_as_the_pretexts(each, "what was run of it stands in the comparison's records") for name, each in PRETEXT_RECIPES.items() if name != "trial"),
    *(_on(data, setting, name) for data in PUBLIC for name, setting in (("comparable", COMPARABLE), ("product", CT_FINE))))}


def recipe(name: str) -> PretrainRecipe:
    """The recipe of that name; BadInput lists the names where there is none."""
    if name not in RECIPES:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}")
    return RECIPES[name]
