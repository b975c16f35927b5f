"""A dry run of a pretraining: are the volumes there and readable, what do they take, and does a step work from data to checkpoint?"""
from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lightning.fabric import Fabric

from ..networks import build
from ..progress import Progress, part, silent
from .pretrain import architecture, learn
from .pretrain_data import Material, Source, material
from .pretrain_recipes import PretrainRecipe

STEPS = 3  # the first warms up, the others are timed


def check(recipe: PretrainRecipe, source: Source, out: Path, fabric: Fabric, progress: Progress = silent) -> list[str]:
    """Findings as sentences. Prepared volumes stay in out/cache, where the training finds them; nothing else is left."""
    out.mkdir(parents=True, exist_ok=True)
    with fabric.rank_zero_first():
        found = material(recipe, source, out / "cache", fabric.device, part(progress, 0, .8))
    seconds, waiting = _tried(recipe, source, found, out / "check", fabric, part(progress, .8, 1))
    parameters = sum(each.numel() for each in build(architecture(recipe)).parameters())
    return [*_told_of(found), f"ran so far: {recipe.ran}",
            f"network: {parameters / 1e6:.1f} million parameters, guidance {recipe.guidance}, {fabric.world_size} process(es) on {fabric.device}",
            f"a step of {recipe.budget.batch} patches of {recipe.window} voxels takes {seconds:.2f} s "
            f"({recipe.budget.batch / seconds:.2f} patches a second), {waiting:.1%} of it waiting for data",
            f"{recipe.budget.steps} steps take about {recipe.budget.steps * seconds / 3600:.1f} hours",
            f"memory: {_peak_gb(fabric.device):.1f} GB at the most; up to {recipe.open_bytes / 1e9:.1f} GB of volumes are held open, for each process"]


def _told_of(found: Material) -> list[str]:
    every = {each.file: each for each in (*found.learn, *found.watch)}.values()
    shapes = np.array([each.geometry.shape for each in every])
    return [f"{len(every)} volumes: {len(found.learn)} to learn from, {len(found.watch)} to watch, coordinates of {len(found.bodies)}",
            f"on the model grid {shapes.min(0).tolist()} to {shapes.max(0).tolist()} voxels (K, J, I), {shapes.prod(1).sum() * 2 / 1e9:.2f} GB in the cache"]


def _tried(recipe: PretrainRecipe, source: Source, found: Material, folder: Path, fabric: Fabric, progress: Progress) -> tuple[float, float]:
    """Seconds a step, and the share of waiting, of a training of three steps that ends in a scored checkpoint."""
    ends: list[float] = []

    def note(fraction: float, stage: str) -> None:
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        ends.append(time.monotonic())
        progress(fraction, stage)

    folder.mkdir(exist_ok=True)
    short = replace(recipe, budget=replace(recipe.budget, steps=STEPS, validate_every=STEPS))
    try:
        _, waiting = learn(short, found, folder, fabric, source.workers, progress=note)
        fabric.barrier()
    finally:
        if fabric.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)
    return (ends[-1] - ends[0]) / (STEPS - 1), waiting


def _peak_gb(device: torch.device) -> float:
    """The most memory that the process held, on the GPU if it learns there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    if sys.platform == "win32":
        return float("nan")  # it keeps no such account
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
