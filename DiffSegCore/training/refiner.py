"""Train a refiner: a data set and priors in, a model file out, of the refiner alone or of the segmentor that carries it."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric

from ..data.cache import GridCase, cached_cases
from ..data.cases import Case, Dataset, read_dataset
from ..errors import BadInput
from ..model import Model, load_model_file, save_model
from ..networks import build
from ..progress import Progress, part, silent
from ..refiner_card import CARD, RefinerCard
from .alternate import AlternatingNetwork
from .beginning import see_as
from .folds import fold_priors
from .given_priors import kept, priors_in, said_by
from .head import check_channels, described, labelled_split, mean_dice, mirror_pairs
from .loop import Task, Trained, train
from .refiner_patches import STILL, RefinerBatches, RefinerPatches
from .refiner_recipes import RefinerRecipe
from .refiner_ranges import refined_ranges
from .refiner_score import Bettered, best_steps, bettered
from .refining_network import RefiningNetwork


@dataclass(frozen=True)
class Sources:
    """data: labelled cases; model: an organ network whose features are read and which carries the refiner; priors: a folder of another
    tool's answers; folds: so many organ networks are trained to make priors, 0 for none; in_sample: the model's own answers on the cases
    it learnt from are priors; cache: None keeps cases beside the model.
    """

    data: Path
    model: Path | None = None
    priors: Path | None = None
    folds: int = 0
    in_sample: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class How:
    """alternate: segmentor and refiner learn in turns; control: the feed-forward network of the comparison; binary: sign weights."""

    alternate: bool = False
    control: bool = False
    binary: bool = False


@dataclass(frozen=True)
class Material:
    """Cases to learn from and to check with, their organs, and priors of those that have one."""

    learn: list[GridCase]
    check: list[GridCase]
    organs: tuple[str, ...]
    priors: dict[str, np.ndarray]


def train_refiner(recipe: RefinerRecipe, sources: Sources, out: Path, fabric: Fabric, *, how: How = How(), resume: bool = False,
                  progress: Progress = silent) -> Path:
    """Train `recipe`; writes out/<recipe>[-control].safetensors beside checkpoints and logs, and returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    segmentor = load_model_file(sources.model) if sources.model else None
    found = material(recipe, sources, segmentor, out, fabric, part(progress, 0, .6 if sources.folds else .1))
    card = RefinerCard(recipe.levels, recipe.odds, not how.control, () if recipe.one else found.organs)
    plan = architecture(recipe, how, segmentor, found.organs)
    network = _network(recipe, how, plan, segmentor, card)
    watched = _batches(recipe, found, found.check, how, card, watching=True)
    task = Task(_batches(recipe, found, found.learn, how, card).batch, lambda network, batch: network(batch),
                lambda candidate: bettered(candidate, watched, recipe.watched, recipe.budget.batch, fabric).after)
    trained = train(fabric, network, task, recipe.budget, out, resume=resume, progress=part(progress, .6 if sources.folds else .1, 1))
    path = out / f"{recipe.name}{'-control' if how.control else ''}.safetensors"
    if fabric.is_global_zero:
        steps, gain = best_steps(trained.network, watched, recipe.watched, recipe.budget.batch, fabric)
        told = _card(recipe, sources, how, found, segmentor, trained, gain, replace(card, steps=steps), str(fabric.device))
        organs = () if plan["kind"] == "refiner" else found.organs
        model = Model(trained.network.network.eval(), plan, recipe.preprocessing, organs, recipe.window, told)
        if not recipe.one:
            given = said_by(model.network, model.window, fabric.device) if how.alternate else lambda case: found.priors.get(case.name)
            told[CARD] |= refined_ranges(model, found.organs, found.check, given, fabric.device)
        model.network.cpu()
        save_model(model, path)
    return path


