"""Bernoulli diffusion of a mask towards a prior (HiDiff, arXiv 2407.03548): one object, or several that may overlap."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from .chain import Time, real
from .logarithms import log_chance, log_evidence, log_mix
from .mask import MaskDiffusion


class BernoulliDiffusion(MaskDiffusion):
    """Every channel is a mask of its own; all tensors (B, C, *spatial)."""

    def chances(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def logits(self, chances: Tensor) -> Tensor:
        return log_chance(chances) - log_chance(1 - chances)

    def draw(self, chances: Tensor, uniform: Tensor) -> Tensor:
        return (uniform < chances).to(chances.dtype)

    def evidence(self, noisy: Tensor, prior: Tensor, t: Time, s: Time = 0) -> Tensor:
        """log of P(y_t | y_s = 1) / P(y_t | y_s = 0): positive where y_t = 1."""
        prior = real(prior).detach()
        seen = noisy > 0.5
        strength = log_evidence(*self.hop(t, s, prior), torch.where(seen, prior, 1 - prior))
        return torch.where(seen, strength, -strength)

    def posterior_logits(self, noisy: Tensor, clean_logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """log A1/A0 + log m1/(1 - m1) in the letters of METHODS; A1/A0 is the evidence over the hop from s to t."""
        prior, clean_logits = real(prior).detach(), real(clean_logits)
        keep, redraw = self.hop(s, 0, prior)
        ones = log_mix(keep, redraw, logsigmoid(clean_logits), log_chance(prior))
        zeros = log_mix(keep, redraw, logsigmoid(-clean_logits), log_chance(1 - prior))
        return self.evidence(noisy, prior, t, s) + ones - zeros

    def divergence(self, logits: Tensor, other: Tensor) -> Tensor:
        ones = torch.sigmoid(logits) * (logsigmoid(logits) - logsigmoid(other))
        return ones + torch.sigmoid(-logits) * (logsigmoid(-logits) - logsigmoid(-other))

    def hold(self, logits: Tensor, prior: Tensor) -> Tensor:
        return logits.masked_fill(prior == 0, -torch.inf).masked_fill(prior == 1, torch.inf)
