"""Right from left: a mirror image gets the opposite answer, and the air round a body none."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.fabric import Fabric

from DiffSegCore.coordinates import _righted
from DiffSegCore.data.cache import GridCase
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks.sides import Sides, middle
from DiffSegCore.progress import silent
from DiffSegCore.training.body_recipes import QUICK
from DiffSegCore.training.body_sides import CALM, Sights, logits_of, train_sides
from DiffSegCore.training.loop import Budget


@pytest.fixture
def sides() -> Sides:
    torch.manual_seed(0)
    return Sides(widths=(4, 8, 8), column=(16, 12, 10)).eval()


def body(*shape: int) -> torch.Tensor:
    return torch.rand(2, 1, *shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_mirror_image_gets_the_opposite_answer(sides):
    seen = body(16, 20, 24)
    assert sides(seen).abs().min() > 1e-4
    torch.testing.assert_close(sides(seen.flip(-1)), -sides(seen))


@torch.no_grad()
def test_what_is_the_same_on_both_sides_says_nothing(sides):
    half = body(16, 20, 12)
    torch.testing.assert_close(sides(torch.cat([half, half.flip(-1)], -1)), torch.zeros(2))


@torch.no_grad()
def test_air_round_a_body_says_nothing(sides):
    seen = body(16, 20, 24)
    torch.testing.assert_close(sides(F.pad(seen, (5, 2, 3, 9))), sides(seen))
    torch.testing.assert_close(sides(F.pad(seen[:, :, :9], (0, 0, 0, 0, 0, 7))), sides(seen[:, :, :9]))  # above a low one


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 50, 2), (40, 3, 3)])
def test_bodies_of_any_size_are_asked(sides, shape):
    assert sides(body(*shape)).isfinite().all()


def test_the_column_stands_round_the_centre_of_mass():
    dense = torch.zeros(1, 1, 3, 30, 40)
    dense[..., 7:11, 21:27] = 1
    found = middle(dense, (4, 8, 10))
    assert found.shape == (1, 1, 4, 8, 10) and found.sum() == dense.sum()
    assert found[0, 0, 0].nonzero().float().mean(0).tolist() == [3.5, 4.5]


def test_nobody_has_no_sides(sides):
    assert sides(torch.zeros(2, 1, 16, 20, 24)).tolist() == [0, 0]


def test_who_lies_the_wrong_way_round_is_turned_before_his_sides_are_asked():
    image = torch.arange(8.).reshape(1, 2, 2, 2)
    assert torch.equal(_righted(image, torch.tensor([-1., -1.])), image)
    assert torch.equal(_righted(image, torch.tensor([2., -1.])), image.flip(2))  # the front lies behind
    assert torch.equal(_righted(image, torch.tensor([2., 3.])), image.flip(1, 2))  # and the head below


def a_patient(seed: int, shape: tuple[int, int, int] = (24, 24, 28)) -> GridCase:
    """A block of water with a bright rod to the right of its middle."""
    random = np.random.default_rng(seed)
    image = np.full(shape, -1., np.float32)
    image[2:-2, 4:-4, 4:-4] = random.normal(0, .05, (20, 16, 20))
    image[2:-2, 9:13, 15:18] = .8
    return GridCase(f"patient-{seed}", image.astype(np.float16), np.zeros(shape, np.uint8), Geometry(shape, np.diag([4., 4., 4., 1.])), {})


def test_right_is_learnt_from_what_lies_beside_the_middle(tmp_path):
    recipe = replace(QUICK, sides=Budget(steps=40, batch=4, learning_rate=2e-3, warmup=5, averaging=.8, validate_every=40))
    patients = [a_patient(seed) for seed in range(6)]
    found = train_sides(recipe, patients[:4], patients[4:], tmp_path, Fabric(accelerator="cpu", devices=1), False, silent).network.sides
    mirrored = [replace(case, image=case.image[:, :, ::-1].copy()) for case in patients[4:]]
    assert (logits_of(found, patients[4:]) < 0).all() and (logits_of(found, mirrored) > 0).all()


def test_half_of_what_sides_learn_from_is_cut_off_above_or_below():
    sights = Sights([a_patient(0)], (24, 24, 28), threshold=-.7, strengths=replace(CALM, rotation=0, scale=0, noise=0), pairs=1)
    seen = (sights.batch(0, 40).image.flatten(2).unflatten(2, (24, -1)) > -.7).any(-1).sum((1, 2))  # planes with something in them
    assert 10 <= (seen == 20).sum() <= 30 and seen.min() < 12
