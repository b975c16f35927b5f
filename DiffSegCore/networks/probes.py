"""Probes: what a frozen pyramid already knows, read voxel by voxel. Neither probe looks at a neighbouring voxel."""
from __future__ import annotations

from typing import Iterable, Sequence

import torch
from torch import Tensor, nn

from .heads import PointwiseLinear, doubled, nothing

LEAST_SPREAD = 1e-3  # of a channel that is (nearly) constant: it is left small instead of blown up


class Standardise(nn.Module):
    """A fixed mean and scale a channel, so that one learning rate suits pyramids of any pretext. Still a linear map."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        for n, width in enumerate(widths):
            self.register_buffer(f"mean{n}", torch.zeros(width))
            self.register_buffer(f"scale{n}", torch.ones(width))

    def forward(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Every level (B, widths[n], k/2**n, j/2**n, i/2**n) with channels of mean 0 and deviation 1 over what was measured."""
        return [(level - _spread(getattr(self, f"mean{n}"))) * _spread(getattr(self, f"scale{n}")) for n, level in enumerate(pyramid)]

    @torch.no_grad()
    def measure(self, pyramids: Iterable[Sequence[Tensor]], unread: Sequence[int] = ()) -> None:
        """Take mean and scale from some pyramids of the training cases; `unread` levels become 0 everywhere."""
        sums: list[Tensor] = []
        for pyramid in pyramids:
            these = [_moments(level) for level in pyramid]
            sums = [a + b for a, b in zip(sums, these)] if sums else these
        for n, (count, total, squares) in enumerate(sums):
            mean = total / count
            deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
            getattr(self, f"mean{n}").copy_(mean)
            getattr(self, f"scale{n}").copy_((n not in unread) / deviation.clamp(min=LEAST_SPREAD))


class LinearProbe(nn.Module):
    """One 1x1x1 convolution a level, upsampled and summed (METHODS A3): a linear map of the concatenated pyramid."""

    def __init__(self, widths: Sequence[int], organs: int) -> None:
        super().__init__()
        self.standardise = Standardise(widths)
        self.read = nn.ModuleList(PointwiseLinear(width, organs + 1) for width in widths)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Pyramid fine to coarse -> logits (B, 1 + organs, k, j, i), channel 0 background."""
        return self._summed(self.standardise(pyramid))

    def _summed(self, levels: Sequence[Tensor]) -> Tensor:
        *finer, logits = [read(level) for read, level in zip(self.read, levels)]
        for level in reversed(finer):
            logits = level + doubled(logits)
        return logits


class NonLinearProbe(LinearProbe):
    """1x1x1 residual blocks down the pyramid, coarse to fine (METHODS A3), below a linear probe.

    Blocks begin as the identity and nothing is led from level to level, so that it begins as the linear probe: one that
    began at random still called everything background after 150 steps, where this one was ahead of the linear probe after 100.
    """

    def __init__(self, widths: Sequence[int], organs: int) -> None:
        super().__init__(widths, organs)
        self.lead = nn.ModuleList(nothing(PointwiseLinear(coarse, fine)) for fine, coarse in zip(widths, widths[1:]))
        self.blocks = nn.ModuleList(_PointwiseBlock(width) for width in widths)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        """Pyramid fine to coarse -> logits (B, 1 + organs, k, j, i), channel 0 background."""
        *finer, coarsest = self.standardise(pyramid)
        levels = [self.blocks[-1](coarsest)]
        for level, lead, block in zip(reversed(finer), reversed(self.lead), reversed(self.blocks[:-1])):
            levels.insert(0, block(level + doubled(lead(levels[0]))))
        return self._summed(levels)


class _PointwiseBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_VoxelNorm(width), PointwiseLinear(width, 2 * width), nn.SiLU(), nothing(PointwiseLinear(2 * width, width)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class _VoxelNorm(nn.Module):
    """LayerNorm over the channels of each voxel: GroupNorm would carry statistics of the whole window into every voxel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.movedim(1, -1)).movedim(-1, 1)


def _spread(channels: Tensor) -> Tensor:
    return channels[:, None, None, None]


def _moments(level: Tensor) -> Tensor:
    """Count, sum and sum of squares of every channel, (3, C) float64."""
    flat = level.detach().cpu().double().movedim(1, -1).flatten(0, -2)
    return torch.stack([torch.full_like(flat[0], len(flat)), flat.sum(0), flat.square().sum(0)])


PROBES = {"linear": LinearProbe, "nonlinear": NonLinearProbe}
