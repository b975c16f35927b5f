"""Run records: one JSON file for every probe, from which tables and figures are made later."""
from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..files import atomic
from .folding import Fold
from .probe_reading import BESIDE, BODY, SUFFIX, TOLD, Reading
from .probe_recipes import ProbeRecipe

FORMAT = 1
PROTOCOLS = ("linear", "nonlinear", "finetune")


@dataclass(frozen=True)
class Wish:
    """Which probe: of which encoder (a model file, "random" or "scratch"), how, with which share of the labels, and which luck.

    fold: which part of the labelled cases validates, None for the data set's own split. body: whether a guided encoder is "told" coordinates or "untold", or the probe gets them "beside" the features of any encoder.
    """

    encoder: str
    protocol: str
    labels: float = 1.
    seed: int = 0
    body: str = TOLD
    fold: Fold | None = None

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise BadInput(f"a protocol is one of {', '.join(PROTOCOLS)}, not {self.protocol!r}")
        if self.body not in BODY:
            raise BadInput(f"body coordinates are one of {', '.join(BODY)}, not {self.body!r}")
        if not 0 < self.labels <= 1:
            raise BadInput(f"the share of labelled cases is above 0 and at most 1, not {self.labels:g}")
        if self.body == BESIDE and self.protocol == "finetune":
            raise BadInput("coordinates beside the features are for frozen probes; leave --body out to fine-tune")
        if self.encoder == "scratch" and self.protocol != "finetune":
            raise BadInput("an encoder from scratch has to be trained: use --protocol finetune, or --encoder random for a frozen one")
        if self.encoder == "random" and self.protocol == "finetune":
            raise BadInput("a random encoder stays frozen: use --encoder scratch to train one from the start")

    @property
    def name(self) -> str:
        """Of the run's record and folder."""
        return f"{Path(self.encoder).stem}{SUFFIX[self.body]}-{self.protocol}-{100 * self.labels:g}-{self.seed}{f'-fold-{self.fold.name}' if self.fold else ''}"


def settings(recipe: ProbeRecipe, wish: Wish, encoder: dict[str, Any], reading: Reading | None) -> dict[str, Any]:
    """Everything that decides a run, as plain values: two runs with the same settings are the same run. reading: None if it is chosen."""
    told = {name: value for name, value in asdict(recipe).items() if name != "unread" or value}  # records are older than that
    values = {"recipe": told, "encoder": encoder, "protocol": wish.protocol, "labels": wish.labels, "seed": wish.seed,
              "reading": reading and asdict(reading), **({"fold": asdict(wish.fold)} if wish.fold else {})}
    return json.loads(json.dumps(values))  # tuples become lists, as they'll be read


def write_record(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **record}, indent=1), encoding="utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """BadInput names a file that is no record, or one of another version."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = record["format"] == FORMAT and {"settings", "validation", "seconds"} <= set(record)
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise BadInput(f"{path} is no run record ({type(error).__name__}: {error}); remove it and run the comparison again") from error
    if not known:
        raise BadInput(f"{path} is no run record of format {FORMAT}; remove it and run the comparison again")
    return record


def read_records(folder: Path) -> list[dict[str, Any]]:
    """The records in a folder, by file name."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]
