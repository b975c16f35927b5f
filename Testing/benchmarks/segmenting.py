"""A whole segmentation against MONAI's plain way with the same weights, fp32: synthetic head-and-neck CT, 512 x 512 x 160 at .98 x .98 x 1.5 mm.

MONAI's: Orientation and Spacing, the same knots, sliding_window_inference over the whole image with the same windows'
size, weights and overlap, the logits brought back by Invert, argmax. Files are read by neither. The card's removal of specks is
left out of both, because MONAI's would have to be written.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, Orientation, Spacing

from DiffSegCore.model import Model
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import Volume

from .measure import Finding, fastest, report
from .models import product_model
from .scans import scan


@torch.no_grad()
def monai(model: Model, volume: Volume) -> np.ndarray:
    """Ids (K, J, I). MONAI's arrays are (C, I, J, K), so the network sees them turned round."""
    recipe = model.preprocessing
    image = MetaTensor(torch.from_numpy(volume.array.transpose(2, 1, 0).astype(np.float32))[None],
                       affine=torch.from_numpy(volume.geometry.ijk_to_ras.copy()))
    onto_grid = Compose([Orientation("RAS", labels=None), Spacing(recipe.spacing_mm[::-1], mode="bilinear", padding_mode="border")])
    gridded = onto_grid(image)
    values = recipe.values(gridded.as_tensor())
    air = recipe.intensity_knots[0][1]
    logits = sliding_window_inference(values.permute(0, 3, 2, 1)[None], model.window, 1, model.network, 0.5, "gaussian", 0.125, "constant", air)
    back = MetaTensor(logits[0].permute(0, 3, 2, 1), meta=gridded.meta, applied_operations=gridded.applied_operations)
    return _ids(model, onto_grid.inverse(back).argmax(0).numpy().transpose(2, 1, 0))


def _ids(model: Model, channels: np.ndarray) -> np.ndarray:
    return np.array([0, *model.ids], np.uint8)[channels]


def run(small: bool = False) -> list[Finding]:
    model, trained = product_model()
    model = replace(model, card={name: value for name, value in model.card.items() if name != "smallest_piece"})
    volume = scan((60, 160, 160), (4.0, 3.0, 3.0)) if small else scan((160, 512, 512), (1.5, 0.98, 0.98))
    segmenter, found = Segmenter(model, "cpu"), {}
    seconds = fastest({"ours": lambda: found.update(ours=segmenter.segment(volume).labels.ids),
                       "monai": lambda: found.update(monai=monai(model, volume))}, repeats=1 if small else 2)
    body = volume.array > -400
    findings = [Finding("times faster than MONAI's plain way", seconds["monai"] / seconds["ours"], least=2.5), Finding("seconds", seconds["ours"])]
    if not trained:
        print("  no trained model is bundled: random weights say nothing about agreement")
        return findings
    return [*findings, Finding("voxels in the body that agree", float((found["ours"] == found["monai"])[body].mean()), least=0.999)]


if __name__ == "__main__":
    report(run, __doc__)
