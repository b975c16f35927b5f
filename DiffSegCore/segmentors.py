"""Any model that segments, DiffSeg's own or another tool's, by its name or path."""
from __future__ import annotations

import logging
from pathlib import Path

import torch

from .coordinates import CoordinateModel, orientation_doubts
from .errors import BadInput
from .foreign.segmentor import ForeignSegmenter
from .foreign_file import RUNS_CODE, is_foreign, read_foreign
from .model import Model
from .registry import DEFAULT, find_model, load_model, model_files
from .segmenter import Orientation, Segmenter

log = logging.getLogger(__name__)


def open_segmenter(name_or_path: str | Path = DEFAULT, device: str | torch.device = "auto", *, refine: bool = True) -> Segmenter | ForeignSegmenter:
    """The model on a device, ready for any number of volumes. BadInput where it is unknown, damaged or changed since it was added,
    does not fit, or needs a package that is missing. `refine` is for DiffSeg's own: see `Segmenter`.
    """
    path = find_model(name_or_path)
    if not is_foreign(path):
        model = load_model(path)
        return Segmenter(model, device, refine=refine, **_asked(model, device))
    model = read_foreign(path)
    if model.kind in RUNS_CODE and not model.trusted:
        raise BadInput(f"The model {model.name!r} is a program, and nobody said that it is trusted; add it again with --trust.")
    model.check()
    if model.kind == "torchscript":
        from .foreign.torchscript import load

        return Segmenter(load(model), device)
    return ForeignSegmenter(model, device)


def _asked(model: Model, device: str | torch.device) -> dict[str, Orientation]:
    """`Segmenter`'s orientation: body coordinates that the model's card names, on its own grid; none where they are not there."""
    name = model.card.get("coordinates_from")
    if name not in model_files():
        return {}
    mapper = CoordinateModel(load_model(name), device)
    if mapper.model.preprocessing != model.preprocessing:
        log.warning("the coordinates %r are made on another grid than %r reads, so nobody looks at how the patient lies", name, model.card.get("name"))
        return {}
    return {"orientation": lambda image, grid, progress: orientation_doubts(mapper.map(image, grid, progress))}
