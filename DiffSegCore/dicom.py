"""A DICOM series to a volume: which files belong together, in which order, and whether they make a grid."""

from __future__ import annotations

import logging
import struct
import warnings
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Callable, Iterable

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.errors import InvalidDicomError

from . import itk
from .errors import BadInput
from .files import naming
from .geometry import Geometry
from .volume import Volume

log = logging.getLogger(__name__)

_TAGS = [
    "SOPInstanceUID", "SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType", "Rows", "Columns",
    "SamplesPerPixel", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
]  # fmt: skip
_WAY_OUT = "name another, or save it as NIfTI with 3D Slicer, which also reads multi-frame DICOM"
_PLACE = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
_UNEVEN = 0.05  # of a slice distance: positions are rounded in headers, a missing slice is off by half or more


@dataclass(frozen=True)
class Slice:
    """One image file: where it lies in LPS mm, as DICOM says it."""

    path: Path
    series: str
    instance: str
    modality: str
    description: str
    shape: tuple[int, int]  # rows, columns
    position: tuple[float, ...]
    orientation: tuple[float, ...]  # along a row, then along a column
    spacing: tuple[float, ...]  # between rows, between columns
    thickness: float  # 0 where unknown
    whole_rescale: bool  # slope and intercept are whole numbers


@dataclass(frozen=True)
class Series:
    """The images that share a series UID, in no order."""

    uid: str
    modality: str
    description: str
    slices: tuple[Slice, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(each.path for each in self.slices)

    def __str__(self) -> str:
        return f"{self.uid} ({self.modality or 'no modality'}, {len(self.slices)} images, {self.description or 'no description'})"


def list_series(folder: str | Path) -> tuple[Series, ...]:
    """The image series in a folder and the folders below it, the largest first.

    Raises BadInput where the folder does not exist, is empty or holds no DICOM image.
    """
    with naming(folder):
        return _series_below(Path(folder))


def read_series(path: Path, series: str | None = None) -> Volume:
    """The volume of a folder's series (the largest unless `series` names one), or of the series a file is in."""
    if path.is_dir():
        return volume_of(_choose(_series_below(path), series, path))
    own = _slice(path)
    if own is None:
        raise BadInput(f"It is a DICOM file, but not one slice of a CT or MR with its place in space; {_WAY_OUT}.")
    beside = grouped(sorted(each for each in path.parent.iterdir() if each.is_file()))
    return volume_of(_choose(beside, series or own.series, path.parent))


def _series_below(folder: Path) -> tuple[Series, ...]:
    if not folder.is_dir():
        raise BadInput("There is no such folder; check the path.")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise BadInput("The folder is empty; name one that holds DICOM files.")
    found = grouped(files)
    if not found:
        raise BadInput(f"None of its {len(files)} files is one slice of a CT or MR with its place in space; {_WAY_OUT}.")
    return found


def is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _choose(found: tuple[Series, ...], uid: str | None, folder: Path) -> Series:
    if uid is None:
        if len(found) > 1:
            log.info("%s holds %d series; reading the largest, %s", folder, len(found), found[0])
        return found[0]
    for each in found:
        if each.uid == uid:
            return each
    raise BadInput(f"There is no series {uid}; the folder holds: " + "; ".join(map(str, found)) + ".")


def _log_damaged(path: Path, error: Exception) -> None:
    log.warning("skipping %s, its DICOM header is damaged: %s", path, error)


def grouped(files: Iterable[Path], damaged: Callable[[Path, Exception], None] = _log_damaged) -> tuple[Series, ...]:
    """The image series among the files, the largest first; `damaged` hears of headers that cannot be understood."""
    together: dict[str, dict[str, Slice]] = defaultdict(dict)
    for one in filter(None, map(partial(_slice, damaged=damaged), files)):
        together[one.series].setdefault(one.instance, one)  # the same image may lie there twice
    found = (_series(tuple(slices.values())) for slices in together.values())
    return tuple(sorted(found, key=lambda each: (-len(each.slices), each.uid)))


def _series(slices: tuple[Slice, ...]) -> Series:
    return Series(slices[0].series, slices[0].modality, slices[0].description, slices)


def _slice(path: Path, damaged: Callable[[Path, Exception], None] = _log_damaged) -> Slice | None:
    """What the header of an image slice says; None for a scout, a DICOM SEG, a text file, anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            return _said(path, header) if _usable(header) else None
    except InvalidDicomError:
        return None
    except (AttributeError, EOFError, KeyError, TypeError, ValueError, struct.error) as error:
        damaged(path, error)
        return None


def _usable(header: pydicom.Dataset) -> bool:
    single = int(header.get("NumberOfFrames") or 1) == 1 == int(header.get("SamplesPerPixel") or 1)
    placed = all(len(header.get(tag) or ()) == n for tag, n in _PLACE)
    return single and placed and "LOCALIZER" not in (header.get("ImageType") or "")


def _said(path: Path, header: pydicom.Dataset) -> Slice:
    rescale = (float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0))
    return Slice(
        path=path,
        series=str(header.SeriesInstanceUID),
        instance=str(header.SOPInstanceUID),
        modality=str(header.get("Modality", "")),
        description=str(header.get("SeriesDescription", "")),
        shape=(int(header.Rows), int(header.Columns)),
        position=tuple(map(float, header.ImagePositionPatient)),
        orientation=tuple(map(float, header.ImageOrientationPatient)),
        spacing=tuple(map(float, header.PixelSpacing)),
        thickness=float(header.get("SpacingBetweenSlices") or header.get("SliceThickness") or 0),
        whole_rescale=all(number.is_integer() for number in rescale),
    )


def volume_of(series: Series) -> Volume:
    """The voxels of a series that was found. Raises BadInput where its slices do not stack or cannot be decoded."""
    slices = in_order(series)
    geometry = grid_of(slices)
    image = itk.read_slices([each.path for each in slices], as_float=not all(each.whole_rescale for each in slices))
    return Volume(sitk.GetArrayFromImage(image), geometry, series.modality)


def in_order(series: Series) -> list[Slice]:
    """From the first to the last along the normal; raises BadInput where slices do not stack."""
    slices, first = series.slices, series.slices[0]
    for each in slices:
        if each.shape != first.shape or not np.allclose(each.spacing, first.spacing, rtol=1e-3):
            raise BadInput(
                f"Its slices differ in size: {first.path.name} has {first.shape} pixels of {first.spacing} mm, "
                f"{each.path.name} has {each.shape} of {each.spacing} mm; export one image stack only."
            )
        if not np.allclose(each.orientation, first.orientation, atol=1e-3):
            raise BadInput(f"Its slices are not parallel: {first.path.name} and {each.path.name}; export one image stack only.")
    return sorted(slices, key=_height)


def _height(one: Slice) -> float:
    """Distance along the slice normal, mm."""
    return float(np.dot(np.cross(one.orientation[:3], one.orientation[3:]), one.position))


def grid_of(slices: list[Slice]) -> Geometry:
    """The grid of slices in order. Raises BadInput where they are unevenly spaced."""
    first, last = slices[0], slices[-1]
    matrix = np.eye(4)  # ijk to LPS
    matrix[:3, 0] = np.multiply(first.orientation[:3], first.spacing[1])
    matrix[:3, 1] = np.multiply(first.orientation[3:], first.spacing[0])
    if len(slices) > 1:
        _check_even(slices)
        matrix[:3, 2] = np.subtract(last.position, first.position) / (len(slices) - 1)
    else:
        matrix[:3, 2] = np.cross(first.orientation[:3], first.orientation[3:]) * first.thickness
    matrix[:3, 3] = first.position
    return Geometry.from_lps((len(slices), *first.shape), matrix).straightened()


def _check_even(slices: list[Slice]) -> None:
    heights = np.array([_height(each) for each in slices])
    steps = np.diff(heights)
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])  # the lower median: gaps are what is odd
    places = 1 + int((steps > 1e-3).sum())
    if places < len(slices):
        raise BadInput(
            f"The series has {len(slices)} images at {places} places (time points, echoes or several reconstructions "
            "in one); export a single one as a series of its own."
        )
    expected = np.linspace(heights[0], heights[-1], len(heights))
    if np.abs(heights - expected).max() > _UNEVEN * usual:
        odd = int(np.abs(steps - usual).argmax())
        raise BadInput(
            f"Its slices are unevenly spaced: {steps[odd]:.2f} mm between {slices[odd].path.name} and "
            f"{slices[odd + 1].path.name}, {usual:.2f} mm elsewhere; a slice may be missing, export the whole series again."
        )
