"""Views and losses of body coordinates: what is true of the right coordinates, and wrong for others."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from DiffSegCore.data.cache import GridCase
from DiffSegCore.geometry import Geometry
from DiffSegCore.training.body_losses import agreement_loss, body_loss, offset_loss, place_loss, scale_loss, turned_loss
from DiffSegCore.training.body_places import Place, common_places
from DiffSegCore.training.body_views import Strengths, View, Views, organ_centres

SLOPE = torch.tensor([2., 1., .5])
STILL = Strengths(rotation=0, scale=0, cropped=0, contrast=0, noise=0)
RIGHT, LEFT, BELOW = 1, 2, 3
THERE = Place(np.column_stack([1.1 * np.eye(3), [5., -20., -600.]]), float(np.log(1.1)))  # where the block lies in the common body


def a_case(shape=(48, 40, 44)) -> GridCase:
    """A block of body with a right, a left and a lower organ that runs out of the field of view."""
    matrix = np.diag([4., 4., 2.5, 1.])
    matrix[:3, 3] = -90, 30, 500
    image = np.full(shape, -1, np.float16)
    image[:, 8:32, 6:38] = .2
    channels = np.zeros(shape, np.uint8)
    channels[20:24, 16:20, 30:34], channels[20:24, 16:20, 10:14], channels[0:6, 10:14, 20:24] = RIGHT, LEFT, BELOW
    return GridCase("block", image, channels, Geometry(shape, matrix), {c: np.argwhere(channels == c) for c in (RIGHT, LEFT, BELOW)})


def views(strengths: Strengths = Strengths(), **more) -> Views:
    return Views([a_case()], (32, 32, 32), places={"block": THERE}, pairs=64, strengths=strengths, **more)


def mm(batch: View) -> Tensor:
    """RAS mm of every coarse voxel, (B, 2, 3, k, j, i)."""
    k, j, i = torch.meshgrid(*(torch.arange(n).float() for n in batch.body.shape[2:]), indexing="ij")
    return torch.einsum("bvxy,ykji->bvxkji", batch.to_patient, torch.stack([k, j, i, torch.ones_like(k)]))


def affine(batch: View, scale: float = 1.) -> Tensor:
    """The right coordinates: S g x / 1000."""
    return mm(batch) / 1000 * scale * SLOPE[:, None, None, None]


@pytest.fixture
def batch() -> View:
    return views().batch(0, 6)


def test_the_right_coordinates_cost_nothing(batch):
    zero = torch.zeros(6)
    log_scale = torch.full((6, 2), .1)
    torch.testing.assert_close(offset_loss(affine(batch, np.exp(.1)), SLOPE, log_scale, batch), zero, atol=1e-4, rtol=0)
    torch.testing.assert_close(agreement_loss(affine(batch), batch), zero, atol=1e-4, rtol=0)


def test_offsets_do_not_see_a_shift_and_do_see_mirrors_and_scales(batch):
    still = torch.zeros(6, 2)
    assert offset_loss(affine(batch) + 7, SLOPE, still, batch).max() < 1e-3
    assert offset_loss(-affine(batch), SLOPE, still, batch).min() > .5
    assert offset_loss(affine(batch, 1.25), SLOPE, still, batch).min() > .05


def test_a_crop_shifted_by_d_has_u_shifted_by_S_d(batch):
    """What two windows of one volume owe each other: in a window's own millimetres the twins differ by S d."""
    d = torch.tensor([8., -12., 20.])
    local = affine(batch)
    local[:, 1] -= (SLOPE * d / 1000)[:, None, None, None]
    assert agreement_loss(local, batch).mean() > .1
    moved = batch._replace(to_patient=batch.to_patient.clone())
    moved.to_patient[:, 1, :, 3] -= d
    torch.testing.assert_close(local[:, 1], affine(moved)[:, 1])


@pytest.mark.parametrize("axis", [0, 1, 2], ids="RAS")
def test_views_show_what_their_matrix_says(axis):
    """An image that tells its own R, A or S: it is read where the matrix says that the voxel lies."""
    case = a_case()
    ras = case.geometry.to_ras(np.stack(np.meshgrid(*map(np.arange, case.image.shape), indexing="ij"), -1))
    told = replace(case, image=((ras[..., axis] - ras[..., axis].mean()) / 200).astype(np.float32))
    turned = replace(STILL, rotation=15, scale=.1)
    batch = Views([told], (32, 32, 32), pairs=8, strengths=turned).batch(0, 4)
    scanned = mm(batch).movedim(2, -1) * torch.where(batch.mirrored[..., None], torch.tensor([-1., 1, 1]), 1.)[:, :, None, None, None]
    index = case.geometry.to_index(scanned.numpy())
    inner = ((index > 4) & (index < np.array(case.image.shape) - 5)).all(-1)
    shown = torch.nn.functional.avg_pool3d(batch.image[:, :, 0], 4).numpy()
    assert inner.sum() > 200
    np.testing.assert_allclose(shown[inner], (scanned.numpy()[..., axis][inner] - ras[..., axis].mean()) / 200, atol=2e-4)


def test_a_pair_is_a_function_of_its_number():
    one, again = views(seed=3).twins(5), views(seed=3).batch(4, 2)
    for part, stacked in zip(one, again):
        torch.testing.assert_close(part, stacked[1], rtol=0, atol=0)


def test_organs_that_run_out_of_the_image_are_no_anchors():
    centres = organ_centres(a_case(), (RIGHT, LEFT, BELOW, 9))
    np.testing.assert_allclose(centres[:2], [[21.5, 17.5, 31.5], [21.5, 17.5, 11.5]])
    assert np.isnan(centres[2:]).all()


