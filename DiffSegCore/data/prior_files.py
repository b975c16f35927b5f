"""What another tool says of an image: labels or chances in a file, brought to a model's grid as a prior."""
from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput
from ..files import naming, suffix_of
from ..geometry import Geometry
from ..organs import ORGANS
from ..preprocess import labels_on_model_grid
from ..reading import read_volume
from ..resample import resample
from ..volume import LabelMap, Volume
from .images2d import is_picture
from .label_names import organ_name
from .priors import of_labels
from .sources import read_truth

Given = LabelMap | Volume  # labels, or chances: a volume (labels or 1, K, J, I)
SLACK = .02  # by which chances of exclusive labels may miss a sum of 1


def read_prior(path: str | Path, image: Geometry) -> Given:
    """Labels (any label file or mask), or chances (classes, K, J, I) on the grid of the image: `.npz` as nnU-Net writes it, or a
    volume of floats whose fourth axis, if there is one, is the label. BadInput where the grid is another, or chances are none.
    """
    path = Path(path)
    if suffix_of(path) == ".npz":
        return _checked(Volume(_npz(path), image), path)
    given = read_truth(path) if is_picture(path) or suffix_of(path) == ".seg.nrrd" else _labels_or_chances(path)
    if not given.geometry.same_grid(image, tolerance_mm=.01):
        raise BadInput(f"The prior {path} lies on another grid ({given.geometry.shape} voxels) than the image ({image.shape}); resample one of them.")
    return given


def channels_of(labels: LabelMap, organs: Sequence[str]) -> tuple[np.ndarray, dict[int, int]]:
    """uint8 (K, J, I) with c for organs[c - 1], and the id of each organ in the file: by name, or by the organ table's ids where
    the file has no names. Other labels are background; organs that the file does not know get the table's id, or a free one.
    """
    by_name = {organ_name(name): id for id, name in labels.names.items()}
    table_ids = {name: ORGANS[name].id for name in organs if name in ORGANS}
    own = {name: by_name.get(name) if by_name else table_ids.get(name) for name in organs}
    free = iter(n for n in range(200, 1000) if n not in labels.names)
    taken = {id for id in own.values() if id}
    ids = {}
    for channel, name in enumerate(organs, 1):
        fallback = table_ids.get(name)
        fallback = fallback if fallback not in (None, *taken, *labels.names) else None
        ids[channel] = own[name] or fallback or next(free)
    lookup = np.zeros(max(int(labels.ids.max()), max(ids.values())) + 1, np.uint8)
    for channel, id in ids.items():
        lookup[id] = channel
    return lookup[labels.ids], ids


def label_prior(channels: np.ndarray, classes: int, native: Geometry, grid: Geometry) -> tuple[Tensor, Tensor]:
    """Chances (classes, k, j, i) of labels that come without, and the labels as one-hot of the same shape; classes 1 is one object."""
    own = labels_on_model_grid(LabelMap(channels, native), grid)
    labels = max(2, classes)
    parts = of_labels(own, labels), (own[None] == np.arange(labels)[:, None, None, None]).astype(np.float32)
    return tuple(torch.from_numpy(part[1:] if classes == 1 else part) for part in parts)


def chances_on_grid(prior: Volume, grid: Geometry, classes: int) -> Tensor:
    """Chances (classes, k, j, i) on a model grid; outside the image is background. BadInput where the number of labels differs."""
    array = prior.array if prior.array.ndim == 4 else prior.array[None]
    if classes == 1 and len(array) == 2:
        array = array[1:]
    if len(array) != classes:
        raise BadInput(f"The prior has chances of {len(array)} labels, the model wants {classes}"
                       + (" (background first)." if classes > 1 else ": the object's alone."))
    background_first = [1. if classes > 1 and c == 0 else 0. for c in range(classes)]
    return torch.stack([resample(channel, prior.geometry, grid, outside=outside) for channel, outside in zip(array, background_first)])


def names_in(labels: LabelMap) -> Mapping[int, str]:
    """id -> name of every label that the map holds, "label_<id>" where it has no name."""
    return {id: labels.names.get(id, f"label_{id}") for id in np.unique(labels.ids[labels.ids > 0]).tolist()}


def _labels_or_chances(path: Path) -> Given:
    volume = read_volume(path, channels=True)
    values = volume.array
    if values.ndim == 3 and (values.dtype.kind != "f" or np.array_equal(values, np.rint(values))):
        return read_truth(path)
    return _checked(volume, path)


def _npz(path: Path) -> np.ndarray:
    if not path.is_file():
        raise BadInput(f"There is no file {path}; check the path.")
    with naming(path):
        try:
            with np.load(path) as arrays:
                name = "probabilities" if "probabilities" in arrays else "softmax" if "softmax" in arrays else next(iter(arrays), None)
                if name is None:
                    raise BadInput("It holds no array.")
                return arrays[name]
        except (zipfile.BadZipFile, ValueError, EOFError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput("It is damaged or no .npz file; write it again.") from error


def _checked(prior: Volume, path: Path) -> Volume:
    array = prior.array.astype(np.float32)
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= 1 + 1e-3):
        raise BadInput(f"{path} is not made of chances: its numbers go from {low:g} to {high:g}; give chances from 0 to 1, or labels.")
    if array.ndim == 4 and len(array) > 1 and float(np.abs(array.sum(0) - 1).max()) > SLACK:
        raise BadInput(f"The chances in {path} do not sum to 1 over the labels; give exclusive labels, background first.")
    return replace(prior, array=array)
