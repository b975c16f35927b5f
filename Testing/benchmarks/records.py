"""Records of measurements: one JSON for each piece of work, made once for a model as it is, so that what was stopped goes on."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Callable

import torch

from DiffSegCore.files import atomic
from DiffSegCore.model import Model
from DiffSegCore.registry import load_model, model_files

Record = dict[str, Any]


def fingerprint(model: Model) -> str:
    """Of all that decides its answers. Not the file's own hash: that covers the card, into which the measurements go."""
    decisive = {"architecture": dict(model.architecture), "preprocessing": model.preprocessing.to_dict(), "organs": list(model.organs),
                "window": list(model.window), "card": {key: model.card.get(key) for key in ("smallest_piece", "refiner", "click")}}
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def asked_mark(model: Model) -> str:
    """`fingerprint`, and that of the body coordinates that the model's card names: they decide what is said of a volume."""
    name = model.card.get("coordinates_from")
    return fingerprint(model) + (fingerprint(load_model(name)) if name in model_files() else "")


def kept(path: Path, model: str, make: Callable[[], Record]) -> Record:
    """The record at `path`; made and written first where there is none of the model with that fingerprint."""
    if (found := _read(path)).get("model") == model:
        return found
    record = {"model": model, **make()}
    write(path, record)
    return record


def write(path: Path, values: Record) -> None:
    """JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(values, indent=1), encoding="utf-8")


def records_in(folder: Path, model: str) -> dict[str, Record]:
    """The records of that model in a folder, by their files' names, sorted."""
    found = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    return {name: record for name, record in found.items() if record.get("model") == model}


def markdown(rows: list[tuple[str, ...]]) -> str:
    """A table for Markdown that can be read in a terminal too: the first row is the head, the first column to the left."""
    widths = [max(3, *map(len, column)) for column in zip(*rows)]
    lines = ["| " + " | ".join(cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths))) + " |" for row in rows]
    rule = "|" + "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|"
    return "\n".join((lines[0], rule, *lines[1:]))


def _read(path: Path) -> Record:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or not whole: made anew
        return {}
