"""What happens to scans: turned, stored otherwise, noisy, thick, cut, shifted, streaked. Image and truth go through it together."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable

import numpy as np
import SimpleITK as sitk

from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.training.head import mirror_pairs
from DiffSegCore.volume import LabelMap, Volume

Pair = tuple[Volume, LabelMap]
METAL_HU, METAL_MM, METAL_SLICES_MM = 3000., 4., 15.
TIE = 1e-3  # smaller than any difference of shares
STREAK_HU, STREAK_MM, STREAKS = 500., 50., 9


@dataclass(frozen=True)
class Disturbance:
    name: str  # a folder's
    title: str
    apply: Callable[[Volume, LabelMap], Pair]


def same(volume: Volume, truth: LabelMap) -> Pair:
    return volume, truth


def rotated(volume: Volume, truth: LabelMap, degrees: float = 15.) -> Pair:
    """Turned about the line from foot to head through the middle, on the grid it had; what comes in from outside is as dark as the darkest voxel."""
    grid = volume.geometry
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0, 0, math.radians(degrees))
    image = _itk(volume.array, grid)
    turn.SetCenter(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in grid.size_ijk]))
    moved = sitk.Resample(image, image, turn, sitk.sitkLinear, float(volume.array.min()), sitk.sitkFloat32)
    labels = _labels(truth, grid, lambda mask: sitk.GetArrayFromImage(sitk.Resample(mask, image, turn, sitk.sitkLinear, 0., sitk.sitkFloat32)))
    return _like(volume, sitk.GetArrayFromImage(moved)), labels


def turned(volume: Volume, truth: LabelMap) -> Pair:
    """The same voxels at the same places, stored with other axes first and two of them the other way round."""
    order, flipped = (2, 0, 1), (0, 2)
    grid = volume.geometry.turned(order, flipped)
    array, ids = (np.ascontiguousarray(np.flip(each.transpose(order), flipped)) for each in (volume.array, truth.ids))
    return Volume(array, grid, volume.modality), LabelMap(ids, grid, truth.names)


def mirrored(volume: Volume, truth: LabelMap) -> Pair:
    """Right and left exchanged, as by a wrong header; of two organs in a pair, the one on the right takes the right one's name."""
    across = -1 - int(np.abs(volume.geometry.ijk_to_ras[0, :3]).argmax())  # of K, J, I, the one that runs most along R
    ids, given = np.flip(truth.ids, across).copy(), list(truth.names)
    for right, left in mirror_pairs(list(truth.names.values())):
        there = [ids == given[channel - 1] for channel in (right, left)]
        ids[there[0]], ids[there[1]] = given[left - 1], given[right - 1]
    return Volume(np.flip(volume.array, across).copy(), volume.geometry, volume.modality), LabelMap(ids, truth.geometry, truth.names)


def thick(volume: Volume, truth: LabelMap, mm: float = 5.) -> Pair:
    """Slices (K) averaged, at least two at a time, until they are that thick; a voxel is the organ's that has more than half of it, and of
    halves the one in the first slice: without that, pairs of slices would take a voxel off both ends of every organ.
    """
    count = min(max(2, math.ceil(mm / volume.geometry.spacing[0] - 1e-3)), volume.geometry.shape[0])
    image = _shrunk(_itk(volume.array.astype(np.float32), volume.geometry), count)
    grid = Geometry.from_itk(image)

    def share(mask: sitk.Image) -> np.ndarray:
        first = sitk.GetArrayViewFromImage(mask)[:count * grid.shape[0]:count]
        return sitk.GetArrayFromImage(_shrunk(mask, count)) + TIE * (first - .5)

    labels = _labels(truth, grid, share)
    return Volume(_stored(sitk.GetArrayFromImage(image), volume.array.dtype), grid, volume.modality), labels


def half(volume: Volume, truth: LabelMap) -> Pair:
    """The upper or lower half of the slices, whichever shows more of the organs."""
    slices, rows, columns = volume.geometry.shape
    middle = slices // 2
    upper = np.count_nonzero(truth.ids[middle:]) > np.count_nonzero(truth.ids[:middle])
    box = Box((middle, 0, 0), (slices, rows, columns)) if upper else Box((0, 0, 0), (max(1, middle), rows, columns))
    grid = volume.geometry.crop(box)
    return Volume(volume.array[box.slices], grid, volume.modality), LabelMap(truth.ids[box.slices], grid, truth.names)


def noisy(volume: Volume, truth: LabelMap, sd: float = 40.) -> Pair:
    """Normal noise of that standard deviation, HU in a CT, the same each time."""
    return _like(volume, volume.array + np.random.default_rng(0).normal(0, sd, volume.array.shape).astype(np.float32)), truth


