"""Which volumes a batch is about: the files of a folder, of a list, the series of a DICOM tree; and what they are called.

Names appear in results, logs and tables, so they carry nothing of a DICOM header: a series is called by its number and a hash.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Sequence

import pydicom

from ..dicom import Series, grouped, is_dicom
from ..errors import BadInput
from ..files import beside, naming, suffix_of, without_suffix
from ..reading import NIFTI

LISTS = (".txt", ".lst")
VOLUMES = (*NIFTI, ".nrrd", ".nhdr", ".mha", ".mhd")


@dataclass(frozen=True)
class BatchCase:
    """A volume to segment: a file, or a DICOM series below the folder `source`.

    name: where its results go, a relative path without suffix; problem: a sentence, where it is known already that it cannot be read.
    """

    name: str
    source: Path
    series: Series | None = None
    problem: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return self.series.files if self.series else (self.source,)


def find_cases(source: str | Path, *, pattern: str | None = None, skip: Path | None = None) -> tuple[BatchCase, ...]:
    """The cases of a folder, of a list of paths (.txt, one a line, relative to it, # a comment), or of a single file.

    A folder is searched with those below it, except `skip` and hidden ones: every volume file is a case, unless it holds
    labels that DiffSeg or Slicer wrote, and every DICOM series. `pattern`: only files whose path below the
    folder it fits (`*/ct.nii.gz`; a star also crosses folders). BadInput where there is none.
    """
    source = Path(os.path.abspath(source))
    with naming(source):
        if not source.exists():
            raise BadInput("There is no such file or folder; check the path.")
        paths = _below(source, skip) if source.is_dir() else _listed(source) if suffix_of(source) in LISTS else _single(source)
        root = source if source.is_dir() else _common(paths)
        paths = [path for path in paths if pattern is None or fnmatch.fnmatch(_relative(path, root), pattern)]
        cases = (*_volume_cases(paths, root), *_dicom_cases(paths, root))
        if source.is_file() and suffix_of(source) not in LISTS:
            cases = tuple(case for case in cases if source in case.files)
        if not cases:
            wanted = f" that fits {pattern!r}" if pattern else ""
            raise BadInput(f"It holds no volume{wanted} (NIfTI, NRRD, MHA, MHD or DICOM).")
        return cases


def _below(folder: Path, skip: Path | None) -> list[Path]:
    """Files in the folder and below; a folder that must not be read is the user's to know."""
    found: list[Path] = []
    for here, folders, files in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and Path(here, name) != skip)
        found += [Path(here, name) for name in sorted(files) if not name.startswith(".")]
    return [path for path in found if not _holds_labels(path)]


def _raise(error: OSError) -> None:
    raise error


def _holds_labels(path: Path) -> bool:
    """Whether DiffSeg or Slicer wrote it as labels; nobody else's can be told from an image."""
    if suffix_of(path) == ".seg.nrrd":
        return True
    if suffix_of(path) not in VOLUMES or not beside(path, ".json").is_file():
        return False
    try:
        return isinstance(json.loads(beside(path, ".json").read_text(encoding="utf-8")).get("labels"), dict)
    except (AttributeError, OSError, ValueError):
        return False


def _listed(list_file: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in list_file.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise BadInput("A list is a text file in UTF-8 with a path on each line; this one is not.") from error
    named = [Path(os.path.abspath(list_file.parent / line)) for line in lines if line and not line.startswith("#")]
    return [path for each in dict.fromkeys(named) for path in (_below(each, None) if each.is_dir() else [each])]


def _single(file: Path) -> list[Path]:
    """One file, or of DICOM the files among which the rest of its series is."""
    if suffix_of(file) in VOLUMES or not is_dicom(file):
        return [file]
    return sorted(each for each in file.parent.iterdir() if each.is_file() and suffix_of(each) not in VOLUMES)


def _common(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path()


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _volume_cases(paths: Iterable[Path], root: Path) -> list[BatchCase]:
    """Files with a volume's suffix, and listed ones that are not there, which are to be reported."""
    paths = [path for path in paths if suffix_of(path) in VOLUMES or not path.exists()]
    short = [_relative(without_suffix(path), root) for path in paths]
    often = Counter(name.casefold() for name in short)
    names = [name if often[name.casefold()] == 1 else _relative(path, root) for name, path in zip(short, paths)]  # ct.nii.gz beside ct.mha
    return [BatchCase(name, path) for name, path in zip(names, paths)]


def _dicom_cases(paths: Iterable[Path], root: Path) -> list[BatchCase]:
    damaged: dict[Path, list[Path]] = defaultdict(list)
    others = [path for path in paths if suffix_of(path) not in VOLUMES and path.is_file()]
    readable = [path for path in others if os.access(path, os.R_OK)]
    for path in others:
        if path.suffix.lower() == ".dcm" and not (os.access(path, os.R_OK) and is_dicom(path)):
            damaged[path.parent].append(path)
    series = grouped(readable, lambda path, _: damaged[path.parent].append(path))
    found = [BatchCase(_series_name(each), _common(each.files), each) for each in series]
    return sorted(found, key=lambda case: case.series.files[0]) + [_unreadable(folder, files, root) for folder, files in sorted(damaged.items())]


def _series_name(series: Series) -> str:
    """The same whatever else lies in the tree, so that a batch that is run again knows it."""
    try:
        number = int(pydicom.dcmread(series.files[0], stop_before_pixels=True, specific_tags=["SeriesNumber"]).get("SeriesNumber") or 0)
    except (TypeError, ValueError):
        number = 0
    return f"series-{number:03d}-{_hash(series.uid)}"


def _unreadable(folder: Path, files: Sequence[Path], root: Path) -> BatchCase:
    problem = f"{len(files)} of the DICOM files in a folder cannot be read or have damaged headers, and belong to no series; export or copy them again."
    return BatchCase(f"unreadable-{_hash(_relative(folder, root))}", folder, problem=problem)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
