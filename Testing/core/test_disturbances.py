"""What is done to scans to see whether a model stands it: image and reference stay together."""
from __future__ import annotations

import numpy as np
import pytest
from benchmarks.disturbances import (AS_IS, biased, disturbances, half, mirrored, noisy, noisy_mr, rescaled, rotated, shifted, streaked, thick, turned)

from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap, Volume


def pair(ids: np.ndarray, spacing_kji: tuple[float, float, float] = (2., 2., 2.), image: np.ndarray | None = None) -> tuple[Volume, LabelMap]:
    """Labels, and a CT in which a labelled voxel has 100 HU and the rest is air."""
    ids = np.asarray(ids, np.uint8)
    grid = Geometry(ids.shape, np.diag([*spacing_kji[::-1], 1.]))
    array = np.where(ids > 0, 100, -1000) if image is None else image
    return Volume(array.astype(np.int16), grid, "CT"), LabelMap(ids, grid, {1: "liver", 2: "spleen"})


def block(shape: tuple[int, int, int] = (8, 12, 12)) -> np.ndarray:
    ids = np.zeros(shape, np.uint8)
    ids[2:6, 3:9, 3:7] = 1
    ids[2:6, 3:9, 7:9] = 2
    return ids


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_nothing_disturbs_the_pair_apart(modality):
    for each in disturbances(modality):
        volume, truth = each.apply(*pair(block()))
        assert volume.geometry.same_grid(truth.geometry), each.name
        assert volume.array.dtype == np.int16 and truth.ids.dtype == np.uint8 and dict(truth.names) == {1: "liver", 2: "spleen"}, each.name


def test_the_first_disturbance_is_none_and_no_two_share_a_name():
    for modality in ("CT", "MR"):
        names = [each.name for each in disturbances(modality)]
        assert names[0] == AS_IS.name and len(set(names)) == len(names)


def test_a_mirrored_patient_has_pairs_named_by_the_side_they_lie_on_and_other_organs_on_the_wrong_one():
    volume, truth = pair(block())
    truth = LabelMap(truth.ids, truth.geometry, {1: "kidney_right", 2: "kidney_left"})
    image, labels = mirrored(volume, truth)
    assert image.geometry.same_grid(volume.geometry)
    np.testing.assert_array_equal(image.array, volume.array[:, :, ::-1])
    assert (labels.ids[:, :, ::-1] == 2)[block() == 1].all() and (labels.ids[:, :, ::-1] == 1)[block() == 2].all()
    _, other = mirrored(*pair(block()))
    np.testing.assert_array_equal(other.ids, block()[:, :, ::-1])


def test_a_turned_patient_keeps_volume_and_middle_and_image_goes_along():
    volume, truth = rotated(*pair(block()), degrees=90)
    np.testing.assert_array_equal(truth.ids > 0, volume.array > -450)
    np.testing.assert_array_equal(truth.ids, np.rot90(block(), axes=(1, 2)) if truth.ids[2, 8, 8] else np.rot90(block(), -1, axes=(1, 2)))


def test_fifteen_degrees_move_outlines_and_keep_the_volume():
    ids = np.zeros((4, 40, 40), np.uint8)
    ids[:, 8:32, 14:26] = 1
    volume, truth = rotated(*pair(ids))
    assert abs(int((truth.ids > 0).sum()) - int(ids.sum())) < .02 * ids.sum() and (truth.ids != ids).any()
    assert volume.array.min() == -1000


def test_another_storage_has_every_voxel_where_it_was():
    volume, truth = pair(block(), (3., 2., 1.))
    stored, labels = turned(volume, truth)
    assert stored.array.shape == (12, 8, 12) and stored.geometry.spacing == (1., 3., 2.)
    for kji in ((2, 3, 3), (5, 8, 8), (0, 0, 11)):
        there = tuple(np.rint(stored.geometry.to_index(volume.geometry.to_ras(kji))).astype(int))
        assert stored.array[there] == volume.array[kji] and labels.ids[there] == truth.ids[kji]


