"""Scores equal what a hand computes, in millimetres, whatever the spacing; empty masks follow the stated rule."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.metrics import OrganScore, compare, score, summarise, tolerance_mm
from DiffSegCore.volume import LabelMap


def cube(corner: tuple[int, int, int], side: int = 4, shape: tuple[int, int, int] = (16, 16, 16)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(c, c + side) for c in corner)] = True
    return mask


def labels(ids: np.ndarray, names: dict[int, str], origin: float = 0) -> LabelMap:
    matrix = np.diag([1.0, 1.0, 2.0, 1.0])
    matrix[0, 3] = origin
    return LabelMap(ids.astype(np.uint8), Geometry(ids.shape, matrix), names)


def test_a_mask_agrees_with_itself():
    one = score(cube((3, 4, 5)), cube((3, 4, 5)), (3, 1, 1), organ="liver")
    assert one == OrganScore("liver", 1, 1, 0, 64 * 3 / 1000, 64 * 3 / 1000, 2.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_cube_is_as_far_off_as_its_axis_is_spaced(axis):
    spacing = [1.0, 1.0, 1.0]
    spacing[axis] = 2.5
    truth = cube((5, 5, 5), side=4)
    off = score(np.roll(truth, 1, axis), truth, spacing)
    assert off.dice == pytest.approx(2 * 48 / 128)
    assert off.hd95_mm == pytest.approx(2.5)  # 16 of 56 edge voxels lie 2.5 mm away
    assert off.nsd < 0.95
    across = score(np.roll(truth, 1, (axis + 1) % 3), truth, spacing)
    assert across.hd95_mm == pytest.approx(1)
    assert across.nsd == 1


def test_surface_dice_is_the_share_of_surface_within_the_tolerance():
    truth, extra = cube((1, 1, 1)), cube((10, 10, 10))
    one = score(truth | extra, truth, (3, 1, 2))
    assert one.nsd == pytest.approx(2 / 3, abs=1e-6)  # two of three equal surfaces
    assert one.dice == pytest.approx(2 / 3)


def test_surface_is_weighed_by_its_area_in_mm():
    flat, upright = np.zeros((30, 30, 30), bool), np.zeros((30, 30, 30), bool)
    flat[2, 2:14, 2:14] = True  # faces of 12 x 12 voxels of 1 x 1 mm
    upright[16:28, 16:28, 20] = True  # faces of 12 x 12 voxels of 3 x 1 mm
    one = score(flat | upright, flat, (3, 1, 1))
    small, large = 2 * 12 * 12 + 4 * 12 * 3, 2 * 12 * 36 + 2 * 12 + 2 * 36
    assert one.nsd == pytest.approx(2 * small / (2 * small + large), rel=0.05)  # edges are rounded a little


def test_the_hausdorff_distance_equals_a_search_over_all_pairs():
    spacing = np.array([2.5, 0.7, 1.3])
    masks = [cube((2, 3, 4), side=5), cube((4, 2, 5), side=3)]
    hollow = [mask.copy() for mask in masks]
    hollow[0][3:6, 4:7, 5:8] = hollow[1][5, 3, 6] = False
    points = [np.argwhere(mask) * spacing for mask in hollow]
    apart = np.linalg.norm(points[0][:, None] - points[1][None], axis=-1)
    expected = max(np.percentile(apart.min(1), 95), np.percentile(apart.min(0), 95))
    assert score(*masks, spacing).hd95_mm == pytest.approx(expected)


def test_an_organ_cut_by_the_edge_of_the_image_has_a_surface_there():
    truth = cube((0, 0, 0), side=8, shape=(8, 8, 8))
    inside = cube((0, 0, 0), side=4, shape=(8, 8, 8))
    assert score(inside, truth, (1, 1, 1)).hd95_mm >= 4


def test_empty_masks_follow_the_stated_rule():
    empty, full = np.zeros((3, 4, 12), bool), np.ones((3, 4, 12), bool)
    both = score(empty, empty, (1, 1, 1))
    assert (both.dice, both.nsd, both.hd95_mm) == (1, 1, 0)
    for one in (score(empty, full, (1, 1, 1)), score(full, empty, (1, 1, 1))):
        assert (one.dice, one.nsd, one.hd95_mm) == (0, 0, 13)  # the diagonal of 3 x 4 x 12 mm


def test_vessels_and_adrenals_are_held_to_one_millimetre():
    assert [tolerance_mm(o) for o in ("aorta", "inferior_vena_cava", "adrenal_gland_left", "portal_vein_and_splenic_vein",
                                      "common_carotid_artery_left", "iliac_vena_left", "brachiocephalic_trunk")] == [1.0] * 7
    assert [tolerance_mm(o) for o in ("liver", "heart", "spinal_cord", "body_trunc")] == [2.0] * 4


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(BadInput, match=r"\(2, 2, 2\) voxels .* reference \(2, 2, 3\)"):
        score(np.ones((2, 2, 2), bool), np.ones((2, 2, 3), bool), (1, 1, 1))


def test_organs_are_matched_by_name_not_by_id():
    truth = labels(np.where(cube((2, 2, 2)), 5, 0), {5: "liver", 6: "spleen"})
    found = labels(np.where(cube((2, 2, 2)), 1, 0), {1: "liver", 5: "spleen", 9: "heart"})
    liver, spleen = compare(found, truth)
    assert (liver.organ, liver.dice, liver.reference_ml) == ("liver", 1, 64 * 2 / 1000)
    assert (spleen.organ, spleen.dice) == ("spleen", 1)  # in neither


def test_an_organ_the_prediction_lacks_scores_zero():
    (liver,) = compare(labels(np.zeros((16, 16, 16)), {}), labels(cube((2, 2, 2)), {1: "liver"}))
    assert (liver.dice, liver.prediction_ml) == (0, 0)


def test_an_organ_that_was_not_contoured_can_be_left_out():
    truth = labels(cube((2, 2, 2)), {1: "liver", 2: "spleen"})
    assert [s.organ for s in compare(truth, truth, skip_empty=True)] == ["liver"]
    assert [s.organ for s in compare(truth, truth, organs=["spleen"])] == ["spleen"]


def test_different_grids_are_refused_with_both_of_them():
    ids = np.zeros((2, 2, 2))
    with pytest.raises(BadInput, match=r"different grids: .*from RAS 0 x 0 x 0 and .*from RAS 5 x 0 x 0"):
        compare(labels(ids, {1: "liver"}), labels(ids, {1: "liver"}, origin=5))


def test_a_summary_tells_mean_spread_and_the_worst_case():
    scores = {name: [OrganScore("liver", dice, 1, 10 * dice, 1, 1, 2)] for name, dice in
              (("a", 0.5), ("b", 0.8), ("c", 0.8))}
    (dice,) = summarise(scores, "dice")
    assert (dice.organ, dice.n, dice.median, dice.worst, dice.worst_case) == ("liver", 3, 0.8, 0.5, "a")
    assert dice.mean == pytest.approx(0.7)
    assert dice.sd == pytest.approx(0.1732, abs=1e-4)
    assert summarise(scores, "hd95_mm")[0].worst_case == "b"  # the longest distance is the worst
