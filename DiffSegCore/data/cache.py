"""Cases on the model grid, kept on disk so that an epoch reads memory-mapped arrays and memory stays bounded."""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

import numpy as np

from ..errors import BadInput
from ..files import atomic
from ..geometry import Box, Geometry
from ..preprocess import Preprocessing, body_box, labels_on_model_grid, to_model_grid
from ..progress import Progress, silent
from ..volume import LabelMap, Volume
from .cases import Case
from .sources import read_image, read_truth

KEPT_VOXELS = 4000  # places an organ's patches may be centred on: enough to vary, little to keep


@dataclass(frozen=True)
class GridCase:
    """One case inside its body box. image float16 (k, j, i) in model values, (C, k, j, i) if it has several channels; channels uint8
    (k, j, i), 0 background, c = organs[c - 1].

    places: channel -> voxel indices (n, 3) of that organ; its keys are the organs contoured in this case.
    """

    name: str
    image: np.ndarray
    channels: np.ndarray
    geometry: Geometry
    places: Mapping[int, np.ndarray]


def grid_case(name: str, volume: Volume, labels: LabelMap, organs: Sequence[str], preprocessing: Preprocessing,
              ids: Mapping[int, str], *, whole: bool = False) -> GridCase:
    """Bring one volume and its labels to the model grid; `ids` names the label values. Organs outside `organs` become background.
    `whole`: keep all of it, for images that show no body.
    """
    if not labels.geometry.same_grid(volume.geometry):
        raise BadInput(f"case {name}: labels of shape {labels.geometry.shape} are not on the image's grid {volume.geometry.shape}; resample one of them")
    table = np.zeros(int(labels.ids.max()) + 1, np.uint8)
    for value, organ in ids.items():
        if organ in organs and value < len(table):
            table[value] = list(organs).index(organ) + 1
    strangers = sorted(set(np.unique(labels.ids).tolist()) - set(ids) - {0})
    if strangers:
        raise BadInput(f"case {name}: label values {strangers} are not in the data set's table {dict(ids)}; complete the table")
    image, geometry = to_model_grid(volume, preprocessing)
    channels = labels_on_model_grid(LabelMap(table[labels.ids], labels.geometry, {}), geometry)
    box = Box.whole(geometry.shape) if whole else body_box(image, preprocessing.body_threshold)
    channels = channels[box.slices].astype(np.uint8)
    image = image[(slice(None), *box.slices)].numpy().astype(np.float16)
    present = np.unique(channels[channels > 0]).tolist()
    return GridCase(name, image[0] if len(image) == 1 else image, channels, geometry.crop(box),
                    {channel: _some(np.argwhere(channels == channel)) for channel in present})


def cached_cases(cases: Sequence[Case], ids: Mapping[int, str], organs: Sequence[str], preprocessing: Preprocessing, folder: Path,
                 progress: Progress = silent, *, several: bool = False, whole: bool = False) -> list[GridCase]:
    """Each case from the cache, or computed and put there. The key covers the files, the preprocessing and the organs.

    `several`: images may have several channels, in one file or in one each; `whole`: as of `grid_case`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number, case in enumerate(cases):
        progress(number / len(cases), f"preparing {case.name} ({number + 1} of {len(cases)})")
        if isinstance(case.image, tuple) and not several:
            raise BadInput(f"case {case.name} has {len(case.image)} image channels; organ training reads one, so give the data set one channel")
        entry = folder / f"{case.name}-{_key(case, ids, organs, preprocessing, whole)}"
        if not entry.with_suffix(".npz").is_file():
            made = grid_case(case.name, read_image(case.image), read_truth(case.label), organs, preprocessing, ids, whole=whole)
            _store(made, entry)
        found.append(_recall(case.name, entry))
    return found


def kept_case(name: str, told: Any, make: Callable[[], GridCase], folder: Path) -> GridCase:
    """A case that is made up, from the cache or made and put there. told: plain values that decide all of it."""
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / f"{name}-{hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]}"
    if not entry.with_suffix(".npz").is_file():
        _store(make(), entry)
    return _recall(name, entry)


def _key(case: Case, ids: Mapping[int, str], organs: Sequence[str], preprocessing: Preprocessing, whole: bool) -> str:
    images = case.image if isinstance(case.image, tuple) else (case.image,)
    stamps = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in (*images, case.label)]
    text = json.dumps([stamps, sorted(ids.items()), list(organs), preprocessing.to_dict(), *([whole] if whole else [])])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _store(case: GridCase, entry: Path) -> None:
    for array, suffix in ((case.image, ".image.npy"), (case.channels, ".channels.npy")):
        with atomic(entry.with_suffix(suffix)) as temporary:
            with open(temporary, "wb") as file:
                np.save(file, array)
    with atomic(entry.with_suffix(".npz")) as temporary:  # last: its presence says that the entry is whole
        with open(temporary, "wb") as file:
            np.savez(file, ijk_to_ras=case.geometry.ijk_to_ras, **{str(channel): places for channel, places in case.places.items()})


def _recall(name: str, entry: Path) -> GridCase:
    image, channels = (np.load(entry.with_suffix(suffix), mmap_mode="r") for suffix in (".image.npy", ".channels.npy"))
    with np.load(entry.with_suffix(".npz")) as rest:
        places = {int(key): rest[key] for key in rest.files if key.isdigit()}
        return GridCase(name, image, channels, Geometry(channels.shape, rest["ijk_to_ras"]), places)


def _some(places: np.ndarray) -> np.ndarray:
    """At most KEPT_VOXELS of them, evenly spread and the same every time."""
    step = max(1, -(-len(places) // KEPT_VOXELS))
    return places[::step].astype(np.int16)
