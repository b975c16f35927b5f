"""The models that are here, read from their files' headers: neither PyTorch nor the worker is needed to list them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .CorePath import ensureCore

SUFFIX = ".safetensors"
_KEY = "diffseg"
_PARTS = ("refiner", "encoder", "denoiser", "coordinates")  # networks that give no organs on their own
_LONGEST_HEADER = 100_000_000  # bytes; safetensors itself allows no more


@dataclass(frozen=True)
class ModelFile:
    path: Path
    name: str
    title: str
    modality: str
    kind: str  # of network
    clicks: bool  # whether it answers clicks
    organs: tuple[str, ...]
    sha256: str
    bundled: bool
    bytes: int

    @property
    def megabytes(self) -> float:
        return self.bytes / 1e6


def folders() -> tuple[Path, ...]:
    """The bundled models' folder, then the user's own, which may not exist yet: new ones go into the first of them."""
    ensureCore()
    from DiffSegCore.resources import own_folders, resource

    return (resource("Models"), *own_folders())


def models() -> list[ModelFile]:
    """All readable models, bundled ones first; the user's own wins over a bundled one of its name; a broken file is left out."""
    bundled, *own = folders()
    found = {}
    for folder in (bundled, *own):
        found.update(_foreign(folder))
        for path in sorted(folder.glob("*" + SUFFIX)):
            described = _header(path)
            if described:
                found[path.stem] = _model(path, described, folder == bundled)
    return list(found.values())


def segmenting() -> list[ModelFile]:
    """The first of them is what the worker takes where none is named, if it is here."""
    from DiffSegCore.resources import DEFAULT

    return sorted((model for model in models() if model.kind not in _PARTS), key=lambda model: model.name != DEFAULT)


def clicking() -> list[ModelFile]:
    """The first of them is what the worker takes where none is named."""
    return [model for model in models() if model.clicks]


def add(file: str | Path) -> Path:
    """Copy a model file into the user's folder, whole or not at all; ValueError says why it is refused."""
    file, target = Path(file), folders()[1] / Path(file).name
    if not _header(file):
        raise ValueError(f"{file.name} is not a model of DiffSeg, or it is damaged.")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        shutil.copyfile(file, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def delete(model: ModelFile) -> None:
    if model.bundled:
        raise ValueError(f"{model.title} ships with DiffSeg and stays; remove the extension to be rid of it.")
    model.path.unlink()


def _header(path: Path) -> dict[str, Any]:
    """A model file's description; {} where it is no such file. Eight bytes of length, then JSON: the safetensors format."""
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            return json.loads(json.loads(stream.read(min(length, _LONGEST_HEADER)))["__metadata__"][_KEY])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _model(path: Path, described: dict[str, Any], bundled: bool) -> ModelFile:
    card = described.get("card", {})
    return ModelFile(path, path.stem, card.get("title") or path.stem, described["preprocessing"]["modality"],
                     described["architecture"]["kind"], "click" in card, tuple(described.get("organs", ())), described.get("sha256", ""), bundled,
                     path.stat().st_size)


def _foreign(folder: Path) -> dict[str, ModelFile]:
    """Other tools' models in a folder, by name: their small files say where the weights are, which stay there when one is deleted."""
    from DiffSegCore.errors import BadInput
    from DiffSegCore.foreign_file import SUFFIX as FOREIGN
    from DiffSegCore.foreign_file import read_foreign

    found = {}
    for path in sorted(folder.glob("*" + FOREIGN)):
        try:
            model = read_foreign(path)
        except BadInput:
            continue
        found[model.name] = ModelFile(path, model.name, model.card["title"], model.preprocessing.get("modality", ""), model.kind, False,
                                      model.organs, model.sha256, False, model.bytes)
    return found
