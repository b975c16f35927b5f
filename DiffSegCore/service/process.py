"""The worker as its client sees it: a process to start without waiting, to talk to over the local loopback, and to kill.

Messages are JSON, never pickles: nothing in them can run code or need a package on the other side. The worker listens; where,
it writes into a block of shared memory; the key it was told on its standard input, which no other process sees.
"""
from __future__ import annotations

import json
import logging
import os
import secrets
import subprocess
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from .memory import Block, Blocks, attach, unlink
from .wire import LOST, connect, receive, send

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]  # where DiffSegCore lies
# DiffSegCore comes from here, all else from where the worker's Python has it: what lies beside DiffSegCore stays out of reach.
START = ("import sys, runpy; sys.path[:] = [sys.argv.pop(1), *filter(None, sys.path)]; import DiffSegCore.service; del sys.path[0]; "
         "runpy.run_module('DiffSegCore.service', run_name='__main__')")
START_S = 60.0  # a cold disk and a virus scanner; what takes longer never comes
LINES = 40  # of what the worker wrote, for the log
# glibc hands large blocks back to Linux at once, which clears them anew for every click. They are kept instead, in huge pages where Linux
# has some, which take less looking up; after a long call the worker hands back what is free. Other systems don't read these.
KEEPING = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TOP_PAD_": str(2 ** 28), "MALLOC_TRIM_THRESHOLD_": str(2 ** 31 - 1), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
ANSWERS = 4  # arrays of one answer at most


class ProcessWorker:
    """A worker process; `ready` once it can be asked, `gone` when it ended, `why` then says why."""

    def __init__(self, python: str, environment: Mapping[str, str], engine: str, blocks: Blocks) -> None:
        """engine: "module:class" of what answers there. Raises OSError where the Python cannot be started."""
        self.gone, self.why = False, ""
        self._blocks, self._answers = blocks, {}
        self._connection: Connection | None = None
        self.key, self._began = secrets.token_bytes(32), time.monotonic()
        self._mailbox = blocks.put(np.zeros(1, np.int32))
        self._log = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen([python, "-c", START, str(ROOT)], stdin=subprocess.PIPE, stdout=self._log, stderr=self._log,
                                             env={**KEEPING, **environment}, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0))
        except OSError:
            self._log.close()
            self._mailbox.free()
            raise
        self._tell({"key": self.key.hex(), "mailbox": self._mailbox.described, "engine": engine, "prefix": blocks.prefix})

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; port 0 as long as it does not."""
        return "127.0.0.1", int(self._mailbox.array[0])

    @property
    def came_up(self) -> bool:
        """Whether it ever answered; one that did not would not the next time either."""
        return self._connection is not None

    @property
    def ready(self) -> bool:
        return self.came_up and not self.gone

    def send(self, number: int, name: str, arguments: Mapping[str, Any], blocks: Mapping[str, Block]) -> None:
        self._answers[number] = self._blocks.names(ANSWERS)
        self._post({"call": number, "name": name, "arguments": dict(arguments), "answers": self._answers[number],
                    "arrays": {key: block.described for key, block in blocks.items()}, "blocks": self._blocks.count})

    def cancel(self, number: int) -> None:
        self._post({"cancel": number})

    def heard(self, wait: float = 0.0) -> list[dict[str, Any]]:
        """What it said since, arrays included; waits up to so many seconds for something."""
        messages: list[dict[str, Any]] = []
        try:
            if self._connection is None:
                self._arrive(wait)
            while self.ready and self._connection.poll(0 if messages else wait):
                message = receive(self._connection)
                self._fetch(message)
                messages.append(message)
        except LOST:
            self._lost()
        return messages

    def end(self) -> None:
        """Kill it, and remove what it may have left."""
        self.gone = True
        if self._process.poll() is None:
            self._process.kill()
        try:
            self._process.wait(1.0)  # a killed process is gone within milliseconds, unless its device does not let it go
        except subprocess.TimeoutExpired:
            pass
        if self._connection is not None:
            self._connection.close()
        try:
            self._process.stdin.close()  # only now: a worker that lives would take it that its client is gone, and tidy up
        except OSError:  # the greeting never went out
            pass
        self._log.close()
        for name in (self._mailbox.name, *(name for names in self._answers.values() for name in names)):
            unlink(name)

    def _arrive(self, wait: float) -> None:
        """Connect as soon as the worker says where."""
        if self.address[1]:
            self._connection = connect(self.address, self.key)
        elif self._process.poll() is not None or time.monotonic() - self._began > START_S:
            self._lost()
        else:
            time.sleep(min(wait, 0.01))

    def _tell(self, greeting: Mapping[str, Any]) -> None:
        """On its standard input, which then stays open: when it closes, the worker knows that its client is gone."""
        try:
            self._process.stdin.write(json.dumps(greeting).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:  # it ended at once; `heard` says why
            pass

    def _post(self, message: Mapping[str, Any]) -> None:
        try:
            send(self._connection, message)
        except LOST:
            self._lost()

    def _fetch(self, message: dict[str, Any]) -> None:
        """Its arrays become the reader's own, and the shared memory is given back."""
        if "progress" not in message:
            message["arrays"] = {key: attach(described).array.copy() for key, described in message.get("arrays", {}).items()}
            self._post({"fetched": message["call"]})
            for name in self._answers.pop(message["call"], ()):
                unlink(name)

    def _lost(self) -> None:
        try:
            code = self._process.wait(0.2)  # the connection breaks a little before the process is gone
        except subprocess.TimeoutExpired:
            code = None
        words = [] if code is None else self._words()
        self.gone, self.why = True, self._ending(code, words[-1] if words else "")
        if words:
            log.warning("the worker's last words:\n%s", "\n".join(words[-LINES:]))

    def _ending(self, code: int | None, last: str) -> str:
        if not self.came_up:
            last = "it did not answer within a minute." if code is None else last
            return f"The worker could not be started with {self._process.args[0]}" + (f": {last}" if last else ".")
        if code is None:
            return "The worker no longer answered and was ended."
        if code == -9 or (os.name == "nt" and code == 1):
            return "The worker was ended from outside; most often the computer ran out of memory."
        return f"The worker ended unexpectedly ({f'signal {-code}' if code < 0 else f'code {code}'})."

    def _words(self) -> list[str]:
        """What it wrote on standard output and error; read only once it writes no more, as both sides share one position in the file."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace").strip().splitlines()
