"""How an encoder is read: which network, at which noise level, with which noise."""
from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

import torch
from torch import Tensor, nn

from ..diffusion import VoxelFields
from ..errors import BadInput
from ..model import load_model_file
from ..networks import DiffusionEncoder
from ..preprocess import Preprocessing

RANDOM, SCRATCH = "random", "scratch"  # in place of a model file


@dataclass(frozen=True)
class Reading:
    """log_snr: the noise level that the encoder is told and the image has, None for the image as it is.

    noise: "keyed" adds normal noise that belongs to the voxel, so overlapping windows see the same; "zero" scales the image
    as the level says and adds none.
    """

    log_snr: float | None = None
    noise: str = "zero"

    def __post_init__(self) -> None:
        if self.noise not in ("keyed", "zero"):
            raise BadInput(f"noise is 'keyed' or 'zero', not {self.noise!r}")

    def __str__(self) -> str:
        return "clean" if self.log_snr is None else f"logSNR {self.log_snr:g}, {self.noise} noise"

    def of(self, image: Tensor, case: str) -> Tensor:
        """The whole volume (1, k, j, i) as this reading shows it; the noise is a function of the case's name and the voxel."""
        if self.log_snr is None:
            return image
        keep = torch.tensor(self.log_snr, dtype=torch.float64).sigmoid()
        shown = image * float(keep.sqrt())
        if self.noise == "zero":
            return shown
        field = VoxelFields.of(image.shape[1:], seeds=(zlib.crc32(case.encode()),))
        return shown + float((1 - keep).sqrt()) * field.normal(0)[0]

    def noiseless(self) -> Reading:
        """The same level without noise: what fine-tuning starts from."""
        return Reading(self.log_snr, "zero")


class Reader(nn.Module):
    """An encoder at a fixed noise level: image (B, 1, k, j, i) and body coordinates where it knows them -> pyramid."""

    def __init__(self, encoder: nn.Module, log_snr: float | None, guided: bool) -> None:
        super().__init__()
        self.encoder, self.log_snr, self.guided = encoder, log_snr, guided

    def forward(self, image: Tensor, body: Tensor | None = None) -> Sequence[Tensor]:
        level = None if self.log_snr is None else image.new_full((len(image),), self.log_snr)
        return self.encoder.features(image, level, body) if self.guided else self.encoder.features(image, level)


@dataclass(frozen=True)
class Source:
    """Where features come from. key: in names of files; guided: whether it reads body coordinates; about: for the run record."""

    encoder: nn.Module
    widths: tuple[int, ...]
    key: str
    guided: bool
    about: dict[str, Any]

    def reader(self, reading: Reading) -> Reader:
        return Reader(self.encoder, reading.log_snr, self.guided)


def open_source(name: str, widths: Sequence[int], preprocessing: Preprocessing) -> Source:
    """The encoder of a model file, or "random" or "scratch" with these widths. BadInput where the file doesn't fit the recipe."""
    if name in (RANDOM, SCRATCH):
        encoder = random_encoder(widths) if name == RANDOM else DiffusionEncoder(widths=widths)
        about = {"name": name, "pretext": name, "widths": list(widths)}
        return Source(encoder, tuple(widths), f"{name}-{'-'.join(map(str, widths))}", False, about)
    model = load_model_file(name)
    if model.preprocessing != preprocessing:
        raise BadInput(f"{name} was trained on another grid or other values ({model.preprocessing.to_dict()}) than this recipe's "
                       f"({preprocessing.to_dict()}); take the recipe that it was made for")
    network = getattr(model.network, "encoder", model.network) if model.organs else model.network
    if not hasattr(network, "features"):
        raise BadInput(f"{name} holds {model.architecture['kind']}, which has no pyramid of features; give it an encoder or a denoiser")
    kind = model.card.get("name", Path(name).stem)
    about = {"name": Path(name).stem, "pretext": kind, "widths": list(network.widths), "sha256": model.sha256,
             "training": model.card.get("training", {})}
    return Source(network, tuple(network.widths), f"{Path(name).stem}-{model.sha256[:12]}", reads_body(model.architecture), about)


def reads_body(architecture: Any) -> bool:
    """Whether the encoder takes body coordinates at its input."""
    return architecture.get("guidance", "none") in ("input", "both")


def random_encoder(widths: Sequence[int], seed: int = 0) -> DiffusionEncoder:
    """An untrained encoder whose residual blocks do something: as they start they are the identity, and all else is linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = DiffusionEncoder(widths=widths)
        for block in (*encoder.encode, *encoder.decode):
            block.second[-1].reset_parameters()
    return encoder
