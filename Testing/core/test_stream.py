"""Streaming: memory stays under its bound, and batches are the same whoever makes them."""
from __future__ import annotations

import gc
import resource
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.data.stream import Ahead, Shelf

STATM = Path("/proc/self/statm")


class Opened:
    def __init__(self, key: str) -> None:
        self.key = key


def a_shelf(limit: int, keys: str = "abcde") -> Shelf:
    return Shelf(keys, Opened, weigh=lambda key: 10, limit=limit)


def test_what_is_on_the_shelf_is_not_opened_again():
    shelf = a_shelf(limit=20)
    assert shelf[0] is shelf[0] and shelf[-1].key == "e" and len(shelf) == 5


def test_the_longest_unused_is_closed_when_the_bound_is_passed():
    shelf = a_shelf(limit=20)
    first, second = weakref.ref(shelf[0]), weakref.ref(shelf[1])
    shelf[0], shelf[2]
    gc.collect()
    assert shelf.weight == 20 and first() is not None and second() is None


def test_one_thing_larger_than_the_bound_is_still_handed_out():
    shelf = a_shelf(limit=5)
    assert shelf[3].key == "d" and shelf[4].key == "e" and shelf.weight == 10


def test_a_number_beyond_the_shelf_is_an_error():
    with pytest.raises(IndexError):
        a_shelf(20)[5]


@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's account of memory")
def test_closing_a_memory_map_gives_its_pages_back(tmp_path):
    """Resident memory after reading 16 volumes of 4 MB over a shelf of 8 MB."""
    resident = lambda: int(STATM.read_text().split()[1]) * resource.getpagesize()  # noqa: E731
    files = [tmp_path / f"{n}.npy" for n in range(16)]
    for file in files:
        np.save(file, np.ones((1 << 22,), np.uint8))
    shelf = Shelf(files, lambda file: np.load(file, mmap_mode="r"), weigh=lambda file: 1 << 22, limit=1 << 23)
    before = resident()
    for n in range(16):
        assert shelf[n].sum(dtype=np.int64) == 1 << 22
    assert resident() - before < 4 << 22


def batch_of(first: int, count: int) -> list[int]:
    time.sleep(.001 * (first % 3))
    return [number ** 2 for number in range(first, first + count)]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_are_the_same_whoever_makes_them(workers):
    with Ahead(batch_of, step=4, stop=40, workers=workers) as ahead:
        assert [ahead(first, 2) for first in range(0, 40, 4)] == [batch_of(first, 2) for first in range(0, 40, 4)]


def test_the_next_batch_is_made_while_this_one_is_learnt_from():
    made = threading.Event()

    def noted(first: int, count: int) -> int:
        if first == 4:
            made.set()
        return first

    with Ahead(noted, step=4, stop=8) as ahead:
        ahead(0, 4)
        assert made.wait(timeout=20) and ahead(4, 4) == 4


def test_a_jump_after_a_resume_is_served_and_nothing_beyond_the_end_is_made():
    asked = []
    with Ahead(lambda first, count: asked.append(first) or first, step=4, stop=100) as ahead:
        assert [ahead(first, 4) for first in (0, 88, 92, 96)] == [0, 88, 92, 96]
    assert max(asked) < 100


def test_an_error_reaches_the_one_who_asked():
    def broken(first: int, count: int) -> int:
        if first == 4:
            raise OSError("disk gone")
        return first

    with Ahead(broken, step=4, stop=40) as ahead:
        assert ahead(0, 4) == 0
        with pytest.raises(OSError, match="disk gone"):
            ahead(4, 4)


def test_seconds_of_waiting_are_counted():
    with Ahead(lambda first, count: time.sleep(.02), step=1, stop=9, workers=0) as ahead:
        ahead(0, 1)
        assert ahead.waited >= .02
