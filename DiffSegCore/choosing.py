"""Which organ model a volume is for, where nobody says: the one that finds most of what it usually finds."""
from __future__ import annotations

import math
from typing import Any, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .geometry import Box
from .model import Model
from .preprocess import Preprocessing, body_box, to_model_grid
from .progress import Progress, part, silent
from .registry import DEFAULT, load_model, model_rows
from .segmenter import usable_device
from .suitability import has_usual_size
from .volume import Volume
from .windows import in_pairs, plan_windows

LOOKS = 3        # windows of each model, one above the other through the body's middle
SURE = .9        # chance of an organ from which on a voxel counts
CT_BELOW = -100  # a volume of unknown kind with intensities below holds Hounsfield units, of fat or air; other volumes are MR


def fitting_model(volume: Volume, device: str | torch.device = "auto", progress: Progress = silent) -> str:
    """The name of the model; DEFAULT where no model of the volume's kind is there, or nothing is seen by any of them.

    Each that was trained on images of about this size looks at a few windows of it: a head alone is no abdomen, whatever is seen in it. Images of several
    channels are not looked at.
    """
    names = candidates(volume, model_rows())
    if len(names) < 2 or volume.array.ndim > 3:
        return (*names, DEFAULT)[0]
    ready: list[tuple[Preprocessing, Tensor]] = []
    shares = {}
    for number, name in enumerate(names):
        progress(number / len(names), f"Asking {name} what it sees")
        model = load_model(name)
        image = next((image for known, image in ready if known == model.preprocessing), None)
        if image is None:
            image, _ = to_model_grid(volume, model.preprocessing, part(progress, number / len(names), (number + .5) / len(names)))
            ready.append((model.preprocessing, image))
        if has_usual_size(image, model.preprocessing, model.card):
            shares[name] = share_found(model, image, device)
    return max(shares, key=shares.__getitem__, default=names[0])  # the first of equals


def candidates(volume: Volume, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of DiffSeg's own organ models for volumes of this kind, of `registry.model_rows`; DEFAULT first, if it is among them."""
    kind = volume.modality or ("CT" if float(volume.array.min()) < CT_BELOW else "MR")
    fit = [row["name"] for row in rows if row.get("kind") == "organs" and row["organs"] and row["modality"] == kind]
    return sorted(fit, key=lambda name: name != DEFAULT)


@torch.no_grad()
def share_found(model: Model, image: Tensor, device: str | torch.device = "auto") -> float:
    """What the model is sure to see of its organs, as a share of what they usually measure; image (1, K, J, I) on its grid. 0 where its card does not tell."""
    body, where = body_box(image, model.preprocessing.body_threshold), usable_device(device)
    usual_ml = sum(sum(limits) / 2 for limits in model.card.get("organ_ml", {}).values())
    if body.is_empty or not usual_ml or model.channels != 1 or model.flat:
        return 0.
    looks, sure = _looks(body, model.window, image.shape[1:]), torch.zeros(image.shape[1:], dtype=torch.bool)
    shown = torch.stack([_cut(image, box, model.preprocessing.intensity_knots[0][1]) for box in looks])
    chances = in_pairs(model.network.to(where).eval())(shown.to(where)).float().softmax(1)[:, 1:].amax(1).cpu()
    for box, found in zip(looks, chances >= SURE):
        inside = box.intersect(Box.whole(sure.shape))
        sure[inside.slices] |= found[inside.shift([-a for a in box.start]).slices]
    sure &= image[0] > model.preprocessing.body_threshold
    return float(sure.sum()) * math.prod(model.preprocessing.spacing_mm) / 1000 / usual_ml


def _looks(body: Box, window: Sequence[int], shape: Sequence[int]) -> list[Box]:
    """Windows through the middle of the body, at even heights: one where it is no higher than a window."""
    (low, *_), (high, *_) = body.start, body.stop
    _, j, i = ((a + b - 1) / 2 for a, b in zip(body.start, body.stop))
    count = LOOKS if high - low > window[0] else 1
    heights = np.linspace(low, high, 2 * count + 1)[1::2]
    columns = [Box.around((k, j, i), (min(window[0], high - low), 1, 1), shape) for k in heights]
    return [plan_windows(Box((each.start[0], round(j), round(i)), (each.stop[0], round(j) + 1, round(i) + 1)), window, shape)[0] for each in columns]


def _cut(image: Tensor, box: Box, outside: float) -> Tensor:
    """The box's part (1, k, j, i), with `outside` where it reaches beyond the image."""
    whole = Box.whole(image.shape[1:]).intersect(box)
    result = image.new_full((1, *box.shape), outside)
    result[(slice(None), *whole.shift([-a for a in box.start]).slices)] = image[(slice(None), *whole.slices)]
    return result
