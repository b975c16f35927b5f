"""The 3D encoder-decoder whose decoder levels are the feature pyramid."""
from __future__ import annotations

import math
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
    """Two pre-activated 3x3x3 convolutions; FiLM by the noise level between them when there is one."""

    def __init__(self, width: int, level_width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(width // GROUP, width), nn.SiLU(), nn.Conv3d(width, width, 3, padding=1))
        self.norm = nn.GroupNorm(width // GROUP, width)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv3d(width, width, 3, padding=1))
        self.film = nn.Linear(level_width, 2 * width)
        for layer in (self.film, self.second[1]):
            nn.init.zeros_(layer.weight)  # starts as the identity, whatever the noise level
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        inner = self.norm(self.first(x))
        if level is not None:
            scale, shift = self.film(level)[:, :, None, None, None].chunk(2, dim=1)
            inner = torch.addcmul(inner + shift, inner, scale)
        return x + self.second(inner)


class DiffusionEncoder(nn.Module):
    """U-Net with added (not concatenated) skips. Reads a clean image, or a noisy one together with its noise level.

    widths: channels from fine to coarse; level n has stride 2**n and each width is a multiple of 8.
    The finest level has no block on the way down: at full resolution it would cost as much as all coarser levels together.
    """

    def __init__(self, *, in_channels: int = 1, widths: Sequence[int] = (16, 32, 64, 128, 160), level_width: int = 64) -> None:
        super().__init__()
        self.widths, self.level_width = tuple(widths), level_width
        steps = list(zip(self.widths[:-1], self.widths[1:]))
        self.level = NoiseLevel(level_width)
        self.stem = nn.Conv3d(in_channels, self.widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.encode = nn.ModuleList(ResidualBlock(width, level_width) for width in self.widths[1:])
        self.up = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in steps)
        self.decode = nn.ModuleList(ResidualBlock(width, level_width) for width in self.widths[:-1])
        self.velocity = nn.Conv3d(self.widths[0], in_channels, 3, padding=1)

    @property
    def stride(self) -> int:
        """Window sizes must be multiples of this."""
        return 2 ** (len(self.widths) - 1)

    def features(self, image: Tensor, log_snr: Tensor | None = None, *, hint: Tensor | None = None,
                 context: Tensor | None = None) -> list[Tensor]:
        """image (B, C, k, j, i); log_snr (B,) or None for a clean image -> pyramid, fine to coarse, (B, widths[n], k/2**n, ...).

        What a guide has to say: `hint` (B, widths[0], k, j, i) is added to the stem, `context` (B, level_width) to the code of the noise level.
        """
        said = [self.level(log_snr)] if log_snr is not None else []
        said += [context] if context is not None else []
        level = sum(said) if said else None
        skips = [self.stem(image) if hint is None else self.stem(image) + hint]
        for down, block in zip(self.down, self.encode):
            skips.append(block(down(skips[-1]), level))
        pyramid = [skips.pop()]
        for up, block, skip in zip(reversed(self.up), reversed(self.decode), reversed(skips)):
            coarse = F.interpolate(up(pyramid[0]), scale_factor=2, mode="nearest")
            pyramid.insert(0, block(skip + coarse, level))
        return pyramid

    def denoise(self, noisy: Tensor, log_snr: Tensor) -> Tensor:
        """v-prediction for x_t = sqrt(keep) x_0 + sqrt(1 - keep) e (METHODS A2); noisy (B, C, k, j, i), log_snr (B,)."""
        return self.velocity(self.features(noisy, log_snr)[0])
