"""Weights as a model file holds them: as they are, in half precision, or in eight bits an entry with a scale for each row.

What was packed once and unpacked packs to the same bytes again, so that a card can be written anew without a change of the weights.
"""
from __future__ import annotations

from typing import Mapping

import torch
from torch import Tensor

from .errors import BadInput

BITS = (32, 16, 8)
SCALE = ".scale"  # behind the name of a tensor of eight bits
LARGEST = 127
COARSE = ~0xFF  # of a scale's bits: with 16 of them left times LARGEST is exact, as is every weight


def packed(weights: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """Tensors to store. With 8 bits those of two axes and more become int8, a scale for each entry of the first axis beside them, and the rest half precision."""
    if bits not in BITS:
        raise BadInput(f"weights are stored in {', '.join(map(str, BITS))} bits, not in {bits!r}")
    stored: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        tensor = tensor.detach().cpu().contiguous()
        if not tensor.is_floating_point() or bits == 32:
            stored[name] = tensor
        elif bits == 16 or tensor.ndim < 2:
            stored[name] = tensor.half()
        else:
            stored[name], stored[name + SCALE] = _in_eight_bits(tensor.float())
    return stored


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights in float32."""
    scales = {name + SCALE for name, tensor in stored.items() if tensor.dtype == torch.int8 and name + SCALE in stored}
    return {name: tensor.float() * _along_rows(stored[name + SCALE], tensor) if name + SCALE in scales else tensor.float()
            for name, tensor in stored.items() if name not in scales}


def _in_eight_bits(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of the tensor's shape, and float32 (rows,)."""
    scale = tensor.abs().flatten(1).amax(1) / LARGEST
    scale = (scale.view(torch.int32) & COARSE).view(torch.float32)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (tensor / _along_rows(scale, tensor)).round().clamp(-LARGEST, LARGEST).to(torch.int8), scale


def _along_rows(scale: Tensor, tensor: Tensor) -> Tensor:
    return scale.reshape(-1, *[1] * (tensor.ndim - 1))
