from __future__ import annotations

import itertools

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from DiffSegCore.diffusion import (
    BernoulliDiffusion,
    CategoricalDiffusion,
    VoxelFields,
    cosine_squared,
    levels,
    linear_logsnr,
)

OPEN_PRIOR = (0.6, 0.3, 0.1)
HARD_PRIORS = ((1.0, 0.0, 0.0), (0.0, 1e-8, 1 - 1e-8), (0.0, 0.5, 0.5), OPEN_PRIOR)


def labels(*values, count=3, dtype=torch.float64):
    """Labels as one-hot masks (1, K, 1, n)."""
    return one_hot(torch.tensor(values), count).T.reshape(1, count, 1, -1).to(dtype)


def rows(*chances, dtype=torch.float64):
    """Chances of each voxel as (1, K, 1, n)."""
    return torch.tensor(chances, dtype=dtype).T.reshape(1, len(chances[0]), 1, -1)


def close(one, other, tolerance=1e-12):
    torch.testing.assert_close(one, other, atol=tolerance, rtol=0)


def seen(chances, mask):
    return (chances * mask).sum(1, keepdim=True)


def pairs(last):
    return [(t, s) for t in range(1, last + 1) for s in range(t)]


@pytest.fixture
def diffusion():
    return CategoricalDiffusion(cosine_squared(10))


@pytest.fixture
def short():
    return CategoricalDiffusion(linear_logsnr(4, highest=3, lowest=-4))


def test_one_step_kernels_compose_to_the_marginal(diffusion):
    """Identities 1 and 10: composition; keep_t / keep_s is the skip kernel."""
    clean = labels(0, 1, 2)
    for prior in map(rows, HARD_PRIORS):
        chances = clean
        for t in range(1, 11):
            chances = diffusion.forward(chances, prior, t, t - 1)
            close(chances, diffusion.marginal(clean, prior, t))
        for t, s in pairs(10):
            close(diffusion.forward(diffusion.marginal(clean, prior, s), prior, t, s), diffusion.marginal(clean, prior, t))


def test_the_posterior_is_bayes_over_all_paths(short):
    """Identity 10: posterior by enumeration of all 3^T paths."""
    clean, prior = labels(0, 1, 2), rows(OPEN_PRIOR, OPEN_PRIOR, OPEN_PRIOR)
    masks = [labels(k, k, k) for k in range(3)]
    joint = {}
    for path in itertools.product(range(3), repeat=4):
        chance, before = 1, clean
        for t, k in enumerate(path, start=1):
            chance, before = chance * seen(short.forward(before, prior, t, t - 1), masks[k]), masks[k]
        joint[path] = chance
    for t, s in pairs(4):
        for noisy in range(3):
            there = [sum(joint[p] for p in joint if p[t - 1] == noisy and p[s - 1] == k) for k in range(3)]
            bayes = torch.cat(there, dim=1) / sum(there) if s else clean
            close(short.posterior(masks[noisy], clean, prior, t, s), bayes)


def test_the_posterior_is_the_formula(diffusion):
    """Section B1: proportional to (hop [j = y_t] + (1 - hop) p_{y_t}) (keep_s [j = y_0] + (1 - keep_s) p_j)."""
    noisy, clean, prior = labels(2, 2), rows((0, 1, 0), (0.2, 0.3, 0.5)), rows(OPEN_PRIOR, OPEN_PRIOR)
    for t, s in pairs(10):
        hop, keep = diffusion.keep[t] / diffusion.keep[s], diffusion.keep[s]
        product = (hop * noisy + (1 - hop) * seen(prior, noisy)) * (keep * clean + (1 - keep) * prior)
        close(diffusion.posterior(noisy, clean, prior, t, s), product / product.sum(1, keepdim=True))


def test_the_leave_one_out_probability_may_be_plugged_in(diffusion):
    """Identity 5 for labels: theta(y_t, r) = sum over k of pi_k theta(y_t, k), pi = softmax(log r + Lambda)."""
    r, prior = rows((0.2, 0.3, 0.5)), rows(OPEN_PRIOR)
    for (t, s), k in itertools.product(pairs(10), range(3)):
        noisy = labels(k)
        pi = diffusion.belief(noisy, r.log(), prior, t).softmax(1)
        exact = sum(pi[:, [j]] * diffusion.posterior(noisy, labels(j), prior, t, s) for j in range(3))
        close(diffusion.reverse(noisy, r.log(), prior, t, s), exact)


