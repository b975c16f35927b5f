"""Weights that came in a pickle, read without running what a pickle may hold."""
from __future__ import annotations

import _codecs
import pickle
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import BadInput

try:
    from numpy._core import multiarray
except ImportError:  # numpy 1
    from numpy.core import multiarray

# What nnU-Net's training leaves beside the weights: curves and scores as numpy scalars and arrays. None of them runs code.
_NUMPY = (multiarray.scalar, multiarray._reconstruct)
_SAFE = (np.ndarray, np.dtype, _codecs.encode, *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary that `torch.save` wrote; BadInput where it is damaged or would have to run code to be read."""
    try:
        with _allowed():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path} is damaged or holds more than weights and plain values, and is not read, as that would run code from it ({reason}); "
                       "get it again from where it was published, or save its weights alone.") from error
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds a {type(content).__name__}, not the weights of a network; choose another file.")
    return content


def _allowed() -> AbstractContextManager[Any]:
    """What may be in the file beside tensors and plain values; nothing where PyTorch is too old to be told."""
    if not hasattr(torch.serialization, "safe_globals"):  # before 2.5
        return nullcontext()
    if tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6):
        return torch.serialization.safe_globals([*_SAFE, *_NUMPY])
    named = [(each, f"{home}.multiarray.{each.__name__}") for each in _NUMPY for home in ("numpy.core", "numpy._core")]
    return torch.serialization.safe_globals([*_SAFE, *named])
