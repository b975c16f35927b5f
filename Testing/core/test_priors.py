"""Priors made wrong on purpose: probabilities, as bad as real ones, the same for the same number."""
from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.data.phantom import phantom
from DiffSegCore.data.priors import corrupt_to, corrupted, of_labels, signed_mm

SPACING_MM = (4., 4., 4.)


@pytest.fixture(scope="module")
def organs() -> np.ndarray:
    """Six organs of a phantom, (48, 48, 48) voxels of 4 mm."""
    return phantom(3, spacing_mm=SPACING_MM, shape=(60, 70, 70))[1].ids[5:53, 10:58, 10:58]


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_a_prior_is_a_probability_of_every_label(organs):
    for number in range(4):
        prior = corrupted(organs, 8, np.random.default_rng(number), SPACING_MM)
        assert prior.shape == (8, *organs.shape) and prior.dtype == np.float32
        np.testing.assert_allclose(prior.sum(0), 1, atol=1e-5)
        assert prior.min() >= 0


def test_the_same_number_makes_the_same_prior_and_another_a_different_one(organs):
    one, again, other = (corrupted(organs, 8, np.random.default_rng(seed), SPACING_MM) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_priors_are_from_useless_to_nearly_right(organs):
    random, scores = np.random.default_rng(0), []
    for _ in range(25):
        found = corrupted(organs, 8, random, SPACING_MM).argmax(0)
        scores += [dice(found == label, organs == label) for label in range(2, 8)]
    low, middle, high = np.percentile(scores, (10, 50, 90))
    assert low < .6 and .75 < middle < .95 and high > .95


def test_flat_images_get_priors_too():
    disc = (np.hypot(*np.ogrid[-16:16, -16:16]) < 9).astype(np.uint8)
    prior = corrupted(disc, 2, np.random.default_rng(1), (1., 1.))
    assert prior.shape == (2, 32, 32) and .2 < dice(prior[1] > .5, disc > 0) <= 1


@pytest.mark.parametrize("wanted", (.5, .7, .9))
def test_labels_are_spoilt_to_the_wished_dice(organs, wanted):
    spoilt = corrupt_to(wanted, organs, np.random.default_rng(2), SPACING_MM)
    assert spoilt.dtype == organs.dtype
    assert np.mean([dice(spoilt == label, organs == label) for label in range(2, 8)]) == pytest.approx(wanted, abs=.03)


def test_labels_without_probabilities_are_believed_but_not_quite():
    np.testing.assert_allclose(of_labels(np.array([0, 2]), 3, trust=.9).T, [[.9, .05, .05], [.05, .05, .9]], atol=1e-6)


def test_distances_are_in_millimetres_and_negative_inside():
    mask = np.zeros((1, 5), bool)
    mask[0, 1:4] = True
    np.testing.assert_allclose(signed_mm(mask, (1., 2.)), [[2, -2, -4, -2, 2]])
    assert (signed_mm(np.ones((2, 2), bool), (1., 1.)) < 0).all() and (signed_mm(np.zeros((2, 2), bool), (1., 1.)) > 0).all()
