"""Which voxels are called object: the mask that promises the best Dice."""
from __future__ import annotations

import pytest
import torch

from DiffSegCore.decision import LEAST_CUT, decided, dice_cut, object_cut


def promised(chances: torch.Tensor, mask: torch.Tensor) -> float:
    return float(2 * chances[mask].sum() / (mask.sum() + chances.sum()))


def test_what_is_clear_is_cut_at_one_half():
    chances = torch.cat([torch.zeros(900), torch.ones(100)])
    assert dice_cut(chances) == .5


def test_no_other_cut_promises_more():
    chances = torch.rand(10, 10, 10, generator=torch.Generator().manual_seed(0)) ** 3
    best = promised(chances, chances >= dice_cut(chances))
    assert all(promised(chances, chances >= cut) <= best + 1e-6 for cut in torch.linspace(.01, .99, 99))


def test_half_of_the_promise_is_the_cut():
    chances = torch.cat([torch.full((100,), .4), torch.full((900,), .01)])
    assert dice_cut(chances) == pytest.approx(promised(chances, chances > .2) / 2)


def test_the_cut_is_counted_on_the_device_of_the_chances():
    """No other device is needed to see it: the meta device refuses to mix with the CPU, and then to tell a number."""
    with pytest.raises(RuntimeError, match="item"):
        dice_cut(torch.rand(5, device="meta"))


def test_what_prompts_describe_is_drawn_a_little_larger_and_promises_nearly_as_much():
    chances = torch.rand(10, 10, 10, generator=torch.Generator().manual_seed(0)) ** 3
    best, larger = chances >= dice_cut(chances), chances >= object_cut(chances)
    assert (larger | best).sum() == larger.sum() > best.sum()
    assert promised(chances, best) - .02 < promised(chances, larger) < promised(chances, best)


@pytest.mark.parametrize("level", [0., 1e-6, .01])
def test_an_object_that_is_hardly_there_is_not_drawn_everywhere(level):
    chances = torch.full((1000,), level)
    assert dice_cut(chances) == object_cut(chances) == LEAST_CUT


def test_of_exclusive_labels_each_is_drawn_from_its_own_cut_on():
    chances = torch.rand(1000, generator=torch.Generator().manual_seed(0)) ** 3
    faint, clear = torch.stack([1 - chances, chances]), torch.tensor([[0., 1], [1, 0]])
    assert torch.equal(decided(faint).argmax(0).bool(), chances >= dice_cut(chances))
    assert torch.equal(decided(clear).argmax(0), clear.argmax(0))


def test_an_organ_that_is_hardly_there_is_decided_by_its_chances():
    chances = torch.full((2, 100), .01)
    chances[0] = .99
    chances[:, 0] = torch.tensor([.7, .3])
    assert not decided(chances).argmax(0).any()
