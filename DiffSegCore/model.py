"""A model: network, preprocessing, organs and card, kept in one safetensors file that runs no code when loaded.

The file's metadata holds one JSON text; its hash covers that text and every tensor, so that a flipped byte is noticed wherever it falls.
"""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from .errors import BadInput
from .files import atomic
from .foreign_file import is_foreign, read_foreign
from .networks import build
from .organs import ORGANS
from .packing import packed, unpacked
from .preprocess import Preprocessing

FORMAT = 1
KEY = "diffseg"
FIRST_OWN_ID = 200  # well above the organ table, so that a later table takes no id that label files already use


@dataclass(frozen=True)
class Model:
    """network: image (B, 1, k, j, i) -> logits (B, 1 + organs, k, j, i), channel 0 background, channel c = organs[c - 1];
    without organs it is a network of another kind, and says itself what it gives.

    architecture: plain values for `networks.build`; window: (k, j, i) voxels of a training patch;
    card: name, title, modality, data, licence, measured scores... ; sha256: of the file it came from, "" before it is saved.
    """

    network: nn.Module
    architecture: Mapping[str, Any]
    preprocessing: Preprocessing
    organs: tuple[str, ...]
    window: tuple[int, int, int]
    card: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    @property
    def ids(self) -> tuple[int, ...]:
        """Label id of each organ: the organ table's, or 200, 201, ... for names of the user's own that aren't in it."""
        return label_ids(self.organs)

    @property
    def channels(self) -> int:
        """How many values a voxel of its image has."""
        encoder = self.architecture.get("encoder", {})
        return self.architecture.get("image_channels", encoder.get("in_channels", 1))

    @property
    def flat(self) -> bool:
        """Whether it reads planes, of a picture or of a volume, instead of volumes."""
        return self.window[0] == 1


def label_ids(organs: Sequence[str]) -> tuple[int, ...]:
    """The id that label files carry for each: the organ table's, or 200, 201, ... for names that aren't in it."""
    own = [name for name in organs if name not in ORGANS]
    return tuple(ORGANS[name].id if name in ORGANS else FIRST_OWN_ID + own.index(name) for name in organs)


def save_model(model: Model, path: str | Path, *, bits: int = 32) -> str:
    """Write the model to `path` (.safetensors) and return its hash; bits: in how many a weight is stored, see `packing`."""
    tensors = packed(model.network.state_dict(), bits)
    described = {"format": FORMAT, "architecture": dict(model.architecture), "preprocessing": model.preprocessing.to_dict(),
                 "organs": list(model.organs), "window": list(model.window), "card": dict(model.card)}
    described["sha256"] = _digest(described, tensors)
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, metadata={KEY: json.dumps(described)}))  # save_file makes files that nobody else may read
    return described["sha256"]


def describe_model(path: str | Path) -> dict[str, Any]:
    """What the file says of itself, without reading its weights. BadInput where it isn't a DiffSeg model."""
    path = Path(path)
    if is_foreign(path):
        return read_foreign(path).describe()
    if not path.is_file():
        raise BadInput(f"model file {path} does not exist; `diffseg models` lists the ones that do")
    try:
        with safe_open(path, framework="pt") as file:
            described = json.loads((file.metadata() or {})[KEY])
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise BadInput(f"{path} is damaged or not a DiffSeg model ({type(error).__name__}: {error}); fetch or train it again") from error
    if described.get("format") != FORMAT:
        raise BadInput(f"{path} has model format {described.get('format')!r}, this version reads format {FORMAT}; update DiffSeg")
    return described


def load_model_file(path: str | Path) -> Model:
    """Read a model, weights as float32 on the CPU, in evaluation mode. BadInput gives the reason where the file is damaged or doesn't fit."""
    described = describe_model(path)
    if is_foreign(path):
        raise BadInput(f"{path} is another tool's model: it segments, and its labels take clicks, but it is not loaded as a network of DiffSeg's.")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise BadInput(f"{path} is damaged ({error}); fetch or train it again") from error
    claimed = described.pop("sha256", "")
    if _digest(described, tensors) != claimed:
        raise BadInput(f"{path} is damaged: its content does not have the hash that it states ({claimed[:12]}...); fetch or train it again")
    try:
        network = build(described["architecture"])
        network.load_state_dict(unpacked(tensors))
        model = Model(network.eval(), described["architecture"], Preprocessing.from_dict(described["preprocessing"]),
                      tuple(described["organs"]), tuple(described["window"]), described["card"], claimed)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{path} does not fit this version of DiffSeg: {error}") from error
    if (given := described["architecture"].get("organs", 0)) != len(model.organs):
        raise BadInput(f"{path} names {len(model.organs)} organs, its network has {given}; train it again")
    return model


def _digest(described: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
