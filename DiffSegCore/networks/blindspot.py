"""A look at everything but oneself: the voxels of an image, dealt out into lattices that are kept apart.

Every other voxel along each axis belongs to the same lattice: four in 2D, eight in 3D. A 3x3x3 convolution without its centre
reads, at a voxel of one lattice, voxels of the other lattices only. Whatever is then done within one lattice, however wide,
can never bring a voxel's own value back to it: what it finds out at x came from x + 2 n + m, where m, of -1, 0 and 1, is not 0,
and that is never x. (The dilated convolutions of blind-spot denoisers rest on the same count.) The price: a voxel
doesn't see the others of its lattice, an eighth of all voxels in 3D, either.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Neighbours(nn.Module):
    """A convolution of side 3 without its centre: (B, inputs, *spatial) -> (B, outputs, *spatial); beyond the edges lie zeros."""

    def __init__(self, inputs: int, outputs: int, spatial_dims: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, *[3] * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")
        centre = torch.ones([3] * spatial_dims)
        centre[(1,) * spatial_dims] = 0
        self.register_buffer("around", centre, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        convolve = F.conv3d if x.ndim == 5 else F.conv2d
        return convolve(x, self.weight * self.around, self.bias, padding=1)


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
