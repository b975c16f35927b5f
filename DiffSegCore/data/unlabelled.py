"""Images without labels, as pretraining wants them: found wherever they lie, brought to the model grid once, kept on disk."""
from __future__ import annotations

import hashlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Iterable, Sequence

import numpy as np

from ..dicom import is_dicom
from ..errors import BadInput
from ..files import atomic, suffix_of
from ..geometry import Geometry
from ..preprocess import Preprocessing, body_box, to_model_grid
from ..progress import Progress, silent
from ..reading import read_volume
from ..volume import Volume
from .cache import GridCase
from .cases import Case, read_images
from .layouts import IMAGES, LABELS, SUFFIXES, stem

log = logging.getLogger(__name__)
NAMED = 5  # so many bad volumes are named in one sentence, the rest counted


@dataclass(frozen=True)
class Kept:
    """A volume in the cache: `file` holds the float16 (k, j, i) model values inside the body box, `geometry` says where they are."""

    name: str
    file: Path
    geometry: Geometry

    def image(self) -> np.ndarray:
        """Memory-mapped: only what is looked at is read."""
        return np.load(self.file, mmap_mode="r")

    def case(self) -> GridCase:
        """Without labels: channels are all zero, at no cost in memory."""
        return GridCase(self.name, self.image(), np.broadcast_to(np.uint8(0), self.geometry.shape), self.geometry, {})


def image_cases(folders: Iterable[str | Path], preprocessing: Preprocessing, cache_folder: Path, progress: Progress = silent,
                skip_corrupt: bool = False, **which) -> list[GridCase]:
    """`kept_images`, opened."""
    return [kept.case() for kept in kept_images(folders, preprocessing, cache_folder, progress, skip_corrupt, **which)]


def kept_images(folders: Iterable[str | Path], preprocessing: Preprocessing, cache_folder: Path, progress: Progress = silent,
                skip_corrupt: bool = False, *, split: str = "train", leave_out: Sequence[str] = (), workers: int = 1) -> list[Kept]:
    """Every image of the folders' `split`, from the cache or computed by `workers` threads and put there.

    Volumes that cannot be used are reported together, with names and reasons, as one BadInput; with `skip_corrupt` they are
    logged and left out, and it is raised only where none is left. The good ones are in the cache by then: nothing is done twice.
    """
    cases = [case for folder in folders for case in find_images(folder, split=split, leave_out=leave_out)]
    cache_folder.mkdir(parents=True, exist_ok=True)
    kept, bad = [], []
    with ThreadPoolExecutor(max(1, workers)) as pool:
        pending = [pool.submit(_keep, case, preprocessing, cache_folder) for case in cases]
        try:
            for number, (case, future) in enumerate(zip(cases, pending)):
                progress(number / len(cases), f"preparing {case.name} ({number + 1} of {len(cases)})")
                try:
                    kept.append(future.result())
                except BadInput as error:
                    log.warning("case %s: %s", case.name, error)
                    bad.append(f"case {case.name}: {str(error).rstrip('.')}")
        finally:
            for future in pending:
                future.cancel()
    if bad and not (skip_corrupt and kept):
        raise BadInput(_told(bad, len(cases)))
    return kept


def find_images(folder: str | Path, *, split: str = "train", leave_out: Sequence[str] = ()) -> list[Case]:
    """The images of a data set's split whose name matches no pattern of `leave_out` ("STS_03?").

    `folder` is a data set in any layout that `read_dataset` knows, its labels unread; or, all of it counting as "train", a
    folder with volumes and DICOM series anywhere below it, or one volume file.
    """
    folder = Path(folder)
    if not folder.exists():
        raise BadInput(f"there is no {folder}; check the path")
    splits = {} if folder.is_file() and suffix_of(folder) in SUFFIXES else read_images(folder)
    found = list(splits.get(split, ())) if splits else _loose(folder) if split == "train" else []
    if not found and not splits and split == "train":
        raise BadInput(f"there is no image in {folder}: neither {', '.join(SUFFIXES)} nor DICOM")
    return [case for case in found if not any(fnmatch(case.name, pattern) for pattern in leave_out)]


def _loose(folder: Path) -> list[Case]:
    """Volume files, and folders whose first other file is DICOM, below a folder."""
    if folder.is_file():
        return [Case(stem(folder), folder)]
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    volumes = [path for path in files if suffix_of(path) in SUFFIXES and not _like_labels(path)]
    first_of = {path.parent: path for path in reversed(files) if suffix_of(path) not in SUFFIXES}
    series = sorted(parent for parent, path in first_of.items() if is_dicom(path))
    named = [Case(path.parent.name if stem(path).lower() in IMAGES else stem(path), path) for path in volumes]
    return named + [Case(parent.name, parent) for parent in series]


def _like_labels(path: Path) -> bool:
    return suffix_of(path) == ".seg.nrrd" or any(fnmatch(path.name.lower(), pattern) for pattern in LABELS)


def _keep(case: Case, preprocessing: Preprocessing, cache_folder: Path) -> Kept:
    if isinstance(case.image, tuple):
        raise BadInput(f"it has {len(case.image)} image channels, and one is read: give the data set one channel")
    entry = cache_folder / f"{case.name}-{_key(case.image, preprocessing)}"
    file, place = entry.with_name(entry.name + ".image.npy"), entry.with_name(entry.name + ".place.npy")
    try:
        return _recalled(case.name, file, place)
    except (OSError, ValueError, EOFError):  # not there yet, or cut short by a full disk
        image, geometry = _on_grid(case.image, read_volume(case.image), preprocessing)
    for path, array in ((file, image), (place, geometry.ijk_to_ras)):
        with atomic(path) as temporary, open(temporary, "wb") as opened:
            np.save(opened, array)
    return Kept(case.name, file, geometry)


def _recalled(name: str, file: Path, place: Path) -> Kept:
    matrix = np.load(place)
    return Kept(name, file, Geometry(np.load(file, mmap_mode="r").shape, matrix))


def _on_grid(path: Path, volume: Volume, preprocessing: Preprocessing) -> tuple[np.ndarray, Geometry]:
    modality = volume.modality or ("MR" if stem(path).lower() in ("mr", "mri") else "")
    if modality and preprocessing.modality and modality != preprocessing.modality:
        raise BadInput(f"{path} is {modality}, and {preprocessing.modality} is wanted; leave it out")
    if preprocessing.modality == "CT" and volume.array.min() >= 0:
        raise BadInput(f"the values of {path} run from {volume.array.min()} to {volume.array.max()}: these are no Hounsfield units, of "
                       "which fat and air are negative; export it again with its rescaling and without a display window")
    image, geometry = to_model_grid(volume, preprocessing)
    box = body_box(image, preprocessing.body_threshold)
    if len(image) != 1 or box.is_empty:
        raise BadInput(f"{path} shows no body: {'it has several channels' if len(image) != 1 else 'nothing in it is denser than air'}")
    return image[0][box.slices].numpy().astype(np.float16), geometry.crop(box)


def _key(path: Path, preprocessing: Preprocessing) -> str:
    stat = path.stat()
    text = json.dumps([str(path.resolve()), stat.st_mtime_ns, stat.st_size, preprocessing.to_dict()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _told(bad: Sequence[str], count: int) -> str:
    more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
    return (f"{len(bad)} of {count} volumes cannot be used: {'; '.join(bad[:NAMED])}{more}. Repair or remove them, "
            "or leave them out with --skip-corrupt.")
