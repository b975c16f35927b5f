"""Segmentation in another process, warm and expendable: `Service` here, an `Engine` there, shared memory between them.

Whatever runs in the worker may crash, run out of memory or be stopped: the program that asked stays as it was. This side
needs the standard library and numpy only, starts no thread and never waits for the worker unless told to.
"""
from __future__ import annotations

from .call import Call, State
from .client import Service
from .failures import Failure

__all__ = ["Call", "Failure", "Service", "State"]
