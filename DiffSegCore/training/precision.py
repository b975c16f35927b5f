"""In which arithmetic a training multiplies."""
from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.fabric.plugins import MixedPrecision
from torch import nn

from ..errors import BadInput

log = logging.getLogger(__name__)


class Autocast(MixedPrecision):
    """bf16 within a network's products alone. Fabric's own rounds what a network is given, too: a prior's .999 to 1, 301 mm to 300."""

    def convert_input(self, data: Any) -> Any:
        return data

    def convert_module(self, module: nn.Module) -> nn.Module:
        """As it is, watched on a CPU: torch 2.13 makes the weight gradients of convolutions over two planes of memory that nobody wrote."""
        for each in module.modules() if self.device == "cpu" else ():
            if isinstance(each, nn.Conv3d) and each.kernel_size[0] > 1:
                each.register_forward_pre_hook(_no_two_planes)
        return module


def _no_two_planes(layer: nn.Module, given: tuple[Any, ...]) -> None:
    if given[0].shape[2] == 2 and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu"):
        raise BadInput("At its coarsest level this recipe's window has two planes, for which PyTorch's bf16 on CPUs computes wrong gradients; take --precision fp32.")


def arithmetic(wished: str, device: str) -> dict[str, Any]:
    """Fabric's arguments for "fp32", "bf16" or "auto" on "cpu", "cuda", "mps" or "auto".

    bf16 by itself where a GPU has it; on CPUs without AVX-512 BF16 it takes a multiple of fp32's time.
    """
    gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    if wished == "bf16" and not gpu and torch.backends.cpu.get_cpu_capability() in ("DEFAULT", "AVX2"):
        log.warning("This CPU has no AVX-512 BF16: with bf16 a step takes many times as long as with --precision fp32.")
    if wished == "bf16" or wished == "auto" and gpu and torch.cuda.is_bf16_supported():
        return {"plugins": Autocast("bf16-mixed", "cuda" if gpu else "cpu")}
    return {"precision": "32-true"}
