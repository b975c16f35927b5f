"""Volumes drawn from a pretrained denoiser: anywhere in the body, or at a given height of it."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import numpy as np
import torch
from torch import Tensor

from ..data.patches import AIR
from ..diffusion import VoxelFields, levels, logsnr
from ..errors import BadInput
from ..geometry import Box, Geometry
from ..model import Model
from ..networks.denoiser import GuidedDenoiser
from ..preprocess import Preprocessing
from ..progress import Progress, silent
from ..volume import Volume
from ..windows import plan_windows, stitch
from ..writing import write_volume
from .pretrain_patches import chain

STEPS = 50
HEIGHT = 2  # of R, A, S


@dataclass(frozen=True)
class Wish:
    """count: volumes; shape: (k, j, i) voxels, None for a training patch; at: height in the body, 0..1, None for anywhere; steps of the chain."""

    count: int
    shape: tuple[int, int, int] | None = None
    at: float | None = None
    seed: int = 0
    steps: int = STEPS

    @property
    def name(self) -> str:
        return "anywhere" if self.at is None else f"at-{self.at:g}"


class Sampler:
    """A model of `diffseg train pretrain` on a device. BadInput where the model is of another kind."""

    def __init__(self, model: Model, device: torch.device | str = "cpu") -> None:
        if not isinstance(model.network, GuidedDenoiser):
            raise BadInput(f"{model.card.get('name', 'this model')} is no denoiser; choose a model made by `diffseg train pretrain`")
        self.model, self.chain, self.device = model, chain(), torch.device(device)
        self._network = model.network.to(self.device).eval()
        self._log_snr = logsnr(self.chain.keep).float()

    def draw(self, wish: Wish, progress: Progress = silent) -> list[Tensor]:
        """Volumes (k, j, i) in model values. Volume n is the same whatever `count` is, and shares its noise with every other height."""
        shape = tuple(max(n, w) for n, w in zip(wish.shape or self.model.window, self.model.window))
        body = None if wish.at is None else self.body_at(wish.at, shape).to(self.device)
        drawn = []
        for number in range(wish.count):
            progress(number / wish.count, f"drawing volume {number + 1} of {wish.count}, {wish.name}")
            start = VoxelFields.of(shape, seeds=[wish.seed + number], device=self.device).normal(self.chain.last)
            clean = self.chain.sample(lambda noisy, t: self._velocity(noisy, t, body), levels(self.chain.last, wish.steps), start)
            drawn.append(clean[0, 0].clamp(-1, 1).cpu())
        return drawn

    def body_at(self, height: float, shape: Sequence[int]) -> Tensor:
        """Coordinates (1, 3, k, j, i) of a box whose middle lies at `height`, running through it as they did through the training volumes."""
        layout = self.model.card.get("body")
        if self.model.architecture["guidance"] not in ("input", "both") or not layout:
            raise BadInput(f"{self.model.card['name']} was not told where in the body it is, so a height cannot be asked for; leave --at out, "
                           "or choose a model with guidance 'input' or 'both'")
        middle = [*layout["middle"][:HEIGHT], height]
        lines = [m + rise * spacing * (torch.arange(n) - (n - 1) / 2) for m, rise, spacing, n in
                 zip(middle, layout["per_mm"], reversed(self.model.preprocessing.spacing_mm), reversed(shape))]
        return torch.stack(torch.meshgrid(*reversed(lines), indexing="ij")).flip(0)[None].float()

    def _velocity(self, noisy: Tensor, t: Tensor, body: Tensor | None) -> Tensor:
        """Over windows where the volume is larger than one, averaged where they overlap; the body's channels travel behind the image's."""
        shape, window = noisy.shape[2:], self.model.window
        whole = noisy[0] if body is None else torch.cat([noisy[0], body[0]])
        level = self._log_snr[t.cpu()].to(noisy.device)
        velocity = torch.empty_like(noisy)
        windows = plan_windows(Box.whole(shape), window, shape)
        for box, planes in stitch(lambda parts: self._network(parts[:, :1], level, parts[:, 1:] if parts.shape[1] > 1 else None)[0],
                                  whole, windows, outside=0., device=self.device):
            velocity[(0, slice(None), *box.slices)] = planes
        return velocity


def write_samples(sampler: Sampler, wishes: Sequence[Wish], folder: Path, progress: Progress = silent) -> tuple[dict[str, list[Tensor]], list[Path]]:
    """Volumes by wish, and their files folder/<wish>-<number>.nii.gz in HU on the model's grid, centred on the origin."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, files = {}, []
    for wish in wishes:
        drawn[wish.name] = sampler.draw(wish, progress)
        for number, values in enumerate(drawn[wish.name], start=1):
            files.append(folder / f"{wish.name}-{number}.nii.gz")
            write_volume(as_volume(values, sampler.model.preprocessing), files[-1])
    return drawn, files


def as_volume(values: Tensor, preprocessing: Preprocessing) -> Volume:
    """Model values (k, j, i) as intensities, HU for CT."""
    spacing = np.array(preprocessing.spacing_mm[::-1])
    matrix = np.diag([*spacing, 1.])
    matrix[:3, 3] = -spacing * (np.array(values.shape[::-1]) - 1) / 2
    return Volume(intensities(values, preprocessing).round().astype(np.int16), Geometry(tuple(values.shape), matrix), preprocessing.modality)


def intensities(values: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """The inverse of `Preprocessing.values`, between its first and last knot."""
    intensity, value = zip(*preprocessing.intensity_knots)
    return np.interp(values.numpy(), value, intensity)


def real_patches(images: Sequence[np.ndarray], shape: Sequence[int], count: int) -> list[Tensor]:
    """Pieces (k, j, i) of real volumes to hold generated ones against: one from the middle of each, as many as there are up to `count`."""
    pieces = []
    for image in images[:count]:
        room = [(n - size) // 2 for n, size in zip(image.shape, shape)]
        box = Box(tuple(max(0, r) for r in room), tuple(max(0, r) + min(n, size) for r, n, size in zip(room, image.shape, shape)))
        piece = torch.full(tuple(shape), AIR)
        place = tuple(slice(max(0, -r), max(0, -r) + n) for r, n in zip(room, box.shape))
        piece[place] = torch.from_numpy(np.array(image[box.slices], np.float32))
        pieces.append(piece)
    return pieces
