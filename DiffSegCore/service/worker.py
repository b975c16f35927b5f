"""The worker process: it answers one client's calls with an engine, one after another, and ends when that client goes.

Three threads: the first computes (it owns whatever a device keeps per thread), the second hears the client, so that a call can
be cancelled while it runs, the third waits for standard input to close, the surest sign that the client's process is gone.
"""
from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection, Listener
from queue import Queue
from typing import Any, Mapping, NoReturn

import numpy as np

from ..errors import Cancelled
from .inside import described, load_engine
from .memory import Block, attach, create, free_all
from .wire import LOST, receive, send, welcome

PATIENCE_S = 60.0  # for a client that started the worker and never came
PULSE_S = 0.05  # between two reports of progress
FAREWELL_S = 1.0  # between a lost connection and the end
LONG_S = 2.0  # of a call, after which memory that it freed goes back to the system
BUSY = {"error": "Busy", "text": "This worker serves another window; a new one is started for this one."}


class Worker:
    """key: of the connection; mailbox: where the port is written; engine: "module:class"; prefix: of the client's blocks."""

    def __init__(self, key: str, mailbox: Mapping[str, Any], engine: str, prefix: str) -> None:
        self._key, self._mailbox, self._engine, self._prefix = bytes.fromhex(key), attach(mailbox), engine, prefix
        self._calls: Queue[dict[str, Any]] = Queue()
        self._cancelled: set[int] = set()
        self._answers: dict[int, dict[str, Block]] = {}  # until they are fetched: on Windows they last only as long as they are held
        self._client: Connection | None = None
        self._choosing, self._blocks = threading.Lock(), 1

    def run(self) -> None:
        for work in (self._listen, self._watch):
            threading.Thread(target=work, daemon=True).start()
        failure, engine = None, None
        try:
            engine = load_engine(self._engine)
        except BaseException as error:  # a broken PyTorch: the client hears of it at its first call, and ends this worker
            failure = {**described(error, "the start"), "unfit": True}
        while True:
            call = self._calls.get()
            began = time.monotonic()
            self._answer(call, failure or self._outcome(engine, call))
            del call
            if time.monotonic() - began > LONG_S:
                _hand_back()

    def _outcome(self, engine: Any, call: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self.say({"call": call["call"], "progress": 0.0, "stage": "Working"})  # from here on, to end this process is to fail; before, not
            arrays = {key: self._given(call["name"], block) for key, block in call["arrays"].items()}
            result, found = engine.call(call["name"], call["arguments"], arrays, Pulse(self, call["call"]))
            blocks = {key: create(name, array) for name, (key, array) in zip(call["answers"], found.items())}
            self._answers[call["call"]] = blocks
            return {"result": result, "arrays": {key: block.described for key, block in blocks.items()}}
        except BaseException as error:
            return described(error, call["name"])

    @staticmethod
    def _given(name: str, block: Mapping[str, Any]) -> np.ndarray:
        """A volume is used where it lies, as its client keeps it for as long; anything else becomes the engine's own."""
        array = attach(block).array
        if name != "set_volume":
            return array.copy()
        array.flags.writeable = False
        return array

    def _answer(self, call: Mapping[str, Any], outcome: Mapping[str, Any]) -> None:
        self._cancelled.discard(call["call"])
        self.say({"call": call["call"], **outcome})

    def say(self, message: Mapping[str, Any]) -> None:
        try:
            send(self._client, message)
        except LOST:
            self._give_up()

    def is_cancelled(self, number: int) -> bool:
        return number in self._cancelled

    def _listen(self) -> None:
        with Listener(("127.0.0.1", 0), backlog=8) as listener:  # without a key here: the handshake of one keeps no other waiting
            self._mailbox.array[0] = listener.address[1]
            while True:
                try:
                    connection = listener.accept()
                except OSError:
                    continue
                threading.Thread(target=self._welcome, args=(connection,), daemon=True).start()

    def _welcome(self, connection: Connection) -> None:
        try:
            welcome(connection, self._key)
            with self._choosing:
                first = self._client is None
                self._client = self._client or connection
            if not first:
                send(connection, BUSY)
        except LOST:
            first = False
        if first:
            self._hear(connection)
        connection.close()

    def _hear(self, connection: Connection) -> None:
        while True:
            try:
                message = receive(connection)
            except LOST:
                self._give_up()
            if "cancel" in message:
                self._cancelled.add(message["cancel"])
            elif "fetched" in message:
                self._answers.pop(message["fetched"], None)
            else:
                self._blocks = message["blocks"]
                self._calls.put(message)

    def _watch(self) -> None:
        threading.Timer(PATIENCE_S, lambda: self._client or os._exit(0)).start()
        sys.stdin.buffer.read()
        free_all(self._prefix, self._blocks)  # the client's process is gone: nobody else removes its blocks
        os._exit(0)

    @staticmethod
    def _give_up() -> NoReturn:
        """The connection is gone: nothing here is worth finishing. If the client is, too, `_watch` hears of it and tidies up."""
        time.sleep(FAREWELL_S)
        os._exit(0)


class Pulse:
    """The progress of one call: told now and then, and the place where cancelling takes effect."""

    def __init__(self, worker: Worker, number: int) -> None:
        self._worker, self._number, self._told = worker, number, -PULSE_S

    def __call__(self, fraction: float, stage: str) -> None:
        if self._worker.is_cancelled(self._number):
            raise Cancelled
        if time.monotonic() - self._told >= PULSE_S:
            self._told = time.monotonic()
            self._worker.say({"call": self._number, "progress": float(fraction), "stage": stage})


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is meant for the client, which ends its worker
    faulthandler.enable(all_threads=False)  # a crash of a library leaves its place in what the client logs
    _die_first()
    Worker(**json.loads(sys.stdin.buffer.readline())).run()


def _hand_back() -> None:
    """Free memory that `process.KEEPING` had kept, to the system: a volume was read or segmented, and what follows is clicks."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, TypeError, AttributeError):  # no glibc
        pass


def _die_first() -> None:
    """Where memory runs out, Linux ends a process: better this one than the one that holds the scene."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("800")
    except OSError:  # no Linux
        pass
