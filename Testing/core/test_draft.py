"""Labels while they change: boxes stay tight, and what fails leaves nothing behind."""
from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.draft import NOWHERE, Delta, Draft, union
from DiffSegCore.geometry import Box

CORNER, MIDDLE = Box((0, 0, 0), (2, 2, 2)), Box((1, 1, 1), (3, 4, 4))


@pytest.fixture
def draft() -> Draft:
    ids = np.zeros((4, 5, 6), np.uint8)
    ids[1:3, 1:4, 1:4] = 1
    return Draft.of(ids)


def full(box: Box, label: int) -> np.ndarray:
    return np.full(box.shape, label, np.uint8)


def test_boxes_are_tight_after_every_put(draft):
    assert draft.boxes == {1: MIDDLE}
    draft.put(Box((1, 0, 0), (3, 5, 2)), full(Box((1, 0, 0), (3, 5, 2)), 3))
    assert draft.boxes == {1: Box((1, 1, 2), (3, 4, 4)), 3: Box((1, 0, 0), (3, 5, 2))}
    draft.put(MIDDLE, full(MIDDLE, 0))
    assert draft.box_of(1) == NOWHERE and all(Box.of(draft.ids == label) == box for label, box in draft.boxes.items())


def test_a_failed_attempt_leaves_nothing_behind(draft):
    before = draft.ids.copy()
    with pytest.raises(KeyboardInterrupt):
        with draft.attempt():
            draft.put(CORNER, full(CORNER, 7))
            draft.put(MIDDLE, full(MIDDLE, 9))
            raise KeyboardInterrupt
    np.testing.assert_array_equal(draft.ids, before)
    assert draft.boxes == {1: MIDDLE}


def test_an_attempt_inside_another_fails_alone_and_succeeds_only_with_it(draft):
    before = draft.ids.copy()
    with pytest.raises(ValueError):
        with draft.attempt():
            with draft.attempt() as inner:
                draft.put(CORNER, full(CORNER, 7))
                assert inner.delta().box == CORNER
            with pytest.raises(KeyError):
                with draft.attempt():
                    draft.put(CORNER, full(CORNER, 8))
                    raise KeyError
            assert (draft.ids[CORNER.slices] == 7).all()
            raise ValueError
    np.testing.assert_array_equal(draft.ids, before)


def test_a_delta_is_as_tight_as_what_changed_and_goes_both_ways(draft):
    before = draft.ids.copy()
    with draft.attempt() as attempt:
        draft.put(MIDDLE, full(MIDDLE, 2))
        changed = full(MIDDLE, 1)
        changed[0, 0, 0] = 44
        draft.put(MIDDLE, changed)
        delta = attempt.delta()
    assert delta.box == Box((1, 1, 1), (2, 2, 2))
    after = draft.ids.copy()
    draft.put(delta.box, delta.ids(after=False))
    np.testing.assert_array_equal(draft.ids, before)
    draft.put(delta.box, delta.ids(after=True))
    np.testing.assert_array_equal(draft.ids, after)


def test_what_changes_nothing_has_no_box(draft):
    with draft.attempt() as attempt:
        draft.put(MIDDLE, full(MIDDLE, 1))
        assert attempt.delta().box == NOWHERE
    assert Delta.of(CORNER, full(CORNER, 1), full(CORNER, 1)).ids(after=True).size == 0


def test_a_union_holds_both_and_nothing_adds_nothing():
    assert union(CORNER, MIDDLE) == Box((0, 0, 0), (3, 4, 4))
    assert union(NOWHERE, MIDDLE) == union(MIDDLE, NOWHERE) == MIDDLE
