"""A session in one file: start labels, prompts, and what each of them changed. Plain values; reading it runs no code."""
from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from .draft import Delta
from .errors import BadInput
from .files import atomic, naming
from .geometry import Box, Geometry
from .prompts import from_json, to_json
from .timeline import Entry, Trail
from .turn import Held

FORMAT = 1


@dataclass(frozen=True)
class Saved:
    """settings: JSON values of the session (names, seed, steps, locks, region, model); start: the labels before any prompt."""

    settings: Mapping[str, Any]
    geometry: Geometry
    start: Delta
    trail: Trail


def write_session(saved: Saved, path: str | Path) -> None:
    """BadInput where it cannot be written."""
    described = {"format": FORMAT, "settings": dict(saved.settings), "shape": saved.geometry.shape, "ijk_to_ras": saved.geometry.ijk_to_ras.tolist(),
                 "start": _corners(saved.start.box), "trail": [_described(entry) for entry in saved.trail]}
    with atomic(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr("session.json", json.dumps(described))
        for number, delta in enumerate([saved.start, *(entry.delta for entry in saved.trail)]):
            file.writestr(f"{number}.before", delta.before)
            file.writestr(f"{number}.after", delta.after)


def read_session(path: str | Path) -> Saved:
    """BadInput where the file is missing, damaged or of another version."""
    with naming(path):
        try:
            return _read(Path(path).read_bytes())
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise error if isinstance(error, BadInput) else BadInput(f"It is damaged or not a session ({error}); save the session again.") from error


def _read(content: bytes) -> Saved:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        described = json.loads(file.read("session.json"))
        if described["format"] != FORMAT:
            raise BadInput(f"It has session format {described['format']!r}, this version reads {FORMAT}; update DiffSeg.")
        geometry = Geometry(tuple(described["shape"]), np.array(described["ijk_to_ras"]))
        boxes = [described["start"], *(entry["box"] for entry in described["trail"])]
        deltas = [Delta(Box(*corners), file.read(f"{n}.before"), file.read(f"{n}.after")) for n, corners in enumerate(boxes)]
    for delta in deltas:
        delta.ids(after=True), delta.ids(after=False)
    prompts = [entry["prompt"] and Held.of(from_json(entry["prompt"]), geometry) for entry in described["trail"]]
    return Saved(described["settings"], geometry, deltas[0], tuple(map(Entry, prompts, deltas[1:])))


def _described(entry: Entry) -> dict[str, Any]:
    return {"prompt": entry.prompt and to_json(entry.prompt), "box": _corners(entry.delta.box)}


def _corners(box: Box) -> list[list[int]]:
    return [list(box.start), list(box.stop)]
