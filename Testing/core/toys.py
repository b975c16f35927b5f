"""A small CT and a small model, for tests of everything round them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from DiffSegCore.crops import SPACINGS_MM
from DiffSegCore.data.phantom import phantom
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, save_model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.volume import Volume
from DiffSegCore.writing import write_volume

ORGANS = ("brainstem", "mandible")


def toy_geometry(shape: tuple[int, int, int] = (20, 24, 28), mm: float = 4.0) -> Geometry:
    return Geometry(shape, np.diag([mm, mm, mm, 1.0]))


def toy_ct(path: Path, shape: tuple[int, int, int] = (20, 24, 28)) -> Path:
    """A block of water in air."""
    array = np.full(shape, -1000, np.int16)
    array[tuple(slice(n // 5, n - n // 5) for n in shape)] = 40
    write_volume(Volume(array, toy_geometry(shape), "CT"), path)
    return path


def coarse_phantoms(folder: Path) -> Path:
    """Three phantoms at 8 mm in `folder`, one folder each."""
    for seed in (1, 2, 3):
        (folder / f"case_{seed}").mkdir()
        write_volume(phantom(seed, spacing_mm=(8, 8, 8), shape=(24, 28, 28))[0], folder / f"case_{seed}" / "ct.nii.gz")
    return folder


def toy_model(path: Path, widths: tuple[int, ...] = (8, 16)) -> Path:
    """Untrained weights: it finds something somewhere, the same each time."""
    torch.manual_seed(3)
    architecture = {"kind": "organs", "organs": len(ORGANS), "encoder": {"widths": list(widths)}}
    preprocessing = Preprocessing((4.0, 4.0, 4.0), ((-1000.0, -1.0), (1000.0, 1.0)), "CT")
    card = {"title": "A toy", "data": "nothing", "licence": "CC0", "dice": {"brainstem": 0.5, "mandible": 0.7},
            "volume_ranges": {"rate": 0.9, "cases": 15, "factors": {"brainstem": 1.5}}}
    save_model(Model(build(architecture).eval(), architecture, preprocessing, ORGANS, (16, 16, 16), card), path)
    return path


def toy_click_model(path: Path) -> Path:
    """Untrained: it gives the prior back as the prompts push it, which is a sensible answer already."""
    torch.manual_seed(4)
    architecture = {"kind": "refiner", "image_channels": 2, "classes": 1, "prompt_channels": PROMPT_CHANNELS, "widths": [8, 8, 16], "step_widths": [8, 8]}
    preprocessing = Preprocessing((2.0, 2.0, 2.0), ((-1000.0, -1.0), (1000.0, 1.0)), "CT")
    card = {"name": "toy-clicks", "refiner": RefinerCard(levels=8).to_dict(), "click": {"spacings_mm": list(SPACINGS_MM)}}
    save_model(Model(build(architecture).eval(), architecture, preprocessing, (), (16, 16, 16), card), path)
    return path
