"""What prompts alone make likely."""
from __future__ import annotations

import numpy as np
import torch

from DiffSegCore.geodesic import paths
from DiffSegCore.marks import Mark
from DiffSegCore.seeding import begun, chances, extra, missing, mistakes

SHAPE = (24, 24, 24)
FLAT = torch.zeros(SHAPE)


def point(place, inside: bool = True) -> Mark:
    return Mark("point", inside, np.array([place], float))


def slab(until: int) -> torch.Tensor:
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[:, :, :until] = True
    return mask


def test_more_is_likely_near_a_prompt_than_behind_an_edge():
    image = FLAT - .5
    image[:, :, 14:] = .5
    likely = begun(paths([point((12, 12, 10))], image))
    assert likely[12, 12, 6] > 1.2 * likely[12, 12, 16] and likely.max() > .8 and likely.min() < .1


def test_a_negative_prompt_takes_chance_away_round_it():
    alone, opposed = (begun(paths(marks, FLAT)) for marks in ([point((12, 12, 6))], [point((12, 12, 6)), point((12, 12, 16), False)]))
    assert opposed[12, 12, 16] < .2 * alone[12, 12, 16] and opposed[12, 12, 2] > .5 * alone[12, 12, 2]


def test_the_further_a_missing_place_lies_from_the_mask_the_more_is_missing():
    likely = []
    for at in (10, 18):
        ways = paths([point((12, 12, at))], FLAT)
        likely.append(int((missing(ways, slab(8), ways) >= .5).sum()))
    assert 0 < likely[0] < likely[1]


def test_a_prompt_within_the_mask_and_one_that_says_not_miss_nothing():
    for mark in (point((12, 12, 4)), point((12, 12, 20), False)):
        assert chances([mark], slab(8), FLAT, paths([mark], FLAT)) is None


def test_the_deeper_in_the_mask_a_wrong_place_lies_the_more_is_wrong():
    wrong = []
    for at in (13, 8):
        ways = paths([point((12, 12, at), False)], FLAT)
        wrong.append(int((extra(ways, slab(16), ways)[:, :, :16] >= .5).sum()))
    assert 0 < wrong[0] < wrong[1]


def test_a_prompt_beside_the_mask_and_one_that_says_object_find_no_mistake():
    for mark in (point((12, 12, 20), False), point((12, 12, 4))):
        assert mistakes([mark], slab(8), FLAT, paths([mark], FLAT)) is None
    assert mistakes([point((12, 12, 4), False)], slab(0), FLAT, paths([point((12, 12, 4), False)], FLAT)) is None


def test_a_negative_prompt_finds_no_mistake_until_something_says_what_is_right():
    """Alone in an automatic result it would take all that hangs together with it."""
    wrong, right = point((12, 12, 8), False), point((12, 12, 2))
    assert mistakes([wrong], slab(16), FLAT, paths([wrong], FLAT)) is None
    assert mistakes([right, wrong], slab(16), FLAT, paths([right, wrong], FLAT)) is not None
