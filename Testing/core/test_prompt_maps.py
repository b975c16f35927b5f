"""How prompts steer: what they push, what they hold, and how far they reach."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.prompt_maps import CORE_MM, DOUBT, MOST, PROMPT_CHANNELS, REACH_MM, SIGMAS, STRENGTH, Mark, believed, felt, held, steered, steering

SHAPE, MM = (24, 24, 24), (1., 1., 1.)
EMPTY = torch.zeros(SHAPE)


def point(place, inside: bool = True, age: int = 0) -> Mark:
    return Mark("point", inside, np.array([place], float), None, age)


def block(inside: bool = True, *, flat: bool = False) -> Mark:
    mask = np.zeros(SHAPE, bool)
    mask[10 if flat else slice(8, 16), 8:16, 8:16] = True
    return Mark("region", inside, np.empty((0, 3)), mask)


def test_the_push_is_the_gaussian_of_the_distance_in_mm():
    push = steering([point((12, 12, 12))], EMPTY, EMPTY, (2., 1., 1.)).push
    for place, distance in (((12, 12, 12), 0.), ((13, 12, 12), 2.), ((12, 15, 16), 5.)):
        assert float(push[place]) == pytest.approx(STRENGTH * np.exp(-distance ** 2 / (2 * REACH_MM ** 2)), rel=1e-5)
    assert not push[12, 12, 12:][int(SIGMAS * REACH_MM):].any()


def test_a_negative_point_is_the_mirror_image_of_a_positive_one():
    plus, minus = (steering([point((12, 11, 10), inside)], EMPTY, EMPTY, MM) for inside in (True, False))
    assert torch.equal(plus.push, -minus.push) and torch.equal(plus.channels[1], minus.channels[2])
    assert torch.equal(plus.core == 1, minus.core == 0)


def test_the_core_is_exact_whatever_the_prior():
    given = steering([point((12, 12, 12)), point((4, 4, 4), False)], EMPTY, EMPTY, MM)
    for prior in (0., 1.):
        changed = steered(torch.full(SHAPE, prior), given)
        assert changed[12, 12, 12] == 1 and changed[4, 4, 4] == 0
        free = changed[given.core < 0]
        assert 0 < free.min() and free.max() < 1
    assert int((given.core == 1).sum()) == 7  # the voxel and its six neighbours within CORE_MM
    assert CORE_MM == 1.


def test_a_coarse_voxel_that_holds_a_click_is_its_core():
    core = steering([point((5.4, 5.4, 5.4))], EMPTY, EMPTY, (8., 8., 8.)).core
    assert core[5, 5, 5] == 1 and int((core == 1).sum()) == 1


def test_older_prompts_push_less_and_hold_as_much():
    new, old = (steering([point((12, 12, 12), age=age)], EMPTY, EMPTY, MM) for age in (0, 5))
    assert 0 < old.push.max() < new.push.max() and torch.equal(old.core, new.core)


@pytest.mark.parametrize("turned", [False, True])
def test_where_cores_meet_the_newest_holds_in_whatever_order_they_come(turned):
    both = [point((12, 12, 12), True, age=1), point((12, 12, 12), False, age=0)]
    assert steering(both[::-1] if turned else both, EMPTY, EMPTY, MM).core[12, 12, 12] == 0


def test_many_prompts_never_decide_a_free_voxel():
    given = steering([point((12, 12, 12 + n % 3), age=0) for n in range(30)], EMPTY, EMPTY, MM)
    assert given.push.max() == MOST and steered(torch.ones(SHAPE), given)[given.core < 0].max() < 1


def test_a_scribble_is_held_along_its_line_and_reaches_as_a_point_does():
    places = np.stack([np.full(21, 12.), np.full(21, 12.), np.linspace(4, 14, 21)], 1)
    given = steering([Mark("scribble", True, places)], EMPTY, EMPTY, MM)
    assert (given.core[12, 12, 4:15] == 1).all() and int((given.core == 1).sum()) == 11
    assert float(given.push[12, 15, 9]) == pytest.approx(STRENGTH * np.exp(-9 / (2 * REACH_MM ** 2)), rel=1e-5)
    assert given.channels[3].max() == 1 and not given.channels[[1, 2, 4, 5, 6]].any()


def test_a_positive_region_forbids_nothing_and_a_negative_one_all_of_its_inside():
    plus, minus = (steering([block(inside)], EMPTY, EMPTY, MM) for inside in (True, False))
    assert (plus.core == -1).all() and plus.push[12, 12, 12] > 0 > plus.push[2, 2, 2]
    assert torch.equal(minus.core == 0, minus.channels[6] == 1) and not minus.push.any()


def test_a_region_in_one_slice_is_silent_about_the_others():
    push = steering([block(flat=True)], EMPTY, EMPTY, MM).push
    assert push[10, 2, 2] < 0 < push[10, 12, 12] and not push[9].any() and not push[11].any()


def test_a_region_elsewhere_and_places_off_the_grid_change_nothing():
    far = [Mark("region", True, np.empty((0, 3)), np.zeros(SHAPE, bool)), point((90, 90, 90)), Mark("scribble", True, np.array([[-50., 3, 3], [-49.5, 3, 3]]))]
    given = steering(far, EMPTY, EMPTY, MM)
    assert not given.push.any() and not given.channels.any() and (given.core == -1).all()


def test_a_point_just_off_the_grid_still_pushes_into_it():
    assert steering([point((-2, 12, 12))], EMPTY, EMPTY, MM).push[0, 12, 12] > 0


def test_the_previous_mask_is_the_first_channel_and_a_mask_is_believed_with_doubt():
    mask = torch.rand(SHAPE)
    given = steering([], mask, EMPTY, MM)
    assert given.channels.shape == (PROMPT_CHANNELS, *SHAPE) and torch.equal(given.channels[0], mask)
    assert believed(torch.tensor([0., 1.]), given).tolist() == pytest.approx([DOUBT, 1 - DOUBT])
    torch.testing.assert_close(steered(believed(mask, given), given), believed(mask, given))


def test_where_nothing_is_yet_the_prior_is_what_prompts_make_likely():
    given = steering([point((12, 12, 12)), point((12, 12, 4), False, age=1)], EMPTY, EMPTY, MM)
    prior = believed(EMPTY, given)
    assert torch.equal(prior, given.seeded) and prior[12, 12, 12] > .5 > prior[12, 12, 4] and prior[12, 12, 13] > prior[12, 12, 18] > prior[0, 0, 0]


def test_what_was_half_believed_is_not_forgotten_where_nothing_is_drawn():
    doubtful = EMPTY.clone()
    doubtful[2, 2, 2] = .4
    given = steering([point((12, 12, 12))], doubtful, EMPTY, MM)
    prior = believed(doubtful, given)
    assert float(prior[2, 2, 2]) == pytest.approx(DOUBT + .4 * (1 - 2 * DOUBT)) and torch.equal(prior[12], given.seeded[12])


def test_a_drawn_object_is_believed_and_what_a_click_misses_is_added():
    mask = EMPTY.clone()
    mask[12, 12, 4:10] = 1
    given = steering([point((12, 12, 14))], mask, EMPTY, MM)
    prior = believed(mask, given)
    assert (prior[mask >= .5] - (1 - DOUBT)).abs().max() < 1e-6 and prior[12, 12, 13] > DOUBT and prior.min() >= DOUBT
    for silent in (point((12, 12, 6)), point((12, 12, 14), False), point((12, 12, 14), age=1)):
        assert steering([silent], mask, EMPTY, MM).seeded is None


def test_what_a_negative_click_finds_too_much_is_doubted_round_it_and_not_elsewhere():
    mask = EMPTY.clone()
    mask[4:20, 4:20, 4:20] = 1
    marks = [point((12, 12, 6), age=1), point((12, 12, 16), False)]
    given = steering(marks, mask, EMPTY, MM, own=True)
    prior = believed(mask, given)
    assert steering(marks, mask, EMPTY, MM).mistaken is None, "of a mask that somebody drew, prompts do not say what is right"
    assert given.seeded is None and prior[12, 12, 15] + .1 < prior[12, 12, 7] <= 1 - DOUBT and prior[0, 0, 0] == pytest.approx(DOUBT)


def test_without_a_place_of_the_object_nothing_is_seeded():
    assert steering([point((4, 4, 4), False), block()], EMPTY, EMPTY, MM).seeded is None
    assert steering([point((90, 90, 90))], EMPTY, EMPTY, MM).seeded is None


def test_what_is_felt_and_held_of_marks_is_their_steering_alone():
    marks = [point((12, 12, 12)), point((4, 4, 4), False, age=1)]
    given = steering(marks, EMPTY, EMPTY, MM)
    np.testing.assert_array_equal(held(marks, SHAPE, MM), given.core.numpy())
    alone = steering(marks[:1], EMPTY, EMPTY, MM)
    np.testing.assert_array_equal(felt(marks[0], SHAPE, MM, .5), ((alone.core >= 0) | (alone.push.abs() > .5)).numpy())
