"""Right from left: a mirror image gets the opposite answer, and the air round a body none."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from DiffSegCore.coordinates import _righted
from DiffSegCore.networks.sides import Sides, middle


@pytest.fixture
def sides() -> Sides:
    torch.manual_seed(0)
    return Sides(widths=(4, 8, 8), column=(12, 10)).eval()


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


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 50, 2), (40, 3, 3)])
def test_bodies_of_any_size_are_asked(sides, shape):
    assert sides(body(*shape)).isfinite().all()


def test_the_column_stands_round_the_centre_of_mass():
    dense = torch.zeros(1, 1, 3, 30, 40)
    dense[..., 7:11, 21:27] = 1
    found = middle(dense, (8, 10))
    assert found.shape == (1, 1, 4, 8, 10) and found.sum() == dense.sum()
    assert found[0, 0, 0].nonzero().float().mean(0).tolist() == [3.5, 4.5]


def test_nobody_has_no_sides(sides):
    assert sides(torch.zeros(2, 1, 16, 20, 24)).tolist() == [0, 0]


def test_who_lies_the_wrong_way_round_is_turned_before_his_sides_are_asked():
    image = torch.arange(8.).reshape(1, 2, 2, 2)
    assert torch.equal(_righted(image, torch.tensor([-1., -1.])), image)
    assert torch.equal(_righted(image, torch.tensor([2., -1.])), image.flip(2))  # the front lies behind
    assert torch.equal(_righted(image, torch.tensor([2., 3.])), image.flip(1, 2))  # and the head below
