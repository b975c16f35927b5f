"""Train a click model: data sets, label maps and phantoms in, a model file for sessions out."""
from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Mapping, Sequence

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..click_refining import STEPS, WAYS
from ..crops import IMAGE_CHANNELS, SPACINGS_MM
from ..data.click_cases import ClickCase, kept_cases, kept_label_maps, kept_phantoms, labelled_cases, structure, without
from ..data.stream import Ahead
from ..errors import BadInput
from ..model import Model, load_model_file, save_model
from ..networks import Refiner, build
from ..progress import Progress, part, silent
from ..prompt_maps import PROMPT_CHANNELS
from ..refiner_card import CARD, RefinerCard
from .click_naming import Naming
from .click_network import ClickNetwork
from .click_patches import ClickBatches, ClickPatches
from .click_recipes import ClickRecipe
from .click_score import clicked_dice
from .loop import Task, Trained, share_of, train

log = logging.getLogger(__name__)
TRIED = 4  # steps of a check; the first warms up


@dataclass(frozen=True)
class ClickSources:
    """folders: labelled data sets; label_maps: files that images are made from; leave_out: patterns of cases' names; unseen: names of
    structures that nothing is learnt from; cache: None keeps prepared cases in the output folder; workers: threads that prepare patches ahead.
    """

    folders: Sequence[Path]
    label_maps: Sequence[Path] = ()
    leave_out: Sequence[str] = ()
    unseen: Sequence[str] = ()
    cache: Path | None = None
    workers: int = 0


def train_click(recipe: ClickRecipe, sources: ClickSources, out: Path, fabric: Fabric, *, control: bool = False, start: Path | None = None,
                keep: float = 0., resume: bool = False, last: bool = False, progress: Progress = silent) -> Path:
    """Train `recipe`; writes out/<recipe>[-control].safetensors beside checkpoints and logs, and returns its path.

    start: a click model whose weights training begins with; BadInput where the recipe makes a network of another form. keep: the share that these
    weights have in those of the file, so that less is forgotten (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    last: take the averaged weights of the last step, not those that scored best.
    """
    if not 0 <= keep < 1 or keep and start is None:
        raise BadInput(f"--keep is the share of the weights that --start names, from 0 to less than 1; it is {keep:g}{'' if start else ', and there is no --start'}.")
    refiner = _refiner(recipe)
    told = {} if start is None else {"started_with": _begin_with(refiner, start, recipe), **({"kept": keep} if keep else {})}
    begun = {name: weight.clone() for name, weight in refiner.state_dict().items()}
    learn, check = _material(recipe, sources, out, fabric, part(progress, 0, .05))
    patches, watched = _patches(recipe, learn), _patches(recipe, check or learn, straight=True)
    network = _network(recipe, refiner, patches, control)
    with _ahead(recipe, sources, patches) as batches:
        task = Task(batches, lambda network, batch: network(batch), lambda candidate: _score(candidate, watched, recipe, fabric))
        trained = train(fabric, network, task, recipe.budget, out, resume=resume, progress=part(progress, .05, 1), last=last)
    path = out / f"{recipe.name}{'-control' if control else ''}.safetensors"
    if fabric.is_global_zero:
        _keep(trained.network.network, begun, keep)
        dice = clicked_dice(trained.network, watched, recipe.watched, fabric)
        card = _card(recipe, control, sources, (learn, check), trained, dice, str(fabric.device))
        card["training"].update(told, **({"weights": "averaged, of the last step"} if last else {}))
        save_model(Model(trained.network.network.cpu().eval(), architecture(recipe), recipe.preprocessing, (), recipe.window, card), path)
    return path


def check(recipe: ClickRecipe, sources: ClickSources, out: Path, fabric: Fabric, progress: Progress = silent) -> list[str]:
    """Findings as sentences, after a few steps that leave no trace but the prepared cases."""
    learn, held = _material(recipe, sources, out, fabric, part(progress, 0, .8))
    patches, begun = _patches(recipe, learn), []
    network = fabric.setup_module(_network(recipe, _refiner(recipe), patches, False))
    share = share_of(recipe.budget, fabric.world_size)
    with _ahead(recipe, sources, patches) as batches:
        for step in range(TRIED):
            begun.append(time.monotonic())
            fabric.backward(network(fabric.to_device(batches(step * recipe.budget.batch + fabric.global_rank * share, share))))
            progress(.8 + .2 * (step + 1) / TRIED, "trying")
    seconds = (time.monotonic() - begun[1]) / (TRIED - 1)
    groups = {name: sum(case.group == name for case in learn) for name in dict.fromkeys(case.group for case in learn)}
    return [f"{len(learn)} cases to learn from ({', '.join(f'{count} of {name}' for name, count in groups.items())}), {len(held)} to check with",
            f"objects: {sum(len(case.boxes) for case in learn)}; the network has {sum(each.numel() for each in network.parameters()) / 1e6:.1f} million parameters",
            f"a step of {recipe.budget.batch} crops takes {seconds:.2f} s on {fabric.device}: {recipe.budget.steps} steps, {recipe.budget.steps * seconds / 3600:.1f} hours",
            f"ran so far: {recipe.ran}"]


def patches_to_learn(recipe: ClickRecipe, sources: ClickSources, out: Path, fabric: Fabric) -> ClickPatches:
    """What a training of this recipe draws from."""
    return _patches(recipe, _material(recipe, sources, out, fabric, silent)[0])


