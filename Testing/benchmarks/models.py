"""The model that benchmarks run: the bundled one, or its architecture with random weights where there is none."""
from __future__ import annotations

import torch

from DiffSegCore.model import Model
from DiffSegCore.networks import build
from DiffSegCore.registry import load_model, model_files
from DiffSegCore.training.recipes import HEAD_NECK


def product_model() -> tuple[Model, bool]:
    """The model, and whether it is trained."""
    if HEAD_NECK.name in model_files():
        return load_model(HEAD_NECK.name), True
    torch.manual_seed(0)
    architecture = {"kind": "organs", "organs": len(HEAD_NECK.organs), "encoder": {"widths": list(HEAD_NECK.widths)}}
    return Model(build(architecture).eval(), architecture, HEAD_NECK.preprocessing, HEAD_NECK.organs, HEAD_NECK.window), False
