"""The plain strong baseline: MONAI's DynUNet on the same cases, patches, loss and wall time as our own network.

    python Testing/benchmarks/dynunet.py --data ../shared/data/ct_hn_openkbp -o runs/dynunet --minutes 170

It gets the real cases only (no phantoms), every default of MONAI, the same augmentation, and channels last in memory, which is
its faster layout; the learning rate falls with the share of the time that is used up.
"""
from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.networks.nets import DynUNet
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from DiffSegCore.data.cache import cached_cases
from DiffSegCore.data.cases import read_dataset
from DiffSegCore.data.patches import Patches
from DiffSegCore.organs import organ
from DiffSegCore.preprocess import native_labels, to_model_grid
from DiffSegCore.training.head import labelled_split, mirror_pairs, validation_dice
from DiffSegCore.training.losses import organ_loss
from DiffSegCore.training.recipes import HEAD_NECK
from DiffSegCore.volume import LabelMap, Volume

RECIPE = HEAD_NECK


def network() -> torch.nn.Module:
    """DynUNet of about our network's size (widths 16 to 160, 3x3x3 kernels, instance norm)."""
    return DynUNet(3, 1, len(RECIPE.organs) + 1, kernel_size=[3] * 5, strides=[1, 2, 2, 2, 2], upsample_kernel_size=[2] * 4,
                   filters=list(RECIPE.widths))


def train(data: Path, out: Path, minutes: float, spent: float = 0.) -> Path:
    """Train for `minutes`, of which `spent` went into the weights that lie in `out`, and keep the averaged weights that validate best."""
    out.mkdir(parents=True, exist_ok=True)
    dataset = read_dataset(data, label_file=RECIPE.label_file)
    learn, check = labelled_split(dataset, data)
    cases = cached_cases(learn + check, dataset.labels, RECIPE.organs, RECIPE.preprocessing, out / "cache")
    patches = Patches(cases[:len(learn)], len(RECIPE.organs), RECIPE.window, paired=mirror_pairs(RECIPE.organs), seed=RECIPE.seed)
    torch.manual_seed(RECIPE.seed)
    net, budget = network().to(memory_format=torch.channels_last_3d), RECIPE.budget
    if spent:
        net.load_state_dict(torch.load(out / "dynunet.pt", weights_only=True))
    averaged = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(budget.averaging))
    optimiser = torch.optim.AdamW(net.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay)
    began, step, best, validated = time.monotonic() - 60 * spent, 0, -1., int(spent / minutes * 5)
    while (used := (time.monotonic() - began) / (60 * minutes)) < 1:
        optimiser.param_groups[0]["lr"] = budget.learning_rate * min(1., (step + 1) / budget.warmup) * .5 * (1 + math.cos(math.pi * used))
        batch = patches.batch(step * budget.batch, budget.batch)
        loss = organ_loss(net(batch.image.contiguous(memory_format=torch.channels_last_3d)), batch.target, batch.known)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), budget.clip)
        optimiser.step()
        averaged.update_parameters(net)
        step += 1
        if int(used * 5) > validated or used > .985 and validated < 5:
            validated += 1
            best = _keep_best(averaged.module, cases[len(learn):], best, step, began, out)
    return out / "dynunet.pt"


def _keep_best(candidate: torch.nn.Module, cases, best: float, step: int, began: float, out: Path) -> float:
    score = validation_dice(candidate, cases, RECIPE.window, torch.device("cpu"))
    print(f"step {step}, {(time.monotonic() - began) / 60:.1f} min: validation Dice {score:.4f}", flush=True)
    if score > best:
        torch.save(candidate.state_dict(), out / "dynunet.pt")
    return max(score, best)


def load(path: str | Path) -> Callable[[Volume], LabelMap]:
    """The trained baseline as a function: volume -> labels on its grid, with MONAI's sliding window."""
    net = network().eval()
    net.load_state_dict(torch.load(path, weights_only=True))
    ids = np.array([0] + [organ(name).id for name in RECIPE.organs], np.uint8)

    def segment(volume: Volume) -> LabelMap:
        image, geometry = to_model_grid(volume, RECIPE.preprocessing)
        with torch.inference_mode():
            logits = sliding_window_inference(image[None], RECIPE.window, 2, net, mode="gaussian", padding_mode="constant", cval=-1.)
        channels = native_labels(logits[0], geometry, volume.geometry)
        return LabelMap(ids[channels], volume.geometry, {organ(name).id: name for name in RECIPE.organs})

    return segment


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--spent", type=float, default=0., help="minutes of them already spent on OUT/dynunet.pt, from which to go on")
    arguments = parser.parse_args()
    print(train(arguments.data, arguments.out, arguments.minutes, arguments.spent))
