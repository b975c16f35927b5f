"""How long work says how far it is, and how it is stopped: a callback that may raise `Cancelled`."""

from __future__ import annotations

from typing import Callable

Progress = Callable[[float, str], None]  # (fraction 0..1, stage sentence)


def silent(fraction: float, stage: str) -> None:
    """The progress callback of a caller who does not want to know."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """A callback for one stage: its 0..1 becomes `start`..`stop` of the whole."""

    def report(fraction: float, stage: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), stage)

    return report
