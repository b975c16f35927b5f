"""Why a call failed: a kind for programs, a sentence for people. Nothing of a patient is in either."""
from __future__ import annotations

from pathlib import Path

from ..errors import BadInput, Cancelled

KINDS = ("BadInput", "OutOfMemory", "Cancelled", "Crash", "Busy")
_NO_ROOM = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")  # PyTorch says it so


class Failure(Exception):
    """kind: "BadInput" (asked for something impossible), "OutOfMemory", "Cancelled", "Crash" (the worker ended, or a fault of
    ours) or "Busy" (somebody else has the worker); text: a sentence with the way out.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text

    @property
    def spoils(self) -> bool:
        """Whether the worker that says so is better replaced by a fresh one."""
        return self.kind in ("OutOfMemory", "Crash")


def failure_of(error: BaseException) -> Failure:
    """The failure that an exception amounts to; of unexpected ones only kind and place are told, as their words may hold data."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, Cancelled):
        return Failure("Cancelled", "Stopped, as asked; nothing was changed.")
    if isinstance(error, BadInput):
        return Failure("BadInput", str(error))
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_ROOM):
        return Failure("OutOfMemory", "There was not enough memory; close other programs, crop the volume, or choose the device cpu.")
    if isinstance(error, ImportError):
        return Failure("BadInput", f"The worker's Python lacks the package {error.name or 'that it needs'} or has a broken one; repair it in Setup.")
    return Failure("Crash", f"Something unforeseen happened ({type(error).__name__} in {_place(error)}); what was segmented before is kept.")


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}" if trace else "an unknown place"
