"""An engine for tests of what lies round engines: it counts, waits, hurries, fills memory and dies as it is told."""
from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from DiffSegCore.errors import BadInput
from DiffSegCore.progress import Progress

ROOM = 64 << 20  # bytes


class StandIn:
    """A session of numbers: `prompt` adds one to the box of voxels it names, `undo` takes the last one back."""

    def __init__(self) -> None:
        self.volume: np.ndarray | None = None
        self.labels: np.ndarray | None = None
        self.done: list[int] = []

    def call(self, name: str, arguments: dict[str, Any], arrays: dict[str, np.ndarray], progress: Progress) -> tuple[dict, dict]:
        progress(0.0, f"{name} begins")
        return getattr(self, name)(progress=progress, **arguments, **arrays)

    def hello(self, progress: Progress) -> tuple[dict, dict]:
        return {"pid": os.getpid()}, {}

    def set_volume(self, progress: Progress, image: np.ndarray) -> tuple[dict, dict]:
        self.volume, self.labels, self.done = image, np.zeros(image.shape, np.uint16), []
        return {}, {}

    def segment(self, progress: Progress) -> tuple[dict, dict]:
        self.labels, self.done = (self._image() > 0).astype(np.uint16), []
        return {"names": {"1": "liver"}}, {"labels": self.labels}

    def labels_of(self, progress: Progress) -> tuple[dict, dict]:
        self._image()
        return {"done": self.done}, {"labels": self.labels.copy()}

    def prompt(self, progress: Progress, add: int, slowly: float = 0.0, deaf: float = 0.0, die: bool = False, fill: bool = False,
               fall: bool = False) -> tuple[dict, dict]:
        """slowly: seconds with progress reports; deaf: seconds without any; die: by signal 9; fill: all memory there is; fall: as a faulty library does."""
        self._image()
        until = time.monotonic() + slowly
        while time.monotonic() < until:
            progress(0.5, "Thinking")
            time.sleep(0.01)
        time.sleep(deaf)
        if die:
            os.kill(os.getpid(), signal.SIGKILL)
        if fall:
            import ctypes

            ctypes.string_at(0)
        if fill:
            _fill_memory()
        self.labels = self.labels + np.uint16(add)
        self.done.append(add)
        return {"number": len(self.done)}, {"labels": self.labels[:1]}

    def undo(self, progress: Progress) -> tuple[dict, dict]:
        self.labels = self.labels - np.uint16(self.done.pop())
        return {}, {}

    def echo(self, progress: Progress, **arrays: Any) -> tuple[dict, dict]:
        return {}, arrays

    def refuse(self, progress: Progress) -> tuple[dict, dict]:
        raise BadInput("the point (1, 2, 3) mm (RAS) is outside the volume")

    def stumble(self, progress: Progress) -> tuple[dict, dict]:
        raise KeyError("Jane Doe")

    def _image(self) -> np.ndarray:
        if self.volume is None:
            raise BadInput("There is no volume.")
        return self.volume


class Broken(StandIn):
    def __init__(self) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")


class Stillborn(StandIn):
    def __init__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def _fill_memory() -> None:
    """What is allowed is little more than what is used: filling all of a machine takes long, and others with it."""
    import resource

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    kept = []
    while True:
        kept.append(np.ones(ROOM // 8, np.uint8))
