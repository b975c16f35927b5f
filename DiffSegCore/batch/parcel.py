"""A case on its way to a worker, packed so that whoever passes it on need not open it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import BatchCase
    from .work import Job


def pack(case: BatchCase, job: Job) -> bytes:
    return pickle.dumps((case, job))


def run_packed(parcel: bytes) -> dict[str, Any]:
    """The record of the case, computed here."""
    from .work import run_case

    return run_case(*pickle.loads(parcel))
