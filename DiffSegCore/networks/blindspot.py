"""A look at everything but oneself: the voxels of an image, dealt out into lattices that are kept apart.

Every other voxel along each axis belongs to the same lattice: four in 2D, eight in 3D. A convolution without the taps that are
even along all axes (of side 3: without its centre) reads, at a voxel of one lattice, voxels of the other lattices only. Whatever is then done within one
lattice, however wide, can never bring a voxel's own value back to it: what it finds out at x came from x + 2 n + m, where m is
odd along some axis, and that is never x. (The dilated convolutions of blind-spot denoisers rest on the same count.) The price:
a voxel doesn't see the others of its lattice, an eighth of all voxels in 3D, either.
"""
from __future__ import annotations

from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Neighbours(nn.Module):
    """That convolution, of side 3 or 5: (B, inputs, *spatial), even sizes -> the lattices (B, 4 or 8, outputs, *spatial / 2); beyond the edges lie zeros."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[side] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        others = torch.ones([side] * spatial_dims)
        others[(slice(side // 2 % 2, None, 2),) * spatial_dims] = 0
        self.register_buffer("others", others, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """One convolution of side + 1 and stride 2 finds all lattices at once: each one's kernel lies in it where the lattice begins. That is
        about twice the products without the copies, which on CPUs took far longer."""
        convolve, axes, side = F.conv3d if x.ndim == 5 else F.conv2d, x.ndim - 2, self.weight.shape[-1]
        kernels = torch.cat([F.pad(self.weight * self.others, [n for a in reversed(first) for n in (a, 1 - a)]) for first in product((0, 1), repeat=axes)])
        found = convolve(_channels_last(x), kernels, self.bias.repeat(2 ** axes), stride=2, padding=side // 2)
        return found.unflatten(1, (2 ** axes, -1)).movedim(2, -1).contiguous().movedim(-1, 2)  # in memory as `apart` leaves them, or adding is slow


def apart(x: Tensor) -> Tensor:
    """(B, C, *spatial), even sizes -> the lattices (B, 4 or 8, C, *spatial / 2), channels last in memory."""
    axes, (batch, channels, *sizes) = x.ndim - 2, x.shape
    pairs = x.movedim(1, -1).reshape(batch, *(part for size in sizes for part in (size // 2, 2)), channels)
    within, which = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    lattices = pairs.permute(0, *which, *within, -1).reshape(batch, 2 ** axes, *(size // 2 for size in sizes), channels)
    return lattices.movedim(-1, 2)


def together(lattices: Tensor) -> Tensor:
    """The inverse of `apart`."""
    axes, (batch, _, channels, *sizes) = lattices.ndim - 3, lattices.shape
    split = lattices.movedim(2, -1).reshape(batch, *[2] * axes, *sizes, channels)
    interleaved = (axis for n in range(1, axes + 1) for axis in (n + axes, n))
    return split.permute(0, *interleaved, -1).reshape(batch, *(2 * size for size in sizes), channels).movedim(-1, 1)


def _channels_last(x: Tensor) -> Tensor:
    """So in memory even where one channel leaves it open: PyTorch then takes the slow way."""
    return x.movedim(1, -1).flatten().view(len(x), *x.shape[2:], x.shape[1]).movedim(-1, 1)
