"""An encoder that was taught with noise, settled on one noise level: from then on it reads images without being told any."""
from __future__ import annotations

import torch

from .encoder import DiffusionEncoder


@torch.no_grad()
def settle(encoder: DiffusionEncoder, log_snr: float) -> DiffusionEncoder:
    """The encoder itself, its features of (image, None) now being those of (image, log_snr).

    Given one level, FiLM is a fixed scale and shift of what GroupNorm leaves, so GroupNorm's own weights can say it: with weight w
    and bias b, (w x + b)(1 + scale) + shift. The encoder hears of no other level any more.
    """
    level = encoder.level(next(encoder.parameters()).new_full((1,), log_snr))
    for block in (*encoder.encode, *encoder.decode):
        scale, shift = block.film(level)[0].chunk(2)
        block.norm.weight.mul_(1 + scale)
        block.norm.bias.mul_(1 + scale).add_(shift)
        block.film.weight.zero_()
        block.film.bias.zero_()
    return encoder
