"""What a click model learns from: volumes nearly as scanned, their labelled objects, and label maps that have no image; kept on disk."""
from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Container, Mapping, NamedTuple, Sequence

import numpy as np
from scipy import ndimage
from torch import Tensor

from ..crops import ImageRange, crop_image, crop_mask, reached
from ..errors import BadInput
from ..files import atomic
from ..geometry import Box, Geometry
from ..preprocess import Preprocessing, labels_on_model_grid
from ..progress import Progress, silent
from ..resample import block_size, resample
from ..volume import LabelMap, Volume
from .cases import Case, kept_in, read_dataset
from .phantom import phantom
from .sources import read_image, read_truth

FINEST_MM = 1.  # the finest crops' spacing: what is scanned finer is kept like this
FEWEST = 20  # voxels of an object
CHECKED = 4  # cases that are held out of a data set, at most: crops of these are scored during training
KEPT_PLACES = 2000


@dataclass(frozen=True, eq=False)
class ClickCase:
    """image int16 or float32 (K, J, I), None for a label map alone; labels (K, J, I): both memory-mapped. group: the data set it is from.

    boxes, places: label -> its box, and some of its voxels (n, 3), of labels with FEWEST voxels or more. values: None without an image.
    """

    name: str
    group: str
    image: np.ndarray | None
    labels: np.ndarray
    geometry: Geometry
    values: ImageRange | None
    boxes: Mapping[int, Box]
    places: Mapping[int, np.ndarray]

    def seen(self, grid: Geometry, preprocessing: Preprocessing) -> Tensor:
        """The image's two channels on the grid of a crop, float32 (2, k, j, i)."""
        return crop_image(Volume(self.image, self.geometry), grid, self.values, preprocessing)

    def object(self, label: int, grid: Geometry) -> np.ndarray:
        """bool (k, j, i): voxels of the grid that are the label's by half or more."""
        block = max(block_size(mm, max(grid.spacing)) for mm in self.geometry.spacing)
        near = reached(grid, self.geometry).grow(1 + 2 * block).clip(self.geometry.shape)
        if near.is_empty:
            return np.zeros(grid.shape, bool)
        return crop_mask(self.labels[near.slices] == label, self.geometry.crop(near), grid).numpy() >= .5

    def labels_on(self, grid: Geometry) -> np.ndarray:
        """The nearest voxel's label (k, j, i), 0 outside."""
        at = np.floor(self.geometry.to_index(grid.to_ras(np.stack(np.indices(grid.shape), -1))) + .5).astype(int)
        inside = ((at >= 0) & (at < self.geometry.shape)).all(-1)
        found = np.zeros(grid.shape, self.labels.dtype)
        found[inside] = self.labels[tuple(at[inside].T)]
        return found


class Labelled(NamedTuple):
    """Cases of a data set to learn from and to check with, and the name of each id in their label files."""

    learn: list[Case]
    check: list[Case]
    names: Mapping[int, str]


def labelled_cases(folder: Path, leave_out: Sequence[str] = ()) -> Labelled:
    """A data set's, less those whose name matches a pattern of `leave_out` ("STS_03?").

    Where the data set has no validation cases every tenth training case checks; a test split is never touched.
    """
    dataset = read_dataset(folder)
    learn, check = (kept_in(dataset.cases.get(split, ()), leave_out) for split in ("train", "validation"))
    if not check:
        check = learn[9::10]
        learn = [case for case in learn if case not in check]
    if not learn:
        raise BadInput(f"{folder} has no labelled training case left; check the folder and --leave-out")
    return Labelled(learn, check[:CHECKED], dataset.labels)


def without(cases: Sequence[ClickCase], structures: Container[str], names: Mapping[int, str]) -> list[ClickCase]:
    """The cases as if nobody had labelled these structures; those that hold no other are gone. What has no name is called "label_<id>"."""
    found = []
    for case in cases:
        boxes = {label: box for label, box in case.boxes.items() if structure(label, names) not in structures}
        found += [replace(case, boxes=boxes)] if boxes else []
    return found


def structure(label: int, names: Mapping[int, str]) -> str:
    """What a label is called."""
    return names.get(label, f"label_{label}")


def kept_cases(cases: Sequence[Case], group: str, cache: Path, progress: Progress = silent) -> list[ClickCase]:
    """Each case from the cache, or prepared and put there. BadInput where image and labels do not fit."""
    found = []
    for number, case in enumerate(cases):
        progress(number / len(cases), f"preparing {case.name} ({number + 1} of {len(cases)})")
        found += _kept(case.name, group, _stamp(case.image, case.label), lambda case=case: _read(case), cache)
    return found


def kept_label_maps(files: Sequence[Path], cache: Path) -> list[ClickCase]:
    """Label maps without images, which are synthesised as they are looked at."""
    return [each for file in files
            for each in _kept(file.name.split(".")[0], "label maps", _stamp(file), lambda file=file: (None, read_truth(file)), cache)]


