"""Diffusion pretraining: unlabelled volumes in, a denoiser's model file out, whose decoder levels are features."""
from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ..data.stream import Ahead
from ..model import Model, save_model
from ..networks import build
from ..progress import Progress, part, silent
from .loop import Task, Trained, train
from .pretrain_data import Material, Source, material
from .pretrain_patches import NoisyBatch, NoisyPatches
from .pretrain_recipes import PretrainRecipe

NAMES = {"none": "diffusion", "input": "diffusion-input", "auxiliary": "diffusion-auxiliary", "both": "diffusion-both"}
WATCHED = 32  # patches of held-out volumes on which the denoiser is scored


def pretrain(recipe: PretrainRecipe, source: Source, out: Path, fabric: Fabric, *, cache: Path | None = None, resume: bool = False,
             progress: Progress = silent) -> Path:
    """Train `recipe` on the volumes of `source`; writes out/diffusion[-<guidance>].safetensors beside checkpoints and logs, and returns its path.

    cache: where prepared volumes are kept, out/cache unless several trainings share them.
    """
    out.mkdir(parents=True, exist_ok=True)
    with fabric.rank_zero_first():  # the others find the cache filled
        found = material(recipe, source, cache or out / "cache", fabric.device, part(progress, 0, .1))
    trained, waiting = learn(recipe, found, out, fabric, source.workers, resume=resume, progress=part(progress, .1, 1))
    path = out / f"{NAMES[recipe.guidance]}.safetensors"
    if fabric.is_global_zero:
        training = {"recipe": recipe.name, "steps": recipe.budget.steps, "batch": recipe.budget.batch, "seconds": round(trained.seconds),
                    "device": str(fabric.device), "processes": fabric.world_size, "volumes": [len(found.learn), len(found.watch)],
                    "explained_velocity": round(trained.score, 4), "waiting_for_data": round(waiting, 4)}
        save_model(Model(trained.network.cpu().eval(), architecture(recipe), recipe.preprocessing, (), recipe.window,
                         card(recipe, found, training)), path)
    return path


def learn(recipe: PretrainRecipe, found: Material, out: Path, fabric: Fabric, workers: int, *, resume: bool = False,
          progress: Progress = silent) -> tuple[Trained, float]:
    """The trained denoiser, and the share of its time that was spent waiting for data."""
    torch.manual_seed(recipe.seed)
    network = build(architecture(recipe)).to(memory_format=torch.channels_last_3d)
    budget, watched = recipe.budget, found.patches(found.watch, recipe, recipe.seed + 1)
    patches = found.patches(found.learn, recipe, recipe.seed)
    with Ahead(patches.batch, step=budget.batch, stop=budget.steps * budget.batch, workers=workers) as ahead:
        task = Task(ahead, lambda network, batch: denoising_loss(network, batch, recipe.auxiliary_weight),
                    lambda candidate: explained(candidate, watched, budget.batch, fabric))
        began = time.monotonic()
        trained = train(fabric, network, task, budget, out, resume=resume, progress=progress)
        return trained, ahead.waited / (time.monotonic() - began)


def architecture(recipe: PretrainRecipe) -> dict[str, Any]:
    """Plain values for `networks.build`."""
    return {"kind": "denoiser", "guidance": recipe.guidance, "octaves": recipe.octaves, "encoder": {"widths": list(recipe.widths)}}


def denoising_loss(network: nn.Module, batch: NoisyBatch, auxiliary_weight: float) -> Tensor:
    """Squared error of the velocity, and absolute error of the coordinates that are asked for: the mean over patches of what each says,
    so that one process and several with the same patches learn the same."""
    velocity, coordinates = network(batch.noisy.contiguous(memory_format=torch.channels_last_3d), batch.log_snr, batch.told)
    error = (velocity.float() - batch.velocity).square().mean((1, 2, 3, 4))
    if coordinates is None:
        return error.mean()
    known = batch.asked.isfinite()
    missed = (coordinates.float() - batch.asked.nan_to_num()).abs() * known
    return (error + auxiliary_weight * missed.sum((1, 2, 3, 4)) / known.sum((1, 2, 3, 4)).clamp(min=1)).mean()


@torch.no_grad()
def explained(network: nn.Module, patches: NoisyPatches, count: int, fabric: Fabric) -> float:
    """Share of the velocity's energy that is predicted on WATCHED numbered patches: 1 is perfect, 0 as good as saying nothing."""
    missed = total = 0.
    for first in range(0, WATCHED, count):
        batch = fabric.to_device(patches.batch(first, min(count, WATCHED - first)))
        with fabric.autocast():
            velocity, _ = network(batch.noisy, batch.log_snr, batch.told)
        missed += float((velocity.float() - batch.velocity).square().sum())
        total += float(batch.velocity.square().sum())
    return 1 - missed / total


def card(recipe: PretrainRecipe, found: Material, training: dict[str, Any]) -> dict[str, Any]:
    """What the model file says of itself."""
    return {"name": NAMES[recipe.guidance], "title": f"Denoiser pretrained without labels: {recipe.title}", "licence": "Apache-2.0",
            "guidance": recipe.guidance, "coordinates": found.key, "body": found.layout(), "training": training,
            "for": "features for segmentation heads, and generated volumes that show what was learnt",
            "not_for": "clinical decisions; generated volumes show nobody"}
