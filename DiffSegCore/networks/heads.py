"""From the feature pyramid to organ logits."""
from __future__ import annotations

from typing import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import GROUP, DiffusionEncoder


class PointwiseLinear(nn.Module):
    """A 1x1x1 convolution as a linear layer over voxels: Conv3d with few outputs collapses to 5 GFLOP/s in channels_last."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.movedim(1, -1)).movedim(-1, 1)


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
            logits = read(features) + F.interpolate(logits, scale_factor=2, mode="trilinear", align_corners=False)
        return logits


class OrganNetwork(nn.Module):
    """Encoder and organ head: image (B, 1, k, j, i) in model values -> logits (B, 1 + organs, k, j, i)."""

    def __init__(self, encoder: DiffusionEncoder, head: OrganHead) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.encoder.features(image))
