"""How an encoder is read: which network, at which noise level, with which noise."""
from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..data.cache import GridCase
from ..errors import BadInput
from ..features import NOISES, noised
from ..model import load_model_file
from ..networks import DiffusionEncoder
from ..networks.denoiser import BODY_LEVEL, CoordinateCode, GuidedDenoiser
from ..preprocess import Preprocessing

RANDOM, SCRATCH = "random", "scratch"  # in place of a model file
TOLD, UNTOLD, BESIDE = BODY = "told", "untold", "beside"  # a guided network is told coordinates, or not; or the probe gets them beside the features
SUFFIX = {TOLD: "", UNTOLD: "-untold", BESIDE: "+coordinates"}
OCTAVES = 4  # of the code in which a probe gets coordinates


@dataclass(frozen=True)
class Reading:
    """log_snr: the noise level that the encoder is told and the image has, None for the image as it is.

    noise: "keyed" adds normal noise that belongs to the voxel, so overlapping windows see the same; "zero" scales the image
    as the level says and adds none.
    """

    log_snr: float | None = None
    noise: str = "zero"

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise BadInput(f"noise is {' or '.join(map(repr, NOISES))}, not {self.noise!r}")

    def __str__(self) -> str:
        return "clean" if self.log_snr is None else f"logSNR {self.log_snr:g}, {self.noise} noise"

    @property
    def keep(self) -> float:
        """Chance that a voxel shows its clean value: sigmoid of the logSNR, 1 for a clean image."""
        return 1. if self.log_snr is None else float(torch.tensor(self.log_snr, dtype=torch.float64).sigmoid())

    def image(self, case: GridCase) -> Tensor:
        """The whole volume (1, k, j, i) as this reading shows it; the noise is a function of the case's name and the voxel."""
        image = torch.from_numpy(np.array(case.image, np.float32))[None, None]
        return noised(image, [(0, 0, 0)], self.log_snr, noise=self.noise, seed=zlib.crc32(case.name.encode()))[0]

    def noiseless(self) -> Reading:
        """The same level without noise: what fine-tuning starts from."""
        return Reading(self.log_snr, "zero")


class Reader(nn.Module):
    """A network at a fixed noise level: image (B, 1, k, j, i) and body coordinates (B, 3, k/4, j/4, i/4) or None -> pyramid."""

    def __init__(self, network: DiffusionEncoder | GuidedDenoiser, log_snr: float | None, body: str = TOLD) -> None:
        super().__init__()
        self.network, self.log_snr, self.body = network, log_snr, body
        self.code = CoordinateCode(OCTAVES)

    def forward(self, image: Tensor, body: Tensor | None = None) -> Sequence[Tensor]:
        level = None if self.log_snr is None else image.new_full((len(image),), self.log_snr)
        if isinstance(self.network, GuidedDenoiser):
            pyramid = self.network.features(image, level, body if self.body == TOLD else None)
        else:
            pyramid = self.network.features(image, level)
        if self.body == BESIDE:
            pyramid[BODY_LEVEL] = torch.cat([pyramid[BODY_LEVEL], self.code(body)], 1)
        return pyramid


@dataclass(frozen=True)
class Source:
    """Where features come from. widths: of its pyramid; key: in names of files; about: for the run record; body: one of BODY."""

    network: DiffusionEncoder | GuidedDenoiser
    widths: tuple[int, ...]
    key: str
    about: dict[str, Any]
    body: str = TOLD

    @property
    def stride(self) -> int:
        return 2 ** (len(self.widths) - 1)

    @property
    def scratch(self) -> bool:
        """Whether it is to be trained from the start."""
        return self.about["name"] == SCRATCH

    @property
    def denoises(self) -> bool:
        """Whether it was taught with noise, so that a noise level may be chosen for it."""
        return isinstance(self.network, GuidedDenoiser)

    @property
    def wants_body(self) -> bool:
        """Whether body coordinates have to be there to read it."""
        return self.body == BESIDE or self.body == TOLD and self.denoises and self.network.guide is not None

    def reader(self, reading: Reading) -> Reader:
        return Reader(self.network, reading.log_snr, self.body)

    def with_body(self, body: str, coordinates: str) -> Source:
        """This source with another use of coordinates, those of the model with that hash ("" for none)."""
        source = replace(self, body=body)
        if not source.wants_body:
            coordinates = ""
        elif not coordinates:
            raise BadInput(f"{self.about['name']} is read with body coordinates: give the model that makes them with --coordinates")
        widths = [width + (CoordinateCode(OCTAVES).width if body == BESIDE and n == BODY_LEVEL else 0) for n, width in enumerate(self.widths)]
        about = {**self.about, "name": self.about["name"] + SUFFIX[body], "body": body, "coordinates": coordinates}
        return replace(source, widths=tuple(widths), key=f"{self.key}{SUFFIX[body]}-{coordinates[:8]}".rstrip("-"), about=about)


def open_source(name: str, widths: Sequence[int], preprocessing: Preprocessing) -> Source:
    """The encoder of a model file, or "random" or "scratch" with these widths. BadInput where the file doesn't fit the recipe."""
    if name in (RANDOM, SCRATCH):
        encoder = random_encoder(widths) if name == RANDOM else DiffusionEncoder(widths=widths)
        return Source(encoder, tuple(widths), f"{name}-{'-'.join(map(str, widths))}", {"name": name, "widths": list(widths)})
    model = load_model_file(name)
    if model.preprocessing != preprocessing:
        raise BadInput(f"{name} was trained on another grid or other values ({model.preprocessing.to_dict()}) than this recipe's "
                       f"({preprocessing.to_dict()}); take the recipe that it was made for")
    network = model.network.encoder if model.organs else model.network
    if not hasattr(network, "features"):
        raise BadInput(f"{name} holds {model.architecture['kind']}, which have no pyramid of features; give it an encoder or a denoiser")
    widths = getattr(network, "encoder", network).widths
    about = {"name": Path(name).stem, "widths": list(widths), "sha256": model.sha256, "training": model.card.get("training", {})}
    return Source(network, tuple(widths), f"{Path(name).stem}-{model.sha256[:12]}", about)


def random_encoder(widths: Sequence[int], seed: int = 0) -> DiffusionEncoder:
    """An untrained encoder whose residual blocks do something: as they start they are the identity, and all else is linear."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = DiffusionEncoder(widths=widths)
        for block in (*encoder.encode, *encoder.decode):
            block.second[-1].reset_parameters()
    return encoder