def test_with_the_prior_as_answer_the_chain_runs_the_same_both_ways(diffusion):
    """Identity 5 for labels: with r = p, reverse = forward."""
    noisy, prior = labels(0, 1, 2), rows(OPEN_PRIOR, OPEN_PRIOR, OPEN_PRIOR)
    for t, s in pairs(10):
        close(diffusion.reverse(noisy, prior.log(), prior, t, s), diffusion.forward(noisy, prior, t, s))


def test_two_labels_are_the_bernoulli_chain(diffusion):
    """Identity 10: K = 2 equals Bernoulli."""
    bernoulli = BernoulliDiffusion(diffusion.keep)
    every = torch.tensor(list(itertools.product((0, 1), (0, 1), (0.05, 0.5, 0.9), (-2.0, 1.0))), dtype=torch.float64)
    mask, clean, prior, logit = every.T.reshape(4, 1, 1, 1, -1)

    def both(values):
        return torch.cat([1 - values, values], dim=1)

    logits = torch.cat([torch.zeros_like(logit), logit], dim=1)
    for t, s in pairs(10):
        hot, clear, given = both(mask), both(clean), both(prior)
        close(diffusion.posterior(hot, clear, given, t, s), both(bernoulli.posterior(mask, clean, prior, t, s)))
        close(diffusion.reverse(hot, logits, given, t, s), both(bernoulli.reverse(mask, logit, prior, t, s)))
        close(diffusion.kl(hot, clear, logits, given, t, s), bernoulli.kl(mask, clean, logit, prior, t, s))
        belief = diffusion.belief(hot, logits, given, t)
        close(belief[:, 1:] - belief[:, :1], bernoulli.belief(mask, logit, prior, t))


def test_two_labels_sample_what_bernoulli_samples(diffusion):
    """Identity 10: K = 2 equals Bernoulli, voxel by voxel on the same fields."""
    bernoulli, field = BernoulliDiffusion(diffusion.keep), VoxelFields.of((60, 60)).uniform
    prior = torch.rand(1, 1, 60, 60, generator=torch.Generator().manual_seed(0))
    met, alone = [], []

    def model(noisy, t):
        met.append(noisy[:, 1:])
        return torch.cat([torch.zeros_like(prior), noisy[:, 1:] - 0.3], dim=1)

    def model_alone(noisy, t):
        alone.append(noisy)
        return noisy - 0.3

    chances = diffusion.sample(model, torch.cat([1 - prior, prior], dim=1), levels(10, 5), field)
    torch.testing.assert_close(chances[:, 1:], bernoulli.sample(model_alone, prior, levels(10, 5), field))
    assert all(torch.equal(one, other) for one, other in zip(met, alone))


@pytest.mark.parametrize("kernel", ["keep_or_redraw", "exactly"])
def test_samples_are_one_hot_and_end_at_the_truth(diffusion, kernel):
    """Identities 6, 7 and 10: samples are one-hot; a perfect network ends at its r in any number of steps."""
    truth = torch.tensor([0.1, 0.3, 0.6])
    prior = torch.tensor(OPEN_PRIOR).reshape(1, 3, 1, 1).expand(1, 3, 200, 200)
    logits = truth.log().reshape(1, 3, 1, 1).expand_as(prior)
    met = []
    for steps in (1, 2, 4, 10):
        chances = diffusion.sample(
            lambda noisy, t: met.append(noisy) or logits, prior, levels(10, steps), VoxelFields.of((200, 200)).uniform,
            kernel=getattr(diffusion, kernel),
        )
        torch.testing.assert_close(chances.mean(dim=(0, 2, 3)), truth, atol=5e-3, rtol=0)
    for mask in met:
        assert torch.equal(mask.sum(1), torch.ones(1, 200, 200))
        assert mask.unique().tolist() == [0, 1]
    start = met[0].mean(dim=(0, 2, 3))
    torch.testing.assert_close(start, torch.tensor(OPEN_PRIOR), atol=6e-3, rtol=0)


def test_draws_have_their_chances(diffusion):
    chances = torch.tensor([0.25, 0.0, 0.5, 0.25]).reshape(1, 4, 1, 1).expand(1, 4, 1, 1000)
    uniform = ((torch.arange(1000) + 0.5) / 1000).reshape(1, 1, 1, 1000)
    assert diffusion.draw(chances, uniform).sum(dim=(0, 2, 3)).tolist() == [250, 0, 500, 250]


