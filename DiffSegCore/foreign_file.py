"""A model of another tool's: a small JSON file beside DiffSeg's own models says where it lies, what it gives, and which bytes were meant.

The weights stay where they are; they're found again by their hashes, so that nothing runs that was not added.
"""
from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping

from .errors import BadInput
from .files import atomic, file_hash
from .organs import organ

SUFFIX = ".foreign.json"
FORMAT = 1
KINDS = {"nnunet": "nnU-Net", "monai": "MONAI bundle", "torchscript": "TorchScript"}
RUNS_CODE = ("monai", "torchscript")  # what they are is a program, not only numbers


@dataclass(frozen=True)
class ForeignModel:
    """kind: a key of KINDS; place: the folder of its files; files: name below it -> SHA-256, of all that is read.

    organs: names; values: the number that the tool itself writes for each; preprocessing: as `Preprocessing.to_dict` gives it;
    bytes: of the files; trusted: somebody agreed that its code runs; settings: what its kind needs beside.
    """

    name: str
    kind: str
    place: str
    files: Mapping[str, str]
    organs: tuple[str, ...]
    values: tuple[int, ...]
    preprocessing: Mapping[str, Any]
    channels: int = 1
    title: str = ""
    licence: str = ""
    bytes: int = 0
    trusted: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def flat(self) -> bool:
        return False

    @property
    def card(self) -> dict[str, Any]:
        """What is known of it, in the words of a model's own card."""
        return {"name": self.name, "title": self.title or f"{self.name} ({KINDS[self.kind]})", "licence": self.licence,
                "data": f"added from {KINDS[self.kind]}, not measured by DiffSeg", "foreign": self.kind, "bytes": self.bytes,
                "prepares_itself": self.kind != "torchscript"}

    @property
    def sha256(self) -> str:
        """Of what it is and gives, wherever it lies and whatever it is called."""
        same = {**asdict(self), "name": "", "place": "", "trusted": False}
        return hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()

    def path(self, file: str) -> Path:
        return Path(self.place) / file

    def check(self) -> None:
        """Read every file once. BadInput where one is missing or another than when the model was added."""
        for name, wanted in self.files.items():
            path = self.path(name)
            if not path.is_file():
                raise BadInput(f"The model {self.name!r} misses its file {path}; put it back, or remove the model and add it again.")
            if file_hash(path) != wanted:
                raise BadInput(f"{path} is another file than when the model {self.name!r} was added; if that is meant, remove the model and add it again.")

    def describe(self) -> dict[str, Any]:
        """In the words of `describe_model`."""
        return {"format": FORMAT, "architecture": {"kind": self.kind, "organs": len(self.organs)}, "preprocessing": dict(self.preprocessing),
                "organs": list(self.organs), "window": [], "card": self.card, "sha256": self.sha256}


def is_foreign(path: str | Path) -> bool:
    return Path(path).name.endswith(SUFFIX)


def write_foreign(model: ForeignModel, path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **asdict(model)}, indent=2) + "\n", encoding="utf-8")


def read_foreign(path: str | Path) -> ForeignModel:
    """BadInput where the file is missing, damaged or of another version. Its name is the file's."""
    path = Path(path)
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.pop("format") != FORMAT:
            raise ValueError("it has another format")
        told = {**told, "organs": tuple(told["organs"]), "values": tuple(told["values"])}
        model = ForeignModel(**{**told, "name": path.name.removesuffix(SUFFIX)})
    except FileNotFoundError:
        raise BadInput(f"The model file {path} does not exist; `diffseg models` lists the ones that do.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is damaged ({type(error).__name__}: {error}); remove it and add the model again.") from error
    if model.kind not in KINDS or len(model.organs) != len(model.values):
        raise BadInput(f"{path} is damaged (kind {model.kind!r}, {len(model.organs)} organs); remove it and add the model again.")
    return model


def hashed(model: ForeignModel) -> ForeignModel:
    """With the hashes and sizes of its files as they are now."""
    paths = {name: model.path(name) for name in model.files}
    return replace(model, files={name: file_hash(path) for name, path in paths.items()}, bytes=sum(path.stat().st_size for path in paths.values()))


def organ_names(theirs: list[str]) -> tuple[str, ...]:
    """DiffSeg's names of another tool's labels: the organ table's where it knows them, each once."""
    names: list[str] = []
    for word in theirs:
        plain = re.sub(r"\W+", "_", word.strip()).strip("_").lower() or "label"
        try:
            name = organ(word).name
        except BadInput:
            name = plain
        free = [each for each in (name, plain, *(f"{plain}_{n}" for n in range(2, len(theirs) + 2))) if each not in names]
        names.append(free[0])
    return tuple(names)
