"""Segments to files: the worker writes them, from the voxels that the scene shows."""

from __future__ import annotations
from typing import Any, Sequence
from .Task import Asked, Chain


def exporting(session: Any, measured: Sequence[Any], folder: str, formats: tuple[str, ...]) -> Chain:
    yield Asked(None)