def architecture(recipe: ClickRecipe) -> dict[str, Any]:
    """Plain values for `networks.build`."""
    return {"kind": "refiner", "spatial_dims": 3, "image_channels": IMAGE_CHANNELS, "classes": 1, "prompt_channels": PROMPT_CHANNELS,
            "widths": list(recipe.widths), "step_widths": list(recipe.step_widths), "steady": True}


def _material(recipe: ClickRecipe, sources: ClickSources, out: Path, fabric: Fabric, progress: Progress) -> tuple[list[ClickCase], list[ClickCase]]:
    """Cases to learn from and to check with, prepared on disk."""
    out.mkdir(parents=True, exist_ok=True)
    cache, learn, held, named = sources.cache or out / "cache", [], [], set()
    with fabric.rank_zero_first():  # the others find the cache filled
        for number, folder in enumerate(sources.folders):
            own, others, names = labelled_cases(folder, sources.leave_out)
            found = kept_cases(own + others, folder.name, cache, part(progress, number / len(sources.folders), (number + 1) / len(sources.folders)))
            named |= _structures(found, names)
            checked, found = {case.name for case in others}, without(found, sources.unseen, names)
            learn += [case for case in found if case.name not in checked]
            held += [case for case in found if case.name in checked]
        maps = kept_label_maps(sources.label_maps, cache)
        named |= _structures(maps, {})
        learn += without(maps, sources.unseen, {}) + kept_phantoms(recipe.phantoms, cache)
    if unknown := [name for name in sources.unseen if name not in named]:
        raise BadInput(f"the data has no structure called {', '.join(unknown)}, which --unseen names; it has {', '.join(sorted(named))}")
    return learn, held


def _structures(cases: Sequence[ClickCase], names: Mapping[int, str]) -> set[str]:
    return {structure(label, names) for case in cases for label in case.boxes}


def _patches(recipe: ClickRecipe, cases: Sequence[ClickCase], *, straight: bool = False) -> ClickPatches:
    small = recipe.small, recipe.budget.restarts_at * recipe.budget.batch
    return ClickPatches(cases, recipe.window, recipe.preprocessing, empty=recipe.empty, made=recipe.made, grown=recipe.grown, straight=straight,
                        small=None if straight else small, seed=recipe.seed + straight)


def _ahead(recipe: ClickRecipe, sources: ClickSources, patches: ClickPatches) -> Ahead:
    batches = ClickBatches(patches, _chain_card(recipe, False).chain(1).keep, recycled=recipe.recycled, own=recipe.own, together=recipe.budget.batch)
    return Ahead(batches.batch, step=recipe.budget.batch, stop=recipe.budget.steps * recipe.budget.batch, workers=sources.workers)


def _refiner(recipe: ClickRecipe) -> Refiner:
    torch.manual_seed(recipe.seed)
    return build(architecture(recipe)).to(memory_format=torch.channels_last_3d)


def _network(recipe: ClickRecipe, refiner: Refiner, patches: ClickPatches, control: bool) -> ClickNetwork:
    return ClickNetwork(refiner, _chain_card(recipe, control).chain(1), diffusion=not control, naming=Naming(patches.structures, recipe.widths))


def _begin_with(refiner: Refiner, path: Path, recipe: ClickRecipe) -> str:
    """The model's hash."""
    model = load_model_file(path)
    if model.architecture != architecture(recipe):
        raise BadInput(f"{path} holds a network of another form than the recipe {recipe.name!r} trains: {model.architecture}, not {architecture(recipe)}")
    refiner.load_state_dict(model.network.state_dict())
    return model.sha256


def _keep(refiner: nn.Module, begun: Mapping[str, Tensor], share: float) -> None:
    """So much of the weights that training began with, the rest of those that it ended with; in place."""
    for name, weight in refiner.state_dict().items():
        if weight.is_floating_point():
            weight.lerp_(begun[name].to(weight), share)


def _chain_card(recipe: ClickRecipe, control: bool) -> RefinerCard:
    return RefinerCard(recipe.levels, recipe.odds, not control)


def _score(network: nn.Module, watched: ClickPatches, recipe: ClickRecipe, fabric: Fabric) -> float:
    dice = clicked_dice(network, watched, recipe.watched, fabric)
    log.info("Dice after %s", ", ".join(f"{click} clicks: {value:.3f}" for click, value in dice.items()))
    return sum(dice.values()) / len(dice)


def _card(recipe: ClickRecipe, control: bool, sources: ClickSources, cases: tuple[list[ClickCase], list[ClickCase]], trained: Trained,
          dice: dict[int, float], device: str) -> dict[str, Any]:
    data = sorted({case.group for case in cases[0]})
    training = {"steps": recipe.budget.steps, "batch": recipe.budget.batch, "hours": round(trained.seconds / 3600, 2), "device": device,
                "cases": [len(each) for each in cases], "data": data, "left_out": list(sources.leave_out),
                **({"unseen": list(sources.unseen)} if sources.unseen else {}),
                "validation_dice": {f"{click} clicks": round(value, 4) for click, value in dice.items()}}
    return {**recipe.card, "name": recipe.name, "title": recipe.title, "modality": "", "data": ", ".join(data),
            CARD: replace(_chain_card(recipe, control), steps=STEPS, samples=WAYS).to_dict(), "click": {"spacings_mm": list(SPACINGS_MM)}, "training": training}
