"""Native grid to model grid and back: SimpleITK and torch's own upsampling are the references."""
from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as F

from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.preprocess import Preprocessing, body_box, labels_on_model_grid, native_labels, to_model_grid
from DiffSegCore.resample import resample
from DiffSegCore.volume import LabelMap, Volume

KNOTS = ((-1000, -1), (-150, -0.6), (250, 0.6), (1000, 1))
RECIPE = Preprocessing((2.5, 4, 4), KNOTS, "CT")


def grid(shape, spacing_mm, *, axes=(0, 1, 2), flip=(1, 1, 1), tilt=0.0, origin=(3.3, -17.2, 44.0)) -> Geometry:
    matrix = np.diag([*spacing_mm[::-1], 1.0])
    matrix[:3, :3] = matrix[:3, :3][:, list(axes)] * flip
    c, s = np.cos(tilt), np.sin(tilt)
    matrix[:3, :3] = np.array([[c, -s, 0], [s * c, c * c, -s], [s * s, c * s, c]]) @ matrix[:3, :3]
    matrix[:3, 3] = origin
    return Geometry(shape, matrix)


def noise(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def by_simpleitk(array, native, target, outside) -> np.ndarray:
    image, onto = sitk.GetImageFromArray(array.astype(np.float64)), sitk.GetImageFromArray(np.zeros(target.shape, np.uint8))
    native.stamp(image)
    target.stamp(onto)
    return sitk.GetArrayFromImage(sitk.Resample(image, onto, sitk.Transform(), sitk.sitkLinear, outside))


STORED = {
    "axial": {}, "sagittal": {"axes": (2, 0, 1)}, "coronal, left-handed": {"axes": (0, 2, 1), "flip": (-1, 1, 1)},
    "upside down": {"flip": (-1, -1, -1)}, "oblique": {"tilt": 0.2}, "oblique, left-handed": {"tilt": -0.3, "flip": (1, -1, 1)},
}


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
def test_resampling_equals_simpleitk_however_the_volume_is_stored(stored):
    native = grid((13, 17, 15), (3.0, 1.4, 1.7), **stored)
    target, array = native.resampled((2.5, 1.6, 1.2)), noise(native.shape)
    found = resample(array, native, target, outside=-1000).numpy()
    np.testing.assert_allclose(found, by_simpleitk(array, native, target, -1000), atol=0.01)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
def test_block_means_do_not_shift_a_ramp(stored):
    native = grid((24, 25, 26), (1.0, 1.0, 1.0), **stored)
    slope, target = np.array([2.0, -3.0, 5.0]), native.resampled((2.5, 4.0, 3.0))
    ramp = native.to_ras(np.stack(np.indices(native.shape), -1)) @ slope
    at = np.stack(np.indices(target.shape), -1)
    inside = ((native.to_index(target.to_ras(at)) > 2) & (native.to_index(target.to_ras(at)) < np.array(native.shape) - 4)).all(-1)
    assert inside.sum() > 20
    found = resample(ramp.astype(np.float32), native, target).numpy()
    np.testing.assert_allclose(found[inside], (target.to_ras(at) @ slope)[inside], atol=2e-3)


def test_block_means_keep_what_skipping_voxels_would_lose():
    stripes = np.zeros((8, 8, 8), np.int16)
    stripes[:, :, ::2] = 100
    native = grid((8, 8, 8), (1.0, 1.0, 1.0))
    assert resample(stripes, native, native.resampled(2.0)).unique().tolist() == [50.0]


@pytest.mark.parametrize("axis", range(3))
def test_blocks_lie_at_the_same_places_when_an_axis_is_stored_the_other_way_round(axis):
    native = grid((19, 13, 17), (1.0, 1.2, 0.9))
    array, turned = noise(native.shape), native.ijk_to_ras.copy()
    turned[:3, 3] += turned[:3, 2 - axis] * (native.shape[axis] - 1)
    turned[:3, 2 - axis] *= -1
    target = native.resampled((2.5, 3.0, 2.0))
    other = resample(np.flip(array, axis), Geometry(native.shape, turned), target)
    torch.testing.assert_close(other, resample(array, native, target), atol=1e-2, rtol=0)


def test_slabs_give_what_the_whole_gives(monkeypatch):
    native = grid((19, 12, 14), (1.0, 1.2, 0.9))
    target, array = native.resampled((2.5, 3.0, 2.0)), noise(native.shape)
    whole = resample(array, native, target)
    monkeypatch.setattr("DiffSegCore.resample.SLAB_VOXELS", 500)
    torch.testing.assert_close(resample(array, native, target), whole, atol=1e-3, rtol=0)


def test_outside_the_volume_is_air_and_so_is_a_voxel_that_is_no_number():
    native = grid((6, 6, 6), (2.0, 2.0, 2.0))
    array = np.full((6, 6, 6), 40.0, np.float32)
    array[3, 3, 3] = np.nan
    found = resample(array, native, native.padded(2, 2), outside=-1000)
    assert found[:2].unique().tolist() == [-1000.0] and found[5, 5, 5] == -1000 and found[2, 2, 2] == 40


def test_model_values_follow_the_knots_and_stop_at_the_ends():
    intensities = torch.tensor([-2000.0, -1000, -575, -150, 50, 250, 1000, 3000])
    torch.testing.assert_close(RECIPE.values(intensities), torch.tensor([-1.0, -1, -0.8, -0.6, 0, 0.6, 1, 1]))


def test_a_volume_comes_to_its_model_grid():
    native = grid((10, 20, 24), (5.0, 2.0, 2.0))
    image, model_grid = to_model_grid(Volume(np.full(native.shape, 50, np.int16), native, "CT"), RECIPE)
    assert image.shape == (1, 20, 10, 12) and model_grid == native.resampled((2.5, 4, 4))
    torch.testing.assert_close(image, torch.zeros_like(image), atol=1e-6, rtol=0)


def test_labels_keep_about_their_volume_on_a_coarse_grid():
    native = grid((20, 40, 40), (2.0, 1.0, 1.0), flip=(-1, -1, 1))
    ids = np.zeros(native.shape, np.uint16)
    ids[2:12, 4:36, 6:20], ids[2:12, 4:36, 20:34] = 300, 7
    coarse = native.resampled((2.5, 4.0, 4.0))
    found = labels_on_model_grid(LabelMap(ids, native), coarse)
    assert found.shape == coarse.shape and found.dtype == np.uint16
    for label in (7, 300):
        assert (found == label).sum() * 40 == pytest.approx((ids == label).sum() * 2, rel=0.2)


def test_the_body_is_found_and_the_couch_is_not():
    image = torch.full((1, 20, 30, 30), -1.0)
    image[0, 4:15, 8:20, 10:25] = 0.0
    image[0, :, 28] = 0.0
    assert body_box(image, margin=0) == Box((4, 8, 10), (15, 20, 25))
    assert body_box(image, margin=2) == Box((2, 6, 8), (17, 22, 27))
    assert body_box(torch.full((1, 8, 8, 8), -1.0)).is_empty


def organ_logits(shape, channels=5, seed=0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(1, channels, *(max(2, n // 4) for n in shape), generator=generator) * 5
    return F.interpolate(coarse, size=shape, mode="trilinear")[0] + torch.randn(channels, *shape, generator=generator) * 0.1


def test_native_labels_equal_torchs_upsampling_in_every_voxel():
    native = grid((48, 64, 64), (1.25, 1.0, 1.0))
    coarse = native.resampled((2.5, 4.0, 4.0))
    logits = organ_logits(coarse.shape, 14)
    plain = F.interpolate(logits[None], size=native.shape, mode="trilinear")[0].argmax(0)
    np.testing.assert_array_equal(native_labels(logits, coarse, native), plain)


@pytest.mark.parametrize("stored", STORED.values(), ids=STORED.keys())
def test_native_labels_equal_the_argmax_of_resampled_logits_on_any_grid(stored):
    native = grid((14, 18, 16), (2.1, 1.3, 1.6), **stored)
    coarse = native.resampled((2.5, 4.0, 4.0))
    logits = organ_logits(coarse.shape)
    wide = coarse.padded(3, 3)  # the border repeated: what lies outside the model grid takes its edge
    padded = F.pad(logits[None], (3,) * 6, mode="replicate")[0]
    dense = np.stack([by_simpleitk(channel, wide, native, 0) for channel in padded.numpy()])
    first, second = np.sort(dense, axis=0)[-1], np.sort(dense, axis=0)[-2]
    clear = first - second > 1e-4
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(native_labels(logits, coarse, native)[clear], dense.argmax(0)[clear])


def test_the_labels_of_a_model_grid_survive_the_round_trip():
    coarse = grid((7, 8, 9), (2.5, 4.0, 4.0))
    logits = organ_logits(coarse.shape)
    np.testing.assert_array_equal(native_labels(logits, coarse, coarse), logits.argmax(0))


def test_stop_is_heard_while_labels_are_made():
    def stop(fraction, stage):
        raise Cancelled
    coarse = grid((4, 4, 4), (2.0, 2.0, 2.0))
    with pytest.raises(Cancelled):
        native_labels(organ_logits(coarse.shape), coarse, coarse, stop)


def test_a_preprocessing_survives_its_dictionary():
    assert Preprocessing.from_dict(RECIPE.to_dict()) == RECIPE


@pytest.mark.parametrize("change", [
    {"spacing_mm": [2.5, 4]}, {"spacing_mm": [2.5, 0, 4]}, {"spacing_mm": "fine"}, {"spacing_mm": [1, 1, float("nan")]},
    {"intensity_knots": [[0, 0]]}, {"intensity_knots": [[0, 0], [0, 1]]}, {"intensity_knots": [[0, 0], [1]]},
    {"modality": None}, {"colour": "red"},
], ids=str)
def test_a_senseless_preprocessing_is_refused(change):
    with pytest.raises(BadInput):
        Preprocessing.from_dict({**RECIPE.to_dict(), **change})


def test_images_without_units_give_the_same_values_whatever_their_scale():
    """An MR's numbers mean nothing by themselves: percentiles of the body do."""
    percent = Preprocessing((2., 2., 2.), ((0., -1.), (130., 1.)), "MR", body_percentile=95.)
    array = np.zeros((8, 8, 8), np.float32)
    array[2:6, 2:6, 2:6] = np.arange(100, 164).reshape(4, 4, 4)
    geometry = Geometry(array.shape, np.diag([2., 2., 2., 1.]))
    first, second = (to_model_grid(Volume(each, geometry), percent)[0] for each in (array, 3 * array + 50))
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert first.min() == -1 and torch.quantile(first[first > -1], .95) == pytest.approx(-1 + 2 * 100 / 130, abs=.01)
    assert Preprocessing.from_dict(percent.to_dict()) == percent


def test_a_percentile_beyond_all_voxels_is_refused_and_an_empty_image_is_not():
    with pytest.raises(BadInput, match="body_percentile"):
        Preprocessing((2., 2., 2.), ((0., -1.), (100., 1.)), "MR", body_percentile=120.)
    percent = Preprocessing((2., 2., 2.), ((0., -1.), (100., 1.)), "MR", body_percentile=95.)
    empty = Volume(np.zeros((4, 4, 4), np.int16), Geometry((4, 4, 4), np.diag([2., 2., 2., 1.])))
    assert (to_model_grid(empty, percent)[0] == -1).all()
