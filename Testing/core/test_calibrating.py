"""A temperature makes chances honest and leaves labels alone."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from DiffSegCore.data.cache import GridCase
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks import OrganHead
from DiffSegCore.training.calibrating import cool, fitted_temperature

SHAPE = (16, 16, 16)


def a_case(channels: np.ndarray) -> GridCase:
    places = {channel: np.argwhere(channels == channel) for channel in np.unique(channels[channels > 0]).tolist()}
    return GridCase("toy", np.zeros(SHAPE, np.float16), channels.astype(np.uint8), Geometry(SHAPE, np.eye(4)), places)


def drawn(logits: torch.Tensor, seed: int) -> np.ndarray:
    """Labels that come as the logits say."""
    torch.manual_seed(seed)
    chances = logits.softmax(0).flatten(1).T
    return torch.multinomial(chances, 1)[:, 0].reshape(SHAPE).numpy()


@pytest.mark.parametrize("times", [.5, 1., 2., 4.])
def test_logits_that_are_so_many_times_too_large_get_that_temperature(times):
    honest = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2
    case = a_case(drawn(honest, 2))
    assert fitted_temperature(lambda _: times * honest, [case], empty_is_undrawn=False) == pytest.approx(times)


def test_an_organ_that_nobody_drew_is_no_mistake():
    honest = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2
    channels = drawn(honest, 2)
    undrawn = a_case(np.where(channels == 2, 0, channels))
    logits = lambda _: 2 * honest  # noqa: E731
    assert fitted_temperature(logits, [undrawn], empty_is_undrawn=True) == 2 < fitted_temperature(logits, [undrawn], empty_is_undrawn=False)


def test_a_cooled_head_divides_its_logits_exactly():
    torch.manual_seed(0)
    head = OrganHead((8, 16), 2)
    pyramid = [torch.randn(1, 8, 8, 8, 8), torch.randn(1, 16, 4, 4, 4)]
    before = head(pyramid)
    cool(head, 2.)
    assert torch.equal(head(pyramid) * 2, before)
