"""A click model too small to know anything, for tests of everything round it, and the shapes that such tests look at."""
from __future__ import annotations

import numpy as np
import torch

from DiffSegCore.crops import SPACINGS_MM
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.refiner_card import RefinerCard

WINDOW = (16, 16, 16)


def click_model(*, shaken: float = 0., diffusion: bool = True) -> Model:
    """Untrained, it answers with the prior as the prompts push it; `shaken`, also by what it sees."""
    torch.manual_seed(4)
    architecture = {"kind": "refiner", "image_channels": 2, "classes": 1, "prompt_channels": PROMPT_CHANNELS, "widths": [8, 8, 16], "step_widths": [8, 8]}
    network = build(architecture).eval()
    for weight in network.parameters():
        weight.data += shaken * torch.randn_like(weight)
    preprocessing = Preprocessing((2., 2., 2.), ((-1000., -1.), (1000., 1.)))
    card = {"name": "toy", "refiner": RefinerCard(levels=8, diffusion=diffusion).to_dict(), "click": {"spacings_mm": list(SPACINGS_MM)}}
    return Model(network, architecture, preprocessing, (), WINDOW, card)


def grid(shape=(60, 64, 64), mm: float = 2.) -> Geometry:
    return Geometry(shape, np.diag([-mm, -mm, mm, 1.]))


def ball(geometry: Geometry, kji, radius_mm: float) -> np.ndarray:
    return away(geometry, kji) < radius_mm


def away(geometry: Geometry, kji) -> np.ndarray:
    """mm from each voxel to a place."""
    return np.linalg.norm((np.stack(np.indices(geometry.shape), -1) - kji) * geometry.spacing, axis=-1)
