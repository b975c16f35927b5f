"""Dice and cross-entropy that do not punish what nobody contoured."""
from __future__ import annotations

import torch

from DiffSegCore.training.losses import merge_unknown, organ_loss

SHAPE = (1, 3, 2, 2, 2)  # background, organ 1, organ 2
BOTH, ONLY_FIRST = torch.tensor([[True, True, True]]), torch.tensor([[True, True, False]])


def test_an_undrawn_organ_counts_as_background():
    logits = torch.randn(SHAPE)
    p, merged = logits.softmax(1), merge_unknown(logits, ONLY_FIRST).exp()
    torch.testing.assert_close(merged[:, 0], p[:, 0] + p[:, 2])
    torch.testing.assert_close(merged[:, 1], p[:, 1])
    assert merged[:, 2].max() == 0


def test_with_every_organ_drawn_nothing_is_merged():
    logits = torch.randn(SHAPE)
    torch.testing.assert_close(merge_unknown(logits, BOTH), logits.log_softmax(1))


def test_finding_an_undrawn_organ_costs_nothing():
    target = torch.zeros(1, 2, 2, 2, dtype=torch.long)
    logits = torch.zeros(SHAPE)
    logits[:, 2] = 20.
    assert organ_loss(logits, target, ONLY_FIRST) < 1e-3 < 10 < organ_loss(logits, target, BOTH)


def test_a_perfect_prediction_has_no_loss_and_a_wrong_one_has():
    target = torch.tensor([0, 1, 2, 0, 0, 1, 2, 0]).reshape(1, 2, 2, 2)
    perfect = 50. * torch.nn.functional.one_hot(target, 3).movedim(-1, 1)
    assert organ_loss(perfect, target, BOTH) < 1e-4
    assert organ_loss(perfect.roll(1, 1), target, BOTH) > 10


def test_the_gradient_is_finite_whatever_was_drawn():
    for known in (BOTH, ONLY_FIRST, torch.tensor([[True, False, False]])):
        logits = (100 * torch.randn(SHAPE)).requires_grad_()
        organ_loss(logits, torch.zeros(1, 2, 2, 2, dtype=torch.long), known).backward()
        assert logits.grad.isfinite().all()


def test_a_batchs_loss_is_the_mean_of_its_patches_losses():
    """Else two processes with half of the batch each would learn something else than one process with all of it."""
    logits, target = torch.randn(2, *SHAPE[1:]), torch.zeros(2, 2, 2, 2, dtype=torch.long)
    target[0, 0, 0] = torch.tensor([1, 2])  # one patch shows both organs, the other none
    each = [organ_loss(logits[n:n + 1], target[n:n + 1], BOTH) for n in range(2)]
    torch.testing.assert_close(organ_loss(logits, target, BOTH.repeat(2, 1)), torch.stack(each).mean())