@pytest.mark.parametrize(("own", "slices"), [(2., 2), (2.5, 4), (5., 4), (7., 4)])
def test_slices_become_five_millimetres_or_twice_as_thick(own, slices):
    volume, _ = thick(*pair(block(), (own, 2., 2.)))
    assert volume.array.shape == (slices, 12, 12) and volume.geometry.spacing[0] >= 5


def test_a_thick_slice_is_the_mean_and_belongs_to_who_has_most_of_it():
    ids = np.zeros((6, 2, 2), np.uint8)
    ids[1:3, 0, 0] = 1
    image = np.zeros((6, 2, 2))
    image[:, 1, 1] = [0, 30, 60, 0, 0, 90]
    volume, truth = thick(*pair(ids, image=image))
    np.testing.assert_array_equal(volume.array[:, 1, 1], [30, 30])
    np.testing.assert_array_equal(truth.ids[:, 0, 0], [1, 0])
    assert volume.geometry.to_ras((0, 0, 0))[2] == 2  # the middle of the three slices


def test_organs_keep_their_volume_in_thick_slices_though_pairs_are_halved():
    ids = np.zeros((12, 1, 4), np.uint8)
    ids[1:6, 0, 0], ids[2:7, 0, 1], ids[3:8, 0, 2], ids[4:9, 0, 3] = 1, 1, 1, 1
    _, truth = thick(*pair(ids, (2.5, 2., 2.)))
    assert truth.ids.shape[0] == 6 and 2 * int((truth.ids > 0).sum()) == int(ids.sum())


def test_the_half_with_more_of_the_organs_stays_in_its_place():
    ids = np.zeros((5, 2, 2), np.uint8)
    ids[3:, 0, 0] = 1
    volume, truth = half(*pair(ids))
    np.testing.assert_array_equal(truth.ids[:, 0, 0], [0, 1, 1])
    assert volume.geometry.to_ras((0, 0, 0)).tolist() == [0, 0, 4]


def test_noise_has_the_sd_it_is_said_to_have_and_is_the_same_each_time():
    volume, truth = pair(np.zeros((16, 16, 16)), image=np.zeros((16, 16, 16)))
    first, same = noisy(volume, truth)
    assert abs(first.array.std() - 40) < 2 and abs(first.array.mean()) < 2 and same is truth
    np.testing.assert_array_equal(first.array, noisy(volume, truth)[0].array)


def test_noise_of_an_mr_goes_by_its_own_range():
    volume, truth = pair(np.zeros((16, 16, 16)), image=np.full((16, 16, 16), 1000))
    assert abs(noisy_mr(volume, truth)[0].array.std() - 50) < 3


def test_brightness_moves_and_whole_numbers_do_not_overflow():
    volume, truth = pair([[[0, 1]]], image=np.array([[[0, 32760]]]))
    assert shifted(volume, truth)[0].array.tolist() == [[[100, 32767]]]
    volume, truth = pair([[[0, 1]]], image=np.array([[[0, 1000]]]))
    scaled = rescaled(volume, truth)[0].array[0, 0]
    assert scaled[1] - scaled[0] == 1500 and 95 <= scaled[0] <= 100


def test_metal_sits_in_the_organs_and_its_rays_stay_in_its_slices():
    volume, truth = pair(block((40, 40, 40)) | 0, image=np.zeros((40, 40, 40)))
    found = streaked(volume, truth)[0].array
    assert found.max() == 3000 and found[3, 5, 5] == 3000
    assert found[3].min() < -200 and not found[20].any()
    assert np.abs(found[3, -1]).max() < np.abs(found[3, 10]).max()


def test_a_coils_field_darkens_one_side_and_brightens_the_other():
    volume, truth = pair(np.zeros((2, 8, 8)), image=np.full((2, 8, 8), 1000))
    field = biased(volume, truth)[0].array
    assert field[0, 0, 0] == round(1000 * np.exp(-.5)) and field[0, -1, -1] == round(1000 * np.exp(.5))
    np.testing.assert_array_equal(field[0], field[1])