def test_keep_or_redraw_preserves_the_marginals(diffusion):
    """Identity 7 for labels: for every s < t."""
    r, prior = rows((0.2, 0.3, 0.5)), rows(OPEN_PRIOR)
    for t, s in pairs(10):
        stay, after = (1 - diffusion.keep[s]) / (1 - diffusion.keep[t]), 0
        for noisy in map(labels, range(3)):
            pi = diffusion.belief(noisy, r.log(), prior, t).softmax(1)
            after = after + seen(diffusion.marginal(r, prior, t), noisy) * (stay * noisy + (1 - stay) * pi)
        close(after, diffusion.marginal(r, prior, s))


def test_the_chain_ends_in_the_prior_and_forgets_the_labels(diffusion):
    """Identity 4 for labels."""
    clean, prior = labels(0, 1, 2), rows(OPEN_PRIOR, OPEN_PRIOR, OPEN_PRIOR)
    close(diffusion.marginal(clean, prior, 10), prior)
    close(diffusion.prior_kl(clean, prior), torch.zeros(1, 1, 1, 3).double())
    for s in range(10):
        thetas = [diffusion.posterior(labels(k, k, k), clean, prior, 10, s) for k in range(3)]
        close(thetas[0], thetas[1])
        close(thetas[0], thetas[2])


def test_kl_is_never_negative_and_zero_for_the_exact_answer(diffusion):
    """Identity 3 for labels; at s = 0 it is the cross-entropy of pi."""
    noisy, clean = labels(0, 1, 2, 0), labels(1, 1, 0, 2)
    prior, wrong = rows(*[OPEN_PRIOR] * 4), rows(*[(1.0, 0.0, -1.0)] * 4)
    for t, s in pairs(10):
        exact = diffusion.kl(noisy, clean, diffusion.logits(clean), prior, t, s)
        close(exact, torch.zeros_like(exact))
        assert (diffusion.kl(noisy, clean, wrong, prior, t, s) > 1e-8).all()
    belief = diffusion.belief(noisy, wrong, prior, 5)
    entropy = cross_entropy(belief, clean.argmax(1), reduction="none")[:, None]
    close(diffusion.kl(noisy, clean, wrong, prior, 5, 0), entropy, 1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_nan_for_certain_and_nearly_certain_priors(diffusion, dtype):
    """Identity 3 for labels: forward and gradient, p = 0, 1, 1e-8."""
    answers = ((0.0, 0.0, 0.0), (100.0, 0.0, -100.0), (-1e4, 1e4, 0.0))
    noisy, clean, prior, logits = zip(*itertools.product(range(3), range(3), HARD_PRIORS, answers))
    noisy, clean = labels(*noisy, dtype=dtype), labels(*clean, dtype=dtype)
    prior, logits = rows(*prior, dtype=dtype), rows(*logits, dtype=dtype)
    for t, s in pairs(10):
        c, p, l = leaves = [values.clone().requires_grad_() for values in (clean, prior, logits)]
        results = [
            diffusion.posterior(noisy, c, p, t, s),
            diffusion.reverse(noisy, l, p, t, s),
            diffusion.kl(noisy, c, l, p, t, s),
            cross_entropy(diffusion.belief(noisy, l, p, t), clean.argmax(1), reduction="none"),
            diffusion.prior_kl(c, p),
        ]
        for result in results:
            assert result.isfinite().all()
            gradients = torch.autograd.grad(result.sum(), leaves, retain_graph=True, allow_unused=True)
            assert all(gradient is None or gradient.isfinite().all() for gradient in gradients)


def test_the_elbo_telescopes_and_bounds_the_likelihood(short):
    """Identity 8 for labels."""
    clean, prior = labels(0, 1, 2), rows(OPEN_PRIOR, OPEN_PRIOR, OPEN_PRIOR)
    masks = [labels(k, k, k) for k in range(3)]

    def answer(noisy, t):
        return 0.5 * noisy + 0.1 * t * clean.flip(1) - 0.2

    telescoped = short.prior_kl(clean, prior)
    for t, noisy in itertools.product(range(1, 5), masks):
        term = short.kl(noisy, clean, answer(noisy, t), prior, t, t - 1)
        telescoped = telescoped + seen(short.marginal(clean, prior, t), noisy) * term
    direct, likelihood = 0, 0
    for path in itertools.product(masks, repeat=4):
        walk, there, back = [clean, *path], 1, seen(prior, path[-1])
        for t in range(1, 5):
            there = there * seen(short.forward(walk[t - 1], prior, t, t - 1), walk[t])
            back = back * seen(short.reverse(walk[t], answer(walk[t], t), prior, t, t - 1), walk[t - 1])
        direct, likelihood = direct + there * (there / back).log(), likelihood + back
    close(telescoped, direct, 1e-10)
    assert (telescoped >= -likelihood.log() - 1e-12).all()


@pytest.mark.parametrize("kernel", ["keep_or_redraw", "exactly"])
def test_clicked_voxels_keep_their_label_and_forbidden_labels_stay_away(diffusion, kernel):
    """Identity 9 for labels: p one-hot holds a voxel; p_k = 0 says "anything but k"."""
    prior = torch.tensor(OPEN_PRIOR).reshape(1, 3, 1, 1).repeat(2, 1, 60, 60)
    prior[:, :, :20] = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    prior[:, :, 20:40] = torch.tensor([0.5, 0.5, 0.0])[:, None, None]
    contrary = torch.tensor([20.0, 0.0, 0.0]).reshape(1, 3, 1, 1).repeat(2, 1, 60, 60)
    contrary[:, 2, 20:40] = 50.0
    met = []
    chances = diffusion.sample(
        lambda noisy, t: met.append(noisy) or contrary, prior, levels(10, 5),
        VoxelFields.of((60, 60), seeds=(0, 1)).uniform, kernel=getattr(diffusion, kernel),
    )
    for mask in (*met, chances):
        assert torch.equal(mask[:, :, :20], prior[:, :, :20])
        assert mask[:, 2, 20:40].max() == 0


def test_one_channel_is_refused(diffusion):
    """Identity 11: softmax over one channel is constantly 1."""
    one = torch.full((1, 1, 2, 2), 0.5)
    with pytest.raises(ValueError, match="Use BernoulliDiffusion"):
        diffusion.sample(lambda noisy, t: noisy, one, (10, 0), VoxelFields.of((2, 2)).uniform)
    with pytest.raises(ValueError, match="Use BernoulliDiffusion"):
        diffusion.kl(one, one, one, one, 3, 2)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (3, 3, 4, 5), (2, 3, 3, 4, 5)])
