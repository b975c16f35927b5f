"""Networks as plain modules: tensors in, tensors out."""
from __future__ import annotations

from typing import Any, Mapping

from torch import nn

from .coordinates import BodyCoordinates
from .denoiser import GuidedDenoiser
from .encoder import DiffusionEncoder
from .heads import OrganHead, OrganNetwork
from .refiner import Context, Refiner

__all__ = ["BodyCoordinates", "Context", "DiffusionEncoder", "GuidedDenoiser", "OrganHead", "OrganNetwork", "Refiner", "build"]


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The network that an architecture of plain values describes: {"kind": "organs", "organs": 7, "encoder": {"widths": [...]}}.

    An organ network may carry a refiner: {"kind": "organs", ..., "refiner": {"classes": 8, "feature_widths": [...]}}.

    KeyError, TypeError or ValueError where the description is not one of ours.
    """
    kind = architecture["kind"]
    if kind not in _KINDS:
        raise ValueError(f"unknown kind of network {kind!r}; this version builds {', '.join(map(repr, _KINDS))}")
    return _KINDS[kind](**{name: value for name, value in architecture.items() if name != "kind"})


def _organs(*, organs: int, encoder: Mapping[str, Any], refiner: Mapping[str, Any] | None = None) -> OrganNetwork:
    trunk = DiffusionEncoder(**encoder)
    return OrganNetwork(trunk, OrganHead(trunk.widths, int(organs)), None if refiner is None else Refiner(**refiner))


def _denoiser(*, encoder: Mapping[str, Any], **guidance: Any) -> GuidedDenoiser:
    return GuidedDenoiser(DiffusionEncoder(**encoder), **guidance)


def _encoder(*, encoder: Mapping[str, Any]) -> DiffusionEncoder:
    return DiffusionEncoder(**encoder)


_KINDS = {"organs": _organs, "coordinates": BodyCoordinates, "denoiser": _denoiser, "encoder": _encoder,
          "refiner": Refiner}
