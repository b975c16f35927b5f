"""Features of an encoder at a small noise level: the noise belongs to the voxel, so that windows that overlap see the same image."""
from __future__ import annotations

from typing import Sequence

import torch
from torch import Tensor

from .diffusion import VoxelFields
from .errors import BadInput
from .geometry import Box
from .model import Model
from .networks.denoiser import BODY_LEVEL, GuidedDenoiser
from .segmenter import usable_device
from .windows import cut

NOISES = ("keyed", "zero")


def noised(windows: Tensor, starts: Sequence[Sequence[int]], log_snr: float | None, *, noise: str = "keyed", seed: int = 0) -> Tensor:
    """Windows (B, 1, k, j, i) that begin at voxels `starts` of one volume, as a denoiser at `log_snr` would meet them.

    x_t = sqrt(keep) x_0 + sqrt(1 - keep) e with keep = sigmoid(log_snr), METHODS A2; `noise` "keyed" draws e from (seed, voxel),
    "zero" leaves it out; None is the image as it is. One e serves all levels, so that a sweep of levels compares nothing else.
    """
    if noise not in NOISES:
        raise BadInput(f"noise is {' or '.join(map(repr, NOISES))}, not {noise!r}")
    if log_snr is None:
        return windows
    keep = torch.tensor(log_snr, dtype=torch.float64).sigmoid()
    shown = windows * float(keep.sqrt())
    if noise == "zero":
        return shown
    fields = VoxelFields.of(windows.shape[2:], starts=list(starts), seeds=[seed] * len(windows), device=windows.device)
    return shown + float((1 - keep).sqrt()) * fields.normal(0)


class Features:
    """A model whose encoder is read, a pretrained denoiser or an organ network, on a device ("auto": CUDA, then Apple's MPS, then the CPU)."""

    def __init__(self, model: Model, device: str | torch.device = "auto") -> None:
        network = model.network if isinstance(model.network, GuidedDenoiser) else getattr(model.network, "encoder", model.network)
        if not hasattr(network, "features"):
            raise BadInput(f"{model.card.get('name', 'this model')} has no features to read; choose a pretrained denoiser or an organ network")
        self.model, self.device = model, usable_device(device)
        self._network = network.to(self.device).eval()

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the pyramid, fine to coarse."""
        return self._network.widths

    @torch.no_grad()
    def read(self, image: Tensor, starts: Sequence[Sequence[int]], log_snr: float | None = None, *, noise: str = "keyed", seed: int = 0,
             body: Tensor | None = None) -> list[Tensor]:
        """The pyramid, fine to coarse, (B, widths[n], k/2**n, ...), of the model's windows that begin at `starts` in a volume (1, K, J, I).

        image in model values; body (3, K/4, J/4, I/4): coordinates of the whole volume, for models guided by them (starts are then
        multiples of 4). Windows may hang over the volume's edges: there is air, and coordinates are unknown.
        """
        boxes = [Box(tuple(start), tuple(a + n for a, n in zip(start, self.model.window))) for start in starts]
        air = self.model.preprocessing.intensity_knots[0][1]
        windows = torch.stack([cut(image, box, air) for box in boxes]).to(self.device)
        shown = noised(windows, starts, log_snr, noise=noise, seed=seed)
        level = None if log_snr is None else shown.new_full((len(shown),), log_snr)
        if body is None or not isinstance(self._network, GuidedDenoiser):
            return self._network.features(shown, level)
        return self._network.features(shown, level, torch.stack([_cut_body(body, box) for box in boxes]).to(self.device))


def _cut_body(body: Tensor, box: Box) -> Tensor:
    stride = 2 ** BODY_LEVEL
    if any(a % stride for a in box.start):
        raise ValueError(f"a window with body coordinates begins at multiples of {stride} voxels, not at {box.start}")
    coarse = Box(*(tuple(n // stride for n in corner) for corner in (box.start, box.stop)))
    return cut(body.float(), coarse, float("nan"))
