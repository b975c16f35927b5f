"""Training's simulated user prompts where the mask is wrong, with every kind of prompt, and leaves a perfect mask alone."""
from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.data import simulated_prompts
from DiffSegCore.data.simulated_prompts import _box, simulated_mark, with_next_mark
from DiffSegCore.data.synthesised import grown_object, smooth_noise, synthesised

MM = (3., 1., 1.)


@pytest.fixture(autouse=True)
def never_the_wrong_sign(monkeypatch):
    monkeypatch.setattr(simulated_prompts, "WRONG", 0.)


def ball(radius: float, centre: tuple[float, ...] = (8, 12, 12), shape: tuple[int, ...] = (16, 24, 24)) -> np.ndarray:
    return sum((axis - at) ** 2 for axis, at in zip(np.ogrid[tuple(map(slice, shape))], centre)) < radius ** 2


def covered(mark) -> np.ndarray:
    """bool: the voxels that a prompt is about."""
    if mark.mask is not None:
        return mark.mask
    found = np.zeros((16, 24, 24), bool)
    found[tuple(np.rint(mark.places).astype(int).T)] = True
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_prompt_lies_on_an_error_with_the_right_sign(seed):
    random = np.random.default_rng(seed)
    truth, mask = ball(6), ball(5, (9, 15, 10)) | ball(2, (2, 3, 3))
    mark = simulated_mark(mask, truth, MM, random)
    assert (covered(mark) & (truth if mark.inside else mask & ~truth)).any()
    if not mark.inside:
        assert not (covered(mark) & truth).any()
    if mark.kind in ("point", "scribble"):
        assert ((truth & ~mask) if mark.inside else (mask & ~truth))[covered(mark)].all()


def test_every_kind_of_prompt_is_made_and_a_box_holds_the_object():
    truth, made = ball(6), {}
    for seed in range(200):
        mark = simulated_mark(np.zeros_like(truth), truth, MM, np.random.default_rng(seed))
        made.setdefault(mark.kind, []).append(mark)
    assert set(made) == {"point", "scribble", "region"} and len(made["point"]) > 100
    assert all(mark.inside for marks in made.values() for mark in marks)
    assert any((truth & ~mark.mask).sum() < .2 * truth.sum() for mark in made["region"])


def test_no_box_is_empty_however_thin_the_object():
    truth = np.zeros((16, 24, 24), bool)
    truth[7, 5:12, 9:11] = True
    assert all(_box(truth, np.random.default_rng(seed)).any() for seed in range(60))


def test_a_perfect_mask_is_left_alone_and_older_prompts_age():
    truth, random = ball(6), np.random.default_rng(0)
    first = with_next_mark([], ~truth, truth, MM, random)
    assert [each.age for each in first] == [0]
    assert with_next_mark(first, truth, truth, MM, random) == first
    assert [each.age for each in with_next_mark(first, ball(3), truth, MM, random)] == [1, 0]


def test_a_made_up_image_shows_its_labels_and_depends_on_the_draw_alone():
    labels = ball(6) * 5 + ball(3, (3, 4, 4)) * 9
    differences = []
    for seed in range(12):
        image = synthesised(labels.astype(np.uint8), np.random.default_rng(seed))
        np.testing.assert_array_equal(image, synthesised(labels.astype(np.uint8), np.random.default_rng(seed)))
        assert image.shape == labels.shape and image.dtype == np.float32 and np.isfinite(image).all()
        differences.append(abs(image[labels == 5].mean() - image[labels == 9].mean()))
    assert np.median(differences) > .1


def test_what_hangs_together_and_looks_alike_is_an_object():
    image = np.where(ball(5, (8, 12, 12)), .8, -.8) + .02 * smooth_noise((16, 24, 24), 1., np.random.default_rng(0))
    found = [grown_object(image, np.random.default_rng(seed)) for seed in range(12)]
    kept = [each for each in found if each is not None]
    assert kept and all((each & ball(5)).sum() > .7 * each.sum() for each in kept)