def on_the_body(batch: View) -> Tensor:
    """u of every coarse voxel's place in the common body, (B, 2, 3, k, j, i)."""
    return affine(batch._replace(to_patient=batch.to_body))


def test_a_patient_costs_nothing_where_the_common_body_says_that_he_lies_mirrored_or_not(batch):
    assert 0 < batch.mirrored.float().mean() < 1
    torch.testing.assert_close(place_loss(on_the_body(batch), SLOPE, batch), torch.zeros(6), atol=1e-3, rtol=0)
    assert place_loss(on_the_body(batch) + .05, SLOPE, batch).min() > 4
    assert (place_loss(affine(batch), SLOPE, batch._replace(patient=batch.patient * np.nan)) == 0).all()


def test_mirror_images_lie_in_the_common_body_as_in_a_mirror(batch):
    right = on_the_body(batch)[:, :, 0]
    scanned = affine(batch)[:, :, 0] * 1.1 + torch.where(batch.mirrored, -1., 1.)[..., None, None, None] * .005 * SLOPE[0]
    torch.testing.assert_close(right, scanned, atol=1e-4, rtol=0)


def patients(*scales: float) -> dict[str, np.ndarray]:
    """Four organs, two of them a pair, of people of several sizes who lie somewhere."""
    organs = np.array([[55., 0, 10], [-55, 0, 10], [0, -30, 50], [0, 10, -65]])
    return {f"p{scale}": organs * scale + np.array([31., 7, -900]) * n for n, scale in enumerate(scales)}


def test_patients_are_laid_over_each_other_whatever_their_size_and_place():
    found = common_places(patients(.9, 1., 1.1), (1, 0, 2, 3))
    laid = [points @ found[name].to_body[:, :3].T + found[name].to_body[:, 3] for name, points in patients(.9, 1., 1.1).items()]
    assert np.ptp(laid, axis=0).max() < 12  # the least is left: a scale that few organs tell is drawn towards 1
    assert found["p0.9"].log_scale > found["p1.0"].log_scale > found["p1.1"].log_scale
    np.testing.assert_allclose(np.mean(laid, axis=0)[0] * (-1, 1, 1), np.mean(laid, axis=0)[1], atol=1e-6)


def test_patients_with_few_organs_are_not_laid_over_others():
    few = {**patients(1., 1.02), "lost": np.array([[1., 2, 3], [4, 5, 6], *2 * [[np.nan] * 3]])}
    assert set(common_places(few, (1, 0, 2, 3))) == {"p1.0", "p1.02"}
    assert common_places({"lost": few["lost"]}, (1, 0, 2, 3)) == {}


def test_the_scale_is_the_patients_whatever_the_views_magnification(batch):
    assert scale_loss(batch.log_scale + np.log(1.1), batch).max() < 1e-6
    assert scale_loss(torch.zeros(6, 2), batch).min() > 1


def test_where_the_scale_is_unknown_views_agree_and_people_are_ordinary(batch):
    unknown = batch._replace(patient=batch.patient * np.nan)
    assert scale_loss(batch.log_scale, unknown).max() < 1e-6 < scale_loss(batch.log_scale + .05, unknown).min()
    assert scale_loss(batch.log_scale + torch.tensor([.05, -.05]), unknown).min() > 9


def test_a_cropped_field_of_view_is_air_outside_and_is_not_asked_about():
    batch = views(replace(STILL, cropped=1., narrowest=.4)).batch(0, 8)
    dense = torch.nn.functional.avg_pool3d(batch.image[:, :, 0], 4)
    assert (dense > -.9).flatten(2).sum(-1).float().std() > 0
    asked = batch.body.flatten(2).gather(2, batch.pairs.flatten(2))
    assert asked.all()


def test_a_window_beside_the_body_says_nothing():
    empty = replace(a_case(), image=np.full((48, 40, 44), -1, np.float16))
    batch = Views([empty], (32, 32, 32), pairs=8).batch(0, 1)
    assert (batch.pairs == 0).all() and offset_loss(torch.randn(1, 2, 3, 8, 8, 8), SLOPE, torch.zeros(1, 2), batch) == 0


def test_unlabelled_cases_are_seen_in_their_share_of_the_pairs():
    other = replace(a_case(), image=np.full((48, 40, 44), -1, np.float16), places={})
    mixed = views(others=[other], share=.25)
    dark = [float(mixed.twins(n).image.max()) < -.8 for n in range(60)]
    assert 5 <= sum(dark) <= 27


def test_a_batchs_loss_is_the_mean_of_its_pairs(batch):
    """So one process and several with the same global batch learn the same."""
    torch.manual_seed(0)
    read = torch.randn(6, 2, 3, 8, 8, 8) * .1, torch.randn(6, 2) * .1, torch.randn(6, 2, 2)
    parts = [body_loss(*(x[n:n + 1] for x in read), SLOPE, View(*(x[n:n + 1] for x in batch))) for n in range(6)]
    torch.testing.assert_close(body_loss(*read, SLOPE, batch), torch.stack(parts).mean())


def test_telling_turned_axes_is_a_cross_entropy(batch):
    upside_down, back_to_front, _ = batch.flips.unbind(-1)
    sure = 20 * (2 * torch.stack([back_to_front, upside_down], -1).float() - 1)
    assert turned_loss(sure, batch).max() < 1e-6 < 10 < turned_loss(-sure, batch).min()