def material(recipe: RefinerRecipe, sources: Sources, segmentor: Model | None, out: Path, fabric: Fabric, progress: Progress) -> Material:
    """Everything that is learnt from, prepared on disk. BadInput where recipe, segmentor and data do not fit together."""
    dataset = read_dataset(sources.data, label_file=recipe.label_file)
    organs = _organs(recipe, segmentor, dataset)
    learn, check = labelled_split(dataset, sources.data)
    cache = sources.cache or out / "cache"
    with fabric.rank_zero_first():  # the others find the cache filled
        cases = cached_cases(learn + check, dataset.labels, organs, recipe.preprocessing, cache, part(progress, 0, .2), several=True, whole=recipe.whole)
    check_channels(recipe, cases[0])
    own, others = cases[:len(learn)], cases[len(learn):]
    priors = _priors(recipe, sources, segmentor, organs, dataset, (learn + check, own, others), out, fabric, part(progress, .2, 1))
    return Material(own, others, organs, priors)


def architecture(recipe: RefinerRecipe, how: How, segmentor: Model | None, organs: Sequence[str]) -> dict[str, Any]:
    """Plain values for `networks.build`: the refiner alone, or the segmentor's own with the refiner in it."""
    refiner = {"spatial_dims": 2 if recipe.flat else 3, "image_channels": recipe.image_channels, "classes": 1 if recipe.one else len(organs) + 1,
               "widths": list(recipe.widths), "step_widths": list(recipe.step_widths), "binary": how.binary, "floor": recipe.floor}
    if segmentor is None and not how.alternate:
        return {"kind": "refiner", **refiner}
    carrier = dict(segmentor.architecture) if segmentor else _fresh(recipe, organs)
    given = build({**carrier, "refiner": None}).encoder.widths
    refiner["feature_widths"] = [width if n in recipe.reads else 0 for n, width in enumerate(given[:len(recipe.widths)])]
    return {**carrier, "refiner": refiner}


def _fresh(recipe: RefinerRecipe, organs: Sequence[str]) -> dict[str, Any]:
    """The organ network that an alternating training starts with where none is given."""
    if recipe.head is None or recipe.one and len(organs) > 1:
        raise BadInput(f"the recipe {recipe.name!r} has no segmentor of {len(organs)} label(s) that could learn in turns with it; choose another recipe")
    return described(replace(recipe.head, image_channels=recipe.image_channels), organs)


def _network(recipe: RefinerRecipe, how: How, plan: dict[str, Any], segmentor: Model | None, card: RefinerCard) -> RefiningNetwork:
    torch.manual_seed(recipe.seed)
    network = build(plan).to(memory_format=torch.channels_last if recipe.flat else torch.channels_last_3d)
    if segmentor:
        own = {name: value for name, value in segmentor.network.state_dict().items() if not name.startswith("refiner.")}
        network.load_state_dict(own, strict=False)
        if recipe.as_segmentor:
            see_as(network.refiner, network)
    chain = card.chain(1 if recipe.one else len(card.organs) + 1)
    learning = {"diffusion": not how.control, "spacing_mm": recipe.preprocessing.spacing_mm}
    if how.alternate:
        return AlternatingNetwork(network, chain, batch=recipe.budget.batch, mu=recipe.mu, ramp=recipe.ramp * recipe.budget.steps, **learning)
    if segmentor:
        network.encoder.requires_grad_(False)
        network.head.requires_grad_(False)
    return RefiningNetwork(network, chain, **learning)


def _batches(recipe: RefinerRecipe, found: Material, cases: Sequence[GridCase], how: How, card: RefinerCard, *, watching: bool = False) -> RefinerBatches:
    """Batches to learn from; or those that are watched: straight, their priors the segmentor's where there are any, and another seed."""
    style = {"augmentation": STILL, "spoilt": 0., "seed": recipe.seed + 1} if watching else {"spoilt": recipe.spoilt, "seed": recipe.seed}
    patches = RefinerPatches(cases, len(found.organs), recipe.window, priors=found.priors, one=recipe.one, paired=mirror_pairs(found.organs),
                             empty_is_undrawn=recipe.empty_is_undrawn, **style)
    own = (1. if watching else recipe.own) if how.alternate else 0.
    return RefinerBatches(patches, card.chain(2).keep, recycled=0. if how.control else recipe.recycled, own=own)