def test_batch_size_and_dimension_never_change_a_shape(diffusion, shape):
    """Identity 12."""
    random = torch.Generator().manual_seed(0)
    prior, logits = torch.rand(shape, generator=random).softmax(1), torch.rand(shape, generator=random)
    times, uniform = torch.arange(2, shape[0] + 2), torch.rand(shape[0], 1, *shape[2:], generator=random)
    clean = diffusion.draw(prior, uniform)
    noisy = diffusion.noisy(clean, prior, times, uniform)
    terms = diffusion.kl(noisy, clean, logits, prior, times, times - 1)
    assert noisy.shape == shape
    assert terms.shape == (shape[0], 1, *shape[2:])
    for i, t in enumerate(times.tolist()):
        one = slice(i, i + 1)
        torch.testing.assert_close(terms[one], diffusion.kl(noisy[one], clean[one], logits[one], prior[one], t, t - 1))


@pytest.mark.parametrize("t", [2, 6, 10])
@pytest.mark.parametrize("term", ["cross-entropy", "kl"])
def test_cross_entropy_and_kl_are_least_at_the_true_chances(diffusion, term, t):
    """Identity 18 for labels: both terms, of what is seen and true taken together, are flat at r = truth and higher elsewhere."""
    every = list(itertools.product(range(3), range(3)))
    noisy, clean = labels(*[a for a, _ in every]), labels(*[b for _, b in every])
    truth, prior = rows(*[(0.2, 0.3, 0.5)] * 9), rows(*[OPEN_PRIOR] * 9)
    weight = seen(truth, clean) * seen(diffusion.marginal(clean, prior, t), noisy)

    def expected(logits):
        logits = logits.reshape(1, 3, 1, 1).expand(1, 3, 1, 9)
        if term == "kl":
            return (weight * diffusion.kl(noisy, clean, logits, prior, t, t - 1)).sum()
        belief = diffusion.belief(noisy, logits, prior, t)
        return (weight[:, 0] * cross_entropy(belief, clean.argmax(1), reduction="none")).sum()

    best = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log().requires_grad_()
    (slope,) = torch.autograd.grad(expected(best), best)
    close(slope, torch.zeros(3, dtype=torch.float64))
    for moved in torch.eye(3, dtype=torch.float64):
        assert expected(best + 0.3 * moved) > expected(best) < expected(best - 0.3 * moved)
