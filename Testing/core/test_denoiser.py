"""The guided denoiser: told coordinates, asked for them, or neither; without them it is its plain encoder."""
from __future__ import annotations

import pytest
import torch

from DiffSegCore.networks import DiffusionEncoder, GuidedDenoiser, build
from DiffSegCore.networks.denoiser import CLEAN, CoordinateCode

WIDTHS = (8, 16, 24)
NOWHERE = torch.full((2, 3, 2, 2, 2), float("nan"))


def a_denoiser(guidance: str = "both") -> GuidedDenoiser:
    torch.manual_seed(0)
    network = build({"kind": "denoiser", "guidance": guidance, "encoder": {"widths": WIDTHS}})
    for name, parameter in network.named_parameters():
        if "guide" in name or "second" in name:  # they begin at zero; what they do shall be seen
            torch.nn.init.normal_(parameter, std=.1)
    return network


def noisy() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 1, 8, 8, 8, generator=generator), torch.tensor([0., 4.])


def body() -> torch.Tensor:
    return torch.rand(2, 3, 2, 2, 2, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("guidance, told, asked", [("none", False, False), ("input", True, False), ("auxiliary", False, True), ("both", True, True)])
def test_each_reading_of_the_guidance_can_be_switched(guidance, told, asked):
    network = a_denoiser(guidance)
    velocity, coordinates = network(*noisy(), body())
    assert velocity.shape == (2, 1, 8, 8, 8)
    assert (coordinates is not None) == asked and (not asked or coordinates.shape == (2, 3, 2, 2, 2))
    assert torch.equal(velocity, network(*noisy())[0]) != told


def test_where_coordinates_are_dropped_nothing_is_left_of_them():
    network = a_denoiser()
    plain = DiffusionEncoder(widths=WIDTHS)
    plain.load_state_dict(network.encoder.state_dict())
    unguided = plain.denoise(*noisy())
    for nothing in (None, NOWHERE):
        assert torch.equal(network(*noisy(), nothing)[0], unguided)


def test_dropping_is_by_patch():
    network = a_denoiser()
    first_only = torch.where(torch.tensor([True, False])[:, None, None, None, None], body(), NOWHERE)
    velocity = network(*noisy(), first_only)[0]
    torch.testing.assert_close(velocity[0], network(*noisy(), body())[0][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(velocity[1], network(*noisy())[0][1], rtol=1e-4, atol=1e-5)


def test_a_new_guide_says_nothing_yet():
    network = build({"kind": "denoiser", "guidance": "input", "encoder": {"widths": WIDTHS}})
    assert torch.equal(network(*noisy(), body())[0], network(*noisy())[0])


def test_the_code_tells_places_apart_and_unknown_ones_from_the_origin():
    code = CoordinateCode(octaves=3)
    assert code(body()).shape == (2, code.width, 2, 2, 2) and not code(NOWHERE).any()
    ends = code(torch.tensor([0., .5, 1.]).reshape(1, 1, 3, 1, 1).expand(1, 3, 3, 1, 1))[0, :, :, 0, 0]
    assert torch.pdist(ends.T).min() > 1 and (ends[0] == 1).all()


def test_half_known_coordinates_give_no_nan_forward_or_backward():
    network, partly = a_denoiser(), body()
    partly[0, :, 0] = float("nan")
    velocity, coordinates = network(*noisy(), partly)
    (velocity.square().mean() + coordinates.square().mean()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_a_clean_image_is_read_as_the_clearest_that_was_trained():
    network, (image, _) = a_denoiser(), noisy()
    clean, said = network.features(image), network.features(image, torch.full((2,), CLEAN))
    assert all(torch.equal(a, b) for a, b in zip(clean, said)) and [level.shape[1] for level in clean] == list(WIDTHS)


def test_what_only_the_place_tells_is_learnt_from_the_guide():
    """The image is the coordinate itself and the noise hides it: without the guide nothing is known of it."""
    network = a_denoiser("input")
    hidden, log_snr = noisy()[0], torch.full((2,), -8.)
    wanted = -torch.nn.functional.interpolate(body()[:, 2:], scale_factor=4) * 2
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for step in range(60):
        noise = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(step))
        error = (network(noise, log_snr, body())[0] - wanted).square().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
    unguided = (network(hidden, log_snr)[0] - wanted).square().mean()
    assert error < .3 * wanted.var() and unguided > 2 * error


def test_a_guide_needs_levels_and_a_known_name():
    with pytest.raises(ValueError, match="'maps'"):
        GuidedDenoiser(DiffusionEncoder(widths=WIDTHS), guidance="maps")
    with pytest.raises(ValueError, match="not 2"):
        GuidedDenoiser(DiffusionEncoder(widths=(8, 16)))
