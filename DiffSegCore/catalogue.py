"""The models that can be had: Resources/models.json, which also says what each is good for before it is fetched."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .errors import BadInput
from .files import file_hash
from .model import describe_model
from .resources import resource


@dataclass(frozen=True)
class Entry:
    """A model; `sha256` and `bytes` of its file, `place` an https address or a path below the models' folder of this installation.

    spacing_mm (K, J, I); dice: the mean over organs on the test cases, seconds: of one case on the machine that `measured_on` names.
    """

    name: str
    title: str
    modality: str
    organs: tuple[str, ...]
    spacing_mm: tuple[float, ...]
    bytes: int
    sha256: str
    place: str
    licence: str
    dice: float | None = None
    seconds: float | None = None
    measured_on: str = ""

    @property
    def is_remote(self) -> bool:
        return self.place.startswith(("https://", "http://"))


def catalogue(path: Path | None = None) -> dict[str, Entry]:
    """Entries by name; empty where no catalogue ships. BadInput where it is damaged."""
    path = path or resource("models.json")
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["models"]
        return {row["name"]: Entry(**{**row, "organs": tuple(row["organs"]), "spacing_mm": tuple(row["spacing_mm"])}) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"The catalogue of models {path} is damaged ({error}); install DiffSeg again.") from error


def entry_of(path: Path, *, place: str | None = None, seconds: float | None = None, measured_on: str = "") -> Entry:
    """What the catalogue says of a model file; the rest stands in the file's card."""
    described = describe_model(path)
    card, preprocessing = described["card"], described["preprocessing"]
    measured = card.get("dice")
    if isinstance(measured, dict):
        measured = round(math.fsum(measured.values()) / len(measured), 4) if measured else None
    return Entry(path.stem, card.get("title", ""), preprocessing["modality"], tuple(described["organs"]), tuple(preprocessing["spacing_mm"]),
                 path.stat().st_size, file_hash(path), place or path.name, card.get("licence", ""), measured, seconds, measured_on)


def written(entries: list[Entry]) -> str:
    """The catalogue's text."""
    rows: list[dict[str, Any]] = [asdict(entry) for entry in sorted(entries, key=lambda each: each.name)]
    return json.dumps({"format": 1, "models": rows}, indent=2) + "\n"
