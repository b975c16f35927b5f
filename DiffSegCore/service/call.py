"""One request to a service, from the asking to the answer."""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping, NamedTuple

import numpy as np

from .failures import Failure
from .memory import Block

if TYPE_CHECKING:
    from .client import Service

PAUSE_S = 0.02


class State(NamedTuple):
    """fraction 0..1 and stage, a sentence, of what runs; done: whether `result` has something to say."""

    fraction: float
    stage: str
    done: bool


class Call:
    """What `Service.submit` gives. Ask `poll` now and then, from a timer for example; nothing else moves it on."""

    def __init__(self, service: Service, number: int, name: str, arguments: Mapping[str, Any], blocks: Mapping[str, Block], *, inner: bool = False) -> None:
        """inner: the service asks it for itself, to restore a session."""
        self.number, self.name, self.arguments, self.blocks, self.inner = number, name, dict(arguments), dict(blocks), inner
        self.deadline: float | None = None  # when patience with a cancelled call ends
        self.taken = False  # whether a worker has begun with it
        self._service, self._fraction, self._stage = service, 0.0, "Waiting"
        self._answer: tuple[dict[str, Any], dict[str, np.ndarray]] | None = None
        self._failure: Failure | None = None

    @property
    def done(self) -> bool:
        return self._answer is not None or self._failure is not None

    def poll(self) -> State:
        """Where it stands, without waiting."""
        self._service.attend()
        return State(self._fraction, self._stage, self.done)

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is done within so many seconds (None: however long it takes)."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.done:
            left = PAUSE_S if until is None else min(PAUSE_S, until - time.monotonic())
            self._service.attend(max(left, 0.0))
            if not self.done and left <= 0:
                return False
        return True

    def result(self, timeout: float | None = None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Plain values and arrays (yours: nobody else writes to them); waits for them. Raises Failure, or TimeoutError."""
        if not self.wait(timeout):
            raise TimeoutError(f"{self.name} is not done after {timeout:g} s; it goes on")
        if self._failure is not None:
            raise self._failure
        return self._answer

    def cancel(self) -> None:
        """Ask it to stop. It is done within two seconds: with Failure("Cancelled"), or with its result where that was quicker."""
        if not self.done:
            self._service.cancel(self)

    def report(self, fraction: float, stage: str) -> None:
        self._fraction, self._stage = fraction, stage

    def succeed(self, result: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.report(1.0, "Done")
        self._answer = result, arrays

    def fail(self, failure: Failure) -> None:
        self._stage, self._failure = failure.text, failure
