"""Label maps and volumes to files: whole or not at all, on exactly the grid they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from . import itk, segnrrd
from .errors import BadInput
from .files import atomic, atomic_together, beside, suffix_of
from .geometry import Geometry
from .organs import ORGANS
from .volume import LabelMap, Volume

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".mha")
_MM, _SCANNER = "mm", 1


def write_labels(labels: LabelMap, path: str | Path) -> None:
    """Write by suffix: `.seg.nrrd` for Slicer, or `.nii.gz`, `.nii`, `.nrrd`, `.mha` with a JSON of names beside.

    `out.nii.gz` comes with `out.json`: {"labels": {"12": {"name": "liver", "title", "snomed", ...}}}; both
    appear or none. NIfTI stores positions in single precision, the others exactly. Raises BadInput for an
    unknown suffix, a place that cannot be written, and a JSON of that name that is something else.
    """
    path = Path(path)
    check_labels_place(path)
    if suffix_of(path) == ".seg.nrrd":
        with atomic(path) as temporary:
            segnrrd.write(labels, temporary)
        return
    names = beside(path, ".json")
    with atomic_together(path, names) as (temporary, temporary_names):
        _write_array(labels.ids, labels.geometry, temporary)
        temporary_names.write_text(json.dumps({"labels": _described(labels)}, indent=2) + "\n", encoding="utf-8")


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write an image as `.nii.gz`, `.nii`, `.nrrd` or `.mha`. Raises BadInput for several channels, too."""
    path = Path(path)
    _check_suffix(path, (*_NIFTI, *_ITK))
    if volume.array.ndim != 3:
        raise BadInput(f"The volume has {volume.array.shape[0]} channels; write them one by one.")
    with atomic(path) as temporary:
        _write_array(volume.array, volume.geometry, temporary)


def _check_suffix(path: Path, known: tuple[str, ...]) -> None:
    if suffix_of(path) not in known:
        raise BadInput(f"Cannot write {path}: {suffix_of(path) or 'no suffix'} is not one of {', '.join(known)}.")


def check_labels_place(path: Path) -> None:
    """Refuse what `write_labels` would refuse, for callers with slow work before it: an unknown suffix, a JSON of that name not written here."""
    _check_suffix(path, (*_NIFTI, *_ITK, ".seg.nrrd"))
    names = beside(path, ".json")
    if suffix_of(path) == ".seg.nrrd" or not names.exists():
        return
    try:
        ours = isinstance(json.loads(names.read_text(encoding="utf-8")).get("labels"), dict)
    except (ValueError, AttributeError):
        ours = False
    if not ours:
        raise BadInput(f"Cannot write the names of the labels: {names} holds something else; choose another file name.")


def _described(labels: LabelMap) -> dict[str, dict[str, Any]]:
    return {str(id): _description(name) for id, name in sorted(labels.names.items())}


def _description(name: str) -> dict[str, Any]:
    known = ORGANS.get(name)
    if known is None:
        return {"name": name}
    return {
        "name": known.name,
        "title": known.title,
        "category": known.category,
        "snomed": known.snomed,
        "snomed_meaning": known.snomed_meaning,
        "laterality": known.laterality,
        "color": known.color,
    }


def _write_array(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    array = _storable(array)
    if suffix_of(path) in _NIFTI:
        _write_nifti(array, geometry, path)
    else:
        image = sitk.GetImageFromArray(array)
        geometry.stamp(image)
        itk.write(image, path)


def _write_nifti(array: np.ndarray, geometry: Geometry, path: Path) -> None:
    image = nib.Nifti1Image(array.T, None)
    image.header.set_xyzt_units(_MM)
    image.set_sform(geometry.ijk_to_ras, _SCANNER)
    image.set_qform(geometry.ijk_to_ras, _SCANNER)
    nib.save(image, path)


def _storable(array: np.ndarray) -> np.ndarray:
    """The types that every format and reader knows."""
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype not in (np.int64, np.uint64):
        return array
    if array.min() < -(2**31) or array.max() >= 2**31:
        raise BadInput(f"Voxels from {array.min()} to {array.max()} need 64 bits, which few programs read; use floats.")
    return array.astype(np.int32)
