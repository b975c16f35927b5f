"""Thousands of volumes through a memory of fixed size: a shelf of what is open, and batches made ready ahead of their turn."""
from __future__ import annotations

import threading
import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Callable, Generic, Sequence, TypeVar

Key, Thing = TypeVar("Key"), TypeVar("Thing")


class Shelf(Sequence, Generic[Key, Thing]):
    """Opens the n-th thing when it is asked for, and closes those used longest ago while all open ones weigh more than `limit` bytes.

    For memory-mapped volumes that bounds the resident memory: a closed map gives its pages back. One shelf serves many threads.
    """

    def __init__(self, keys: Sequence[Key], open: Callable[[Key], Thing], weigh: Callable[[Key], int], limit: int) -> None:
        self.keys, self.open, self.weigh, self.limit = list(keys), open, weigh, limit
        self.weight = 0  # bytes of what is open
        self._things: OrderedDict[int, Thing] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, number: int) -> Thing:
        number = range(len(self))[number]
        with self._lock:
            if number not in self._things:
                self._things[number] = self.open(self.keys[number])
                self.weight += self.weigh(self.keys[number])
            self._things.move_to_end(number)
            self._make_room()
            return self._things[number]

    def _make_room(self) -> None:
        while self.weight > self.limit and len(self._things) > 1:  # the one asked for stays, however large
            oldest, _ = self._things.popitem(last=False)
            self.weight -= self.weigh(self.keys[oldest])


class Ahead:
    """batch_of(first, count) whose next batches are made by `workers` threads while the present one is learnt from.

    A batch is a function of its numbers, so whoever makes it, and whenever, it is the same. step: from one batch's first number
    to the next one's; stop: numbers from there on are not made ahead. No workers: every batch is made when it is asked for.
    Threads suffice, for the slow parts (reading, sampling, drawing noise) release Python's lock, and they share one shelf.
    `waited`: seconds that the caller spent here.
    """

    def __init__(self, batch_of: Callable[[int, int], Any], *, step: int, stop: int, workers: int = 1, depth: int = 2) -> None:
        self.batch_of, self.step, self.stop, self.depth = batch_of, step, stop, max(depth, workers)
        self.waited = 0.
        self._pending: dict[tuple[int, int], Future] = {}
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="batches") if workers else None

    def __call__(self, first: int, count: int) -> Any:
        began = time.monotonic()
        made = self._pending.pop((first, count), None)
        self._order(first, count)
        batch = made.result() if made else self.batch_of(first, count)
        self.waited += time.monotonic() - began
        return batch

    def _order(self, first: int, count: int) -> None:
        """Ask for the batches after this one, and no longer for those that nobody will fetch."""
        wanted = [(first + n * self.step, count) for n in range(1, self.depth + 1)] if self._pool else []
        for key in self._pending.keys() - set(wanted):
            self._pending.pop(key).cancel()
        for key in wanted:
            if key[0] < self.stop and key not in self._pending:
                self._pending[key] = self._pool.submit(self.batch_of, *key)

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._pool:
            self._pool.shutdown(wait=True, cancel_futures=True)
