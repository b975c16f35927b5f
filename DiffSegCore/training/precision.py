"""In which arithmetic a training multiplies."""
from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.fabric.plugins import MixedPrecision

log = logging.getLogger(__name__)


class Autocast(MixedPrecision):
    """bf16 within a network's products alone. Fabric's own rounds what a network is given, too: a prior's .998 to 1, millimetres to centimetres."""

    def convert_input(self, data: Any) -> Any:
        return data


def arithmetic(wished: str, device: str) -> dict[str, Any]:
    """Fabric's arguments for "fp32", "bf16" or "auto" on "cpu", "cuda", "mps" or "auto".

    bf16 by itself where a GPU has it; on CPUs without AVX-512 it takes a multiple of fp32's time. On those that have bf16, torch 2.13's
    weight gradients of images of 2 x 2 x 2 voxels are made of memory that nobody wrote: windows have to be 3 voxels wide at the coarsest level.
    """
    gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if wished == "bf16" and not gpu and torch.backends.cpu.get_cpu_capability() == "AVX2":
        log.warning("This CPU has no AVX-512: with bf16 a step takes many times as long as with --precision fp32.")
    if wished == "bf16" or wished == "auto" and gpu and torch.cuda.is_bf16_supported():
        return {"plugins": Autocast("bf16-mixed", "cuda" if gpu else "cpu")}
    return {"precision": "32-true"}
