"""Where in the body each voxel lies: a small pyramid that reads a whole volume in one pass, at a quarter of its resolution."""
from __future__ import annotations

import math
from typing import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoder import GROUP
from .heads import PointwiseLinear, doubled
from .orientation import MOMENTS, Orientation, body_moments
from .sides import Sides

STRIDE = 4       # voxel n of the coordinates is centred on 4 n + MIDDLE of the image, along each axis
MIDDLE = 1.5
AIR = -1.        # model value outside a volume
UNIT = .1        # of u in the network's own numbers: as they are, a step of the optimiser would move a whole body by decimetres
LARGEST_LOG_SCALE = math.log(1.25)


class BodyCoordinates(nn.Module):
    """Image (B, 1, k, j, i) in model values, I to the right, J to the front, K up -> coordinates that name the same place in everybody.

    u rises by `slope` units a metre to the patient's right, front and head end, times the patient's scale g in [.8, 1.25]:
    small people have a large one (METHODS A1). That holds for volumes whose header is right; `turned` and `mirrored` say which axes look wrong.

    widths: channels of the levels at strides 4, 8, 16, ...; multiples of 8. `low` and `gain`:
    u = (raw - low) * gain, set once after training so that training patients' u runs from 0 to 1.
    """

    def __init__(self, *, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        self.widths = tuple(widths)
        steps = list(zip(self.widths[:-1], self.widths[1:]))
        self.stem = nn.Sequential(nn.AvgPool3d(2), nn.Conv3d(1, self.widths[0], 4, stride=2, padding=1))  # details don't say where in the body
        self.down = nn.ModuleList(nn.Conv3d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.encode = nn.ModuleList(Block(width) for width in self.widths[1:])
        self.up = nn.ModuleList(nn.Conv3d(coarse, fine, 1) for fine, coarse in steps)
        self.decode = nn.ModuleList(Block(width) for width in self.widths[:-1])
        self.norm = nn.ModuleList(nn.GroupNorm(width // GROUP, width) for width in self.widths)
        self.place = nn.ModuleList(nn.Sequential(nn.SiLU(), PointwiseLinear(width, 3)) for width in self.widths)
        self.size = nn.Sequential(nn.Linear(MOMENTS * sum(self.widths), 64), nn.SiLU(), nn.Linear(64, 1))
        self.orientation = Orientation()
        self.sides = Sides()
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("gain", torch.ones(3))

    @property
    def slope(self) -> Tensor:
        """S: units of u a metre along R, A and S, at scale 1; (3,). 1 until u is scaled to 0..1.

        Not learnt: left free, the axis that is hardest to tell becomes the shortest.
        """
        return self.gain

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """u (B, 3, ceil(k/4), ceil(j/4), ceil(i/4)), order R, A, S, and log_scale (B,), the log of g, of volumes of any size."""
        dense = _padded(image, STRIDE * 2 ** (len(self.widths) - 1))
        pyramid = [norm(level) for norm, level in zip(self.norm, self._pyramid(dense))]
        raw = self.place[-1](pyramid[-1])
        for place, level in zip(reversed(self.place[:-1]), reversed(pyramid[:-1])):
            raw = place(level) + doubled(raw)
        raw = raw[(..., *(slice(-(-size // STRIDE)) for size in image.shape[2:]))]
        log_scale = LARGEST_LOG_SCALE * self.size(body_moments(pyramid, dense))[:, 0].tanh()
        return (UNIT * raw - self.low[:, None, None, None]) * self.gain[:, None, None, None], log_scale

    def turned(self, image: Tensor) -> Tensor:
        """Logits (B, 2) that front and back, and that head and feet are exchanged in the array."""
        return self.orientation(_padded(image, self.orientation.stride))

    def mirrored(self, image: Tensor) -> Tensor:
        """Logits (B,) that right and left are exchanged in an array whose front lies in front and whose head is up."""
        return self.sides(image - AIR)

    def _pyramid(self, dense: Tensor) -> list[Tensor]:
        """Fine to coarse."""
        skips = [self.stem(dense)]
        for down, block in zip(self.down, self.encode):
            skips.append(block(down(skips[-1])))
        pyramid = [skips.pop()]
        for up, block, skip in zip(reversed(self.up), reversed(self.decode), reversed(skips)):
            pyramid.insert(0, block(skip + F.interpolate(up(pyramid[0]), scale_factor=2, mode="nearest")))
        return pyramid


class Block(nn.Module):
    """Two pre-activated 3x3x3 convolutions that start as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [[nn.GroupNorm(width // GROUP, width), nn.SiLU(), nn.Conv3d(width, width, 3, padding=1)] for _ in range(2)]
        self.inner = nn.Sequential(*layers[0], *layers[1])
        nn.init.zeros_(self.inner[-1].weight)
        nn.init.zeros_(self.inner[-1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _padded(image: Tensor, stride: int) -> Tensor:
    """Air as zero, so that what convolutions pad with is air, and air added up to a multiple of the coarsest stride."""
    return F.pad(image - AIR, [side for size in reversed(image.shape[2:]) for side in (0, -size % stride)])
