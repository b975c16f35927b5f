"""The encoder and head: shapes, noise levels, and a description that rebuilds them."""
from __future__ import annotations

import pytest
import torch

from DiffSegCore.networks import DiffusionEncoder, OrganHead, build
from DiffSegCore.networks.encoder import ResidualBlock
from DiffSegCore.networks.settling import settle

WIDTHS = (8, 16, 24)


@pytest.fixture
def encoder() -> DiffusionEncoder:
    torch.manual_seed(0)
    return DiffusionEncoder(widths=WIDTHS)


def test_the_pyramid_runs_from_fine_to_coarse(encoder):
    pyramid = encoder.features(torch.randn(2, 1, 8, 12, 16))
    assert [tuple(level.shape) for level in pyramid] == [(2, 8, 8, 12, 16), (2, 16, 4, 6, 8), (2, 24, 2, 3, 4)]


def test_windows_are_multiples_of_the_stride(encoder):
    assert encoder.stride == 4


def test_a_velocity_has_the_shape_of_the_noisy_volume(encoder):
    assert encoder.denoise(torch.randn(2, 1, 8, 8, 8), torch.tensor([0., 4.])).shape == (2, 1, 8, 8, 8)


def test_denoising_learns_a_known_velocity_at_two_noise_levels(encoder):
    """For x_0 = 0 the velocity is sqrt(keep) e and x_t = sqrt(1 - keep) e: a factor that only the noise level tells."""
    noise, log_snr = torch.randn(2, 1, 8, 8, 8), torch.tensor([-1., 2.])
    keep = log_snr.sigmoid()[:, None, None, None, None]
    noisy, wanted = (1 - keep).sqrt() * noise, keep.sqrt() * noise
    optimiser = torch.optim.Adam(encoder.parameters(), 3e-3)
    for _ in range(60):
        error = (encoder.denoise(noisy, log_snr) - wanted).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    assert error < .1 * wanted.square().mean()
    swapped = (encoder.denoise(noisy, log_snr.flip(0)) - wanted).square().mean()
    assert swapped > 2 * error


def test_an_encoder_settled_on_a_noise_level_needs_no_telling_and_hears_of_no_other(encoder):
    for block in (*encoder.encode, *encoder.decode):
        for layer in (block.film, block.second[1]):
            torch.nn.init.normal_(layer.weight, std=.1)
    image = torch.randn(2, 1, 16, 16, 16)
    told = encoder.features(image, torch.full((2,), 3.))
    assert not torch.allclose(told[0], encoder.features(image)[0], atol=1e-2)
    settle(encoder, 3.)
    for untold, misled, before in zip(encoder.features(image), encoder.features(image, torch.full((2,), -5.)), told):
        assert torch.allclose(untold, before, atol=1e-4) and torch.allclose(misled, before, atol=1e-4)


@pytest.mark.parametrize("steady", (True, False), ids=("steady", "as it comes"))
def test_only_in_a_steady_encoder_do_blocks_keep_their_say_when_every_change_of_level_multiplies(steady):
    torch.manual_seed(0)
    encoder = DiffusionEncoder(widths=(8, 8, 8, 8), denoises=False, level_width=0, steady=steady)
    for change in (*encoder.down, *encoder.up):
        change.weight.data *= 10
    for block in (*encoder.encode, *encoder.decode):  # else they begin as the identity
        torch.nn.init.kaiming_normal_(block.second[1].weight)
    image, added = torch.randn(1, 1, 16, 16, 16), {}
    encoder.decode[0].register_forward_hook(lambda block, given, out: added.update(share=((out - given[0]).std() / out.std()).item()))
    encoder.features(image)
    assert added["share"] > .1 if steady else added["share"] < 1e-3


def test_in_bf16_the_gradients_of_a_grid_two_voxels_wide_are_those_of_fp32():
    """They were whatever lay in memory, now and then no number."""
    torch.manual_seed(0)
    block = ResidualBlock(128, 0)
    torch.nn.init.kaiming_normal_(block.second[1].weight)
    x, found = torch.randn(6, 128, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d).requires_grad_(), []
    for low in (False, True):
        block.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            block(x, None).square().sum().backward()
        found.append(block.first[2].weight.grad.clone())
    torch.testing.assert_close(*found)


def test_the_head_equals_one_linear_layer_on_the_concatenated_pyramid(encoder):
    head = OrganHead(WIDTHS, organs=2).eval()
    pyramid = encoder.features(torch.randn(1, 1, 8, 8, 8))
    normed = [read[1](read[0](level)) for read, level in zip(head.read, pyramid)]
    up = torch.nn.functional.interpolate
    coarse = up(normed[2], scale_factor=2, mode="trilinear")
    whole = torch.cat([normed[0], up(normed[1], scale_factor=2, mode="trilinear"), up(coarse, scale_factor=2, mode="trilinear")], 1)
    weight = torch.cat([read[2].linear.weight for read in head.read], 1)
    bias = sum(read[2].linear.bias for read in head.read)
    expected = torch.einsum("oc,bckji->bokji", weight, whole) + bias[None, :, None, None, None]
    torch.testing.assert_close(head(pyramid), expected, rtol=1e-4, atol=1e-5)


def test_memory_format_does_not_change_the_result():
    network = build({"kind": "organs", "organs": 2, "encoder": {"widths": WIDTHS}}).eval()
    image = torch.randn(1, 1, 8, 8, 8)
    plain = network(image)
    last = network.to(memory_format=torch.channels_last_3d)(image.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-5)


def test_a_description_rebuilds_the_network_and_an_unknown_one_is_refused():
    assert build({"kind": "organs", "organs": 3, "encoder": {"widths": WIDTHS}})(torch.zeros(1, 1, 8, 8, 8)).shape[1] == 4
    with pytest.raises(ValueError, match="'brains'"):
        build({"kind": "brains"})
