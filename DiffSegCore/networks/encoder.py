"""The encoder-decoder, in 3D or 2D, whose decoder levels are the feature pyramid."""
from __future__ import annotations

import math
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TINY = 2  # voxels across; where a side is no longer, torch 2.13's bf16 convolution on a CPU leaves some of its weights' gradients as it finds them in memory
GROUP = 8  # channels a group; GroupNorm is 5-14 times faster than InstanceNorm3d on a CPU


class NoiseLevel(nn.Module):
    """Sin/cos code of log-SNR (B,) -> embedding (B, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(.05), math.log(5), width // 2)), persistent=False)
        self.mix = nn.Sequential(nn.Linear(width // 2 * 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, log_snr: Tensor) -> Tensor:
        phase = log_snr[:, None] * self.frequencies
        return self.mix(torch.cat([phase.sin(), phase.cos()], dim=1))


class ResidualBlock(nn.Module):
    """Two pre-activated 3x3x3 convolutions; FiLM by the noise level between them when there is one.

    level_width: of the noise level's code; 0 for a block that never hears of one.
    """

    convolutions = 2

    def __init__(self, width: int, level_width: int, spatial_dims: int = 3) -> None:
        super().__init__()
        self.width, self.level_width, self.spatial_dims = width, level_width, spatial_dims
        conv = convolution(spatial_dims)
        self.first = nn.Sequential(nn.GroupNorm(width // GROUP, width), nn.SiLU(), conv(width, width, 3, padding=1))
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.second = nn.Sequential(nn.SiLU(), conv(width, width, 3, padding=1))
        self.film = nn.Linear(level_width, 2 * width) if level_width else None
        for layer in (self.film, self.second[1]) if level_width else (self.second[1],):
            nn.init.zeros_(layer.weight)  # starts as the identity, whatever the noise level
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        if min(x.shape[2:]) <= TINY and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self(x.float(), None if level is None else level.float())
        inner = self.norm(self.first(x))
        if level is not None:
            inner = modulated(inner, self.film(level))
        return x + self.second(inner)


def modulated(x: Tensor, code: Tensor) -> Tensor:
    """FiLM: x (B, C, *spatial) * (1 + scale) + shift, of a code (B, 2 C)."""
    scale, shift = code.reshape(*code.shape, *[1] * (x.ndim - 2)).chunk(2, dim=1)
    return torch.addcmul(shift, x, 1 + scale)  # one pass


def convolution(spatial_dims: int) -> type[nn.Conv2d] | type[nn.Conv3d]:
    """The convolution of images with two or three axes. ValueError for any other number."""
    if spatial_dims not in (2, 3):
        raise ValueError(f"images have 2 or 3 axes, not {spatial_dims}")
    return nn.Conv3d if spatial_dims == 3 else nn.Conv2d


class DiffusionEncoder(nn.Module):
    """U-Net with added (not concatenated) skips. Reads a clean image, or a noisy one together with its noise level.

    widths: channels from fine to coarse; level n has stride 2**n and each width is a multiple of 8.
    denoises: without it there is neither noise level nor velocity, only the pyramid; level_width 0 leaves FiLM out too.
    steady: what changes level is normalised first. Otherwise every change of level may multiply, until the blocks, which read what is normalised and add
    about 1, say nothing beside it: so it went with a click model, which then hardly read the image.
    The finest level has no block on the way down: at full resolution it would cost as much as all coarser levels together.
    """

    def __init__(self, *, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64, 128, 160), level_width: int = 64,
                 spatial_dims: int = 3, denoises: bool = True, steady: bool = False) -> None:
        super().__init__()
        self.widths, self.level_width = tuple(widths), level_width
        steps, conv = list(zip(self.widths[:-1], self.widths[1:])), convolution(spatial_dims)
        self.level = NoiseLevel(level_width) if denoises else None
        self.stem = conv(in_channels, self.widths[0], 3, padding=1)
        self.down = nn.ModuleList(conv(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.encode = nn.ModuleList(ResidualBlock(width, level_width, spatial_dims) for width in self.widths[1:])
        self.up = nn.ModuleList(conv(coarse, fine, 1) for fine, coarse in steps)
        self.decode = nn.ModuleList(ResidualBlock(width, level_width, spatial_dims) for width in self.widths[:-1])
        self.calm_down = nn.ModuleList(_calm(width, steady) for width in self.widths[:-1])
        self.calm_up = nn.ModuleList(_calm(width, steady) for width in self.widths[1:])
        self.velocity = conv(self.widths[0], in_channels, 3, padding=1) if denoises else None

    @property
    def stride(self) -> int:
        """Window sizes must be multiples of this."""
        return 2 ** (len(self.widths) - 1)

    def features(self, image: Tensor, log_snr: Tensor | None = None, *, hints: Sequence[Tensor | None] = (),
                 context: Tensor | None = None) -> list[Tensor]:
        """image (B, C, k, j, i); log_snr (B,) or None for a clean image -> pyramid, fine to coarse, (B, widths[n], k/2**n, ...).

        What others have to say: `hints[n]` (B, widths[n], k/2**n, ...) is added to what enters level n, `context` (B, level_width)
        to the code of the noise level.
        """
        said = [self.level(log_snr)] if log_snr is not None else []
        said += [context] if context is not None else []
        level = sum(said) if said else None
        hints = [*hints, *[None] * (len(self.widths) - len(hints))]
        skips = [_with(self.stem(image), hints[0])]
        for calm, down, block, hint in zip(self.calm_down, self.down, self.encode, hints[1:]):
            skips.append(block(_with(down(calm(skips[-1])), hint), level))
        pyramid = [skips.pop()]
        for calm, up, block, skip in zip(reversed(self.calm_up), reversed(self.up), reversed(self.decode), reversed(skips)):
            coarse = F.interpolate(up(calm(pyramid[0])), scale_factor=2, mode="nearest")
            pyramid.insert(0, block(skip + coarse, level))
        return pyramid

    def denoise(self, noisy: Tensor, log_snr: Tensor) -> Tensor:
        """v-prediction for x_t = sqrt(keep) x_0 + sqrt(1 - keep) e (METHODS A2); noisy (B, C, k, j, i), log_snr (B,)."""
        return self.velocity(self.features(noisy, log_snr)[0])


def _with(x: Tensor, hint: Tensor | None) -> Tensor:
    return x if hint is None else x + hint


def _calm(width: int, steady: bool) -> nn.Module:
    return nn.GroupNorm(width // GROUP, width) if steady else nn.Identity()
