from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Box, Geometry


def test_itk_and_we_put_every_voxel_at_the_same_place(awkward):
    image = sitk.Image(tuple(reversed(awkward.shape)), sitk.sitkUInt8)
    awkward.stamp(image)
    lps = np.array(image.TransformIndexToPhysicalPoint((5, 3, 2)))
    np.testing.assert_allclose(awkward.to_ras((2, 3, 5)), lps * [-1, -1, 1], atol=1e-9)
    assert Geometry.from_itk(image).same_grid(awkward, tolerance_mm=1e-9)


def test_to_index_undoes_to_ras(awkward):
    kji = np.random.default_rng(0).uniform(-3, 9, (2, 7, 3))
    np.testing.assert_allclose(awkward.to_index(awkward.to_ras(kji)), kji, atol=1e-9)


def test_the_numbers_of_a_known_grid(oblique):
    np.testing.assert_allclose(oblique.spacing, (2.5, 0.8, 0.7))
    np.testing.assert_allclose(oblique.extent_mm, (10.0, 4.0, 4.2))
    np.testing.assert_allclose(oblique.origin, (-81.25, 40.5, -312.75))
    np.testing.assert_allclose(oblique.direction.T @ oblique.direction, np.eye(3), atol=1e-12)


def test_a_point_is_in_the_grid_up_to_the_edge_of_its_voxels(oblique):
    assert oblique.contains((-0.5, 0, 0)) and oblique.contains([(0, 0, 0), (3.49, 4.49, 5.49)])
    assert not oblique.contains((3.5, 0, 0)) and not oblique.contains([(0, 0, 0), (0, 0, -0.51)])


def test_the_model_grid_is_straight_covers_every_voxel_edge_and_shares_the_centre(awkward):
    grid = awkward.resampled((3.0, 2.0, 1.0))
    np.testing.assert_allclose(grid.ijk_to_ras[:3, :3], np.diag([1.0, 2.0, 3.0]))
    corners = [(k, j, i) for k in (-0.5, 3.5) for j in (-0.5, 4.5) for i in (-0.5, 5.5)]
    inside = grid.to_index(awkward.to_ras(corners)) + 0.5
    assert (inside > -2e-3).all() and (inside < np.array(grid.shape) + 2e-3).all()
    np.testing.assert_allclose(grid.to_ras((np.array(grid.shape) - 1) / 2), awkward.to_ras((1.5, 2, 2.5)), atol=1e-9)


def test_a_grid_that_is_already_the_model_grid_stays():
    grid = Geometry((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert grid.resampled((3, 2, 1)) == grid and grid.resampled(50.0).shape == (1, 1, 1)


def test_cropping_and_padding_leave_voxels_where_they_are(awkward):
    crop = awkward.crop(Box((1, 2, 3), (3, 4, 6)))
    assert crop.shape == (2, 2, 3)
    np.testing.assert_allclose(crop.to_ras((1, 1, 2)), awkward.to_ras((2, 3, 5)))
    padded = awkward.padded((1, 0, 2), 1)
    assert padded.shape == (6, 6, 9)
    np.testing.assert_allclose(padded.to_ras((1, 0, 2)), awkward.to_ras((0, 0, 0)))


def test_the_index_map_leads_through_the_world(awkward):
    other = awkward.resampled(1.5)
    kji = np.array([2, 3, 4])
    np.testing.assert_allclose((awkward.index_map(other) @ [*kji, 1])[:3], other.to_index(awkward.to_ras(kji)), atol=1e-9)


def test_same_grid_forgives_rounding_and_nothing_more(oblique):
    def moved(by):
        matrix = oblique.ijk_to_ras.copy()
        matrix[0, 3] += by
        return Geometry(oblique.shape, matrix)

    assert oblique.same_grid(moved(5e-4)) and not oblique.same_grid(moved(2e-3))
    assert moved(0) == oblique and hash(moved(0)) == hash(oblique) and moved(5e-4) != oblique
    assert not oblique.same_grid(Geometry((4, 5, 7), oblique.ijk_to_ras))


def test_a_rounded_header_is_straightened_about_the_centre_and_a_tilted_one_refused():
    def sheared(by):
        matrix = np.diag([1.0, 1.0, 2.0, 1.0])
        matrix[1, 2] = by * 2
        return Geometry((40, 30, 30), matrix)

    straight = sheared(0.004).straightened()
    np.testing.assert_allclose(straight.direction.T @ straight.direction, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(straight.to_ras((19.5, 14.5, 14.5)), sheared(0.004).to_ras((19.5, 14.5, 14.5)))
    with pytest.raises(BadInput, match="14.0 degrees.*gantry tilt"):
        sheared(0.25).straightened()


def test_a_straight_grid_is_not_touched(awkward):
    assert awkward.straightened() is awkward


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (np.diag([1.0, 0.0, 1.0, 1.0]), "zero"),
        (np.array([[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "singular"),
        (np.diag([1.0, np.nan, 1.0, 1.0]), "finite"),
    ],
)
def test_a_matrix_that_makes_no_grid_is_refused(matrix, words):
    with pytest.raises(BadInput, match=words):
        Geometry((2, 2, 2), matrix)


def test_an_empty_grid_is_refused():
    with pytest.raises(BadInput, match="empty"):
        Geometry((2, 0, 2), np.eye(4))


def test_a_grid_cannot_be_edited(oblique):
    with pytest.raises(ValueError):
        oblique.ijk_to_ras[0, 0] = 1


def test_an_image_of_another_size_is_not_stamped(oblique):
    with pytest.raises(BadInput, match=r"\(7, 7, 7\)"):
        oblique.stamp(sitk.Image([7, 7, 7], sitk.sitkUInt8))


def test_a_box_round_a_mask_is_tight():
    mask = np.zeros((4, 5, 6), bool)
    mask[1, 2, 3] = mask[2, 4, 3] = True
    box = Box.of(mask)
    assert box == Box((1, 2, 3), (3, 5, 4)) and mask[box.slices].sum() == 2 and box.size == 6
    assert Box.of(np.zeros((4, 5, 6))).is_empty


@pytest.mark.parametrize(
    ("centre", "start"), [((5, 5, 5), (3, 3, 3)), ((0, 9.9, -40), (0, 6, 0)), ((4.6, 4.4, 5), (3, 2, 3))]
)
def test_a_box_around_a_point_keeps_its_size_and_stays_inside(centre, start):
    assert Box.around(centre, (4, 4, 4), (10, 10, 10)) == Box(start, tuple(a + 4 for a in start))


def test_a_box_around_a_point_in_a_small_volume_is_the_volume():
    assert Box.around((1, 1, 1), (64, 64, 64), (10, 3, 70)) == Box((0, 0, 0), (10, 3, 64))


def test_boxes_grow_move_and_meet():
    box = Box((1, 1, 1), (3, 3, 3))
    assert box.grow(1) == Box((0, 0, 0), (4, 4, 4)) and box.grow((0, 1, 2)).start == (1, 0, -1)
    assert box.shift((1, 0, -1)) == Box((2, 1, 0), (4, 3, 2))
    assert box.grow(2).clip((2, 9, 9)) == Box((0, 0, 0), (2, 5, 5))
    assert box.intersect(Box((5, 0, 0), (9, 9, 9))).is_empty and box.intersect(Box.whole((2, 2, 2))).shape == (1, 1, 1)


def test_a_box_of_fractions_is_refused():
    with pytest.raises(BadInput, match="whole numbers"):
        Box((0.5, 0, 0), (1, 1, 1))
