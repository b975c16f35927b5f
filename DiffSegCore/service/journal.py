"""What a worker has to hear again, in order, for its session to be as it was when the worker before it ended.

Prompts come with the answers they got, so restoring takes no longer than sending; the few calls that are computed again, such as
the removal of a prompt, give what they gave, as the same calls always do.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Protocol

import numpy as np

EDITS = ("click_model", "add_label", "prompt", "undo", "redo", "remove", "replay", "restore")
BEGINNINGS = ("click_model", "set_volume", "segment", "labels")  # what a session begins with, in this order


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
    """What the session began with, one of each, then every change since."""

    def __init__(self) -> None:
        self._begun: dict[str, Entry] = {}
        self._edits: list[Entry] = []

    @property
    def entries(self) -> list[Entry]:
        return [*(self._begun[name] for name in BEGINNINGS if name in self._begun), *self._edits]

    def note(self, entry: Entry, answer: Mapping[str, Any], arrays: Mapping[str, np.ndarray], keeper: Keeper) -> None:
        """After a call that went well; takes over its blocks."""
        if entry.name == "set_volume":
            self._begin("set_volume", entry)
        elif entry.name == "segment" and "labels" in arrays:  # minutes of work: its answer is kept, not asked for again
            entry.free()
            again = {key: answer[key] for key in ("names", "grid", "ranges") if key in answer}
            self._begin("segment", Entry("labels", again, {key: keeper.put(array) for key, array in arrays.items()}))
        elif entry.name == "labels":
            self._begin("labels", entry)
        elif entry.name == "click_model" and not self._edits:
            self._begin("click_model", entry)
        elif entry.name == "prompt" and answer.get("edit") and "labels" in arrays:  # its answer is small: it comes back exactly, and at once
            block = keeper.put(arrays["labels"])
            self._edits.append(Entry("prompt", {**entry.arguments, "box": answer["edit"]["box"]}, {"labels": block}))
        elif entry.name in EDITS:
            self._edits.append(entry)
        else:
            entry.free()

    def clear(self) -> None:
        for entry in self.entries:
            entry.free()
        self._begun, self._edits = {}, []

    def _begin(self, name: str, entry: Entry) -> None:
        """What came later in a session's beginning no longer counts, and no edit; a model chosen among the edits stays chosen."""
        later = BEGINNINGS[BEGINNINGS.index(name):] if name != "click_model" else (name,)
        for old in (*(self._begun.pop(each, None) for each in later), *self._edits):
            if old is not None and old.name != "click_model":
                old.free()
        chosen = [each for each in self._edits if each.name == "click_model"]
        if chosen:
            self._begun["click_model"] = chosen[-1]
        self._edits = []
        self._begun[name] = entry
