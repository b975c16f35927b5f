"""Files to volumes and label maps: NIfTI, NRRD, MHA and DICOM series in, a sentence for what cannot be used."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from nibabel.filebasedimages import ImageFileError
from nibabel.imageglobals import logger as nibabel_log
from nibabel.spatialimages import HeaderDataError

from . import itk, segnrrd
from .dicom import is_dicom, read_series
from .errors import BadInput
from .files import beside, naming, suffix_of
from .geometry import Geometry
from .volume import LabelMap, Volume

log = logging.getLogger(__name__)

NIFTI = (".nii", ".nii.gz")
ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
_SCANNER = 1
_GZIP = b"\x1f\x8b"
_IN_MM = {"meter": 1000.0, "micron": 0.001}


def read_volume(path: str | Path, *, series: str | None = None, channels: bool = False) -> Volume:
    """An image: a NIfTI, NRRD, MHA or MHD file, a folder with a DICOM series, or one DICOM file of a series.

    A folder is searched with the folders below it; `series` is a DICOM series UID, by default the
    series with most images. `channels`: a fourth axis, or several values a voxel, are channels (C, K, J, I)
    instead of a mistake. The modality is known from DICOM only. Raises BadInput, a sentence that
    names the file, for whatever cannot be segmented: missing, damaged, not three-dimensional, coloured,
    without a place in space, sheared, holding NaN or infinite voxels.
    """
    path = Path(path)
    with naming(path):
        volume = read_series(path, series) if _is_dicom(path) else _single(path, series, channels)
        _check_voxels(volume.array)
        return volume


def read_labels(path: str | Path) -> LabelMap:
    """Labels from a NIfTI, NRRD, MHA or `.seg.nrrd` file.

    Names come from the segments, or from the JSON that `write_labels` puts beside the file; without
    either `names` is empty. Overlapping segments are flattened, the later one on top. Raises BadInput
    as `read_volume` does, and for voxels that are not whole numbers from 0 to 65535.
    """
    path = Path(path)
    with naming(path):
        _check_exists(path)
        if suffix_of(path) == ".seg.nrrd":
            return segnrrd.read(path)
        array, geometry = _array(path)
        return LabelMap(_as_ids(array), geometry, _names_beside(path))


def _check_exists(path: Path) -> None:
    if not path.exists():
        raise BadInput("There is no such file; check the path.")


def _is_dicom(path: Path) -> bool:
    _check_exists(path)
    return path.is_dir() or (suffix_of(path) not in (*NIFTI, *ITK, ".seg.nrrd") and is_dicom(path))


def _single(path: Path, series: str | None, channels: bool) -> Volume:
    if series is not None:
        raise BadInput(f"It is one file, so there is no series {series} to choose; leave the series out.")
    array, geometry = _array(path, channels)
    return Volume(array, geometry)


def _array(path: Path, channels: bool = False) -> tuple[np.ndarray, Geometry]:
    if path.stat().st_size == 0:
        raise BadInput("The file is empty; export or copy it again.")
    suffix = suffix_of(path)
    if suffix in NIFTI:
        array, geometry = _nifti(path, channels)
    elif suffix in (*ITK, ".seg.nrrd"):
        array, geometry = _itk(path, channels)
    else:
        raise BadInput(f"{suffix or 'No suffix'} is not a volume format; use NIfTI, NRRD, MHA or a DICOM folder.")
    if array.size == 1:
        raise BadInput("It is a single voxel; choose an image.")
    return array, geometry


def _itk(path: Path, channels: bool) -> tuple[np.ndarray, Geometry]:
    image = itk.read(path)
    _check_dimensions(image.GetSize(), image.GetNumberOfComponentsPerPixel(), channels)
    if image.GetDimension() == 4:
        planes = sitk.GetArrayFromImage(image)
        return planes if len(planes) > 1 else planes[0], Geometry.from_itk(image[:, :, :, 0]).straightened()
    array = sitk.GetArrayFromImage(image)
    array = np.ascontiguousarray(np.moveaxis(array, -1, 0)) if array.ndim == 4 else array
    return array, Geometry.from_itk(image).straightened()


def _nifti(path: Path, channels: bool) -> tuple[np.ndarray, Geometry]:
    with _nifti_sentences():
        image = _nifti_image(path.read_bytes())
    components = len(image.get_data_dtype().names or "1")
    _check_dimensions(_with_slices(image.shape), components, channels)
    geometry = _nifti_geometry(image)
    with _nifti_sentences():
        return _nifti_voxels(image), geometry


@contextmanager
def _nifti_sentences() -> Iterator[None]:
    """What nibabel raises becomes a sentence; what it logs on the way stays off the terminal."""
    level = nibabel_log.level
    nibabel_log.setLevel(logging.CRITICAL)
    try:
        yield
    except (ImageFileError, HeaderDataError) as error:
        raise BadInput(f"Its NIfTI header is damaged ({_one_line(error)}); export or copy it again.") from error
    except (EOFError, OSError, ValueError, zlib.error) as error:
        if isinstance(error, BadInput) or getattr(error, "errno", None) is not None:
            raise  # a sentence already, or the system's word
        raise BadInput(f"The file is damaged or cut short ({_one_line(error)}); export or copy it again.") from error
    finally:
        nibabel_log.setLevel(level)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _nifti_image(content: bytes) -> Any:
    """Unpacked whole, since only the end of a gzip file tells damage; ITK fills half a file up with zeros."""
    if content[:2] == _GZIP:
        content = gzip.decompress(content)
    if content[344:348] == b"n+1\0":
        return nib.Nifti1Image.from_bytes(content)
    if content[4:8] == b"n+2\0":
        return nib.Nifti2Image.from_bytes(content)
    raise BadInput("The file is not NIfTI, whatever its name says; export it again.")


def _with_slices(shape: tuple[int, ...]) -> tuple[int, ...]:
    """NIfTI may leave out a last axis of one slice."""
    return (*shape, 1) if len(shape) == 2 else shape


def _nifti_geometry(image: Any) -> Geometry:
    header = image.header
    if not (header["sform_code"] or header["qform_code"]):
        raise BadInput(
            "Its header does not say how it lies in the patient (sform and qform are unset), so left and right are unknown; "
            "load it in 3D Slicer, check the sides and save it."
        )
    # As ITK and so Slicer choose: an sform that leads to an atlas instead of the scanner gives way to the qform.
    pose = header.get_qform() if header["qform_code"] and header["sform_code"] != _SCANNER else header.get_sform()
    scale = _IN_MM.get(header.get_xyzt_units()[0], 1.0)
    matrix = np.diag([scale, scale, scale, 1.0]) @ pose
    return Geometry.from_ijk(_with_slices(image.shape)[:3], matrix).straightened()


def _nifti_voxels(image: Any) -> np.ndarray:
    """(K, J, I), or (C, K, J, I) of a fourth axis; the header's slope and intercept applied, whole numbers kept whole."""
    stored = image.dataobj.get_unscaled()
    several = tuple(n for n in image.shape[3:] if n > 1)
    array = np.ascontiguousarray(stored.reshape((*_with_slices(image.shape)[:3], *several), order="F").T)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    slope, intercept = float(image.dataobj.slope), float(image.dataobj.inter)
    if (slope, intercept) == (1.0, 0.0):
        return array
    scaled = array * slope + intercept
    whole = array.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer()
    fits = whole and np.abs(scaled).max() < 2**31
    return scaled.astype(np.int32 if fits else np.float32)


