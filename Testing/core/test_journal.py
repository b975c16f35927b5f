"""What is repeated to a fresh worker: enough for the session to be as it was, and no more."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from DiffSegCore.service.inside import Private, PrivateBlocks
from DiffSegCore.service.journal import Entry, Journal

LABELS = np.ones((2, 2, 2), np.uint8)
EDIT = {"edit": {"box": [[0, 0, 0], [2, 2, 2]], "number": 1}}


class Noted(Journal):
    """A journal that is told of calls by name."""

    def __init__(self) -> None:
        super().__init__()
        self.freed: list[str] = []

    def hear(self, name: str, answer: dict[str, Any] | None = None, arrays: dict[str, np.ndarray] | None = None, **arguments: Any) -> None:
        freed = self.freed

        class Block(Private):
            def free(self) -> None:
                freed.append(name)

        self.note(Entry(name, arguments, {"image": Block(LABELS)}), answer or {}, arrays or {}, PrivateBlocks())

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self.entries]


@pytest.fixture
def journal() -> Noted:
    journal = Noted()
    for name in ("set_volume", "click_model"):
        journal.hear(name)
    return journal


def test_the_model_comes_before_the_volume_and_edits_in_their_order(journal):
    for name in ("prompt", "undo", "redo", "remove", "add_label"):
        journal.hear(name)
    assert journal.names == ["click_model", "set_volume", "prompt", "undo", "redo", "remove", "add_label"]


def test_what_changes_nothing_is_not_repeated_and_gives_its_memory_back(journal):
    for name in ("hello", "check", "next_place", "measure", "prompts", "save"):
        journal.hear(name)
    assert journal.names == ["click_model", "set_volume"] and len(journal.freed) == 6


def test_a_prompt_is_repeated_with_the_answer_that_it_got(journal):
    journal.hear("prompt", EDIT, {"labels": LABELS}, prompt={"kind": "point"})
    last = journal.entries[-1]
    assert last.arguments == {"prompt": {"kind": "point"}, "box": EDIT["edit"]["box"]}
    np.testing.assert_array_equal(last.blocks["labels"].array, LABELS)


def test_a_segmentation_is_repeated_as_labels_and_ends_what_was_before(journal):
    journal.hear("labels")
    journal.hear("prompt")
    journal.hear("segment", {"names": {"1": "liver"}, "grid": {}, "ranges": None, "organs": []}, {"labels": LABELS, "logits": LABELS})
    assert journal.names == ["click_model", "set_volume", "labels"] and journal.entries[-1].arguments == {"names": {"1": "liver"}, "grid": {}, "ranges": None}
    assert set(journal.entries[-1].blocks) == {"labels", "logits"} and set(journal.freed) == {"labels", "prompt", "segment"}


def test_labels_from_elsewhere_keep_the_segmentation_that_they_began_with(journal):
    journal.hear("segment", {"names": {}}, {"labels": LABELS})
    for _ in range(3):
        journal.hear("prompt")
        journal.hear("labels")
    assert journal.names == ["click_model", "set_volume", "labels", "labels"]


def test_a_model_chosen_in_the_middle_stays_chosen(journal):
    journal.hear("prompt")
    journal.hear("click_model", model="other")
    assert journal.names == ["click_model", "set_volume", "prompt", "click_model"]
    journal.hear("set_volume")
    assert journal.names == ["click_model", "set_volume"] and journal.entries[0].arguments == {"model": "other"}


def test_a_new_volume_gives_the_old_ones_memory_back(journal):
    journal.hear("labels")
    journal.hear("prompt")
    journal.hear("set_volume")
    assert sorted(journal.freed) == ["labels", "prompt", "set_volume"]
    journal.clear()
    assert journal.entries == [] and sorted(journal.freed) == ["click_model", "labels", "prompt", "set_volume", "set_volume"]
