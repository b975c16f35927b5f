"""Specks lose, the organ and a piece of about its size stay."""
from __future__ import annotations

import numpy as np
import torch

from DiffSegCore.pieces import without_specks


def logits_of(channels: list[int]) -> torch.Tensor:
    """Logits (3, 1, 1, n): 2 for the given channel, 1 for background, 0 for the rest."""
    logits = torch.zeros(3, 1, 1, len(channels))
    logits[0] = 1
    logits[torch.tensor(channels), 0, 0, torch.arange(len(channels))] = 2
    return logits


def test_a_speck_becomes_what_was_next_likely_and_larger_pieces_stay():
    found = without_specks(logits_of([1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 2, 0]), .3).argmax(0)
    np.testing.assert_array_equal(found.flatten(), [0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 2, 0])


def test_corners_hold_a_piece_together():
    logits = torch.zeros(2, 2, 2, 2)
    logits[1, 0, 0, 0] = logits[1, 1, 1, 1] = 1
    assert without_specks(logits, .9).argmax(0).sum() == 2


def test_nothing_is_dropped_unless_asked():
    logits = logits_of([1, 0, 1, 1, 1, 1])
    assert torch.equal(without_specks(logits.clone(), 0), logits)
