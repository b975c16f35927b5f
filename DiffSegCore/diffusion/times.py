"""Which levels training visits: a weight for each level, and levels drawn from uniform numbers handed in."""

from __future__ import annotations

import torch
from torch import Tensor

from .schedules import logsnr


def refining_weights(keep: Tensor, at_last: float = 0.25, hidden: float = 0.1) -> Tensor:
    """For masks: `at_last` of the draws at T, half of the rest where keep < `hidden`; section B1 of METHODS.

    In 3D the label shows through early (see `schedules.shifted`), so evenly drawn times would teach the network to read
    the noisy mask instead of the image. A group without a level gives its share to the others. Shape (T + 1,), sum 1.
    """
    level = torch.arange(len(keep))
    last = level == len(keep) - 1
    groups = (last, (keep < hidden) & ~last, (keep >= hidden) & (level > 0))
    shares = (at_last, (1 - at_last) / 2, (1 - at_last) / 2)
    weights = sum(share * group.double() / group.sum().clamp(min=1) for share, group in zip(shares, groups))
    return weights / weights.sum()


def pretraining_weights(keep: Tensor, lowest: float = 0.0, highest: float = 8.0, inside: float = 0.75) -> Tensor:
    """For images: `inside` of the draws spread evenly over logSNR lowest..highest, the rest over all levels; section A2.

    Features are read at a small noise level, so that is where the encoder must be good. Shape (T + 1,), sum 1.
    """
    snr = logsnr(keep)
    width = torch.gradient(snr)[0].abs() * ((snr >= lowest) & (snr <= highest))
    width[0] = 0.0
    anywhere = torch.ones_like(width)
    anywhere[0] = 0.0
    if width.sum() == 0:
        raise ValueError(f"No level of this schedule has a logSNR in {lowest:g}..{highest:g}; give it more levels.")
    return inside * width / width.sum() + (1 - inside) * anywhere / anywhere.sum()


def draw_times(weights: Tensor, uniform: Tensor) -> Tensor:
    """Levels (B,) int64 on the CPU by inverse CDF of `weights` (T + 1,), one for each of `uniform` (B,) in [0, 1).

    Spread the uniform numbers, (i + u) / B, and a batch covers the levels with less luck involved.
    """
    edges = (weights.double() / weights.sum()).cumsum(0)
    times = torch.searchsorted(edges, uniform.detach().to("cpu", torch.float64), right=True)
    return times.clamp(max=int(weights.nonzero().max()))
