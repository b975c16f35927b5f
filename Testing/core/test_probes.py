"""Probes: linear is linear, neither sees a neighbour, and scales of the features do not matter."""
from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from DiffSegCore.networks.probes import PROBES, LinearProbe, NonLinearProbe, Standardise

WIDTHS = (8, 16, 24)


@pytest.fixture
def pyramid() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, width, *(16 >> n,) * 3, generator=generator) for n, width in enumerate(WIDTHS)]


@pytest.fixture(params=PROBES.values(), ids=PROBES)
def probe(request) -> torch.nn.Module:
    torch.manual_seed(0)
    return stir(request.param(WIDTHS, 3))


def stir(probe: torch.nn.Module) -> torch.nn.Module:
    """Weights as after some training: none of them zero."""
    for weight in probe.parameters():
        torch.nn.init.normal_(weight, std=.2)
    return probe


def test_logits_have_the_finest_levels_size_and_a_channel_for_the_background(probe, pyramid):
    assert probe(pyramid).shape == (2, 4, 16, 16, 16)


def test_the_linear_probe_equals_one_matrix_on_the_concatenated_pyramid(pyramid):
    probe = LinearProbe(WIDTHS, 3)
    up = [pyramid[0], *(pyramid[n] for n in (1, 2))]
    for n in (1, 2):
        for _ in range(n):
            up[n] = F.interpolate(up[n], scale_factor=2, mode="trilinear")
    weight = torch.cat([read.linear.weight for read in probe.read], 1)
    bias = sum(read.linear.bias for read in probe.read)
    expected = torch.einsum("oc,bckji->bokji", weight, torch.cat(up, 1)) + bias[:, None, None, None]
    torch.testing.assert_close(probe(pyramid), expected, rtol=1e-4, atol=1e-4)


def test_the_non_linear_probe_begins_as_the_linear_one_and_does_not_stay_it(pyramid):
    probe, linear = NonLinearProbe(WIDTHS, 3), LinearProbe(WIDTHS, 3)
    linear.load_state_dict(probe.state_dict(), strict=False)
    torch.testing.assert_close(probe(pyramid), linear(pyramid))
    stir(probe)
    middle = probe([level / 2 for level in pyramid])
    assert not torch.allclose(middle, (probe(pyramid) + probe([0 * level for level in pyramid])) / 2, atol=1e-3)


def test_a_fine_voxel_speaks_for_itself_alone(probe, pyramid):
    before = probe(pyramid)
    pyramid[0][0, :, 8, 8, 8] += 10
    changed = (probe(pyramid) - before).abs().amax(1) > 1e-5
    assert changed.nonzero().tolist() == [[0, 8, 8, 8]]


def test_a_coarse_cell_reaches_no_farther_than_interpolation_does(probe, pyramid):
    before = probe(pyramid)
    pyramid[2][0, :, 1, 1, 1] += 10  # voxels 4 to 7, and those between its neighbours' centres and its own
    reached = ((probe(pyramid) - before).abs().amax(1) > 1e-5).nonzero()
    assert reached[:, 1:].min() >= 1 and reached[:, 1:].max() <= 10


def test_standardised_channels_have_mean_0_and_deviation_1(pyramid):
    fixed = Standardise(WIDTHS)
    scaled = [level * 50 + 7 for level in pyramid]
    fixed.measure([scaled])
    for level in fixed(scaled):
        flat = level.movedim(1, 0).flatten(1)
        torch.testing.assert_close(flat.mean(1), torch.zeros(len(flat)), atol=1e-4, rtol=0)
        torch.testing.assert_close(flat.std(1, unbiased=False), torch.ones(len(flat)), atol=1e-4, rtol=0)


def test_the_scale_of_an_encoders_features_does_not_matter_to_a_probe(probe, pyramid):
    probe.standardise.measure([pyramid])
    before = probe(pyramid)
    scaled = [100 * level - 3 for level in pyramid]
    probe.standardise.measure([scaled])
    torch.testing.assert_close(probe(scaled), before, rtol=1e-3, atol=1e-3)


def test_a_channel_that_never_changes_is_not_blown_up():
    fixed = Standardise((8,))
    constant = [torch.full((1, 8, 2, 2, 2), 5.)]
    fixed.measure([constant])
    assert fixed(constant)[0].abs().max() < 1


def test_levels_that_are_not_read_change_nothing(probe, pyramid):
    probe.standardise.measure([pyramid], unread=(0,))
    for weight in probe.read.parameters():
        torch.nn.init.normal_(weight)
    before = probe(pyramid)
    assert torch.equal(probe([pyramid[0] + 5, *pyramid[1:]]), before) and not torch.equal(probe([pyramid[0], pyramid[1] + 5, *pyramid[2:]]), before)


def test_measured_scales_travel_with_the_weights(pyramid):
    first, second = LinearProbe(WIDTHS, 3), LinearProbe(WIDTHS, 3)
    first.standardise.measure([[3 * level for level in pyramid]])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(pyramid), second(pyramid))
