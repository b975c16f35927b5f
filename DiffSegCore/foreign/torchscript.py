"""A TorchScript network with a description beside it, as a model like DiffSeg's own.

The description, NAME.json beside NAME.ts or NAME.pt:
{"labels": {"1": "liver", "2": "spleen"}, "spacing_mm": [3, 1.5, 1.5], "window": [96, 96, 96], "modality": "CT",
 "intensity_knots": [[-1000, -1], [1000, 1]], "title": "...", "licence": "..."}
labels: of the channels after the background, channel 0; spacing_mm and window: (K, J, I); the network takes (B, 1, k, j, i), I to the
right, J to the front, K up, in the values of `intensity_knots` (see Preprocessing), and gives logits (B, 1 + labels, k, j, i).
"""
from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..foreign_file import ForeignModel, hashed, organ_names
from ..model import Model
from ..preprocess import Preprocessing
from .nnunet_folder import read_json

SUFFIXES = (".ts", ".pt")


def look(path: Path, name: str, modality: str = "") -> ForeignModel:
    """The network in a file, with its hashes; runs nothing of it. BadInput where the description is missing or senseless."""
    path = path.resolve()
    if path.suffix not in SUFFIXES or not path.is_file():
        raise BadInput(f"{path} is not a TorchScript file ({' or '.join(SUFFIXES)}); name the file, with its description {path.stem}.json beside it.")
    told = read_json(path.with_suffix(".json"))
    try:
        labels = {int(channel): str(label) for channel, label in told["labels"].items()}
        window = tuple(map(int, told["window"]))
        preprocessing = Preprocessing(tuple(told["spacing_mm"]), tuple(map(tuple, told["intensity_knots"])), modality or told.get("modality", "CT"))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path.with_suffix('.json')} needs labels, spacing_mm, window and intensity_knots ({type(error).__name__}: {error}); "
                       "docs/ForeignModels.md shows one.") from error
    if sorted(labels) != list(range(1, len(labels) + 1)) or len(window) != 3 or min(window) < 1:
        raise BadInput(f"{path.with_suffix('.json')} has labels {sorted(labels)} and window {window}; labels count 1, 2, 3, and a window is three sides.")
    values = tuple(sorted(labels))
    return hashed(ForeignModel(name, "torchscript", str(path.parent), dict.fromkeys((path.name, f"{path.stem}.json"), ""),
                               organ_names([labels[n] for n in values]), values, preprocessing.to_dict(), 1, str(told.get("title", "")),
                               str(told.get("licence", "")), settings={"network": path.name, "window": list(window)}))


def load(model: ForeignModel) -> Model:
    """As a model of DiffSeg's own, on the CPU. It's a program: whoever calls this has agreed that it runs."""
    path = model.path(model.settings["network"])
    try:
        network = torch.jit.load(io.BytesIO(path.read_bytes()), map_location="cpu").eval()
    except (RuntimeError, ValueError, OSError) as error:
        raise BadInput(f"{path} is not a TorchScript network ({str(error).splitlines()[0]}); save it with torch.jit.save.") from error
    return Model(Checked(network, 1 + len(model.organs), path.name), {"kind": "torchscript"}, Preprocessing.from_dict(model.preprocessing), model.organs,
                 tuple(model.settings["window"]), model.card, model.sha256)


class Checked(nn.Module):
    """The network, and a sentence where it gives something else than its description says."""

    def __init__(self, network: nn.Module, channels: int, name: str) -> None:
        super().__init__()
        self.network, self.channels, self.name = network, channels, name

    def forward(self, image: Tensor) -> Tensor:
        try:
            logits: Any = self.network(image)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise BadInput(f"{self.name} cannot take a window of {tuple(image.shape[2:])} voxels ({str(error).strip().splitlines()[-1]}); "
                           "correct the window in its description.") from error
        wanted = (len(image), self.channels, *image.shape[2:])
        if not isinstance(logits, Tensor) or tuple(logits.shape) != wanted:
            given = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise BadInput(f"{self.name} gives {given} for a window, its description says {wanted}; correct the description.")
        return logits
