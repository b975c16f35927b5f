"""A whole segmentation against MONAI's plain way with the same weights, fp32: synthetic head-and-neck CT, 512 x 512 x 160 at .98 x .98 x 1.5 mm.

MONAI's: Orientation and Spacing, the same knots, sliding_window_inference over the whole image with windows of the same
size, weights and overlap, the logits brought back by the transforms' inverse, argmax. No files are read; specks, which
MONAI's way would keep, are kept by both.

Agreement is held on a scan of 2.5 x 3.9 x 3.9 mm, with the same grid and the whole image searched by both: a network
answers differently when its windows or its grid move, whoever moves them. How much, the last line says.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from monai.data import MetaTensor
from monai.inferers import sliding_window_inference
from monai.transforms import Compose, InvertibleTransform, Orientation, Spacing, SpatialResample

from DiffSegCore.geometry import Box
from DiffSegCore.model import Model
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.volume import Volume

from .measure import Finding, fastest, report
from .models import product_model
from .scans import scan


@torch.no_grad()
def monai(model: Model, volume: Volume, *, our_grid: bool = False) -> np.ndarray:
    """Ids (K, J, I). MONAI's arrays are (C, I, J, K), so they are turned round for the network."""
    recipe = model.preprocessing
    gridded, onto_grid = _gridded(volume, recipe.spacing_mm, our_grid)
    values = recipe.values(gridded.as_tensor().float()).permute(0, 3, 2, 1)
    air = recipe.intensity_knots[0][1]
    logits = sliding_window_inference(values[None], model.window, 1, model.network, 0.5, "gaussian", 0.125, "constant", air)
    back = MetaTensor(logits[0].permute(0, 3, 2, 1), meta=gridded.meta, applied_operations=gridded.applied_operations)
    channels = onto_grid.inverse(back).argmax(0).numpy().transpose(2, 1, 0)
    return np.array([0, *model.ids], np.uint8)[channels]


def _gridded(volume: Volume, spacing_mm: tuple[float, float, float], our_grid: bool) -> tuple[MetaTensor, InvertibleTransform]:
    array = torch.from_numpy(volume.array.transpose(2, 1, 0).astype(np.float32))[None]
    image = MetaTensor(array, affine=torch.from_numpy(volume.geometry.ijk_to_ras.copy()))
    sampling = {"mode": "bilinear", "padding_mode": "border"}
    if our_grid:
        grid, transform = volume.geometry.resampled(spacing_mm), SpatialResample(**sampling)
        return transform(image, dst_affine=torch.from_numpy(grid.ijk_to_ras.copy()), spatial_size=grid.shape[::-1]), transform
    transform = Compose([Orientation("RAS", labels=None), Spacing(spacing_mm[::-1], **sampling)])
    return transform(image), transform


def run(small: bool = False) -> list[Finding]:
    model, trained = product_model()
    model = replace(model, card={name: value for name, value in model.card.items() if name != "smallest_piece"})
    segmenter, findings = Segmenter(model, "cpu"), []
    if not small:
        volume = scan((160, 512, 512), (1.5, 0.98, 0.98))
        seconds = fastest({"ours": lambda: segmenter.segment(volume), "monai": lambda: monai(model, volume)}, repeats=2)
        findings = [Finding("times faster than MONAI's plain way", seconds["monai"] / seconds["ours"], least=2.5), Finding("seconds", seconds["ours"])]
    if not trained:
        print("  no trained model is bundled: random weights say nothing about agreement")
        return findings
    coarse = scan((40, 64, 64) if small else (100, 110, 110), (2.5, 3.9, 3.9))
    body, whole = coarse.array > -400, Box.whole(coarse.array.shape)
    everywhere, inside = (segmenter.segment(coarse, box=box).labels.ids[body] for box in (whole, None))
    return [*findings,
            Finding("voxels of the body that agree, same grid and windows", float((everywhere == monai(model, coarse, our_grid=True)[body]).mean()), least=0.999),
            Finding("voxels of the body that agree with the plain way", float((inside == monai(model, coarse)[body]).mean()))]


if __name__ == "__main__":
    report(run, __doc__)
