"""Networks of signs: weights and activations +1 or -1, with thresholds that move with the noise level (HiDiff's binarised refiner)."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import GROUP


def sign(x: Tensor) -> Tensor:
    """+1 or -1, 0 counting as +1; the gradient is that of clamp(x, -1, 1): straight through, where |x| <= 1."""
    soft = x.clamp(-1, 1)
    return soft + (torch.where(x >= 0, 1., -1.).to(x.dtype) - soft).detach()


class SignConvolution(nn.Module):
    """A 3x3x3 (or 3x3) convolution whose weights are signs, times one scale an output channel: the mean size of the latent weights
    that training moves (XNOR-Net, arXiv 1603.05279)."""

    def __init__(self, width: int, spatial_dims: int) -> None:
        super().__init__()
        self.latent = nn.Parameter(torch.empty(width, width, *[3] * spatial_dims).uniform_(-.5, .5))

    @property
    def scale(self) -> Tensor:
        """(outputs, 1, 1, ...)."""
        return self.latent.abs().flatten(1).mean(1).reshape(-1, *[1] * (self.latent.ndim - 1))

    @property
    def weight(self) -> Tensor:
        return sign(self.latent) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return (F.conv3d if x.ndim == 5 else F.conv2d)(x, self.weight, padding=1)


class SignBlock(nn.Module):
    """Convolutions of signs, each with a path round it; the threshold of every channel is learnt and moves with the noise level.

    Stands in for a block of as many real convolutions; each begins as the identity, as that does.
    """

    def __init__(self, width: int, level_width: int, spatial_dims: int, convolutions: int) -> None:
        super().__init__()
        groups = width // GROUP
        self.before = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(convolutions))  # its shift is the threshold at rest
        self.shift = nn.ModuleList(nn.Linear(level_width, width, bias=False) for _ in range(convolutions if level_width else 0))
        self.convolve = nn.ModuleList(SignConvolution(width, spatial_dims) for _ in range(convolutions))
        self.after = nn.ModuleList(nn.GroupNorm(groups, width) for _ in range(convolutions))
        for layer in (*self.shift, *self.after):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, level: Tensor | None) -> Tensor:
        for n, (before, convolve, after) in enumerate(zip(self.before, self.convolve, self.after)):
            inner = before(x)
            if level is not None:
                inner = inner + self.shift[n](level).reshape(*inner.shape[:2], *[1] * (x.ndim - 2))
            x = x + after(convolve(sign(inner)))
        return x


def binarise(network: nn.Module) -> None:
    """Put a SignBlock in the place of every block of real convolutions. What lies between blocks stays real, as is usual: few weights."""
    for parent in list(network.modules()):
        for name, block in list(parent.named_children()):
            if hasattr(block, "convolutions"):
                setattr(parent, name, SignBlock(block.width, block.level_width, block.spatial_dims, block.convolutions))


def packed(network: nn.Module) -> dict[str, Tensor]:
    """The state of a network as it may be stored: signs as bits with their scales, the rest in half precision."""
    signs = {f"{name}.latent": module for name, module in network.named_modules() if isinstance(module, SignConvolution)}
    state = {}
    for name, tensor in network.state_dict().items():
        if name in signs:
            state[f"{name}.bits"], state[f"{name}.scale"] = _bits(tensor >= 0), signs[name].scale.detach().half()
        else:
            state[name] = tensor.half()
    return state


def _bits(signs: Tensor) -> Tensor:
    """Eight signs a byte, the last byte filled up with -1: uint8 (n / 8,)."""
    flat = F.pad(signs.flatten().to(torch.uint8), (0, -signs.numel() % 8)).reshape(-1, 8)
    return (flat << torch.arange(8, dtype=torch.uint8, device=flat.device)).sum(1, dtype=torch.uint8)
