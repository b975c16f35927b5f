"""Any model that segments, DiffSeg's own or another tool's, by its name or path."""
from __future__ import annotations

from pathlib import Path

import torch

from .errors import BadInput
from .foreign.segmentor import ForeignSegmenter
from .foreign_file import RUNS_CODE, is_foreign, read_foreign
from .registry import DEFAULT, find_model, load_model
from .segmenter import Segmenter


def open_segmenter(name_or_path: str | Path = DEFAULT, device: str | torch.device = "auto", *, refine: bool = True) -> Segmenter | ForeignSegmenter:
    """The model on a device, ready for any number of volumes. BadInput where it is unknown, damaged or changed since it was added,
    does not fit, or needs a package that is missing. `refine` is for DiffSeg's own: see `Segmenter`.
    """
    path = find_model(name_or_path)
    if not is_foreign(path):
        return Segmenter(load_model(path), device, refine=refine)
    model = read_foreign(path)
    if model.kind in RUNS_CODE and not model.trusted:
        raise BadInput(f"The model {model.name!r} is a program, and nobody said that it is trusted; add it again with --trust.")
    model.check()
    if model.kind == "torchscript":
        from .foreign.torchscript import load

        return Segmenter(load(model), device)
    return ForeignSegmenter(model, device)
