"""Something that takes a while: a chain of calls to the worker, moved on by polling, so that the window never waits."""

from __future__ import annotations

import time
from typing import Any, Callable, Generator, NamedTuple

from DiffSegCore.errors import BadInput
from DiffSegCore.service import Failure

PAUSE_S = 0.01


class Asked(NamedTuple):
    """What a chain yields: a call of the service, and which part of the whole its progress is."""

    call: Any
    start: float = 0.0
    stop: float = 1.0


Chain = Generator[Asked, "tuple[dict, dict]", Any]


class Task:
    """Runs a chain: each call that it yields is waited for by `poll`, and its (result, arrays) sent back into it.

    `onDone(result)` or `onError(Failure)` is called once, from `poll` or already from the constructor. Callbacks may start the next task.
    """

    def __init__(self, chain: Chain, onProgress: Callable[[float, str], None] | None = None,
                 onDone: Callable[[Any], None] | None = None, onError: Callable[[Failure], None] | None = None) -> None:
        self._chain, self._asked = chain, None
        self._onProgress, self._onDone, self._onError = onProgress, onDone, onError
        self.done, self.result, self.error = False, None, None
        self._stopping = False
        self._advance(lambda: next(chain))

    def poll(self) -> bool:
        """Whether it is done; moves it on without waiting."""
        if not self.done:
            call = self._asked.call
            fraction, stage, answered = call.poll()
            if answered:
                self._takeAnswer(call)
            elif self._onProgress:
                self._onProgress(self._asked.start + fraction * (self._asked.stop - self._asked.start), stage)
        return self.done

    def cancel(self) -> None:
        """Ask it to stop; it ends with a Failure of kind "Cancelled" within two seconds, the scene as it was."""
        self._stopping = True
        if not self.done:
            self._asked.call.cancel()

    def wait(self, timeout: float | None = None) -> Any:
        """The result, once it is there: for scripts and tests. Raises its Failure, or TimeoutError."""
        until = None if timeout is None else time.monotonic() + timeout
        while not self.poll():
            if until is not None and time.monotonic() > until:
                raise TimeoutError(f"not done after {timeout:g} s; it goes on")
            time.sleep(PAUSE_S)
        if self.error is not None:
            raise self.error
        return self.result

    def _takeAnswer(self, call: Any) -> None:
        try:
            answer = call.result()
        except Failure as failure:
            self._advance(lambda failure=failure: self._chain.throw(failure))
        else:
            self._advance(lambda: self._chain.send(answer))

    def _advance(self, step: Callable[[], Asked]) -> None:
        try:
            self._asked = step()
            if self._stopping:  # what it asked for before was answered just as it was stopped
                self._asked.call.cancel()
        except StopIteration as end:
            self.done, self.result = True, end.value
            if self._onDone:
                self._onDone(end.value)
        except BadInput as error:
            self._fail(Failure("BadInput", str(error)))
        except Failure as failure:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        self.done, self.error = True, failure
        if self._onError:
            self._onError(failure)
