"""Recipes of pretexts and probes: plain values that decide everything but the data's place, and one size for each machine."""
from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import BadInput
from ..preprocess import Preprocessing
from .loop import Budget
from .probe_reading import Reading
from .recipes import CT_KNOTS, HEAD_NECK

HEAD_NECK_GRID = Preprocessing(spacing_mm=(2.5, 4., 4.), intensity_knots=CT_KNOTS, modality="CT")
SWEEP = (Reading(), *(Reading(level, "keyed") for level in (9., 6., 4.7, 3.5, 2.1)))


@dataclass(frozen=True)
class PretextRecipe:
    """What every pretext shares: patches, encoder and budget. A batch counts windows, so a pair of views is two of it.

    cube: side in voxels of what masking hides, masked: the share of cubes that it hides; near: as of PretrainRecipe. ran: what was run of it, and what not.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    window: tuple[int, int, int]
    widths: tuple[int, ...]
    budget: Budget
    ran: str
    cube: int = 8
    masked: float = .6
    near: float = .75
    seed: int = 0


@dataclass(frozen=True)
class ProbeRecipe:
    """How encoders are probed. `piece`: voxels of a frozen probe's patch, which needs no surroundings; `window`: what the encoder sees.

    frozen: budget of linear and non-linear probes. head_first and released: fine-tuning before and after the encoder is let go;
    training from scratch gets the steps of both. cached: features are kept on disk (small volumes) or computed in every step.
    watched: so many validation cases are scored when a budget says to validate, and the best of these moments is kept.
    sweep: readings to choose from on validation cases, with a linear probe of `sweep_steps` steps on the first `sweep_cases`
    training cases, scored on as many validation cases. on_organ: share of the patches that are centred on an organ.
    empty_is_undrawn: as in HeadRecipe. unread: levels of the pyramid, 0 the finest, that frozen probes do not look at. ran: what was run of it, and what not.
    """

    name: str
    title: str
    preprocessing: Preprocessing
    organs: tuple[str, ...]
    window: tuple[int, int, int]
    piece: tuple[int, int, int]
    widths: tuple[int, ...]
    frozen: Budget
    head_first: Budget
    released: Budget
    ran: str
    label_file: str | None = None
    empty_is_undrawn: bool = False
    cached: bool = True
    overlap: float = .25
    on_organ: float = 2 / 3
    watched: int = 3
    sweep: tuple[Reading, ...] = SWEEP
    sweep_cases: int = 8
    sweep_steps: int = 200
    unread: tuple[int, ...] = ()


CPU_WIDTHS = (8, 16, 32, 64)  # so narrow that a core affords 1200 steps of every pretext

HEAD_NECK_CPU = PretextRecipe(
    name="head-neck-cpu", title="Small encoder for head and neck CT at 4 mm: minutes on one core",
    preprocessing=HEAD_NECK_GRID, window=(32, 32, 32), widths=CPU_WIDTHS,
    budget=Budget(steps=1200, batch=4, learning_rate=1e-3, warmup=60, validate_every=300, averaging=.995),
    ran="what was run of it stands in the comparison's records")

HEAD_NECK_CPU_LONG = replace(
    HEAD_NECK_CPU, name="head-neck-cpu-long", title="The small encoder four times as long: about half an hour of one core",
    budget=replace(HEAD_NECK_CPU.budget, steps=4800, validate_every=1200, averaging=.998))

# What might explain a result: one thing is changed, all else is as in HEAD_NECK_CPU.
LINEAR_HU = replace(HEAD_NECK_GRID, intensity_knots=((-1350., -1.), (1000., 1.)))  # the papers'
TWICE = tuple(2 * width for width in CPU_WIDTHS)
HEAD_NECK_CPU_HU = replace(HEAD_NECK_CPU, name="head-neck-cpu-hu", title="The small encoder, HU as they are instead of soft tissue spread out", preprocessing=LINEAR_HU)
HEAD_NECK_CPU_NOISE = replace(HEAD_NECK_CPU, name="head-neck-cpu-noise", title="The small encoder, all noise levels alike", near=0.)
HEAD_NECK_CPU_WIDE = replace(HEAD_NECK_CPU, name="head-neck-cpu-wide", title="The small encoder with twice the channels", widths=TWICE)

HEAD_NECK_GPU = PretextRecipe(
    name="head-neck-gpu", title="Full encoder for head and neck CT at 4 mm: hours on one GPU",
    preprocessing=HEAD_NECK_GRID, window=(64, 64, 64), widths=(32, 64, 128, 192, 256),
    budget=Budget(steps=40000, batch=16, learning_rate=4e-4, warmup=1000, validate_every=2000, averaging=.9995),
    ran="not run: it wants a GPU for hours")

TRIAL = PretextRecipe(
    name="trial", title="A few steps: to see that the data and the machine work",
    preprocessing=HEAD_NECK_GRID, window=(16, 16, 16), widths=(8, 16, 24),
    budget=Budget(steps=4, batch=2, warmup=1, validate_every=2, averaging=.9), ran="run in the tests", cube=4)

PROBE_CPU = ProbeRecipe(
    name="head-neck-cpu", title="Seven organs at risk at 4 mm: a frozen probe in a minute on one core, fine-tuning in ten",
    preprocessing=HEAD_NECK_GRID, organs=HEAD_NECK.organs, window=(48, 48, 48), piece=(24, 24, 24), widths=CPU_WIDTHS,
    frozen=Budget(steps=400, batch=4, learning_rate=1e-2, weight_decay=0., warmup=20, averaging=.98, validate_every=400),
    head_first=Budget(steps=40, batch=2, learning_rate=1e-2, weight_decay=0., warmup=10, averaging=.9, validate_every=40),
    released=Budget(steps=360, batch=2, learning_rate=2e-3, warmup=20, averaging=.98, validate_every=360),
    ran="what was run of it stands in the comparison's records",
    label_file="oar", empty_is_undrawn=True, overlap=.15, sweep_cases=6, sweep_steps=150)

PROBE_CPU_HU = replace(PROBE_CPU, name="head-neck-cpu-hu", preprocessing=LINEAR_HU)
PROBE_CPU_WIDE = replace(PROBE_CPU, name="head-neck-cpu-wide", widths=TWICE)
PROBE_CPU_FINE = replace(PROBE_CPU, name="head-neck-cpu-fine", unread=(2, 3))
PROBE_CPU_COARSE = replace(PROBE_CPU, name="head-neck-cpu-coarse", unread=(0, 1))

PROBE_GPU = ProbeRecipe(
    name="head-neck-gpu", title="Seven organs at risk at 4 mm: probes of the full encoder on one GPU",
    preprocessing=HEAD_NECK_GRID, organs=HEAD_NECK.organs, window=(64, 64, 64), piece=(48, 48, 48), widths=(32, 64, 128, 192, 256),
    frozen=Budget(steps=8000, batch=8, learning_rate=3e-3, weight_decay=0., warmup=100, averaging=.995, validate_every=2000),
    head_first=Budget(steps=500, batch=8, learning_rate=3e-3, weight_decay=0., warmup=50, averaging=.98, validate_every=500),
    released=Budget(steps=12000, batch=8, learning_rate=6e-4, warmup=500, averaging=.999, validate_every=2000),
    ran="not run: it wants a GPU for hours",
    label_file="oar", empty_is_undrawn=True, watched=15, sweep_cases=15, sweep_steps=2000)

PROBE_COMPARABLE = ProbeRecipe(
    name="btcv-comparable", title="The papers' comparable setting (METHODS A3): 13 organs of BTCV at 1 x 1 x 2 mm, patches of 128 x 128 x 32",
    preprocessing=Preprocessing(spacing_mm=(2., 1., 1.), intensity_knots=((-1350., -1.), (1000., 1.)), modality="CT"),
    organs=("spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta", "inferior_vena_cava",
            "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left"),
    window=(32, 128, 128), piece=(32, 128, 128), widths=(32, 64, 128, 256, 320, 320),
    frozen=Budget(steps=45000, batch=5, learning_rate=3e-4, weight_decay=0., averaging=.999, validate_every=5000),
    head_first=Budget(steps=15000, batch=5, learning_rate=3e-4, weight_decay=0., averaging=.999, validate_every=5000),
    released=Budget(steps=30000, batch=5, learning_rate=3e-4, weight_decay=0., averaging=.999, validate_every=5000),
    ran="not run: the data set was not at hand; the folds are --fold 1/5 to 5/5",
    cached=False, on_organ=.5, overlap=.5, watched=6, sweep_cases=6, sweep_steps=5000)

PROBE_TRIAL = ProbeRecipe(
    name="trial", title="A few steps: to see that the data and the machine work",
    preprocessing=HEAD_NECK_GRID, organs=HEAD_NECK.organs, window=(16, 16, 16), piece=(8, 8, 8), widths=(8, 16, 24),
    frozen=Budget(steps=4, batch=2, warmup=1, averaging=.5, validate_every=4),
    head_first=Budget(steps=2, batch=2, warmup=1, averaging=.5, validate_every=2),
    released=Budget(steps=2, batch=2, warmup=1, averaging=.5, validate_every=2),
    ran="run in the tests", label_file="oar", empty_is_undrawn=True, watched=1, sweep=(Reading(), Reading(6., "keyed")), sweep_cases=2, sweep_steps=2)

PRETEXT_RECIPES = {each.name: each for each in (
    HEAD_NECK_CPU, HEAD_NECK_CPU_LONG, HEAD_NECK_CPU_HU, HEAD_NECK_CPU_NOISE, HEAD_NECK_CPU_WIDE, HEAD_NECK_GPU, TRIAL)}
PROBE_RECIPES = {each.name: each for each in (
    PROBE_CPU, PROBE_CPU_HU, PROBE_CPU_WIDE, PROBE_CPU_FINE, PROBE_CPU_COARSE, PROBE_GPU, PROBE_COMPARABLE, PROBE_TRIAL)}


def pretext_recipe(name: str) -> PretextRecipe:
    """The pretext recipe of that name; BadInput lists the names where there is none."""
    return _named(PRETEXT_RECIPES, name)


def probe_recipe(name: str) -> ProbeRecipe:
    """The probe recipe of that name; BadInput lists the names where there is none."""
    return _named(PROBE_RECIPES, name)


def _named(recipes: dict, name: str):
    if name not in recipes:
        raise BadInput(f"there is no recipe {name!r}; there are {', '.join(recipes)}")
    return recipes[name]
