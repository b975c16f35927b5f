from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from DiffSegCore.diffusion import BernoulliDiffusion, VoxelFields, cosine_squared, levels, linear_logsnr, shifted

PRIORS = (0.0, 1e-8, 0.05, 0.2, 0.5, 0.9, 1 - 1e-7, 1.0)
OPEN_PRIORS = (0.05, 0.2, 0.5, 0.9)
TRUTH, PRIOR = 0.7, 0.2


def voxels(*values, dtype=torch.float64):
    """Numbers as a mask (1, 1, 1, n)."""
    return torch.tensor(values, dtype=dtype).reshape(1, 1, 1, -1)


def grid(*axes, dtype=torch.float64):
    """Every combination of the values, one voxel each: a tensor (1, 1, 1, n) for each axis."""
    return [voxels(*column, dtype=dtype) for column in zip(*itertools.product(*axes))]


def close(one, other, tolerance=1e-12):
    torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def seen(chance, value):
    """Probability of drawing `value` (0 or 1) where 1 has this chance."""
    return torch.where(value > 0.5, chance, 1 - chance)


def pairs(last):
    return [(t, s) for t in range(1, last + 1) for s in range(t)]


@pytest.fixture
def diffusion():
    return BernoulliDiffusion(cosine_squared(10))


@pytest.fixture
def short():
    return BernoulliDiffusion(shifted(linear_logsnr(5, highest=3, lowest=-4), 0.8))


def test_one_step_kernels_compose_to_the_marginal(diffusion):
    """Identity 1: composing one-step kernels gives the marginal."""
    clean, prior = grid((0, 1), PRIORS)
    chance = clean
    for t in range(1, 11):
        chance = diffusion.forward(chance, prior, t, t - 1)  # the kernel is linear in the mask
        close(chance, diffusion.marginal(clean, prior, t))


def test_the_ratio_of_keeps_is_the_skip_kernel(diffusion):
    """Identity 1: keep_t / keep_s is the skip kernel."""
    clean, prior = grid((0, 1), PRIORS)
    for t, s in pairs(10):
        close(diffusion.forward(diffusion.marginal(clean, prior, s), prior, t, s), diffusion.marginal(clean, prior, t))


def test_the_flip_has_the_stated_chance(diffusion):
    """Section B1: P(eps = 1 | y_0) = (1 - keep_t) |y_0 - p|."""
    clean, prior = grid((0, 1), PRIORS)
    for t in range(11):
        flipped = seen(diffusion.marginal(clean, prior, t), 1 - clean)
        close(flipped, (1 - diffusion.keep[t]) * (clean - prior).abs())


def test_the_posterior_is_bayes_over_all_paths(short):
    """Identity 2: theta = Bayes by enumeration of all 2^T paths."""
    clean, prior = grid((0, 1), OPEN_PRIORS)
    joint = {}
    for path in itertools.product((0, 1), repeat=5):
        chance, before = torch.ones_like(clean), clean
        for t, value in enumerate(path, start=1):
            value = torch.full_like(clean, value)
            chance, before = chance * seen(short.forward(before, prior, t, t - 1), value), value
        joint[path] = chance
    for t, s in pairs(5):
        for noisy in (0, 1):
            arriving = [path for path in joint if path[t - 1] == noisy]
            ones = [path for path in arriving if (path[s - 1] if s else True)]
            bayes = sum(joint[path] for path in ones) / sum(joint[path] for path in arriving)
            theta = short.posterior(torch.full_like(clean, noisy), clean, prior, t, s)
            close(theta, bayes if s else clean)


def test_the_posterior_is_the_formula_of_the_paper(diffusion):
    """Section B1: theta = A1 m1 / (A1 m1 + A0 (1 - m1)), for a soft y_0 too."""
    noisy, clean, prior = grid((0, 1), (0, 0.3, 1), OPEN_PRIORS)
    for t, s in pairs(10):
        hop, keep = diffusion.keep[t] / diffusion.keep[s], diffusion.keep[s]
        redrawn = (1 - hop) * (1 - noisy - prior).abs()
        one, nought = hop * noisy + redrawn, hop * (1 - noisy) + redrawn
        mixed = keep * clean + (1 - keep) * prior
        close(diffusion.posterior(noisy, clean, prior, t, s), one * mixed / (one * mixed + nought * (1 - mixed)))


