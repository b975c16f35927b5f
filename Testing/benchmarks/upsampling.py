"""Logits to labels on the native grid against torch's full upsampling and argmax: 14 logits, 2.5 x 4 x 4 mm -> 512 x 512 x 300.

The logits are 13 ellipsoids with noise. Model and native voxel edges meet, because only then does interpolate() ask
for the same positions.
"""
from __future__ import annotations

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from DiffSegCore.geometry import Geometry
from DiffSegCore.upsample import native_labels

from .measure import THREADS, Finding, fastest, peak_gb, print_peak, report


def grids(small: bool) -> tuple[Geometry, Geometry]:
    """The native grid and its model grid."""
    native = Geometry((60, 128, 128) if small else (300, 512, 512), np.diag([1.0, 1.0, 1.25, 1.0]))
    return native, native.resampled((2.5, 4.0, 4.0))


def ellipsoids(shape: tuple[int, int, int], organs: int = 13) -> Tensor:
    """Logits (1 + organs, k, j, i): +8 in an organ's middle, 0 on its surface, -8 away from it."""
    random = np.random.default_rng(0)
    k, j, i = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    logits = torch.randn(organs + 1, *shape, generator=torch.Generator().manual_seed(0)) * 0.1
    for logit in logits[1:]:
        centre, radius = random.uniform(-0.6, 0.6, 3), random.uniform(0.08, 0.3, 3)
        away = sum(((x - c) / r) ** 2 for x, c, r in zip((k, j, i), centre, radius)).sqrt()
        logit += ((1 - away) * 8).clamp(-8, 8)
    return logits


def plain(logits: Tensor, shape: tuple[int, int, int]) -> np.ndarray:
    return F.interpolate(logits[None], size=shape, mode="trilinear")[0].argmax(0).to(torch.uint8).numpy()


def run(small: bool = False) -> list[Finding]:
    native, model = grids(small)
    logits = ellipsoids(model.shape)
    seconds = fastest({"ours": lambda: native_labels(logits, model, native), "torch": lambda: plain(logits, native.shape)}, repeats=2)
    differing = int((native_labels(logits, model, native) != plain(logits, native.shape)).sum())
    del logits
    size = ["--small"] if small else []
    ours, full = (peak_gb("upsampling", "--peak", way, *size) for way in ("ours", "torch"))
    return [Finding("times faster than interpolate() and argmax()", seconds["torch"] / seconds["ours"], least=8),
            Finding("seconds", seconds["ours"]),
            Finding("peak memory of the process, share of theirs", ours / full, most=0.4),
            Finding("peak memory, GB", ours),
            Finding("voxels that differ", differing, most=0)]


def _peak(way: str, small: bool) -> None:
    torch.set_num_threads(THREADS)
    native, model = grids(small)
    logits = ellipsoids(model.shape)
    native_labels(logits, model, native) if way == "ours" else plain(logits, native.shape)
    print_peak()


if __name__ == "__main__":
    if "--peak" in sys.argv:
        _peak(sys.argv[sys.argv.index("--peak") + 1], "--small" in sys.argv)
    else:
        report(run, __doc__)
