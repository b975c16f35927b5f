"""Many volumes, one after the other or side by side: what `diffseg batch` and the headless Slicer do."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import BatchCase as BatchCase, find_cases as find_cases
    from .run import Tally as Tally, run_batch as run_batch
    from .work import FORMATS as FORMATS, Job as Job, run_case as run_case

# Lazy: a cluster's scheduler opens this package to pass cases on, and has no need of PyTorch for that.
_HOMES = {"BatchCase": "cases", "find_cases": "cases", "Tally": "run", "run_batch": "run", "FORMATS": "work", "Job": "work", "run_case": "work"}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
