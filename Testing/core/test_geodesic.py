"""Ways from prompts: straight where the image is flat, round what is different."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.geodesic import FARTHEST, paths
from DiffSegCore.marks import Mark

SHAPE = (24, 24, 24)


def point(place, inside: bool = True) -> Mark:
    return Mark("point", inside, np.array([place], float))


def test_in_a_flat_image_the_way_is_the_distance():
    ways = paths([point((12, 12, 4))], torch.zeros(SHAPE))
    assert ways.inside[12, 12, 4] < 2
    for away in (8, 12, 16):
        assert float(ways.inside[12, 12, 4 + away]) == pytest.approx(away, abs=1.5)


def test_an_edge_is_far_to_cross():
    image = torch.full(SHAPE, -.5)
    image[:, :, 12:] = .5
    ways = paths([point((12, 12, 6))], image)
    assert ways.inside[12, 12, 18] > 1.5 * paths([point((12, 12, 6))], torch.zeros(SHAPE)).inside[12, 12, 18]


def test_signs_are_apart_and_a_missing_one_is_infinitely_far():
    ways = paths([point((4, 4, 4))], torch.zeros(SHAPE))
    assert (ways.outside == FARTHEST).all() and not ways.nearness[1].any() and ways.begun
    turned = paths([point((4, 4, 4), False)], torch.zeros(SHAPE))
    assert torch.equal(turned.outside, ways.inside) and not turned.begun


def test_scribbles_start_at_each_of_their_places_and_regions_nowhere():
    line = Mark("scribble", True, np.stack([np.full(11, 12.), np.full(11, 12.), np.linspace(2, 22, 11)], 1))
    assert paths([line], torch.zeros(SHAPE)).inside[12, 12, 2:22].max() < 2
    region = Mark("region", True, np.empty((0, 3)), np.ones(SHAPE, bool))
    assert not paths([region, point((90, 3, 3))], torch.zeros(SHAPE)).begun


def test_sides_need_not_be_even():
    assert paths([point((3, 3, 3))], torch.zeros(7, 9, 11)).inside.shape == (7, 9, 11)
