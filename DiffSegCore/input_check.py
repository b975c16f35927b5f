"""The line under the input: whether an image suits a model, before anything long is begun."""
from __future__ import annotations

from typing import Any, Mapping, NamedTuple

from .preprocess import Preprocessing, body_box, to_model_grid
from .progress import Progress, silent
from .suitability import concerns
from .volume import Volume


class Suits(NamedTuple):
    """level: "green", "amber" (it may go wrong) or "red" (it will); text: what the image is, and advice."""

    level: str
    text: str


def suits(volume: Volume, described: Mapping[str, Any], progress: Progress = silent) -> Suits:
    """The volume and a model, as `describe_model` tells of it: no weights are needed."""
    preprocessing, card = Preprocessing.from_dict(described["preprocessing"]), described["card"]
    kind, title = _kind(volume), card.get("title") or card.get("name", "the model")
    if volume.array.ndim != 3:
        return Suits("red", f"{kind}: it has {len(volume.array)} channels; choose one of them.")
    image, _ = to_model_grid(volume, preprocessing, progress)
    body = body_box(image, preprocessing.body_threshold)
    doubts = concerns(volume, image, body, preprocessing, card)
    if not doubts:
        return Suits("green", f"{kind}: suitable for {title}.")
    other_kind = volume.modality and preprocessing.modality and volume.modality != preprocessing.modality
    return Suits("red" if other_kind or body.is_empty else "amber", f"{kind}. {' '.join(doubts)}")


def _kind(volume: Volume) -> str:
    spacing = " x ".join(f"{mm:.2g}" for mm in reversed(volume.geometry.spacing))  # as people say it: I x J x K
    return f"{volume.modality or 'Image'}, {spacing} mm"
