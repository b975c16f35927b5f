"""Pretrain an encoder with a competing pretext: images in, an encoder's model file out."""
from __future__ import annotations

from pathlib import Path
from typing import Sequence

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from ...data.cache import GridCase
from ...data.unlabelled import image_cases
from ...model import Model, save_model
from ...networks import DiffusionEncoder
from ...progress import Progress, part, silent
from ..loop import Task, train
from ..probe_recipes import PretextRecipe
from . import Pretext, pretext

WATCHED = 8  # batches of held-out volumes on which the loss is watched
HELD_OUT = 20  # one volume in so many


def train_pretext(name: str, recipe: PretextRecipe, folders: Sequence[Path], out: Path, fabric: Fabric, *, leave_out: Sequence[str] = (),
                  skip_corrupt: bool = False, resume: bool = False, progress: Progress = silent) -> Path:
    """Train on the unlabelled images of `folders`, less names that match `leave_out`; writes out/<name>.safetensors and returns its path."""
    out.mkdir(parents=True, exist_ok=True)
    with fabric.rank_zero_first():  # the others find the cache filled
        cases = image_cases(folders, recipe.preprocessing, out / "cache", part(progress, 0, .1), skip_corrupt, leave_out=leave_out)
    learn, check = held_out(cases)
    torch.manual_seed(recipe.seed)
    task = pretext(name, DiffusionEncoder(widths=recipe.widths), learn, recipe, recipe.seed)
    watch = pretext(name, DiffusionEncoder(widths=recipe.widths), check, recipe, recipe.seed + 1)
    network = task.network.to(memory_format=torch.channels_last_3d)
    score = lambda candidate: -_watched(candidate, watch, recipe.budget.batch, fabric)  # noqa: E731
    trained = train(fabric, network, Task(task.batch_of, _loss, score), recipe.budget, out, resume=resume, progress=part(progress, .1, 1))
    card = {"name": name, "title": f"Encoder pretrained by a {name} pretext: {recipe.title}", "licence": "Apache-2.0",
            "for": "comparing pretexts", "training": {"recipe": recipe.name, "steps": recipe.budget.steps, "batch": recipe.budget.batch,
                                                      "seconds": round(trained.seconds), "device": str(fabric.device),
                                                      "volumes": [len(learn), len(check)], "held_out_loss": round(-trained.score, 5)}}
    architecture = {"kind": "encoder", "encoder": {"widths": list(recipe.widths)}}
    path = out / f"{name}.safetensors"
    if fabric.is_global_zero:
        save_model(Model(trained.network.encoder.cpu(), architecture, recipe.preprocessing, (), recipe.window, card), path)
    return path


def held_out(cases: Sequence[GridCase]) -> tuple[list[GridCase], list[GridCase]]:
    """Volumes to learn from, and one in twenty to watch the loss on; all for both where there are too few to hold one back."""
    learn, check = [case for n, case in enumerate(cases) if n % HELD_OUT], list(cases[::HELD_OUT])
    return (learn, check) if learn else (check, check)


@torch.no_grad()
def _watched(network: nn.Module, watch: Pretext, count: int, fabric: Fabric) -> float:
    losses = [network(*fabric.to_device(watch.batch_of(n * count, count))).item() for n in range(WATCHED)]
    return sum(losses) / len(losses)


def _loss(network: nn.Module, batch: Sequence[Tensor]) -> Tensor:
    return network(*batch)
