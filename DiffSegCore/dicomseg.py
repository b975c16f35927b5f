"""Labels as a DICOM Segmentation object that refers to the images they were drawn on, with the organ table's codes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk

from . import __version__
from .dicom import Series, grid_of, in_order
from .errors import BadInput
from .files import atomic
from .geometry import Geometry
from .organs import LATERALITY_CODES, ORGANS, Organ
from .volume import LabelMap

_SERIES_NUMBER = 900  # above the scanner's own
_TISSUE = ("85756007", "Tissue")  # what Slicer, too, calls a segment that it knows nothing of
_MAY_BE_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
                 "ReferringPhysicianName")  # type 2 in the standard: archives strip them, a SEG has to hold them


def check_dicomseg() -> None:
    """BadInput where highdicom is missing."""
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise BadInput(f"DICOM SEG needs the package highdicom ({error}): pip install 'diffseg[export]'.") from error


def write_dicomseg(labels: LabelMap, path: str | Path, series: Series, *, by_hand: bool = False) -> None:
    """A binary SEG of every label that has a voxel. Labels on another grid are brought onto the series' by the nearest voxel.

    by_hand: a person took part with clicks. Raises BadInput where there is nothing to write, the series is no
    volume, or highdicom is missing or refuses the series.
    """
    check_dicomseg()
    slices = in_order(series)
    ids = _on(grid_of(slices), labels)
    present = [int(id) for id in np.flatnonzero(np.bincount(ids.ravel())) if id]
    if not present:
        raise BadInput("No voxel of the DICOM series is labelled, and a DICOM SEG without segments is none; export another format.")
    numbers = np.zeros(max(present) + 1, np.uint8 if len(present) < 256 else np.uint16)
    numbers[present] = np.arange(1, len(present) + 1)
    segments = [_segment(number, labels.names.get(id, f"label_{id}"), by_hand) for number, id in enumerate(present, start=1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _made([_source(each.path) for each in slices], numbers[ids], segments)
        with atomic(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)


def lies_on(series: Series, grid: Geometry) -> bool:
    """Whether the series' voxels are the grid's, headers' rounding apart."""
    try:
        return _same(grid_of(in_order(series)), grid)
    except BadInput:  # scouts and the like make no grid
        return False


def _same(one: Geometry, other: Geometry) -> bool:
    return one.same_grid(other, tolerance_mm=0.05 * min(one.spacing))


def _on(grid: Geometry, labels: LabelMap) -> np.ndarray:
    if _same(grid, labels.geometry):
        return labels.ids
    image, reference = sitk.GetImageFromArray(labels.ids), sitk.Image(*grid.size_ijk, sitk.sitkUInt8)
    labels.geometry.stamp(image)
    grid.stamp(reference)
    return sitk.GetArrayFromImage(sitk.Resample(image, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0, image.GetPixelID()))


def _source(path: Path) -> pydicom.Dataset:
    """The header of an image, with what is missing left empty."""
    header = pydicom.dcmread(path, stop_before_pixels=True)
    for keyword in _MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    if "FrameOfReferenceUID" not in header:  # the series is a frame of its own
        header.FrameOfReferenceUID = pydicom.uid.generate_uid(entropy_srcs=[str(header.SeriesInstanceUID)])
    return header


def _made(sources: list[pydicom.Dataset], numbers: np.ndarray, segments: list[Any]) -> pydicom.Dataset:
    import highdicom

    try:
        return highdicom.seg.Segmentation(
            sources, numbers, highdicom.seg.SegmentationTypeValues.BINARY, segments, series_instance_uid=highdicom.UID(),
            series_number=_SERIES_NUMBER, sop_instance_uid=highdicom.UID(), instance_number=1, manufacturer="DiffSeg",
            manufacturer_model_name="DiffSeg", software_versions=__version__, device_serial_number="0",
            content_label="SEGMENTATION", series_description="DiffSeg, not for clinical use")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"The DICOM series lacks what a DICOM SEG has to say of it ({error}); export another format.") from error


def _segment(number: int, name: str, by_hand: bool) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    known = ORGANS.get(name)
    kind = highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC if by_hand else highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC
    segment = highdicom.seg.SegmentDescription(
        number, (known.title if known else name)[:64], _coded(*(known.coded_category if known else ("123037004", "Anatomical Structure"))),
        _coded(known.snomed, known.snomed_meaning) if known else _coded(*_TISSUE), kind,
        highdicom.AlgorithmIdentificationSequence("DiffSeg", codes.DCM.ArtificialIntelligence, __version__),
        display_color=highdicom.color.CIELabColor.from_rgb(*known.color) if known else None)
    if known and known.laterality:
        segment.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = [_side(known)]
    return segment


def _side(organ: Organ) -> Any:
    return _coded(LATERALITY_CODES[organ.laterality], organ.laterality.capitalize())


def _coded(value: str, meaning: str) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(value, "SCT", meaning[:64])
