"""Two sets of tokens that lie on one grid and ask each other."""
from __future__ import annotations

import math
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LONGEST = 64.  # tokens in the longest wave of a place's code


class CrossAttention(nn.Module):
    """`asking` (B, N, width) plus what it finds in `asked` (B, M, width). Begins as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.ask, self.offer, self.answer = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)

    def forward(self, asking: Tensor, asked: Tensor) -> Tensor:
        question = self.ask(self.norms[0](asking))
        keys, values = self.offer(self.norms[1](asked)).chunk(2, dim=-1)
        found = F.scaled_dot_product_attention(question[:, None], keys[:, None], values[:, None])  # one head: three take three times as long
        return asking + self.answer(found[:, 0])


class MutualAttention(nn.Module):
    """HiDiff's bottleneck: diffusion tokens ask image tokens, then image tokens ask those; both (B, N, width), and so is what they find."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.diffusion, self.image = CrossAttention(width), CrossAttention(width)
        self.join = nn.Linear(width, width)

    def forward(self, diffusion: Tensor, image: Tensor) -> Tensor:
        diffusion = self.diffusion(diffusion, image)
        return self.join(diffusion + self.image(image, diffusion))


def place_code(grid: Sequence[int], width: int, device: torch.device | str | None = None) -> Tensor:
    """Sines and cosines that say where on `grid` (two or three axes) each token lies: (product of grid, width), waves of 4 to 64 tokens."""
    each = width // (2 * len(grid))
    rates = 2 * math.pi / torch.logspace(math.log2(4.), math.log2(LONGEST), each, base=2., device=device)
    places = torch.meshgrid(*(torch.arange(float(size), device=device) for size in grid), indexing="ij")
    phases = torch.cat([place.reshape(-1, 1) * rates for place in places], dim=1)
    code = torch.cat([phases.sin(), phases.cos()], dim=1)
    return F.pad(code, (0, width - code.shape[1]))

