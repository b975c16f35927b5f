"""Many volumes, one after the other or side by side: what `diffseg batch` and the headless Slicer do."""

from __future__ import annotations

from .cases import BatchCase, find_cases
from .run import Tally, run_batch
from .work import FORMATS, Job, run_case

__all__ = ["FORMATS", "BatchCase", "Job", "Tally", "find_cases", "run_batch", "run_case"]
