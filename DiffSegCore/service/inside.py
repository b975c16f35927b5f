"""A worker that is no process: a thread of this one, for tests and for runs without a window. It cannot be killed, only left alone."""
from __future__ import annotations

import importlib
import json
import logging
import threading
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Any, Mapping

import numpy as np

from ..errors import Cancelled
from .failures import failure_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Private:
    """What a block of shared memory is between processes."""

    array: np.ndarray

    def free(self) -> None:
        pass


class PrivateBlocks:
    """As `memory.Blocks`, for one process."""

    def put(self, array: np.ndarray) -> Private:
        return Private(np.array(array))

    def free_all(self) -> None:
        pass


class InsideWorker:
    """As `ProcessWorker`; its engine lives in a thread."""

    def __init__(self, engine: str) -> None:
        self.gone, self.why = False, ""
        self._calls: Queue[tuple[Any, ...] | None] = Queue()
        self._said: Queue[dict[str, Any]] = Queue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._work, args=(engine,), daemon=True, name="DiffSeg engine").start()

    @property
    def came_up(self) -> bool:
        return True

    @property
    def ready(self) -> bool:
        return not self.gone

    def send(self, number: int, name: str, arguments: Mapping[str, Any], blocks: Mapping[str, Private]) -> None:
        self._calls.put((number, name, dict(arguments), {key: block.array for key, block in blocks.items()}))

    def cancel(self, number: int) -> None:
        self._cancelled.add(number)

    def heard(self, wait: float = 0.0) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        try:
            while not self.gone:
                messages.append(self._said.get(timeout=wait) if wait and not messages else self._said.get_nowait())
        except Empty:
            pass
        return messages

    def end(self) -> None:
        """Its thread stops at the next progress report; what it says until then, nobody hears."""
        self.gone = True
        self._calls.put(None)

    def _work(self, engine: str) -> None:
        answering: Any = None
        while (call := self._calls.get()) is not None:
            number, name, arguments, arrays = call
            try:
                self._report(number, 0.0, "Working")
                answering = answering or load_engine(engine)
                result, given = answering.call(name, arguments, arrays, lambda fraction, stage: self._report(number, fraction, stage))
                plain = json.loads(json.dumps(result))  # what would not survive the way to a process, fails here too
                self._said.put({"call": number, "result": plain, "arrays": {key: np.array(value) for key, value in given.items()}})
            except BaseException as error:
                self._said.put({"call": number, **described(error, name)})

    def _report(self, number: int, fraction: float, stage: str) -> None:
        if self.gone or number in self._cancelled:
            raise Cancelled
        self._said.put({"call": number, "progress": fraction, "stage": stage})


def load_engine(name: str) -> Any:
    """A new object of the class that "module:class" names."""
    module, _, kind = name.partition(":")
    return getattr(importlib.import_module(module), kind)()


def described(error: BaseException, name: str) -> dict[str, str]:
    """What is told of an exception; what only programmers want to see goes into the log."""
    failure = failure_of(error)
    if failure.kind == "Crash":
        log.exception("%s failed", name)
    return {"error": failure.kind, "text": failure.text}
