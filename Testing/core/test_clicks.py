"""The simulated user clicks where the error is, says the right thing, and leaves a perfect mask alone."""
from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from DiffSegCore.data.clicks import Click, next_click

MM = (3., 1., 1.)


def masks(*wrong: tuple[slice, ...], shape: tuple[int, ...] = (8, 16, 16)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    for part in wrong:
        mask[part] = True
    return mask


@pytest.mark.parametrize("seed", range(12))
def test_a_click_lies_in_the_largest_error_with_the_right_sign(seed):
    """Identity 17."""
    random = np.random.default_rng(seed)
    truth, mask = (ndimage.gaussian_filter(random.standard_normal((10, 20, 20)), 2) > 0 for _ in range(2))
    click = next_click(mask, truth, MM)
    assert mask[click.place] != truth[click.place] and click.inside == truth[click.place]
    pieces, _ = ndimage.label(truth & ~mask if click.inside else mask & ~truth)
    size = np.count_nonzero(pieces == pieces[click.place])
    assert all(np.bincount(ndimage.label(wrong)[0].ravel())[1:].max() <= size for wrong in (truth & ~mask, mask & ~truth))


@pytest.mark.parametrize("truth", [masks(), masks(np.s_[2:4, 2:4, 2:4]), ~masks()], ids=["nothing", "something", "everything"])
def test_a_perfect_mask_gets_no_click(truth):
    """Identity 17."""
    assert next_click(truth, truth, MM) is None


def test_obeying_the_clicks_ends_at_the_truth():
    """Every click's piece put right: errors run out, and never twice the same."""
    random = np.random.default_rng(0)
    truth, mask = (ndimage.gaussian_filter(random.standard_normal((10, 20, 20)), 2) > 0 for _ in range(2))
    for _ in range(200):
        if (click := next_click(mask, truth, MM)) is None:
            break
        pieces, _ = ndimage.label(truth & ~mask if click.inside else mask & ~truth)
        mask = np.where(pieces == pieces[click.place], click.inside, mask)
    assert np.array_equal(mask, truth)


def test_depth_is_counted_in_millimetres():
    """A plate four voxels thick and thirteen wide: with thick slices its middle along J and I is deepest, not along K."""
    truth = masks(np.s_[1:5, 2:15, 2:15])
    assert next_click(masks(), truth, (10., 1., 1.)) == Click((1, 8, 8), True)
    assert next_click(masks(), truth, (1., 1., 1.)).place[0] == 2


def test_the_images_edge_is_the_errors_edge_too():
    assert next_click(masks(shape=(5, 5)), ~masks(shape=(5, 5)), (1., 1.)) == Click((2, 2), True)


def test_what_is_too_much_and_what_is_missing_are_weighed_alike():
    truth, mask = masks(np.s_[1:3, 1:3, 1:3]), masks(np.s_[4:8, 4:8, 4:8])
    click = next_click(mask, truth, MM)
    assert not click.inside and mask[click.place]