def _check_dimensions(size: tuple[int, ...], components: int, channels: bool) -> None:
    """`size` in the file's order, I first; with `channels`, a fourth axis or several components are welcome."""
    if components > 1 and not channels:
        raise BadInput(f"It has {components} values a voxel (colour or vectors); export it as a grey-value volume.")
    if len(size) < 3:
        raise BadInput(f"It is a {len(size)}D picture of {' x '.join(map(str, size))} pixels; a volume has three dimensions.")
    if any(n > 1 for n in size[4 if channels else 3:]):
        raise BadInput(f"It is a {len(size)}D series of {' x '.join(map(str, size))} voxels; export one time point as a 3D volume.")
    if min(size) < 1:
        raise BadInput(f"It is empty: {' x '.join(map(str, size))} voxels; export it again.")


def _check_voxels(array: np.ndarray) -> None:
    if array.dtype.kind != "f" or np.isfinite([array.min(), array.max()]).all():
        return
    bad = ~np.isfinite(array)
    where = tuple(int(n) for n in np.unravel_index(bad.argmax(), bad.shape))
    raise BadInput(
        f"{int(bad.sum())} voxels are NaN or infinite, the first at {where} (K, J, I); "
        "replace them, with -1024 HU in a CT, and save the file again."
    )


def _as_ids(array: np.ndarray) -> np.ndarray:
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 65535):  # NaN too
        raise BadInput(f"Its voxels go from {low} to {high}; labels are 0 to 65535. Is it an image?")
    ids = array.astype(np.uint8 if high < 256 else np.uint16)
    if array.dtype.kind == "f" and not np.array_equal(ids, array):
        odd = array[ids != array][0]
        raise BadInput(f"A voxel is {odd}; labels are whole numbers. Is it an image, or resampled with interpolation?")
    return ids


def _names_beside(path: Path) -> dict[int, str]:
    """From the JSON that `write_labels` put beside the file; a JSON of another kind is left alone."""
    names = beside(path, ".json")
    if not names.is_file():
        return {}
    try:
        described = json.loads(names.read_text(encoding="utf-8"))["labels"]
        return {int(id): str(about["name"]) for id, about in described.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        log.info("%s does not name the labels of %s", names, path.name)
        return {}
