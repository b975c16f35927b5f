"""What a prediction says of its own certainty, and what a report measures."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.confidence import organs_found
from DiffSegCore.geometry import Geometry
from DiffSegCore.measuring import longest_diameter, measured
from DiffSegCore.segmenter import Prediction
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.volume_ranges import VolumeRanges

GRID = Geometry((2, 2, 5), np.diag([10.0, 10.0, 10.0, 1.0]))  # one voxel is one millilitre


def prediction(chances: list[float], ranges: VolumeRanges | None = None) -> Prediction:
    """One organ, whose chances are those along i, the same in all rows."""
    p = torch.tensor(chances).expand(GRID.shape)
    ids = (p > 0.5).numpy().astype(np.uint8)
    return Prediction(LabelMap(ids, GRID, {1: "brainstem"}), torch.stack([1 - p, p]).log() + 3, GRID, (), 0.0, ranges)


def test_a_sure_organ_has_one_volume_and_full_confidence():
    (found,) = organs_found(prediction([0, 1, 1, 1, 0]))
    assert (found.size.ml, found.low_ml, found.high_ml) == (12, 12, 12) and found.confidence == pytest.approx(1)


def test_doubt_at_the_edge_widens_the_range_and_lowers_the_confidence():
    (found,) = organs_found(prediction([0.1, 0.3, 0.9, 0.6, 0]))
    assert (found.low_ml, found.size.ml, found.high_ml) == (4, 8, 12)
    assert found.confidence == pytest.approx(2 * 1.5 / (2 + 1.9))  # Dice to be expected: 2 E|P and T| / (|P| + E|T|)


def test_a_range_is_widened_as_validation_cases_taught_and_says_how_surely_it_holds():
    chances = [0.1, 0.3, 0.9, 0.6, 0]
    (found,) = organs_found(prediction(chances, VolumeRanges({"brainstem": 2.}, 15)))
    assert (found.low_ml, found.size.ml, found.high_ml, found.rate) == (2, 8, 24, .9)
    (unknown,) = organs_found(prediction(chances, VolumeRanges({"mandible": 2.}, 15)))
    assert (unknown.low_ml, unknown.high_ml, unknown.rate) == (4, 12, None)


def test_an_organ_that_was_not_found_has_none():
    (found,) = organs_found(prediction([0.4, 0.1, 0, 0, 0]))
    assert (found.size.ml, found.low_ml, found.high_ml, found.confidence) == (0, 0, 4, 0)


@pytest.mark.parametrize("corners, farthest", [([(0, 0, 0)], 0), ([(0, 0, 0), (0, 0, 3)], 9), ([(0, 0, 0), (0, 4, 3), (0, 1, 1)], np.hypot(8, 9)),
                                               ([(0, 0, 0), (0, 4, 0), (0, 0, 4), (2, 4, 4), (1, 1, 1), (2, 0, 0)], np.sqrt(2**2 + 8**2 + 12**2))],
                         ids=["a voxel", "a line", "a plane", "a body"])
def test_the_longest_diameter_is_that_of_the_farthest_voxels(corners, farthest):
    mask = np.zeros((3, 5, 5), bool)
    mask[tuple(np.transpose(corners))] = True
    assert longest_diameter(mask, Geometry(mask.shape, np.diag([3.0, 2.0, 1.0, 1.0]))) == pytest.approx(farthest, rel=2e-3)


def test_a_label_is_measured_where_it_is_and_one_without_voxels_is_not():
    image = np.arange(20, dtype=np.int16).reshape(GRID.shape)
    ids = np.zeros(GRID.shape, np.uint8)
    ids[1, 1, 3:] = 4
    here, nowhere = measured(Volume(image, GRID), LabelMap(ids, GRID, {4: "spleen", 7: "mandible"}))
    assert (here.size.ml, here.mean, here.sd, here.diameter_mm) == (2, 18.5, 0.5, 10) and nowhere.mean is None
