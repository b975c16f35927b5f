"""Denoising patches: a training step of ours and of MONAI's DiffusionModelUNet with as many parameters; memory; waiting for data.

Both get the same patches and optimiser; ours reads channels-last memory, MONAI's its default, and neither has attention but
the one that MONAI's middle block always brings. Memory is the peak of a fresh process that takes two steps.
"""
from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

import numpy as np
import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from DiffSegCore.data.cache import GridCase
from DiffSegCore.data.stream import Ahead, Shelf
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks import build
from DiffSegCore.training.pretrain import architecture, denoising_loss
from DiffSegCore.training.pretrain_patches import ImagePatches, NoisyBatch, NoisyPatches, Scan
from DiffSegCore.training.pretrain_recipes import HEAD_NECK

from .measure import THREADS, Finding, fastest, peak_gb, print_peak, report

SHAPE = (96, 112, 112)  # of the volumes that patches are cut from
PER_LEVEL = (16, 32, 64, 88)  # MONAI's channels, for as many parameters as the product's denoiser has


class Peer(nn.Module):
    """MONAI's network, called as ours is: the noise level, 0..1000, in place of the logSNR."""

    def __init__(self) -> None:
        super().__init__()
        self.network = DiffusionModelUNet(spatial_dims=3, in_channels=1, out_channels=1, channels=PER_LEVEL, num_res_blocks=1,
                                          attention_levels=(False,) * len(PER_LEVEL), norm_num_groups=8)

    def forward(self, noisy: Tensor, log_snr: Tensor, told: Tensor) -> tuple[Tensor, None]:
        return self.network(noisy, timesteps=(500 - 50 * log_snr).long()), None


def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"ours": build(architecture(HEAD_NECK)).to(memory_format=torch.channels_last_3d), "MONAI": Peer()}


def stepping(network: nn.Module) -> Callable[[NoisyBatch], None]:
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(batch: NoisyBatch) -> None:
        optimiser.zero_grad()
        denoising_loss(network, batch, HEAD_NECK.auxiliary_weight).backward()
        optimiser.step()

    return step


def patches(folder: Path, volumes: int, size: tuple[int, int, int]) -> NoisyPatches:
    """Of volumes of noise on disk, with coordinates, as a training meets them."""
    def opened(file: Path) -> Scan:
        image = np.load(file, mmap_mode="r")
        body = np.zeros((3, *(n // 4 for n in SHAPE)), np.float16)
        return Scan(GridCase(file.stem, image, image, Geometry(SHAPE, np.diag([4., 4., 2.5, 1.])), {}), body)

    files = [folder / f"{number}.npy" for number in range(volumes)]
    for number, file in enumerate(files):
        np.save(file, np.random.default_rng(number).standard_normal(SHAPE, dtype=np.float32).astype(np.float16))
    shelf = Shelf(files, opened, lambda file: 2 * int(np.prod(SHAPE)), HEAD_NECK.open_bytes)
    return NoisyPatches(ImagePatches(shelf, [int(np.prod(SHAPE))] * volumes, size), "both", .5, seed=0)


def waiting(step: Callable[[NoisyBatch], None], numbered: NoisyPatches, batch: int, steps: int) -> float:
    """Share of a training's time that it waits for its next batch, the very first apart."""
    with Ahead(numbered.batch, step=batch, stop=(steps + 1) * batch) as ahead:
        step(ahead(0, batch))
        began, ahead.waited = time.monotonic(), 0.
        for number in range(1, steps + 1):
            step(ahead(number * batch, batch))
        return ahead.waited / (time.monotonic() - began)


def run(small: bool = False) -> list[Finding]:
    size, batch = ((16, 16, 16), 2) if small else (HEAD_NECK.window, 4)
    both = networks()
    counts = {name: sum(each.numel() for each in network.parameters()) for name, network in both.items()}
    steps = {name: stepping(network) for name, network in both.items()}
    with tempfile.TemporaryDirectory() as folder:
        numbered = patches(Path(folder), 3, size)
        one = numbered.batch(0, batch)
        seconds = fastest({name: lambda step=step: step(one) for name, step in steps.items()}, repeats=2)
        waited = waiting(steps["ours"], numbered, batch, 2 if small else 6)
    memory = {name: peak_gb("denoising", "--peak", name, *(["--small"] if small else [])) for name in both}
    return [Finding("MONAI's parameters over ours", counts["MONAI"] / counts["ours"]),
            Finding(f"patches of {size} voxels a second, ours", batch / seconds["ours"]),
            Finding("MONAI's seconds a step over ours", seconds["MONAI"] / seconds["ours"], least=1),
            Finding("peak memory of a step, ours, GB", memory["ours"]),
            Finding("MONAI's peak memory over ours", memory["MONAI"] / memory["ours"], least=None if small else 1),
            Finding("share of time waiting for data", waited, most=.05)]


def _peak(name: str, small: bool) -> None:
    torch.set_num_threads(THREADS)
    size, batch = ((16, 16, 16), 2) if small else (HEAD_NECK.window, 4)
    step = stepping(networks()[name])
    with tempfile.TemporaryDirectory() as folder:
        one = patches(Path(folder), 1, size).batch(0, batch)
        for _ in range(2):
            step(one)
    print_peak()


if __name__ == "__main__":
    if "--peak" in sys.argv:
        _peak(sys.argv[sys.argv.index("--peak") + 1], "--small" in sys.argv)
    else:
        report(run, __doc__)
