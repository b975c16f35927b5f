"""Ranges of volumes hold as often as they say."""
from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from DiffSegCore.volume_ranges import CARD, KnownVolume, VolumeRanges, range_of


def seen(organ: str, factors: list[float], true: float = 100.) -> list[KnownVolume]:
    """Cases whose range by chances, 10 % wide, misses the true volume by these factors, to either side in turn."""
    return [KnownVolume(organ, true * f, 1.1 * true * f, true) if n % 2 else KnownVolume(organ, true / f / 1.1, true / f, true) for n, f in enumerate(factors)]


def test_a_factor_is_about_what_all_but_a_tenth_of_the_cases_need():
    found = VolumeRanges.fitted(seen("liver", [1 + .01 * n for n in range(1, 40)]), 39)
    assert found.factors == {"liver": pytest.approx(1.36, abs=.01)}  # the 36th of 39: 40 * .9


def test_nine_of_ten_new_cases_lie_within_whatever_the_errors_look_like():
    random = np.random.default_rng(0)
    held = []
    for _ in range(300):
        errors = np.exp(np.abs(random.standard_t(2, 41)) * .2)
        found = VolumeRanges.fitted(seen("liver", errors[:40].tolist()), 40)
        new, = seen("liver", errors[40:].tolist())
        low, high = found.widened("liver", new.low, new.high)
        held.append(low <= new.true <= high)
    assert np.mean(held) == pytest.approx(.9, abs=.05)


def test_a_range_that_holds_already_is_not_narrowed():
    found = VolumeRanges.fitted([KnownVolume("liver", 50, 200, 100)] * 20, 20)
    assert found.factors == {"liver": 1} and found.widened("liver", 50, 200) == (50, 200)


def test_an_organ_that_is_surer_has_a_narrower_range_the_more_cases_say_so():
    def factors(count: int) -> dict[str, float]:
        return VolumeRanges.fitted(seen("liver", [1.5] * 40) + seen("mandible", [1.01] * count), 40).factors

    few, many = factors(2), factors(40)
    assert many["mandible"] < few["mandible"] < few["liver"] and many["mandible"] < 1.2


def test_one_case_that_went_wrong_does_not_spoil_the_others():
    found = VolumeRanges.fitted(seen("liver", [1.2] * 30) + seen("spleen", [1.2] * 14 + [20]), 30)
    assert found.factors["spleen"] < 2


def test_organs_that_are_often_missed_altogether_have_no_range_that_holds():
    missed = [KnownVolume("larynx", 0, 0, 30)] * 5 + [KnownVolume("larynx", 20, 40, 30)] * 25
    found = VolumeRanges.fitted(missed, 30)
    assert found.widened("larynx", 20, 40) is None and found.widened("spleen", 20, 40) is None


def test_of_an_organ_that_is_not_seen_at_all_no_range_is_promised():
    assert VolumeRanges({"larynx": 2.}, 15).widened("larynx", 0, 0) is None and VolumeRanges({"larynx": 2.}, 15).widened("larynx", 0, 3) == (0, 6)


def test_too_few_cases_tell_nothing():
    assert VolumeRanges.fitted(seen("liver", [1.1] * 8), 8).factors == {}


def test_a_card_tells_it_and_none_is_none():
    found = VolumeRanges.fitted(seen("liver", [1.1] * 20), 20)
    assert VolumeRanges.of(json.loads(json.dumps({CARD: found.to_dict()}))) == found and VolumeRanges.of({}) is None


def test_chances_of_a_quarter_and_of_three_quarters_bound_a_volume():
    assert range_of(torch.tensor([[.1, .25, .5], [.74, .75, 1.]])) == (2, 5)
