"""Features of whole volumes, computed once and kept on disk as float16, so that frozen probes train in a minute.

Windows overlap and their pyramids are averaged with the weights that logits are averaged with elsewhere; window corners lie
on multiples of the encoder's stride, so that every level has its own whole grid.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.cache import GridCase
from ..data.patches import AIR
from ..files import atomic
from ..networks.coordinates import STRIDE as BODY_STRIDE
from ..progress import Progress, silent
from ..windows import importance, together
from .probe_reading import Reading, Source

Read = Callable[[Tensor, "Tensor | None"], Sequence[Tensor]]  # image (B, 1, k, j, i), body (B, 3, k/4, ...) -> levels


@dataclass(frozen=True)
class Scene:
    """A case and, where an encoder is guided, its body coordinates (3, k/4, j/4, i/4), which may end before the image does."""

    case: GridCase
    body: np.ndarray | None = None


@dataclass(frozen=True)
class FeatureCase:
    """levels: float16 (k/2**n, j/2**n, i/2**n, widths[n]), fine to coarse, of the volume with air added at its far ends."""

    case: GridCase
    levels: tuple[np.ndarray, ...]

    def cut(self, start: Sequence[int], size: Sequence[int]) -> list[Tensor]:
        """Pyramid of a box whose start and size are multiples of the stride, float32 (widths[n], k/2**n, ...)."""
        parts = []
        for n, level in enumerate(self.levels):
            box = tuple(slice(a >> n, (a + length) >> n) for a, length in zip(start, size))
            parts.append(torch.from_numpy(np.array(level[box], np.float32)).movedim(-1, 0))
        return parts


@dataclass(frozen=True)
class Windows:
    """How a volume is read: size (k, j, i) of the windows, the encoder's stride, the share that neighbours overlap."""

    size: tuple[int, int, int]
    stride: int
    overlap: float = .25

    def grown(self, shape: Sequence[int]) -> list[int]:
        """A volume's shape with air at the far ends: whole cells of the coarsest level, and room for a window."""
        return [max(-(-n // self.stride) * self.stride, w) for n, w in zip(shape, self.size)]

    def starts(self, shape: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Corners of windows that cover a grown shape, all on multiples of the stride."""
        axes = []
        for n, w in zip(shape, self.size):
            step = max(self.stride, int(w * (1 - self.overlap)) // self.stride * self.stride)
            axes.append(sorted({min(start, n - w) for start in range(0, n - w + step, step)}))
        return ((k, j, i) for k in axes[0] for j in axes[1] for i in axes[2])


@torch.no_grad()
def averaged(read: Read, image: Tensor, body: np.ndarray | None, windows: Windows, device: torch.device) -> list[Tensor]:
    """What `read` gives for the windows of a volume (1, k, j, i), averaged: float32 (K/2**n, J/2**n, I/2**n, channels) on the CPU.

    Level n of `read` has stride 2**n; one level of logits is a pyramid, too.
    """
    shape = windows.grown(image.shape[1:])
    image = _grown(image, shape, AIR)
    coordinates = None if body is None else _grown(torch.from_numpy(np.array(body, np.float32)), [n // BODY_STRIDE for n in shape], float("nan"))
    sums: list[Tensor] = []
    for starts in _in_batches(windows.starts(shape), together(device)):
        told = None if coordinates is None else torch.stack([_cut(coordinates, start, windows.size, BODY_STRIDE) for start in starts]).to(device)
        seen = torch.stack([_cut(image, start, windows.size, 1) for start in starts]).to(device, memory_format=torch.channels_last_3d)
        levels = read(seen, told)
        sums = sums or [torch.zeros(*(n >> level for n in shape), each.shape[1] + 1) for level, each in enumerate(levels)]
        for level, found in enumerate(levels):
            weight = importance(found.shape[2:])[..., None]
            for start, values in zip(starts, found.float().movedim(1, -1).cpu()):
                place = tuple(slice(a >> level, (a + n) >> level) for a, n in zip(start, windows.size))
                sums[level][place] += torch.cat([values * weight, weight], -1)
    return [total[..., :-1] / total[..., -1:] for total in sums]


def feature_cases(source: Source, reading: Reading, scenes: Sequence[Scene], folder: Path, windows: Windows, device: torch.device,
                  progress: Progress = silent) -> list[FeatureCase]:
    """Every case's features from `folder`, or computed and put there; an interrupted call goes on where it stopped."""
    place = folder / features_key(source, reading, windows)
    place.mkdir(parents=True, exist_ok=True)
    reader = source.reader(reading).to(device, memory_format=torch.channels_last_3d).eval()
    found = []
    for number, scene in enumerate(scenes):
        progress(number / len(scenes), f"reading features of {scene.case.name} ({number + 1} of {len(scenes)}), {reading}")
        files = [place / f"{scene.case.name}.level{n}.npy" for n in range(len(source.widths))]
        if not all(file.is_file() for file in files):
            _store(averaged(reader, reading.image(scene.case), scene.body, windows, device), files)
        found.append(FeatureCase(scene.case, tuple(np.load(file, mmap_mode="r") for file in files)))
    return found


def features_key(source: Source, reading: Reading, windows: Windows) -> str:
    """Name of the folder of this encoder's features at this reading; everything that decides them is in it."""
    text = json.dumps([source.key, reading.log_snr, reading.noise, list(windows.size), windows.overlap])
    return f"{source.key}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _store(pyramid: Sequence[Tensor], files: Sequence[Path]) -> None:
    for level, file in zip(pyramid, files):
        with atomic(file) as temporary, open(temporary, "wb") as opened:
            np.save(opened, level.half().numpy())


def _cut(volume: Tensor, start: Sequence[int], size: Sequence[int], stride: int) -> Tensor:
    return volume[(slice(None), *(slice(a // stride, (a + n) // stride) for a, n in zip(start, size)))]


def _in_batches(starts: Iterator[tuple[int, int, int]], size: int) -> Iterator[tuple[tuple[int, int, int], ...]]:
    while some := tuple(islice(starts, size)):
        yield some


def _grown(volume: Tensor, shape: Sequence[int], outside: float) -> Tensor:
    """Up to `shape` at the far ends, or cut there: coordinates are kept in whole cells of 4 voxels."""
    margins = [m for old, new in zip(reversed(volume.shape[1:]), reversed(shape)) for m in (0, new - old)]
    return F.pad(volume, margins, value=outside)