def _priors(recipe: RefinerRecipe, sources: Sources, segmentor: Model | None, organs: tuple[str, ...], dataset: Dataset,
            cases: tuple[list[Case], list[GridCase], list[GridCase]], out: Path, fabric: Fabric, progress: Progress) -> dict[str, np.ndarray]:
    files, learn, check = cases
    if sources.priors:
        with fabric.rank_zero_first():
            return priors_in(sources.priors, files, [*learn, *check], organs, dataset.labels, out / "priors", progress)
    found: dict[str, np.ndarray] = {}
    if sources.folds:
        if recipe.head is None:
            raise BadInput(f"the recipe {recipe.name!r} has no segmentor to make priors with; give --priors DIR")
        found = fold_priors(replace(recipe.head, image_channels=recipe.image_channels), organs, learn, check, sources.folds, out / "folds", fabric, part(progress, 0, .95))
    if segmentor:
        make = said_by(segmentor.network, segmentor.window, fabric.device)
        with fabric.rank_zero_first():  # it learnt from the training cases, but not from those that check
            found |= kept([*check, *(learn if sources.in_sample else ())], out / "priors", lambda case: segmentor.sha256[:12], make, part(progress, .95 if sources.folds else 0, 1))
    return found


def _organs(recipe: RefinerRecipe, segmentor: Model | None, dataset: Dataset) -> tuple[str, ...]:
    there = tuple(dict.fromkeys(dataset.labels.values()))
    if segmentor is None:
        return recipe.organs or there
    if not segmentor.organs:
        raise BadInput(f"the model {segmentor.card.get('name', '')!r} names no organs: a refiner goes with an organ network, as `diffseg train head` makes it")
    if segmentor.preprocessing != recipe.preprocessing:
        raise BadInput(f"the model works on another grid or other values ({segmentor.preprocessing.to_dict()}) than the recipe "
                       f"{recipe.name!r} ({recipe.preprocessing.to_dict()}); choose a recipe or a model that fits")
    if recipe.one and len(segmentor.organs) > 1:
        raise BadInput(f"the recipe {recipe.name!r} refines one object, the model tells {len(segmentor.organs)} organs apart; leave --model out")
    if missing := set(segmentor.organs) - set(there):
        raise BadInput(f"the model's organs {', '.join(sorted(missing))} are not in the data set, which has {', '.join(there)}")
    return segmentor.organs


def _card(recipe: RefinerRecipe, sources: Sources, how: How, found: Material, segmentor: Model | None, trained: Trained, gain: Bettered,
          card: RefinerCard, device: str) -> dict[str, Any]:
    """A carried refiner's model keeps the segmentor's card, except where the two would be mixed up."""
    given = ("own and corrupted" if how.alternate else str(sources.priors.name) if sources.priors else f"{sources.folds} folds" if sources.folds
             else "in sample" if sources.in_sample else "corrupted")
    own = dict(segmentor.card) if segmentor else {}
    real = how.alternate or any(case.name in found.priors for case in found.check)
    helps = bool(real and gain.after > gain.before)
    training = {"steps": recipe.budget.steps, "batch": recipe.budget.batch, "hours": round(trained.seconds / 3600, 2), "device": device,
                "cases": [len(found.learn), len(found.check)], "priors": given, "alternate": how.alternate, "binary": how.binary,
                "prior_dice": {"learnt_from": _prior_dice(found.learn, found.priors), "checked_with": _prior_dice(found.check, found.priors)},
                "validation_dice": {"prior": round(gain.before, 4), "refined": round(gain.after, 4)}}
    return {**recipe.card, **own, "name": recipe.name, "title": recipe.title, "modality": recipe.preprocessing.modality,
            CARD: replace(card, helps=helps).to_dict(), "refiner_training" if segmentor else "training": training}


def _prior_dice(cases: Sequence[GridCase], priors: dict[str, np.ndarray]) -> float | None:
    """Of whole priors: where those learnt from are much better than those checked with, the refiner trusts its priors too much."""
    given = [case for case in cases if case.name in priors]
    return round(mean_dice(given, lambda case: priors[case.name].argmax(0)), 4) if given else None
