"""The engine of the stress benchmark, in a file of its own: a worker that starts fifty times should load nothing else."""
from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import numpy as np

from DiffSegCore.engine import Answer, Engine
from DiffSegCore.progress import Progress
from DiffSegCore.service.worker import PULSE_S

FILLING = "Filling the memory"
ROOM = 64 << 20  # bytes a worker may take beyond what it has: filling a whole machine takes long, and others with it


class Pained(Engine):
    """An engine whose clicks can last, or fill the memory before they are done."""

    def on_prompt(self, progress: Progress, prompt: dict[str, Any], lasting: float = 0.0, fill: bool = False, **known: Any) -> Answer:
        answer = super().on_prompt(progress, prompt, **known)  # done, but never told: the worst moment
        until = time.monotonic() + lasting + 2 * PULSE_S * fill  # so that the next report gets through
        while time.monotonic() < until:
            time.sleep(0.01)
        if fill:
            progress(1.0, FILLING)
            _fill_memory()
        return answer


def _fill_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    kept = []
    while True:
        kept.append(np.ones(ROOM // 16, np.uint8))
