"""Whether an image is of the kind that a model was trained on: plain sentences, none where it is."""
from __future__ import annotations

from typing import Any, Iterator, Mapping

import torch
from torch import Tensor

from .geometry import Box
from .preprocess import Preprocessing
from .volume import Volume

ODD = 2.0  # times below or above the usual volumes before an organ counts as odd
COARSER = 2.0  # times the model's spacing before it is worth a word: half the slices are then made up


def concerns(volume: Volume, image: Tensor, body: Box, preprocessing: Preprocessing, card: Mapping[str, Any]) -> tuple[str, ...]:
    """What speaks against this volume for this model; `image` and `body` are the volume on the model grid and the body's box there.

    card["field_of_view_mm"]: (least, most), each (K, J, I), of the images trained on; absent, nothing is said of it.
    """
    if preprocessing.modality == volume.modality == "picture":  # no body in air, no millimetres
        return ()
    plain = kind_concerns(volume, preprocessing)
    if card.get("prepares_itself"):  # another tool's, whose values and grid are its own
        return plain
    return (*plain, *_content(volume, image, body, preprocessing),
            *_field_of_view(image, preprocessing, card))


def has_usual_size(image: Tensor, preprocessing: Preprocessing, card: Mapping[str, Any]) -> bool:
    """Whether an image on the model grid, (1, K, J, I), is as high, deep and wide as those trained on, as far as the card tells."""
    return not any(_field_of_view(image, preprocessing, card))


def kind_concerns(volume: Volume, preprocessing: Preprocessing) -> tuple[str, ...]:
    """What is seen without its voxels: another modality, thicker slices."""
    return (*_modality(volume, preprocessing), *_coarse(volume, preprocessing))


def _modality(volume: Volume, preprocessing: Preprocessing) -> Iterator[str]:
    if volume.modality and preprocessing.modality and volume.modality != preprocessing.modality:
        yield f"The image is {volume.modality}, the model was trained on {preprocessing.modality}: choose another model."


def _coarse(volume: Volume, preprocessing: Preprocessing) -> Iterator[str]:
    own, wanted = max(volume.geometry.spacing), max(preprocessing.spacing_mm)
    if own > COARSER * wanted:
        yield f"The image has {own:.1f} mm between slices or voxels, the model expects {wanted:.1f} mm or finer: thin organs may be missed."


def _content(volume: Volume, image: Tensor, body: Box, preprocessing: Preprocessing) -> Iterator[str]:
    if body.is_empty:
        yield "No body was found in the image, so all of it was searched: check its intensities (a CT has air at -1000 HU)."
    elif _darkest(volume, image, preprocessing) > preprocessing.body_threshold:
        yield f"The image holds no air: for {preprocessing.modality} the intensities look shifted, or it is cropped to the inside of the body."


def _darkest(volume: Volume, image: Tensor, preprocessing: Preprocessing) -> float:
    """The least model value of what was scanned: beyond the volume's edge, which the model grid may reach over, there is air by definition."""
    if preprocessing.body_percentile is not None:
        return float(image.min())
    return float(preprocessing.values(torch.tensor(float(volume.array.min()))))


def _field_of_view(image: Tensor, preprocessing: Preprocessing, card: Mapping[str, Any]) -> Iterator[str]:
    sizes = [count * spacing for count, spacing in zip(image.shape[1:], preprocessing.spacing_mm)]
    for way, size, least, most in zip(("high", "deep", "wide"), sizes, *card.get("field_of_view_mm", ((), ()))):
        if not least <= size <= most:
            advice = "crop it to the region the model is for" if size > most else "organs cut off at its edge may be missed or misnamed"
            yield f"The image is {size:.0f} mm {way}, the model was trained on {least:.0f} to {most:.0f} mm: {advice}."


def doubtful_sizes(volumes_ml: Mapping[str, float], card: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence if half of the organs found have not the size they had in training: a sign of another part of the body.

    volumes_ml: organ -> ml as segmented; card["organ_ml"]: organ -> (5th, 95th) percentile in the training cases.
    """
    usual = card.get("organ_ml", {})
    odd = [organ for organ, (low, high) in usual.items() if not low / ODD <= volumes_ml.get(organ, 0) <= high * ODD]
    if not usual or 2 * len(odd) < len(usual):
        return ()
    return (f"{len(odd)} of {len(usual)} organs do not have their usual size ({', '.join(odd)}): the image may show another part "
            "of the body than the model is for, or only a piece of it.",)
