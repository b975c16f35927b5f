"""The cube that the click model sees: a part of what resampling the whole volume gives, on a lattice that crops share."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.crops import SPACINGS_MM, ImageRange, crop_grid, crop_image, crop_mask, lattice_index, paste, reached
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.resample import resample
from DiffSegCore.volume import Volume

KNOTS = Preprocessing((2., 2., 2.), ((-1000., -1.), (-150., -.6), (250., .6), (1000., 1.)))
WINDOW = (16, 16, 16)


def grid(direction=np.eye(3), spacing=(.7, .9, 2.5), shape=(31, 50, 61)) -> Geometry:
    matrix = np.eye(4)
    matrix[:3, :3] = direction @ np.diag(spacing)
    matrix[:3, 3] = (3.3, -8.1, 20.7)
    return Geometry(shape, matrix)


def turned() -> np.ndarray:
    c, s = np.cos(.3), np.sin(.3)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.]])


GRIDS = {"plain": grid(), "LPS": grid(np.diag([-1., -1., 1.])), "upside down": grid(np.diag([-1., 1., -1.])), "sagittal": grid(np.eye(3)[[2, 0, 1]]),
         "oblique": grid(turned())}


def volume(geometry: Geometry, modality: str = "CT") -> Volume:
    noise = np.random.default_rng(0).normal(0, 300, geometry.shape)
    return Volume(noise.clip(-1000).astype(np.int16), geometry, modality)


@pytest.mark.parametrize("geometry", GRIDS.values(), ids=GRIDS)
@pytest.mark.parametrize("spacing", SPACINGS_MM)
def test_a_crop_shows_what_resampling_everything_would_show(geometry, spacing):
    scan = volume(geometry)
    crop = crop_grid(geometry, geometry.to_ras(np.array(geometry.shape) * (.6, .4, .3)), spacing, WINDOW)
    whole = KNOTS.values(resample(scan.array, geometry, crop, outside=KNOTS.air))
    image = crop_image(scan, crop, ImageRange.of(scan), KNOTS)
    torch.testing.assert_close(image[0], whole, atol=1e-5, rtol=0)
    assert image.shape == (2, *WINDOW) and image.abs().max() <= 1


def test_crops_lie_on_one_lattice_and_share_their_voxels():
    geometry = grid(shape=(60, 120, 140))
    scan, middle = volume(geometry), geometry.to_ras((30, 60, 70))
    one, other = (crop_grid(geometry, middle + shift, 1.5, WINDOW) for shift in (0, (4., -3.2, 2.)))
    moved = np.subtract(lattice_index(other), lattice_index(one))
    assert moved.any() and np.allclose(np.array(one.origin) / 1.5, np.array(lattice_index(one))[::-1])
    shared = Box.whole(WINDOW).shift(moved).clip(WINDOW)
    a, b = (crop_image(scan, each, ImageRange.of(scan), KNOTS)[0] for each in (one, other))
    torch.testing.assert_close(a[shared.slices], b[shared.shift(-moved).slices])


def test_a_crop_is_centred_on_the_click_unless_the_volume_ends_before():
    geometry = grid(shape=(60, 120, 140))
    middle, corner = geometry.to_ras((30, 60, 70)), geometry.to_ras((0, 0, 0))
    assert np.abs(crop_grid(geometry, middle, 1., WINDOW).to_index(middle) - 8).max() <= .5
    crop = crop_grid(geometry, corner, 1., WINDOW)
    assert np.abs(crop.to_index(corner)).max() <= .5 and not (crop_image(volume(geometry), crop, ImageRange.of(volume(geometry)), KNOTS)[0] == -1).any()


def test_a_small_volume_lies_in_the_middle_of_the_crop_with_air_around():
    scan = volume(grid(shape=(4, 10, 10)), "MR")
    crop = crop_grid(scan.geometry, scan.geometry.origin, 1., WINDOW)
    image = crop_image(scan, crop, ImageRange.of(scan), KNOTS)
    inside = crop_mask(np.ones(scan.geometry.shape, bool), scan.geometry, crop) > 0
    assert (image[:, ~inside] == -1).all() and abs(inside.nonzero().float().mean() - 7.5) < 1


def test_a_crop_that_misses_the_volume_is_air():
    far = Geometry(WINDOW, np.array([[1., 0, 0, 900], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    scan = volume(grid())
    assert (crop_image(scan, far, ImageRange.of(scan), KNOTS) == -1).all() and not crop_mask(scan.array > 0, scan.geometry, far).any()
    assert reached(far, scan.geometry).is_empty


def test_other_images_are_spread_between_their_percentiles_and_an_unnamed_one_with_air_is_a_ct():
    mr, unnamed = volume(grid(), "MR"), volume(grid(), "")
    values = ImageRange.of(mr)
    assert not values.hounsfield and ImageRange.of(unnamed).hounsfield and -1000 <= values.low < values.high
    assert crop_image(mr, crop_grid(mr.geometry, mr.geometry.to_ras((15, 25, 30)), 1., WINDOW), values, KNOTS)[0].std() > .1


def test_an_image_of_one_value_or_of_none_is_no_special_case():
    for array in (np.zeros(grid().shape, np.int16), np.full(grid().shape, np.nan, np.float32)):
        scan = Volume(array, grid(), "MR")
        image = crop_image(scan, crop_grid(grid(), grid().origin, 1., WINDOW), ImageRange.of(scan), KNOTS)
        assert image.isfinite().all()


@pytest.mark.parametrize("geometry", GRIDS.values(), ids=GRIDS)
def test_a_ball_pasted_back_is_the_ball(geometry):
    ras = geometry.to_ras(np.stack(np.indices(geometry.shape), -1))
    middle = geometry.to_ras(np.array(geometry.shape) / 2)
    ball = np.linalg.norm(ras - middle, axis=-1) < 11
    crop = crop_grid(geometry, middle, 1.5, (24, 24, 24))
    box = reached(crop, geometry)
    back = paste(crop_mask(ball, geometry, crop), crop, geometry, box).numpy() > .5
    inside = ball[box.slices]
    assert 2 * (back & inside).sum() / (back.sum() + inside.sum()) > .9 and inside.sum() == ball.sum()
