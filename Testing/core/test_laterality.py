"""Organs on the wrong side of each other betray a mirrored image."""
import numpy as np

from DiffSegCore.geometry import Geometry
from DiffSegCore.laterality import side_doubts
from DiffSegCore.volume import LabelMap

NAMES = {1: "liver", 2: "spleen", 3: "kidney_right", 4: "kidney_left"}
STRAIGHT = np.diag([5., 5., 5., 1.])


def body(columns: dict[int, int], matrix: np.ndarray = STRAIGHT, names: dict[int, str] = NAMES) -> LabelMap:
    """Each organ a column of voxels; on the straight grid a higher column is further to the right."""
    ids = np.zeros((4, 4, 12), np.uint8)
    for id, column in columns.items():
        ids[1:3, 1:3, column] = id
    return LabelMap(ids, Geometry(ids.shape, matrix), names)


def test_a_patient_as_most_are_gives_no_word():
    assert side_doubts(body({1: 10, 2: 1, 3: 8, 4: 3})) == ()


def test_a_mirrored_patient_is_noticed_and_the_sentence_says_what_lies_where():
    (said,) = side_doubts(body({1: 1, 2: 10, 3: 3, 4: 8}))
    assert "liver lies 45 mm to the patient's left of the spleen" in said and "situs inversus" in said


def test_a_mirrored_grid_counts_not_the_order_of_voxels():
    """The same voxels, whose columns run to the left: the anatomy is what it was told to be on the other side."""
    mirrored = np.diag([-5., 5., 5., 1.])
    assert side_doubts(body({1: 1, 2: 10}, mirrored)) == ()
    assert side_doubts(body({1: 10, 2: 1}, mirrored))


def test_paired_organs_count_when_the_model_knows_nothing_else():
    names = {1: "parotid_gland_right", 2: "parotid_gland_left"}
    assert side_doubts(body({1: 1, 2: 10}, names=names))
    assert not side_doubts(body({1: 10, 2: 1}, names=names))


def test_one_pair_that_disagrees_with_another_says_nothing():
    assert side_doubts(body({1: 10, 2: 1, 3: 3, 4: 8})) == ()


def test_organs_nearly_above_each_other_or_missing_say_nothing():
    assert side_doubts(body({1: 4, 2: 5})) == ()
    assert side_doubts(body({1: 4})) == ()
    assert side_doubts(body({})) == ()
