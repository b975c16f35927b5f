from __future__ import annotations

import pytest
import torch

from DiffSegCore.diffusion import GaussianDiffusion, VoxelFields, cosine_squared, levels, linear_logsnr

LEVELS = (0, 1, 5, 9, 10)


@pytest.fixture
def diffusion():
    return GaussianDiffusion(cosine_squared(10))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def perfect(diffusion, variance):
    """The best velocity network for data N(0, variance)."""

    def model(noisy, t):
        keep, rest = diffusion.hop(t, 0, noisy)
        clean = keep.sqrt() * variance / (keep * variance + rest) * noisy
        noise = rest.sqrt() / (keep * variance + rest) * noisy
        return diffusion.velocity(clean, noise, t)

    return model


@pytest.mark.parametrize("t", LEVELS)
def test_velocity_noise_and_clean_round_trip(diffusion, t):
    """Identity 13: v / e / x_0 round trips, at 0 and T too."""
    clean, noise = normal(2, 1, 3, 4, 5), normal(2, 1, 3, 4, 5, seed=1)
    noisy, velocity = diffusion.noisy(clean, noise, t), diffusion.velocity(clean, noise, t)
    torch.testing.assert_close(diffusion.clean(noisy, velocity, t), clean, atol=1e-12, rtol=0)
    torch.testing.assert_close(diffusion.noise(noisy, velocity, t), noise, atol=1e-12, rtol=0)


@pytest.mark.parametrize("t", LEVELS)
def test_unit_data_have_unit_variance_at_every_level(diffusion, t):
    """Identity 13: var(x_t) = 1 for unit data."""
    scale, deviation = diffusion.marginal(torch.ones(1, 1, 1, 1, dtype=torch.float64), t)
    assert (scale**2 + deviation**2).item() == pytest.approx(1, abs=1e-12)
    noisy = diffusion.noisy(normal(1, 1, 200, 200), normal(1, 1, 200, 200, seed=1), t)
    assert noisy.var().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("fresh", [0.0, 0.5, 1.0])
def test_the_posterior_keeps_the_marginals_for_any_stride(diffusion, fresh):
    """Identity 12: a step from any t to any s < t, with its own noise or new, gives the marginal of s."""
    clean = torch.full((1, 1, 1, 1), 3.0, dtype=torch.float64)
    for t in range(1, 11):
        for s in range(t):
            mean_t, deviation_t = diffusion.marginal(clean, t)
            mean, deviation = diffusion.posterior(mean_t, clean, t, s, fresh)
            slope = diffusion.posterior(mean_t + 1, clean, t, s, fresh)[0] - mean
            wanted, spread = diffusion.marginal(clean, s)
            assert mean.item() == pytest.approx(wanted.item(), abs=1e-12)
            assert ((slope * deviation_t) ** 2 + deviation**2).item() == pytest.approx(spread.item() ** 2, abs=1e-12)


def test_the_posterior_is_bayes(diffusion):
    """Identity 2, Gaussian: precisions of q(x_t | x_s) and q(x_s | x_0) add."""
    clean, noisy = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    for t, s in ((10, 4), (7, 6), (3, 1)):
        hop, lost = diffusion.hop(t, s, clean)
        keep, rest = diffusion.hop(s, 0, clean)
        precision = hop / lost + 1 / rest
        mean, deviation = diffusion.posterior(noisy, clean, t, s)
        torch.testing.assert_close(deviation**-2, precision)
        torch.testing.assert_close(mean, (hop.sqrt() * noisy / lost + keep.sqrt() * clean / rest) / precision)


@pytest.mark.parametrize("steps", [1, 2, 5, 10])
def test_a_chain_that_knows_the_image_ends_there_in_any_number_of_steps(diffusion, steps):
    """Identity 12: fewer steps are no special case."""
    clean, noise = normal(1, 1, 3, 3), normal(1, 1, 3, 3, seed=1)

    def model(noisy, t):
        return diffusion.velocity(clean, noise, t)

    torch.testing.assert_close(diffusion.sample(model, levels(10, steps), noise), clean, atol=1e-12, rtol=0)
    torch.testing.assert_close(
        diffusion.sample_ancestral(model, levels(10, steps), noise, lambda s, _: noise, fresh=0.0),
        clean, atol=1e-12, rtol=0,
    )


@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
def test_a_chain_of_fewer_steps_keeps_the_datas_variance(variance):
    """Identity 12: of 1000 levels, 20 steps keep the variance within 2 %, 100 within .1 %."""
    diffusion = GaussianDiffusion(cosine_squared(1000))
    start = torch.ones(1, 1, 1, 1, dtype=torch.float64)  # the walk is linear: its square is the variance
    for steps, tolerance in ((20, 0.02), (100, 0.001)):
        end = diffusion.sample(perfect(diffusion, variance), levels(1000, steps), start)
        assert end.square().item() == pytest.approx(variance, rel=tolerance)


@pytest.mark.parametrize("fresh", [0.0, 1.0])
def test_a_stride_keeps_the_variance_that_ignoring_it_loses(fresh):
    """Section A2: with the stride ignored, variance 4 comes back as 1.27 at 100 steps. First order, new noise or not."""
    diffusion, fields = GaussianDiffusion(cosine_squared(1000)), VoxelFields.of((120, 120))
    start = fields.normal(1000)
    end = diffusion.sample_ancestral(perfect(diffusion, 4.0), levels(1000, 100), start, fields.normal, fresh)
    assert end.var().item() == pytest.approx(4, rel=0.08)  # 3 to 4 % is the first order's, the rest chance


def test_sampling_may_start_at_any_level():
    diffusion = GaussianDiffusion(linear_logsnr(100))
    clean, noise = normal(1, 1, 4, 4), normal(1, 1, 4, 4, seed=1)
    start = diffusion.noisy(clean, noise, 40)
    end = diffusion.sample(lambda noisy, t: diffusion.velocity(clean, noise, t), (40, 11, 0), start)
    torch.testing.assert_close(end, clean, atol=1e-12, rtol=0)


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (3, 2, 4, 5), (2, 1, 3, 4, 5)])
def test_batch_size_and_dimension_never_change_a_shape(diffusion, shape):
    """Identity 12: batch size never changes a shape; a batch is its elements."""
    clean, noise, times = normal(*shape), normal(*shape, seed=1), torch.arange(1, shape[0] + 1)
    noisy = diffusion.noisy(clean, noise, times)
    assert noisy.shape == diffusion.velocity(clean, noise, times).shape == shape
    for i, t in enumerate(times.tolist()):
        torch.testing.assert_close(noisy[i], diffusion.noisy(clean[i : i + 1], noise[i : i + 1], t)[0])
    walked = diffusion.sample(perfect(diffusion, 1.0), levels(10, 3), noise)
    assert walked.shape == shape
    torch.testing.assert_close(walked[:1], diffusion.sample(perfect(diffusion, 1.0), levels(10, 3), noise[:1]))


def test_steps_that_do_not_go_down_to_the_image_are_refused(diffusion):
    start = normal(1, 1, 2, 2)
    for wrong in ((10, 5), (10, 10, 0), (0,), ()):
        with pytest.raises(ValueError, match="fall strictly and end at 0"):
            diffusion.sample(lambda noisy, t: noisy, wrong, start)
    with pytest.raises(ValueError, match="from a level t down"):
        diffusion.posterior(start, start, 3, 3)
    with pytest.raises(ValueError, match="run from 0 to 10"):
        diffusion.noisy(start, start, -1)
