"""The side that asks: one warm worker, calls in their order, a session that survives the worker."""
from __future__ import annotations

import atexit
import json
import logging
import time
from collections import deque
from typing import Any, Mapping

import numpy as np

from ..errors import BadInput, Cancelled
from ..progress import Progress, silent
from .call import Call
from .failures import Failure
from .inside import InsideWorker, PrivateBlocks
from .journal import Entry, Journal
from .memory import Blocks, sweep
from .process import ProcessWorker
from .pythons import environment, find_python

log = logging.getLogger(__name__)
ENGINE = "DiffSegCore.engine:Engine"
GRACE_S = 1.7  # how long a cancelled call may take to stop by itself; with the killing it is below two seconds
MOST_TRIES = 3
STOPPED = Failure("Cancelled", "Stopped, as asked; nothing was changed.")
LOST = "The session could not be restored after the worker ended; choose the volume and its segments again."


class Service:
    """A worker, started by the first call and replaced whenever it ends; a context manager.

    No thread is started: `Call.poll`, `Call.wait` and `attend` move everything on, and belong to one thread. What the session
    went through is repeated in every new worker, so a crash costs the call that ran, nothing before it.
    """

    def __init__(self, python: str | None = None, env: Mapping[str, str] | None = None, inside: bool = False, *,
                 engine: str = ENGINE, grace_s: float = GRACE_S) -> None:
        """python: what runs the worker, found where None; env: its whole environment, this process's where None;
        inside: no process but a thread of this one; engine: "module:class" of what answers. Where no Python starts, calls fail.
        """
        self._python, self._env = python, environment(python, env)
        self._inside, self._engine, self._grace = inside, engine, grace_s
        self._blocks: Any = PrivateBlocks() if inside else Blocks()
        self._journal, self._queue, self._current = Journal(), deque(), None
        self._worker: ProcessWorker | InsideWorker | None = None
        self._number, self._closed, self.restarts, self._vain = 0, False, 0, 0
        atexit.register(self.close)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id; None inside, or while there is no worker."""
        return getattr(self._worker, "pid", None)

    @property
    def worker(self) -> ProcessWorker | InsideWorker | None:
        return self._worker

    @property
    def busy(self) -> bool:
        """Whether anything is asked for or being restored."""
        return self._current is not None or bool(self._queue)

    def submit(self, name: str, arguments: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray] | None = None) -> Call:
        """Ask for something: arguments are plain values, arrays are copied. Calls are answered in their order."""
        if self._closed:
            raise Failure("BadInput", "The service is closed; make a new one.")
        plain, blocks = json.loads(json.dumps(arguments or {})), {}
        try:
            for key, array in (arrays or {}).items():
                blocks[key] = self._blocks.put(array)
        except BaseException:
            _free(blocks)
            raise
        call = self._new(name, plain, blocks)
        self._queue.append(call)
        if self._worker is None:
            self._revive()
        if not call.done and not self._worker.ready:
            call.report(0.0, "Starting the worker")
        self.attend()
        return call

    def call(self, name: str, arguments: Mapping[str, Any] | None = None, arrays: Mapping[str, np.ndarray] | None = None, *,
             progress: Progress = silent) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """`submit`, and wait for the result. A progress that raises Cancelled cancels the call, and so does Ctrl+C."""
        call = self.submit(name, arguments, arrays)
        try:
            while not call.wait(0.05):
                progress(*call.poll()[:2])
        except (Cancelled, KeyboardInterrupt):
            call.cancel()
            call.wait()
            raise
        return call.result()

    def cancel(self, call: Call) -> None:
        """See `Call.cancel`."""
        if call is self._current:
            if call.deadline is None:
                call.deadline = time.monotonic() + self._grace
                self._worker.cancel(call.number)
        elif call in self._queue:
            self._queue.remove(call)
            self._fail(call, STOPPED)

    def close(self) -> None:
        """End the worker and give all shared memory back; open calls fail."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if self._worker is not None:
            self._worker.end()
        self._fail_all(Failure("Cancelled", "The service was closed."))
        self._journal.clear()
        self._blocks.free_all()

    def attend(self, wait: float = 0.0) -> None:
        """Hear the worker, notice its end, give it the next call. Waits up to so many seconds for something to happen."""
        if self._closed or self._worker is None:
            return
        for message in self._worker.heard(wait):
            self._take(message)
        if self._worker is None:
            return
        overdue = self._current is not None and self._current.deadline is not None and time.monotonic() > self._current.deadline
        if overdue:
            self._refused(self._current, Failure("Cancelled", "Stopped, as asked; the worker is being restarted."))
        if overdue or self._worker.gone:
            self._replace()
        if self._worker is not None and self._worker.ready and self._current is None and self._queue:
            self._send(self._queue.popleft())

    def _start(self) -> None:
        """Failure where there is no Python, or no room for its first block."""
        if self._inside:
            self._worker = InsideWorker(self._engine)
            return
        sweep()
        try:
            self._worker = ProcessWorker(find_python(self._python), self._env, self._engine, self._blocks)
        except BadInput as error:
            raise Failure("BadInput", str(error)) from error
        except OSError as error:
            raise Failure("BadInput", f"The worker cannot be started ({error.strerror or error}); choose another Python.") from error

    def _send(self, call: Call) -> None:
        self._current = call
        call.report(0.0, "Working")
        if call.inner:
            left = sum(each.inner for each in self._queue) + 1
            for each in self._queue:
                each.report(0.0, f"Restoring the session, {left} steps to go")
        self._worker.send(call.number, call.name, call.arguments, call.blocks)

    def _take(self, message: Mapping[str, Any]) -> None:
        call = self._current
        if call is None or message["call"] != call.number:  # the last words of a call that was given up
            return
        call.taken = True
        if "progress" in message:
            call.report(message["progress"], message["stage"])
        elif "unfit" in message:  # it never had an engine; once that is repaired, the next call starts another
            worker, self._worker = self._worker, None
            worker.end()
            self._fail_all(Failure(message["error"], message["text"]))
        elif "error" not in message:
            self._succeed(call, message["result"], message["arrays"])
        elif (failure := Failure(message["error"], message["text"])).spoils and call.inner:
            self._worker.gone, self._worker.why = True, failure.text
        else:
            self._refused(call, failure)
            if failure.spoils:
                self._worker.gone, self._worker.why = True, failure.text

    def _succeed(self, call: Call, result: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self._current = None
        if not call.inner:
            self._vain = 0
            try:
                self._journal.note(Entry(call.name, call.arguments, call.blocks), result, arrays, self._blocks)
            except Failure as failure:  # no room to keep what a restart would need: the result itself is whole
                log.warning("the session will not survive the end of its worker: %s", failure.text)
        call.succeed(result, arrays)

    def _refused(self, call: Call, failure: Failure) -> None:
        """The running call has failed; where that was one of the restoring, the session is lost."""
        self._current, self._vain = None, 0
        if call.inner:
            log.error("the session is lost: %s failed (%s)", call.name, failure.text)
            self._journal.clear()
            self._fail_all(Failure("Crash", LOST))
        else:
            self._fail(call, failure)

    def _replace(self) -> None:
        """The worker is gone or has to go: another one, that hears the journal before anything else.

        A call that the old one had begun has failed; one that it never took is asked again. A worker that ends before it has
        answered anything is tried MOST_TRIES times.
        """
        worker, self._worker = self._worker, None
        worker.end()
        failure, call = Failure("Crash", worker.why or "The worker ended."), self._current
        self._current = None
        if call is not None and not call.inner and (call.taken or call.deadline is not None):
            self._vain = 0
            self._fail(call, failure if call.deadline is None else STOPPED)
        else:
            self._vain += 1
            if call is not None and not call.inner:
                self._queue.appendleft(call)
        if not worker.came_up or self._vain >= MOST_TRIES:
            self._abandon(call, failure)
            return
        self.restarts += 1
        log.warning("the worker is replaced: %s", worker.why or "a call had to be stopped")
        self._revive()

    def _abandon(self, call: Call | None, failure: Failure) -> None:
        """No worker until somebody asks again; a session that ends every worker isn't tried again."""
        self._vain = 0
        if call is not None and call.inner:
            self._journal.clear()
            failure = Failure("Crash", LOST)
        self._fail_all(failure)

    def _revive(self) -> None:
        waiting = [call for call in self._queue if not call.inner]
        inner = [self._new(each.name, each.arguments, each.blocks, inner=True) for each in self._journal.entries]
        self._queue = deque([*inner, *waiting])
        try:
            self._start()
        except Failure as failure:
            self._fail_all(failure)

    def _new(self, name: str, arguments: Mapping[str, Any], blocks: Mapping[str, Any], *, inner: bool = False) -> Call:
        self._number += 1
        return Call(self, self._number, name, arguments, blocks, inner=inner)

    def _fail(self, call: Call, failure: Failure) -> None:
        call.fail(failure)
        if not call.inner:
            _free(call.blocks)

    def _fail_all(self, failure: Failure) -> None:
        waiting, self._queue = [*([self._current] if self._current else []), *self._queue], deque()
        self._current = None
        for call in waiting:
            self._fail(call, failure)


def _free(blocks: Mapping[str, Any]) -> None:
    for block in blocks.values():
        block.free()
