"""A segmentation handed on: labels in the formats asked for, volumes, and a manifest that says how they came about, in one folder."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import secrets
import shutil
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

import numpy as np

from . import __version__
from .dicom import Series, list_series
from .dicomseg import check_dicomseg, lies_on, write_dicomseg
from .errors import BadInput
from .files import file_hash
from .geometry import Geometry
from .organ_volumes import organ_volumes, write_csv
from .progress import Progress, part, silent
from .stl import check_stl, write_stl
from .volume import LabelMap, Volume
from .writing import write_labels

LABELS = ("seg.nrrd", "nii.gz", "nii", "nrrd", "mha")
FORMATS = (*LABELS, "stl", "dicomseg", "png")
NAME, MANIFEST, FORMAT = "segmentation", "manifest.json", 1


def export(volume: Volume | None, labels: LabelMap, folder: str | Path, formats: Sequence[str] = ("seg.nrrd",),
           manifest: Mapping[str, Any] | None = None, *, series: str | Path | None = None, series_uid: str | None = None,
           progress: Progress = silent) -> Path:
    """Make `folder` with `segmentation.<format>`, `stl/<organ>.stl`, `volumes.csv` and `manifest.json`; returns the manifest's path.

    manifest: what the caller knows, such as {"model": {"name", "sha256"}, "prompts": [...], "checked": [...]}; no patient
    data is added to it. series: the folder of the DICOM series that "dicomseg" refers to (`series_uid`, or the one on the labels' grid, or the largest). The
    folder appears whole or not at all; an earlier export of the same name is replaced, any other folder with files in it is
    refused. Raises BadInput, too, for a format whose package or source is missing.
    """
    folder, manifest = Path(os.path.abspath(folder)), dict(manifest or {})
    formats = tuple(dict.fromkeys(formats))
    _check(volume, formats, series)
    _check_replaceable(folder)
    source = _series(series, series_uid, labels.geometry) if "dicomseg" in formats else None
    with _folder(folder) as growing:
        for number, format in enumerate(formats):
            stage = part(progress, number / len(formats), (number + 1) / len(formats))
            stage(0.0, f"Writing {format}")
            _write(format, growing, volume, labels, source, bool(manifest.get("prompts")), stage)
        volumes = organ_volumes(labels)
        write_csv(volumes, growing / "volumes.csv")
        said = {"format": FORMAT, "software": _software(), "created": datetime.now(timezone.utc).isoformat(timespec="seconds"), **manifest,
                "image": _image(volume, labels), "organs": [{"id": each.id, "name": each.name, "ml": round(each.ml, 3)} for each in volumes],
                "files": _files(growing)}
        (growing / MANIFEST).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        progress(1.0, "Done")
    return folder / MANIFEST


def changed_files(manifest: str | Path) -> tuple[str, ...]:
    """The files of an export that are gone or not as they were written."""
    home = Path(manifest).parent
    said = _manifest(home)
    if said is None:
        raise BadInput(f"{manifest} is not the manifest of an export.")
    return tuple(each["name"] for each in said["files"] if not (home / each["name"]).is_file() or file_hash(home / each["name"]) != each["sha256"])


def _check(volume: Volume | None, formats: Sequence[str], series: str | Path | None) -> None:
    unknown = [format for format in formats if format not in FORMATS]
    if unknown or not formats:
        raise BadInput(f"Cannot export {', '.join(unknown) or 'nothing'}; formats are {', '.join(FORMATS)}.")
    if "stl" in formats:
        check_stl()
    if "dicomseg" in formats:
        check_dicomseg()
        if series is None:
            raise BadInput("A DICOM SEG refers to the images it was drawn on: name the folder of the DICOM series, or export another format.")
    if "png" in formats:
        from .pictures import check_picture

        check_picture("picture.png")
        if volume is None:
            raise BadInput("A picture shows the image: name it, or export another format.")


def _series(folder: str | Path, uid: str | None, grid: Geometry) -> Series:
    """The series of that UID; without one, the first on the labels' grid, else the largest."""
    found = list_series(folder)
    if uid is not None and uid not in {each.uid for each in found}:
        raise BadInput(f"There is no series {uid} in {folder}; choose another folder.")
    return next((each for each in found if each.uid == uid or uid is None and lies_on(each, grid)), found[0])


def _write(format: str, folder: Path, volume: Volume | None, labels: LabelMap, series: Series | None, by_hand: bool, progress: Progress) -> None:
    if format == "stl":
        (folder / "stl").mkdir()
        write_stl(labels, folder / "stl", progress)
    elif format == "dicomseg":
        write_dicomseg(labels, folder / f"{NAME}.dcm", series, by_hand=by_hand)
    elif format == "png":
        from .pictures import save_picture

        save_picture(folder / f"{NAME}.png", volume, labels, title="Segmentation", note=f"DiffSeg {__version__}. Not for clinical use.")
    else:
        write_labels(labels, folder / f"{NAME}.{format}")


def _software() -> dict[str, str]:
    return {"DiffSeg": __version__, "Python": platform.python_version(), "numpy": np.__version__}


def _image(volume: Volume | None, labels: LabelMap) -> dict[str, Any]:
    """Where the voxels are, and a hash that tells whether they are those of another image; nothing of who it shows."""
    about = {"shape": list(labels.geometry.shape), "ijk_to_ras": labels.geometry.ijk_to_ras.tolist()}
    if volume is None:
        return about
    return {**about, "modality": volume.modality, "sha256": hashlib.sha256(np.ascontiguousarray(volume.array).data).hexdigest()}


def _files(folder: Path) -> list[dict[str, Any]]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [{"name": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size, "sha256": file_hash(path)} for path in found]


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        said = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return said if said["format"] == FORMAT and all({"name", "sha256"} <= set(each) for each in said["files"]) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _check_replaceable(folder: Path) -> None:
    """An earlier export may go, but nothing that somebody put beside it."""
    if not folder.exists():
        if not folder.parent.is_dir():
            raise BadInput(f"Cannot export into {folder}: its parent folder does not exist; create it first.")
        return
    if not folder.is_dir():
        raise BadInput(f"Cannot export into {folder}: it is a file; choose another name.")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    said = _manifest(folder)
    ours = {MANIFEST, *(each["name"] for each in said["files"])} if said else set()
    if there - ours:
        raise BadInput(f"Cannot export into {folder}: it holds other files ({sorted(there - ours)[0]}); name a new folder.")


@contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place on success and goes away otherwise."""
    growing = folder.with_name(f".{folder.name[:40]}-{secrets.token_hex(6)}")
    before = growing.with_name(f"{growing.name}-before")
    try:
        growing.mkdir()
        yield growing
        if folder.exists():
            os.replace(folder, before)
        try:
            os.replace(growing, folder)
        except OSError:
            if before.exists():
                os.replace(before, folder)
            raise
    except OSError as error:
        raise BadInput(f"Cannot write {folder}: {error.strerror or error}; close its files, or choose another folder.") from error
    finally:
        for leftover in (growing, before):
            shutil.rmtree(leftover, ignore_errors=True)
