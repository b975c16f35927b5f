"""Another tool's predictor behind the surface of a `Segmenter`: a volume in, labels with DiffSeg's names and chances out."""
from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch

from ..errors import BadInput
from ..foreign_file import ForeignModel
from ..geometry import Box
from ..model import label_ids
from ..preprocess import Preprocessing
from ..progress import Progress, part, silent
from ..segmenter import SURE, Prediction, check_input, on_grid, usable_device
from ..suitability import kind_concerns
from ..volume import LabelMap, Volume
from .found import Found, Runner


class ForeignSegmenter:
    """A model of nnU-Net's or MONAI's on a device ("auto": CUDA, then Apple's MPS, then the CPU), ready for any number of volumes."""

    refines = False

    def __init__(self, model: ForeignModel, device: str | torch.device = "auto") -> None:
        self.model, self.device = model, usable_device(device)
        self._runner = _runner(model, self.device)

    def segment(self, volume: Volume, *, box: Box | None = None, progress: Progress = silent) -> Prediction:
        """As `Segmenter.segment`. The whole volume is looked at in any case; `box` only says what is kept."""
        began = time.monotonic()
        check_input(volume, self.model.channels, box)
        warnings = kind_concerns(volume, Preprocessing.from_dict(self.model.preprocessing))
        found = self._runner.run(volume, part(progress, 0, .98))
        labels = self._named(found, volume)
        if box is not None:
            labels = _only(labels, found, box.clip(volume.geometry.shape))
        progress(1.0, "Done")
        return Prediction(labels, found.logits, found.geometry, warnings, time.monotonic() - began)

    def _named(self, found: Found, volume: Volume) -> LabelMap:
        ids = label_ids(self.model.organs)
        table = np.zeros(1 + max(max(self.model.values), int(found.values.max(initial=0))), np.uint8 if max(ids) < 256 else np.uint16)
        table[list(self.model.values)] = ids
        return LabelMap(table[found.values], volume.geometry, dict(zip(ids, self.model.organs)))


def _only(labels: LabelMap, found: Found, box: Box) -> LabelMap:
    """What lies in the box, of labels and, in place, of logits."""
    within = on_grid(box, labels.geometry, found.geometry)
    kept = found.logits[(slice(None), *within.slices)].clone()
    found.logits[0], found.logits[1:] = SURE, -SURE
    found.logits[(slice(None), *within.slices)] = kept
    ids = np.zeros_like(labels.ids)
    ids[box.slices] = labels.ids[box.slices]
    return LabelMap(ids, labels.geometry, labels.names)


def _runner(model: ForeignModel, device: torch.device) -> Runner:
    if model.kind == "nnunet":
        from .nnunet import NNUNet

        return NNUNet(model, device)
    if model.kind == "monai":
        from .bundle import Bundle

        return Bundle(model, device)
    raise BadInput(f"{Path(model.place)} is a {model.kind} model, which has no predictor of its own.")
