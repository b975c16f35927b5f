"""From the feature pyramid to organ logits."""
from __future__ import annotations

from typing import TYPE_CHECKING, Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.init import zeros_

from .encoder import GROUP, DiffusionEncoder

if TYPE_CHECKING:
    from .refiner import Refiner


class PointwiseLinear(nn.Module):
    """A 1x1x1 convolution as a linear layer over voxels: Conv3d with few outputs collapses to 5 GFLOP/s in channels_last."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


def nothing(layer: PointwiseLinear) -> PointwiseLinear:
    """The layer, beginning at zero."""
    zeros_(layer.linear.weight)
    zeros_(layer.linear.bias)
    return layer


class OrganHead(nn.Module):
    """One linear layer a level, upsampled and summed: sum of up(W f) equals W of the concatenated pyramid, which is never built.

    Channel 0 of the logits is background, channel c is organ c - 1.
    """

    def __init__(self, widths: Sequence[int], organs: int) -> None:
        super().__init__()
        self.read = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(width // GROUP, width), nn.SiLU(), PointwiseLinear(width, organs + 1)) for width in widths)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """pyramid fine to coarse -> logits (B, 1 + organs, k, j, i) at the finest level's size."""
        logits = self.read[-1](pyramid[-1])
        for read, features in zip(reversed(self.read[:-1]), reversed(pyramid[:-1])):
            logits = read(features) + doubled(logits)
        return logits


def doubled(x: Tensor) -> Tensor:
    """Twice as fine along two or three axes, interpolated linearly."""
    return F.interpolate(x, scale_factor=2, mode="trilinear" if x.ndim == 5 else "bilinear", align_corners=False)


class OrganNetwork(nn.Module):
    """Encoder and organ head: image (B, C, k, j, i) in model values -> logits (B, 1 + organs, k, j, i); 2D without k.

    `refiner`, where there is one, is carried along for whoever refines the head's answer; the logits here are the head's own.
    """

    def __init__(self, encoder: DiffusionEncoder, head: OrganHead, refiner: Refiner | None = None) -> None:
        super().__init__()
        self.encoder, self.head, self.refiner = encoder, head, refiner

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.encoder.features(image))