def test_the_posterior_treats_object_and_background_alike(diffusion):
    """Identity 2: theta(1 - y_t, 1 - y_0, 1 - p) = 1 - theta(y_t, y_0, p)."""
    noisy, clean, prior = grid((0, 1), (0, 0.3, 1), PRIORS)
    for t, s in pairs(10):
        mirrored = diffusion.posterior(1 - noisy, 1 - clean, 1 - prior, t, s)
        close(mirrored, 1 - diffusion.posterior(noisy, clean, prior, t, s))


def test_kl_is_never_negative_and_zero_for_the_exact_answer_only(diffusion):
    """Identity 3: KL >= 0, zero iff the predicted y_0 is exact."""
    noisy, clean, prior, wrong = grid((0, 1), (0, 1), OPEN_PRIORS, (-4, 0, 4))
    for t, s in pairs(10):
        exact = diffusion.kl(noisy, clean, diffusion.logits(clean), prior, t, s)
        close(exact, torch.zeros_like(exact))
        assert (diffusion.kl(noisy, clean, wrong, prior, t, s) > 1e-8).all()


def test_kl_down_to_the_clean_mask_is_the_cross_entropy_of_pi(diffusion):
    """Section B2: at s = 0 the KL term and the cross-entropy of pi are one."""
    noisy, clean, prior, logits = grid((0, 1), (0, 1), OPEN_PRIORS, (-3, 0.5, 2))
    for t in range(1, 11):
        belief = diffusion.belief(noisy, logits, prior, t)
        close(diffusion.kl(noisy, clean, logits, prior, t, 0), cross_entropy(belief, clean, reduction="none"), 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_nan_for_certain_and_nearly_certain_priors(diffusion, dtype):
    """Identity 3: nothing is NaN for p = 0, 1, 1e-8, forward and gradient."""
    axes = ((0, 1), (0, 1e-8, 0.5, 1), PRIORS, (-1e4, -100, -20, 0, 20, 100, 1e4))
    noisy, clean, prior, logits = grid(*axes, dtype=dtype)
    for t, s in pairs(10):
        leaves = [values.clone().requires_grad_() for values in (clean, prior, logits)]
        c, p, l = leaves
        results = [
            diffusion.posterior(noisy, c, p, t, s),
            diffusion.reverse(noisy, l, p, t, s),
            diffusion.plug_in_reverse(noisy, l, p, t, s),
            diffusion.kl(noisy, c, l, p, t, s),
            cross_entropy(diffusion.belief(noisy, l, p, t), clean, reduction="none"),
            diffusion.prior_kl(c, p),
            diffusion.marginal(c, p, t),
        ]
        for result in results:
            assert result.dtype == dtype
            assert result.isfinite().all()
            gradients = torch.autograd.grad(result.sum(), leaves, retain_graph=True, allow_unused=True)
            assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_float32_agrees_with_float64(diffusion):
    """Identity 3: the log-sigmoid forms keep their digits."""
    axes = ((0, 1), (0, 1), (1e-8, 0.05, 0.5, 0.9), (-15, -2, 0, 3, 15))
    for t, s in pairs(10):
        single, double = ([*grid(*axes, dtype=dtype)] for dtype in (torch.float32, torch.float64))
        results = [diffusion.kl(noisy, clean, l, p, t, s) for noisy, clean, p, l in (single, double)]
        torch.testing.assert_close(results[0].double(), results[1], atol=2e-6, rtol=2e-5)


def test_the_chain_ends_in_the_prior_and_forgets_the_mask(diffusion):
    """Identity 4: keep_T = 0: y_T ~ Bern(p), and the posterior at T does not depend on y_T."""
    clean, prior = grid((0, 1), OPEN_PRIORS)
    close(diffusion.marginal(clean, prior, 10), prior)
    close(diffusion.prior_kl(clean, prior), torch.zeros_like(prior))
    for s in range(10):
        ones = diffusion.posterior(torch.ones_like(prior), clean, prior, 10, s)
        close(ones, diffusion.posterior(torch.zeros_like(prior), clean, prior, 10, s))


def test_the_evidence_is_the_likelihood_ratio(diffusion):
    """Section B1: Lambda = log P(y_t | y_0 = 1) / P(y_t | y_0 = 0)."""
    noisy, prior = grid((0, 1), OPEN_PRIORS)
    one, nought = torch.ones_like(prior), torch.zeros_like(prior)
    for t in range(1, 11):
        ratio = seen(diffusion.marginal(one, prior, t), noisy) / seen(diffusion.marginal(nought, prior, t), noisy)
        close(diffusion.evidence(noisy, prior, t), ratio.log())


def test_the_leave_one_out_probability_may_be_plugged_in(diffusion):
    """Identity 5: theta(y_t, r) = marginalised kernel with pi = sigmoid(logit r + Lambda)."""
    noisy, r, prior = grid((0, 1), (0.01, 0.3, 0.7, 0.99), OPEN_PRIORS)
    for t, s in pairs(10):
        pi = diffusion.belief(noisy, r.logit(), prior, t).sigmoid()
        one = diffusion.posterior(noisy, torch.ones_like(r), prior, t, s)
        nought = diffusion.posterior(noisy, torch.zeros_like(r), prior, t, s)
        close(diffusion.reverse(noisy, r.logit(), prior, t, s), pi * one + (1 - pi) * nought)


def test_with_the_prior_as_answer_the_chain_runs_the_same_both_ways(diffusion):
    """Identity 5: with r = p, reverse = forward."""
    noisy, prior = grid((0, 1), OPEN_PRIORS)
    for t, s in pairs(10):
        close(diffusion.reverse(noisy, prior.logit(), prior, t, s), diffusion.forward(noisy, prior, t, s))


def end_of_chain(diffusion, kernel, steps=10):
    """The mean of the last pi over both values of y, walked without chance: the network knows the truth exactly."""
    noisy, prior = voxels(0, 1), voxels(PRIOR, PRIOR)
    logits, weight, walk = voxels(TRUTH, TRUTH).logit(), voxels(1 - PRIOR, PRIOR), levels(10, steps)
    for t, s in zip(walk[:-2], walk[1:-1]):
        one = (weight * kernel(noisy, logits, prior, t, s)).sum().item()
        weight = voxels(1 - one, one)
    return (weight * diffusion.belief(noisy, logits, prior, walk[-2]).sigmoid()).sum().item()


def test_a_perfect_network_ends_at_the_truth_and_plugging_pi_in_does_not(diffusion):
    """Identity 6: with an oracle pi the chain ends at r; the plug-in chain ends at .570 for r = .7, p = .2."""
    assert end_of_chain(diffusion, diffusion.reverse) == pytest.approx(0.7, abs=1e-12)
    assert end_of_chain(diffusion, diffusion.plug_in_reverse) == pytest.approx(0.570, abs=5e-4)


@pytest.mark.parametrize("kernel", ["keep_or_redraw", "exactly"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_a_sampled_chain_ends_at_the_truth_in_any_number_of_steps(diffusion, kernel, steps):
    """Identities 6 and 7: 1, 2, 4 or 10 steps are the same code and the same chance."""
    assert sampled(diffusion, steps, kernel=getattr(diffusion, kernel)) == pytest.approx(0.7, abs=2e-3)


def test_the_sampled_plug_in_chain_ends_where_the_exact_sum_says(diffusion):
    """Identity 6: .570."""
    assert sampled(diffusion, 10, kernel=diffusion.plugged_in) == pytest.approx(0.570, abs=2e-3)


def test_one_field_for_all_steps_ends_at_453(diffusion):
    """Section B1: never reuse one field for several steps (.453 instead of .700)."""
    fields = VoxelFields.of((400, 400))

    def reused(level, stream):
        return fields.uniform(10, stream) if level == 10 else fields.uniform(0, stream)

    assert sampled(diffusion, 10, field=reused) == pytest.approx(0.453, abs=2e-3)


def sampled(diffusion, steps, field=None, kernel=None):
    """The mean sample of 400 x 400 voxels by a network that knows their truth."""
    prior = torch.full((1, 1, 400, 400), PRIOR)
    logits = torch.full_like(prior, TRUTH).logit()
    field = field or VoxelFields.of((400, 400)).uniform
    return diffusion.sample(lambda noisy, t: logits, prior, levels(10, steps), field, kernel=kernel).mean().item()


def test_keep_or_redraw_preserves_the_marginals(diffusion):
    """Identity 7: for every s < t, with a perfect pi."""
    r, prior = grid((0.01, 0.3, 0.7), OPEN_PRIORS)
    for t, s in pairs(10):
        stay = (1 - diffusion.keep[s]) / (1 - diffusion.keep[t])
        before, after = diffusion.marginal(r, prior, t), 0
        for value in (0.0, 1.0):
            noisy = torch.full_like(r, value)
            pi = diffusion.belief(noisy, r.logit(), prior, t).sigmoid()
            after = after + seen(before, noisy) * (stay * noisy + (1 - stay) * pi)
        close(after, diffusion.marginal(r, prior, s))


def test_keep_or_redraw_keeps_and_redraws_as_often_as_it_says(diffusion):
    """Identity 7: the drawn step has the kernel's chance, for both values of y_t."""
    field = VoxelFields.of((300, 300)).uniform
    for value in (0.0, 1.0):
        noisy = torch.full((1, 1, 300, 300), value)
        prior, logits = torch.full_like(noisy, PRIOR), torch.full_like(noisy, 0.4)
        stay = (1 - diffusion.keep[4]) / (1 - diffusion.keep[7])
        pi = diffusion.belief(noisy, logits, prior, 7).sigmoid()[0, 0, 0, 0]
        drawn = diffusion.keep_or_redraw(noisy, logits, prior, 7, 4, field)
        assert drawn.mean().item() == pytest.approx((stay * value + (1 - stay) * pi).item(), abs=0.006)


def test_one_step_returns_pi(diffusion):
    """Identity 7: one step returns Bern(pi), and at T pi is r."""
    prior, logits = voxels(*OPEN_PRIORS), voxels(-2, 0, 1, 3)
    chance = diffusion.sample(lambda noisy, t: logits, prior, (10, 0), VoxelFields.of((1, 4)).uniform)
    close(chance, logits.sigmoid())


def test_the_elbo_telescopes_and_bounds_the_likelihood(short):
    """Identity 8: ELBO by telescoping = direct expectation over all paths, and >= -log p(y_0)."""
    clean, prior, logits = grid((0, 1), (0.1, 0.6), (-1.0, 0.4))

    def answer(noisy, t):  # a network whose answer depends on what it sees
        return logits + 0.3 * noisy - 0.1 * t

    telescoped = short.prior_kl(clean, prior)
    for t in range(1, 6):
        for value in (0.0, 1.0):
            noisy = torch.full_like(clean, value)
            term = short.kl(noisy, clean, answer(noisy, t), prior, t, t - 1)
            telescoped = telescoped + seen(short.marginal(clean, prior, t), noisy) * term

    direct, likelihood = 0, 0
    for path in itertools.product((0.0, 1.0), repeat=5):
        walk = [clean] + [torch.full_like(clean, value) for value in path]
        there = torch.ones_like(clean)
        back = seen(prior, walk[5])
        for t in range(1, 6):
            there = there * seen(short.forward(walk[t - 1], prior, t, t - 1), walk[t])
            back = back * seen(short.reverse(walk[t], answer(walk[t], t), prior, t, t - 1), walk[t - 1])
        direct = direct + there * (there.log() - back.log())
        likelihood = likelihood + back
    close(telescoped, direct, 1e-10)
    assert (telescoped >= -likelihood.log() - 1e-12).all()


def test_the_chain_is_frozen_where_the_prior_is_the_truth(diffusion):
    """Identity 9: frozen chain where p = y_0."""
    clean = voxels(0, 1)
    for t, s in pairs(10):
        close(diffusion.marginal(clean, clean, t), clean)
        close(diffusion.posterior(clean, clean, clean, t, s), clean)


@pytest.mark.parametrize("kernel", ["keep_or_redraw", "exactly"])
@pytest.mark.parametrize("steps", [1, 4, 10])
def test_clicked_voxels_keep_their_label_in_every_sample(diffusion, kernel, steps):
    """Identity 9, against a network that is sure of the opposite, at every step of the chain."""
    prior = torch.full((4, 1, 64, 64), 0.3)
    prior[:, :, :20], prior[:, :, 40:] = 0, 1
    clicked = (prior == 0) | (prior == 1)
    fields = VoxelFields.of((64, 64), seeds=(0, 1, 2, 3))
    met = []

    def contrary(noisy, t):
        met.append(noisy)
        return torch.where(prior < 0.5, 50.0, -50.0)

    chance = diffusion.sample(contrary, prior, levels(10, steps), fields.uniform, kernel=getattr(diffusion, kernel))
    for mask in (*met, chance):
        assert torch.equal(mask[clicked], prior[clicked])


def test_a_clicked_voxel_wins_over_the_mask_one_starts_from(diffusion):
    """Identity 9: a prompt added later corrects the mask that is there."""
    prior, before = voxels(0, 1, 0.5), voxels(1, 0, 1)
    chance = diffusion.sample(lambda noisy, t: before, prior, (4, 2, 0), VoxelFields.of((1, 3)).uniform, start=before)
    assert chance.flatten()[:2].tolist() == [0, 1]


def test_one_channel_is_a_sigmoid_and_not_a_softmax(diffusion):
    """Identity 11: softmax over one channel is constantly 1."""
    logits = voxels(-1, 0, 2)
    close(diffusion.chances(logits), logits.sigmoid())
    assert torch.softmax(logits, dim=1).unique().tolist() == [1]


@pytest.mark.parametrize("shape", [(1, 1, 4, 5), (3, 2, 4, 5), (2, 1, 3, 4, 5)])
def test_batch_size_and_dimension_never_change_a_shape(diffusion, shape):
    """Identity 12: batch size never changes a shape; a batch is its elements."""
    clean, prior, logits = (torch.rand(shape, generator=torch.Generator().manual_seed(i)) for i in range(3))
    clean, times = clean.round(), torch.arange(2, shape[0] + 2)
    noisy = diffusion.noisy(clean, prior, times, torch.full(shape, 0.5))
    terms = diffusion.kl(noisy, clean, logits, prior, times, times - 1)
    assert noisy.shape == terms.shape == diffusion.posterior(noisy, clean, prior, times, times - 1).shape == shape
    for i, t in enumerate(times.tolist()):
        one = slice(i, i + 1)
        torch.testing.assert_close(terms[one], diffusion.kl(noisy[one], clean[one], logits[one], prior[one], t, t - 1))


def test_a_crop_and_a_repeat_sample_what_the_whole_sampled(diffusion):
    """Identity 14: the same clicks give the same mask, a crop gives what the whole gives."""
    prior = torch.rand(1, 2, 8, 9, 10, generator=torch.Generator().manual_seed(0))

    def sample(part, start):
        fields = VoxelFields.of(part.shape[2:], starts=[start], seeds=(7,), channels=2)
        return diffusion.sample(lambda noisy, t: 2 * noisy - 1 + part, part, levels(10, 4), fields.uniform)

    whole = sample(prior, (0, 0, 0))
    assert torch.equal(whole, sample(prior, (0, 0, 0)))
    torch.testing.assert_close(whole[..., 2:5, 3:9, 1:4], sample(prior[..., 2:5, 3:9, 1:4], (2, 3, 1)))


def test_half_precision_and_boolean_masks_are_welcome(diffusion):
    given = [voxels(0, 1) > 0, voxels(0, 1) > 0, voxels(1, -1).bfloat16(), voxels(0.25, 0.5).bfloat16()]
    assert diffusion.kl(*given, 5, 4).dtype == torch.float32
    close(diffusion.kl(*given, 5, 4), diffusion.kl(*(values.float() for values in given), 5, 4))


def optimum(loss):
    """The leave-one-out probability at which `loss(logit)` is least, by halving where its slope changes sign."""
    low, high = -5.0, 5.0
    for _ in range(25):
        logit = torch.tensor((low + high) / 2, dtype=torch.float64, requires_grad=True)
        (slope,) = torch.autograd.grad(loss(logit), logit)
        low, high = (low, logit.item()) if slope > 0 else (logit.item(), high)
    return logit.sigmoid().item()


def test_cross_entropy_and_kl_recover_the_true_probability(diffusion):
    """Identity 18: BCE + KL recover the true probability on a toy: they share one optimum."""
    noisy, clean, prior = grid((0, 1), (0, 1), (PRIOR,))
    truth = torch.full_like(prior, TRUTH)

    def expected(term, t):
        return (seen(truth, clean) * seen(diffusion.marginal(clean, prior, t), noisy) * term).sum()

    def bce(logit, t):
        belief = diffusion.belief(noisy, logit.expand_as(noisy), prior, t)
        return expected(cross_entropy(belief, clean, reduction="none"), t)

    def kl(logit, t):
        return expected(diffusion.kl(noisy, clean, logit.expand_as(noisy), prior, t, t - 1), t)

    for t in (2, 6, 10):
        for loss in (bce, kl, lambda logit, t: bce(logit, t) + 10 * kl(logit, t)):
            assert optimum(lambda logit: loss(logit, t)) == pytest.approx(TRUTH, abs=1e-6)


def test_focal_loss_is_no_proper_score():
    """Section B1: focal loss with gamma 2 maps .9 to .694."""

    def focal(logit):
        q = logit.sigmoid()
        return -(0.9 * (1 - q) ** 2 * q.log() + 0.1 * q**2 * (1 - q).log())

    assert optimum(focal) == pytest.approx(0.694, abs=5e-4)


def test_no_gradient_reaches_the_prior(diffusion):
    """Identity 19: through theta and Lambda the gradient to p is zero."""
    prior = voxels(0.3).requires_grad_()
    logits = voxels(0.2).requires_grad_()
    loss = diffusion.kl(voxels(1), voxels(0), logits, prior, 5, 3) + diffusion.belief(voxels(1), logits, prior, 5)
    loss.sum().backward()
    assert prior.grad is None
    assert logits.grad.abs().item() > 0


def test_independent_channels_are_rarely_a_valid_choice():
    """Section B1: independent Bernoulli channels are a valid one-hot only 47-72 % of the time."""
    for chances in ((0.5, 0.5), (0.7, 0.2, 0.1), (0.8, 0.2), (0.6, 0.3, 0.1)):
        alone = [p * torch.tensor([1 - q for q in chances[:k] + chances[k + 1 :]]).prod() for k, p in enumerate(chances)]
        assert 0.47 < sum(alone) < 0.72


def test_levels_that_cannot_be_walked_are_refused(diffusion):
    prior, field = voxels(0.5), VoxelFields.of((1, 1)).uniform
    with pytest.raises(ValueError, match="needs a start"):
        diffusion.sample(lambda noisy, t: noisy, prior, (5, 0), field)
    with pytest.raises(ValueError, match="fall strictly and end at 0"):
        diffusion.sample(lambda noisy, t: noisy, prior, (10, 3), field)