def kept_phantoms(count: int, cache: Path) -> list[ClickCase]:
    """Phantoms on grids from 1.5 to 4 mm. Number 0 is the tests', 100 the shipped sample's."""
    def made(seed: int) -> tuple[Volume, LabelMap]:
        return phantom(seed, spacing_mm=tuple(np.random.default_rng(seed).uniform((1.5, 1.5, 1.5), (3., 4., 4.))))

    return [each for seed in range(201, 201 + count)
            for each in _kept(f"phantom-{seed}", "phantoms", f"phantom {seed}", lambda seed=seed: made(seed), cache)]


def _read(case: Case) -> tuple[Volume, LabelMap]:
    volume, labels = read_image(case.image), read_truth(case.label)
    if volume.array.ndim != 3:
        raise BadInput(f"case {case.name} has {len(volume.array)} image channels; click models read one, so give the data set one channel")
    if not labels.geometry.same_grid(volume.geometry, tolerance_mm=min(volume.geometry.spacing) / 10):
        raise BadInput(f"case {case.name}: labels of shape {labels.geometry.shape} are not on the image's grid {volume.geometry.shape}; resample one of them")
    return volume, LabelMap(labels.ids, volume.geometry, labels.names)


def _kept(name: str, group: str, stamp: str, make: Callable[[], tuple[Volume | None, LabelMap]], cache: Path) -> list[ClickCase]:
    """The case in a list, or an empty one where it holds no object."""
    cache.mkdir(parents=True, exist_ok=True)
    entry = cache / f"{name}-{hashlib.sha256(f'{group} {stamp} {FINEST_MM}'.encode()).hexdigest()[:16]}"
    if not entry.with_suffix(".npz").is_file():
        _store(*_coarsened(*make()), entry)
    case = _recall(name, group, entry)
    return [case] if case.boxes else []


def _coarsened(volume: Volume | None, labels: LabelMap) -> tuple[Volume | None, LabelMap]:
    """No finer than crops are, so that reading one stays quick."""
    grid = _no_finer(labels.geometry)
    if grid is labels.geometry:
        return volume, labels
    ids = LabelMap(labels_on_model_grid(labels, grid), grid, labels.names)
    if volume is None:
        return None, ids
    array = resample(volume.array, volume.geometry, grid, outside=float(volume.array.min())).numpy()
    return Volume(np.rint(array).astype(np.int16) if volume.array.dtype.kind in "iu" else array, grid, volume.modality), ids


def _no_finer(geometry: Geometry) -> Geometry:
    """The same axes with FINEST_MM where they are finer, or the grid itself."""
    scale = np.maximum(1, FINEST_MM / np.array(geometry.spacing))
    if scale.max() < 1.05:
        return geometry
    matrix = geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= scale[::-1]
    matrix[:3, 3] = geometry.to_ras((scale - 1) / 2)
    return Geometry(tuple(np.ceil(np.array(geometry.shape) / scale - 1e-3).astype(int)), matrix)


def _store(volume: Volume | None, labels: LabelMap, entry: Path) -> None:
    arrays = {".labels.npy": labels.ids}
    if volume is not None:
        whole = volume.array.dtype.kind in "iu" and np.abs(volume.array.astype(np.int64)).max() < 2 ** 15
        arrays[".image.npy"] = volume.array.astype(np.int16 if whole else np.float32)
    for suffix, array in arrays.items():
        with atomic(entry.with_suffix(suffix)) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
    boxes, places = _objects(labels.ids)
    told = {} if volume is None else {"values": np.array([getattr(ImageRange.of(volume), each) for each in ("low", "high", "hounsfield")])}
    with atomic(entry.with_suffix(".npz")) as temporary, open(temporary, "wb") as file:  # last: its presence says that the entry is whole
        np.savez(file, ijk_to_ras=labels.geometry.ijk_to_ras, boxes=json.dumps({label: [each.start, each.stop] for label, each in boxes.items()}),
                 **told, **{str(label): each for label, each in places.items()})


def _recall(name: str, group: str, entry: Path) -> ClickCase:
    image = entry.with_suffix(".image.npy")
    labels = np.load(entry.with_suffix(".labels.npy"), mmap_mode="r")
    with np.load(entry.with_suffix(".npz")) as rest:
        low, high, hounsfield = rest["values"] if "values" in rest.files else (0, 1, 0)
        return ClickCase(name, group, np.load(image, mmap_mode="r") if image.is_file() else None, labels, Geometry(labels.shape, rest["ijk_to_ras"]),
                         ImageRange(float(low), float(high), bool(hounsfield)),
                         {int(label): Box(*map(tuple, box)) for label, box in json.loads(str(rest["boxes"])).items()},
                         {int(key): rest[key] for key in rest.files if key.isdigit()})


def _objects(ids: np.ndarray) -> tuple[dict[int, Box], dict[int, np.ndarray]]:
    boxes, places = {}, {}
    for label, slices in enumerate(ndimage.find_objects(ids), 1):
        at = np.argwhere(ids[slices] == label) if slices else ()
        if len(at) >= FEWEST:
            start = [part.start for part in slices]
            boxes[label] = Box(tuple(start), tuple(part.stop for part in slices))
            places[label] = (at[::-(-len(at) // KEPT_PLACES)] + start).astype(np.int16)
    return boxes, places


def _stamp(*files: Path) -> str:
    return json.dumps([(str(each), each.stat().st_mtime_ns, each.stat().st_size) for each in files])
