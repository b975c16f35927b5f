"""Categorical diffusion of exclusive labels towards a prior. With two labels it is the Bernoulli chain, bit for bit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from .chain import Time, real
from .logarithms import log_chance, log_evidence, log_mix
from .mask import MaskDiffusion


class CategoricalDiffusion(MaskDiffusion):
    """Masks are one-hot over the K >= 2 labels of axis 1, background among them; priors sum to 1 there."""

    def chances(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, dim=1)

    def logits(self, chances: Tensor) -> Tensor:
        return log_chance(chances)

    def draw(self, chances: Tensor, uniform: Tensor) -> Tensor:
        """By inverse CDF from the last label down, so that for K = 2 label 1 appears where uniform < p, as in Bernoulli.

        `uniform` is (B, 1, *spatial): one number decides a voxel.
        """
        count, reached, passed = self._labels(chances), 0., 0
        for label in range(count - 1, 0, -1):
            reached = reached + chances[:, label:label + 1]  # of the last label, of the last two, ...
            passed = passed + (uniform >= reached).to(torch.uint8)
        return torch.cat([passed == count - 1 - label for label in range(count)], dim=1).to(chances.dtype)  # cumsum and one_hot over channels are slow on CPUs

    def evidence(self, noisy: Tensor, prior: Tensor, t: Time, s: Time = 0) -> Tensor:
        """log P(y_t | y_s = k), up to what all k share: positive at the label seen, 0 elsewhere."""
        self._labels(prior)
        prior = real(prior).detach()
        noisy = noisy.to(prior.dtype)
        return noisy * log_evidence(*self.hop(t, s, prior), (noisy * prior).sum(1, keepdim=True))

    def posterior_logits(self, noisy: Tensor, clean_logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """log(hop [j = y_t] + (1 - hop) p_{y_t}) + log(keep_s r_j + (1 - keep_s) p_j), up to what all j share."""
        prior = real(prior).detach()
        keep, redraw = self.hop(s, 0, prior)
        expected = log_mix(keep, redraw, log_softmax(real(clean_logits), dim=1), log_chance(prior))
        return self.evidence(noisy, prior, t, s) + expected

    def divergence(self, logits: Tensor, other: Tensor) -> Tensor:
        logits, other = log_softmax(logits, dim=1), log_softmax(other, dim=1)
        return (logits.exp() * (logits - other)).sum(1, keepdim=True)

    def hold(self, logits: Tensor, prior: Tensor) -> Tensor:
        return logits.masked_fill(prior == 0, -torch.inf)

    @staticmethod
    def _labels(values: Tensor) -> int:
        if values.shape[1] < 2:
            raise ValueError(
                "One channel leaves nothing to choose: softmax over it is 1. Use BernoulliDiffusion, or add background."
            )
        return values.shape[1]
