"""Networks as plain modules: tensors in, tensors out."""
from __future__ import annotations

from typing import Any, Mapping

from torch import nn

from .encoder import DiffusionEncoder
from .heads import OrganHead, OrganNetwork

__all__ = ["DiffusionEncoder", "OrganHead", "OrganNetwork", "build"]


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The network that an architecture of plain values describes: {"kind": "organs", "organs": 7, "encoder": {"widths": [...]}}.

    KeyError, TypeError or ValueError where the description is not one of ours.
    """
    if architecture["kind"] != "organs":
        raise ValueError(f"unknown kind of network {architecture['kind']!r}; this version builds 'organs'")
    encoder = DiffusionEncoder(**architecture["encoder"])
    return OrganNetwork(encoder, OrganHead(encoder.widths, int(architecture["organs"])))
