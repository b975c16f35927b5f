"""Pretrain an encoder with a competing pretext: images in, an encoder's model file out."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Sequence

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ...data.stream import Ahead
from ...model import Model, save_model
from ...networks import DiffusionEncoder
from ...progress import Progress, part, silent
from ..loop import Task, Trained, train
from ..pretrain_data import Material, Source, material
from ..pretrain_recipes import PretrainRecipe, _as_the_pretexts
from ..probe_recipes import PretextRecipe
from . import pretext

WATCHED = 32  # windows of held-out volumes on which the loss is watched, as for diffusion


def train_pretext(name: str, recipe: PretextRecipe, source: Source, out: Path, fabric: Fabric, *, cache: Path | None = None,
                  resume: bool = False, progress: Progress = silent) -> Path:
    """Train on the volumes of `source`, as diffusion does; writes out/<name>.safetensors beside checkpoints and returns its path.

    cache: where prepared volumes are kept, out/cache unless several trainings share them.
    """
    out.mkdir(parents=True, exist_ok=True)
    pretext(name)
    with fabric.rank_zero_first():  # the others find the cache filled
        found = material(alike(recipe), source, cache or out / "cache", fabric.device, part(progress, 0, .1))
    trained, waiting = _learn(name, recipe, found, out, fabric, source.workers, resume, part(progress, .1, 1))
    path = out / f"{name}.safetensors"
    if fabric.is_global_zero:
        training = {"recipe": recipe.name, "steps": recipe.budget.steps, "batch": recipe.budget.batch, "seconds": round(trained.seconds),
                    "device": str(fabric.device), "processes": fabric.world_size, "volumes": [len(found.learn), len(found.watch)],
                    "held_out_loss": round(-trained.score, 5), "waiting_for_data": round(waiting, 4)}
        card = {"name": name, "title": f"Encoder pretrained without labels by a {name} pretext: {recipe.title}", "licence": "Apache-2.0",
                "for": "holding pretexts against each other", "training": training}
        architecture = {"kind": "encoder", "encoder": {"widths": list(recipe.widths)}}
        save_model(Model(trained.network.encoder.cpu().eval(), architecture, recipe.preprocessing, (), recipe.window, card), path)
    return path


def alike(recipe: PretextRecipe, guidance: str = "none") -> PretrainRecipe:
    """Diffusion pretraining with the same patches, encoder and budget."""
    return replace(_as_the_pretexts(recipe, "what was run of it stands in the comparison's records"), guidance=guidance)


def _learn(name: str, recipe: PretextRecipe, found: Material, out: Path, fabric: Fabric, workers: int, resume: bool,
           progress: Progress) -> tuple[Trained, float]:
    """The trained pretext, and the share of its time that was spent waiting for data."""
    torch.manual_seed(recipe.seed)
    network = pretext(name).network(DiffusionEncoder(widths=recipe.widths)).to(memory_format=torch.channels_last_3d)
    budget, watched = recipe.budget, _batches(name, recipe, found, found.watch, recipe.seed + 1)
    batches = _batches(name, recipe, found, found.learn, recipe.seed)
    with Ahead(batches, step=budget.batch, stop=budget.steps * budget.batch, workers=workers) as ahead:
        task = Task(ahead, _loss, lambda candidate: -_watched(candidate, watched, budget.batch, fabric))
        trained = train(fabric, network, task, budget, out, resume=resume, progress=progress)
        return trained, ahead.waited / max(trained.seconds, 1e-9)


def _batches(name: str, recipe: PretextRecipe, found: Material, kept: Sequence, seed: int) -> Callable[[int, int], Any]:
    return pretext(name).batches(found.patches(kept, alike(recipe), seed).patches, recipe)


@torch.no_grad()
def _watched(network: nn.Module, batch_of: Callable[[int, int], Any], count: int, fabric: Fabric) -> float:
    losses = []
    for first in range(0, WATCHED, count):
        with fabric.autocast():
            losses.append(float(network(*fabric.to_device(batch_of(first, count)))))
    return sum(losses) / len(losses)


def _loss(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return network(*batch)