def noisy_mr(volume: Volume, truth: LabelMap, share: float = .05) -> Pair:
    """Noise whose standard deviation is a share of the range of intensities, from 0 to the 99.5th percentile."""
    return noisy(volume, truth, share * float(np.percentile(volume.array, 99.5)))


def shifted(volume: Volume, truth: LabelMap, hu: float = 100.) -> Pair:
    return _like(volume, volume.array.astype(np.float32) + hu), truth


def rescaled(volume: Volume, truth: LabelMap, by: float = 1.5, share: float = .1) -> Pair:
    """Intensities as another MR scanner gives them: times a factor, plus a share of their range."""
    return _like(volume, by * volume.array.astype(np.float32) + share * float(np.percentile(volume.array, 99.5))), truth


def streaked(volume: Volume, truth: LabelMap) -> Pair:
    """A ball of metal in the middle of the organs, and in its slices bright and dark rays that fade away from it."""
    array, centre = volume.array.astype(np.float32), _middle(truth)
    k, j, i = (np.arange(n) - at for n, at in zip(array.shape, centre))
    up, back, across = (distance * mm for distance, mm in zip((k, j, i), volume.geometry.spacing))
    away = np.hypot(back[:, None], across)  # mm in the plane
    rays = STREAK_HU * np.cos(STREAKS * np.arctan2(back[:, None], across)) * np.exp(-away / STREAK_MM)
    near = np.abs(up) <= METAL_SLICES_MM
    array[near] += rays
    array[np.hypot(up[:, None, None], away) <= METAL_MM] = METAL_HU
    return _like(volume, array.clip(min(-1024., float(volume.array.min())), METAL_HU)), truth


def biased(volume: Volume, truth: LabelMap, strength: float = .5) -> Pair:
    """A coil's field: brightness rises from back to front and from one side to the other, by exp(-strength) to exp(strength)."""
    _, rows, columns = volume.array.shape
    field = np.exp(strength * (np.linspace(-1, 1, rows)[:, None] + np.linspace(-1, 1, columns)) / 2)
    return _like(volume, volume.array * field), truth


GEOMETRIC = (Disturbance("rotated", "rotated by 15 degrees", rotated), Disturbance("turned", "other storage, same voxels", turned),
             Disturbance("mirrored", "right and left exchanged", mirrored),
             Disturbance("thick", "slices averaged to 5 mm or more", thick), Disturbance("half", "half of the slices", half))
OF_CT = (Disturbance("noise", "noise, sd 40 HU", noisy), Disturbance("shifted", "100 HU too bright", shifted),
         Disturbance("streaks", "metal and streaks", streaked))
OF_MR = (Disturbance("noise", "noise, sd 5 % of the range", noisy_mr), Disturbance("rescaled", "1.5 times as bright, plus 10 %", rescaled),
         Disturbance("bias", "a coil's bias field, .6 to 1.6", biased))
AS_IS = Disturbance("as-is", "as it is", same)


def disturbances(modality: str) -> tuple[Disturbance, ...]:
    """Of a "CT" or another image; the first is none."""
    return (AS_IS, *GEOMETRIC, *(OF_CT if modality == "CT" else OF_MR))


def _middle(truth: LabelMap) -> tuple[int, int, int]:
    """kji: the centre of what is labelled, the image's where nothing is."""
    labelled = np.argwhere(truth.ids)
    centre = labelled.mean(0) if len(labelled) else (np.array(truth.ids.shape) - 1) / 2
    return tuple(int(n) for n in np.rint(centre))


def _labels(truth: LabelMap, grid: Geometry, carried: Callable[[sitk.Image], np.ndarray]) -> LabelMap:
    """Each voxel to the label that has more than half of it once every label's mask was carried along; background otherwise."""
    most, ids = np.full(grid.shape, .5, np.float32), np.zeros(grid.shape, truth.ids.dtype)
    for id in np.unique(truth.ids[truth.ids > 0]):
        share = carried(_itk((truth.ids == id).astype(np.float32), truth.geometry))
        ids[share > most] = id
        most = np.maximum(most, share)
    return LabelMap(ids, grid, truth.names)


def _shrunk(image: sitk.Image, count: int) -> sitk.Image:
    return sitk.BinShrink(image, (1, 1, count))


def _itk(array: np.ndarray, grid: Geometry) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    grid.stamp(image)
    return image


def _like(volume: Volume, values: np.ndarray) -> Volume:
    return Volume(_stored(values, volume.array.dtype), volume.geometry, volume.modality)


def _stored(values: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Rounded and within range where the scan was stored in whole numbers."""
    if kind.kind == "f":
        return values.astype(kind)
    return np.rint(values).clip(np.iinfo(kind).min, np.iinfo(kind).max).astype(kind)
