"""What a worker has to hear again, in order, for its session to be as it was when the worker before it ended.

The same calls on the same arrays give the same labels, voxel for voxel, and the same things to undo and redo.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Protocol

import numpy as np

EDITS = ("click_model", "add_label", "prompt", "undo", "redo", "remove", "replay", "restore")


class Kept(Protocol):
    array: np.ndarray

    def free(self) -> None: ...


class Keeper(Protocol):
    def put(self, array: np.ndarray) -> Kept: ...


@dataclass(frozen=True)
class Entry:
    """A call to be made again, with arrays that outlive the worker."""

    name: str
    arguments: dict[str, Any]
    blocks: dict[str, Kept] = field(default_factory=dict)

    def free(self) -> None:
        for block in self.blocks.values():
            block.free()


class Journal:
    """The model and volume, then the labels the session began with, then every change since."""

    def __init__(self) -> None:
        self._begun: dict[str, Entry] = {}  # "click_model", "set_volume", "labels": one of each
        self._edits: list[Entry] = []

    @property
    def entries(self) -> list[Entry]:
        return [*(self._begun[name] for name in ("click_model", "set_volume", "labels") if name in self._begun), *self._edits]

    def note(self, name: str, arguments: dict[str, Any], blocks: dict[str, Kept], answer: Mapping[str, Any],
             arrays: Mapping[str, np.ndarray], keeper: Keeper) -> None:
        """After a call that went well; takes over its blocks."""
        entry = Entry(name, arguments, blocks)
        if name in ("set_volume", "labels"):
            self._begin(entry)
        elif name == "segment" and "labels" in arrays:  # minutes of work: its answer is kept, not asked for again
            entry.free()
            names = {str(organ["id"]): organ["name"] for organ in answer.get("organs", ())}
            self._begin(Entry("labels", {"names": names}, {"labels": keeper.put(arrays["labels"])}))
        elif name == "click_model" and not self._edits:
            self._begun["click_model"] = entry
        elif name in EDITS:
            self._edits.append(entry)
        else:
            entry.free()

    def clear(self) -> None:
        for entry in self.entries:
            entry.free()
        self._begun, self._edits = {}, []

    def _begin(self, entry: Entry) -> None:
        """A volume or labels set anew: what was done to the ones before no longer counts."""
        for old in (self._begun.pop(entry.name, None), self._begun.pop("labels", None), *self._edits):
            if old is not None and old.name != "click_model":
                old.free()
        models = [each for each in self._edits if each.name == "click_model"]
        if models:
            self._begun["click_model"] = models[-1]
        self._edits = []
        self._begun[entry.name] = entry
