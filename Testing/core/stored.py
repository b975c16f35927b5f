"""One patient on many grids and in many files: what any segmentation of them has to agree on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from DiffSegCore.data.phantom import phantom
from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_volume

GRIDS = ("straight", "flipped", "left-handed", "permuted", "oblique", "anisotropic", "fine")
SUFFIXES = (".nii.gz", ".nrrd", "dicom")


def grid(name: str, base: Geometry) -> Geometry:
    """`base` as another scanner would have stored it; the first four share their voxels, the others its middle."""
    axes = base.ijk_to_ras[:3, :3]
    if name in ("oblique", "anisotropic", "fine"):
        return _about_the_middle(base, _turned(20, 12, 8) @ axes if name == "oblique" else axes, _STRETCH[name])
    order, signs = {
        "straight": ((0, 1, 2), (1, 1, 1)),
        "flipped": ((0, 1, 2), (-1, -1, 1)),
        "left-handed": ((0, 1, 2), (-1, 1, 1)),
        "permuted": ((1, 2, 0), (1, -1, 1)),
    }[name]
    return _reordered(base, order, signs)


_STRETCH = {"oblique": (1.0, 1.0, 1.0), "anisotropic": (1.6, 0.7, 0.8), "fine": (0.75, 0.75, 0.75)}   # K, J, I


def store(volume: Volume, folder: Path, name: str, suffix: str) -> Path:
    """Write the volume as a file, or for "dicom" as a series in a folder; returns what `read_volume` takes."""
    if suffix == "dicom":
        return write_series(volume, folder / name)
    path = folder / (name + suffix)
    write_volume(volume, path)
    return path


def stored_phantom(seed: int, geometry: Geometry, folder: Path, name: str, suffix: str) -> tuple[Path, LabelMap]:
    """The noiseless patient on that grid in a file, and the truth on the same grid."""
    volume, labels = phantom(seed, geometry=geometry, noise_hu=0)
    return store(volume, folder, name, suffix), labels


def sampled(labels: LabelMap, geometry: Geometry, *, nearest: bool = False) -> np.ndarray:
    """Ids on another grid, (K, J, I), 0 outside: the id with the largest trilinear weight, or the nearest voxel's.

    The weights keep surfaces within a fraction of a voxel, which nearest voxels do not.
    """
    reference = _itk(np.zeros(geometry.shape, np.uint8), geometry)
    if nearest:
        return _resampled(_itk(labels.ids, labels.geometry), reference, sitk.sitkNearestNeighbor)
    ids = [id for id in np.unique(labels.ids) if id]
    best, winner = np.full(geometry.shape, 0.5, np.float32), np.zeros(geometry.shape, labels.ids.dtype)
    for id in ids:
        weight = _resampled(_itk((labels.ids == id).astype(np.float32), labels.geometry), reference, sitk.sitkLinear)
        winner[weight > best] = id
        best = np.maximum(best, weight)
    return winner


def middle(base: Geometry, share: float = 0.75, spacing_mm: float = 2.0) -> Geometry:
    """A straight grid over the middle `share` of the base, where every grid of `grid` has voxels."""
    centre = base.to_ras((np.array(base.shape) - 1) / 2)
    centre = centre + (0.29, 0.17, 0.37)   # no voxel half way between two others
    inner = Geometry(base.shape, _affine(base.ijk_to_ras[:3, :3] * share, base.shape, centre))
    return inner.resampled(spacing_mm)


def write_series(volume: Volume, folder: Path, slope: float = 0.5, intercept: float = -1024.0) -> Path:
    """A CT series, one file a slice, named so that the order of names is not the order of slices."""
    folder.mkdir(parents=True)
    image = _itk(volume.array, volume.geometry)
    study, series, frame = (generate_uid() for _ in range(3))
    for k in range(volume.array.shape[0]):
        one = _slice(volume.array[k], image, k, slope, intercept)
        one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = study, series, frame
        one.save_as(folder / f"{(k * 7919) % 100003:06d}.dcm", enforce_file_format=True)
    return folder


def _slice(hu: np.ndarray, image: sitk.Image, k: int, slope: float, intercept: float) -> Dataset:
    across, down, between = image.GetSpacing()
    direction = np.reshape(image.GetDirection(), (3, 3))
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one.file_meta.MediaStorageSOPClassUID = one.SOPClassUID = CTImageStorage
    one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID = generate_uid()
    one.Modality, one.PatientName, one.PatientID = "CT", "Phantom", "phantom"
    one.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    one.InstanceNumber, one.SeriesNumber = k + 1, 1
    one.ImagePositionPatient = [f"{x:.9g}" for x in image.TransformIndexToPhysicalPoint((0, 0, k))]
    one.ImageOrientationPatient = [f"{x:.9g}" for x in (*direction[:, 0], *direction[:, 1])]
    one.PixelSpacing, one.SliceThickness = [f"{down:.9g}", f"{across:.9g}"], f"{between:.9g}"
    one.Rows, one.Columns = hu.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 16, 15, 0
    one.RescaleSlope, one.RescaleIntercept, one.RescaleType = f"{slope:g}", f"{intercept:g}", "HU"
    one.PixelData = np.rint((hu - intercept) / slope).astype("<u2").tobytes()
    return one


def _itk(array: np.ndarray, geometry: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    geometry.stamp(image)
    return image


def _resampled(image: sitk.Image, reference: sitk.Image, interpolator: int) -> np.ndarray:
    moved = sitk.Resample(image, reference, sitk.Transform(), interpolator, 0.0, image.GetPixelID())
    return sitk.GetArrayFromImage(moved)


def _reordered(base: Geometry, order: tuple[int, ...], signs: tuple[int, ...]) -> Geometry:
    """New (i, j, k) axes are old axes `order`, turned round where the sign is -1; the same voxel centres."""
    old_size = np.array(base.shape)[::-1]
    matrix = base.ijk_to_ras.copy()
    matrix[:3, :3] = base.ijk_to_ras[:3, list(order)] * signs
    first = np.where(np.array(signs) < 0, old_size[list(order)] - 1, 0)
    matrix[:3, 3] += base.ijk_to_ras[:3, list(order)] @ first
    return Geometry(tuple(old_size[list(order)][::-1]), matrix)


def _about_the_middle(base: Geometry, axes: np.ndarray, stretch: tuple[float, float, float]) -> Geometry:
    """The same extent round the same middle, with voxels `stretch` (K, J, I) times as large."""
    shape = tuple(max(1, round(size / by)) for size, by in zip(base.shape, stretch))
    centre = base.to_ras((np.array(base.shape) - 1) / 2)
    return Geometry(shape, _affine(axes * stretch[::-1], shape, centre))


def _affine(axes: np.ndarray, shape: tuple[int, ...], centre: np.ndarray) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = centre - Geometry(shape, matrix).to_ras((np.array(shape) - 1) / 2)
    return matrix


def _turned(*degrees: float) -> np.ndarray:
    """Rotation about the three axes, one after the other."""
    turn = np.eye(3)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn
