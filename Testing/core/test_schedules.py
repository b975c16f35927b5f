from __future__ import annotations

import math

import pytest
import torch

from DiffSegCore.diffusion import (
    cosine_squared,
    draw_times,
    level_at,
    levels,
    linear_logsnr,
    logsnr,
    pretraining_weights,
    refining_weights,
    shifted,
)
from DiffSegCore.diffusion.schedules import checked

SCHEDULES = {
    "cosine, 10": cosine_squared(10),
    "cosine, 1000": cosine_squared(1000),
    "linear in logSNR": linear_logsnr(1000),
    "shifted for 3D": shifted(cosine_squared(1000), 15**-0.5),
}


@pytest.mark.parametrize("keep", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_keep_strictly_falls_from_one_to_nearly_nothing(keep):
    """Identity 12: 0 < beta <= 1; keep strictly falls."""
    beta = 1 - keep[1:] / keep[:-1]
    assert keep[0] == 1
    assert 0 <= keep[-1] < 1e-4
    assert (keep.diff() < 0).all()
    assert (beta > 0).all()
    assert (beta <= 1).all()


@pytest.mark.parametrize(
    ("keep", "complaint"),
    [([1.0, 0.5, 0.5, 0.0], "strictly"), ([0.99, 0.5, 0.0], "keep\\[0\\]"), ([1.0, 0.5], "near 0"), ([1.0], "row")],
)
def test_a_schedule_that_is_none_is_refused_with_its_reason(keep, complaint):
    with pytest.raises(ValueError, match=complaint):
        checked(torch.tensor(keep))


def test_a_schedule_is_not_changed_by_its_owner_later():
    keep = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    copy = checked(keep)
    keep[1] = 7
    assert copy[1] == 0.5


def test_logsnr_falls_evenly_where_it_was_asked_to():
    keep = linear_logsnr(21, highest=10, lowest=-10)
    torch.testing.assert_close(logsnr(keep)[1:], torch.linspace(10, -10, 21, dtype=torch.float64))


def test_logsnr_stays_finite_at_both_ends():
    assert logsnr(cosine_squared(10))[[0, -1]].tolist() == [20, -20]


def test_the_level_for_reading_features_has_the_logsnr_nearest_to_the_one_wanted():
    keep = linear_logsnr(21, highest=10, lowest=-10)
    assert [level_at(keep, wanted) for wanted in (9, 4.7, 2.1)] == [2, 6, 9]
    assert level_at(keep, 100) == 1


def test_shifting_multiplies_the_odds_of_keeping():
    keep = cosine_squared(10)
    moved = shifted(keep, 0.25)
    torch.testing.assert_close((moved / (1 - moved))[1:-1], 0.25 * (keep / (1 - keep))[1:-1])


def test_the_shift_hides_a_block_in_3d_as_deep_as_a_square_in_2d():
    """Section B1: a homogeneous 15^3 block shows its label at 10 sigma at keep = .09, a 15^2 square at 2.7."""

    def sigmas(keep, voxels):  # mean of the kept labels over the spread of redrawn ones, prior 1/2
        return keep * math.sqrt(voxels) / 0.5

    assert sigmas(0.09, 15**3) == pytest.approx(10, abs=0.5)
    assert sigmas(0.09, 15**2) == pytest.approx(2.7, abs=0.05)
    keep = torch.tensor([1, 0.09, 0.0])
    assert sigmas(float(shifted(keep, 15**-0.5)[1]), 15**3) == pytest.approx(2.7, rel=0.1)


def test_fewer_steps_are_another_choice_of_levels():
    assert levels(10, 4) == (10, 8, 5, 2, 0)
    assert levels(10, 1) == (10, 0)
    assert levels(10, 10) == tuple(range(10, -1, -1))
    assert all(t > s for steps in range(1, 38) for t, s in zip(levels(37, steps), levels(37, steps)[1:]))
    with pytest.raises(ValueError, match="1 to 10 steps, not in 11"):
        levels(10, 11)


@pytest.mark.parametrize("keep", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_quarter_of_the_refining_times_is_the_last_and_half_of_the_rest_nearly_hidden(keep):
    """Section B1: draw a quarter of the training times at T and half of the rest below keep = .1."""
    weights = refining_weights(keep)
    assert weights.sum().item() == pytest.approx(1)
    assert weights[0] == 0
    assert weights[-1].item() == pytest.approx(0.25)
    assert weights[:-1][keep[:-1] < 0.1].sum().item() == pytest.approx(0.375)


def test_refining_times_without_hidden_levels_go_to_the_others():
    weights = refining_weights(torch.tensor([1, 0.5, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([0, 0.6, 0.4], dtype=torch.float64))


def test_pretraining_times_favour_the_levels_where_features_are_read():
    """Section A2: times biased to logSNR 0..8."""
    keep = linear_logsnr(1000)
    weights = pretraining_weights(keep)
    inside = (logsnr(keep) >= 0) & (logsnr(keep) <= 8)
    assert weights.sum().item() == pytest.approx(1)
    assert weights[0] == 0
    assert weights[inside].sum().item() == pytest.approx(0.75 + 0.25 * inside.double().mean().item(), abs=1e-3)
    assert (weights[1:] > 0).all()


def test_times_are_drawn_by_their_weights_and_never_where_there_is_none():
    weights = torch.tensor([0.0, 0.5, 0.0, 0.25, 0.25, 0.0])
    times = draw_times(weights, (torch.arange(1000) + 0.5) / 1000)
    assert torch.bincount(times, minlength=6).tolist() == [0, 500, 0, 250, 250, 0]
    assert draw_times(weights, torch.tensor([0.0, 1.0])).tolist() == [1, 4]
