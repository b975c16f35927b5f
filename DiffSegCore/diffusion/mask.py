"""What Bernoulli and categorical diffusion towards a prior share: "keep the value, or redraw it from the prior".

The network is a callable `model(noisy, t)`, t (B,) int64, that returns the logits of the LEAVE-ONE-OUT probability
r = P(y_0 | image, all but this voxel's own y_t). `belief` adds what the voxel's own y_t says and gives pi.
The prior is a given: no gradient flows to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .chain import Chain, Time, batch_of, real
from .fields import KEEP, REDRAW, Field

Model = Callable[[Tensor, Tensor], Tensor]
Kernel = Callable[[Tensor, Tensor, Tensor, int, int, Field], Tensor]


class MaskDiffusion(Chain, ABC):
    """Masks, priors and fields are (B, C, *spatial), in 0..1; C may be 1 in a field that serves all channels."""

    @abstractmethod
    def chances(self, logits: Tensor) -> Tensor:
        """Probabilities of logits."""

    @abstractmethod
    def logits(self, chances: Tensor) -> Tensor:
        """Finite logits of probabilities, 0 and 1 included."""

    @abstractmethod
    def draw(self, chances: Tensor, uniform: Tensor) -> Tensor:
        """A mask of zeros and ones with these chances, from uniform numbers in (0, 1)."""

    @abstractmethod
    def evidence(self, noisy: Tensor, prior: Tensor, t: Time, s: Time = 0) -> Tensor:
        """Lambda: what the value seen at t says, in logits, about the value at s (at 0: about the clean one)."""

    @abstractmethod
    def posterior_logits(self, noisy: Tensor, clean_logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """Logits of theta(y_t, y_0), the chances of y_s."""

    @abstractmethod
    def divergence(self, logits: Tensor, other: Tensor) -> Tensor:
        """KL(logits || other), voxel by voxel."""

    @abstractmethod
    def hold(self, logits: Tensor, prior: Tensor) -> Tensor:
        """Logits that grant no chance to what the prior forbids, for sampling (they may be infinite)."""

    def marginal(self, clean: Tensor, prior: Tensor, t: Time) -> Tensor:
        """Chances of y_t given y_0 = clean: keep[t] * y_0 + (1 - keep[t]) * p; HiDiff, section B1 of METHODS."""
        return self.forward(clean, prior, t, 0)

    def forward(self, noisy: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """Chances of y_t given y_s = noisy, one step or many: hop * y_s + (1 - hop) * p."""
        prior = real(prior)
        hop, redraw = self.hop(t, s, prior)
        return hop * noisy.to(prior.dtype) + redraw * prior

    def noisy(self, clean: Tensor, prior: Tensor, t: Time, uniform: Tensor) -> Tensor:
        """y_t drawn from the marginal."""
        return self.draw(self.marginal(clean, prior, t), uniform)

    def belief(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: Time) -> Tensor:
        """Logits of pi = P(y_0 | image, y_t) from leave-one-out logits: l + Lambda. Feed these to cross-entropy."""
        return real(logits) + self.evidence(noisy, prior, t)

    def posterior(self, noisy: Tensor, clean: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """theta(y_t, y_0): chances of y_s given y_t and a clean mask or its leave-one-out probability."""
        return self.chances(self.posterior_logits(noisy, self.logits(real(clean)), prior, t, s))

    def reverse(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """The exact reverse kernel, theta(y_t, r) = sum over y_0 of P(y_0 | y_t) theta(y_t, y_0)."""
        return self.chances(self.posterior_logits(noisy, logits, prior, t, s))

    def plug_in_reverse(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """theta(y_t, pi): the published shortcut, WRONG, kept to show it. It counts y_t twice and shrinks to the prior:
        with a perfect pi, .570 where the truth is .700 (T = 10, cosine^2, prior .2)."""
        return self.chances(self.posterior_logits(noisy, self.belief(noisy, logits, prior, t), prior, t, s))

    def kl(self, noisy: Tensor, clean: Tensor, logits: Tensor, prior: Tensor, t: Time, s: Time) -> Tensor:
        """KL(theta(y_t, y_0) || theta(y_t, r)): one term of the ELBO; at s = 0 it is the cross-entropy of pi.

        Voxel by voxel: (B, C, *spatial) for Bernoulli, (B, 1, *spatial) for categorical.
        """
        truth = self.posterior_logits(noisy, self.logits(real(clean)), prior, t, s)
        return self.divergence(truth, self.posterior_logits(noisy, logits, prior, t, s))

    def prior_kl(self, clean: Tensor, prior: Tensor) -> Tensor:
        """KL(q(y_T | y_0) || prior), the ELBO's constant: 0 where keep[T] = 0."""
        end = self.marginal(clean, prior.detach(), self.last)
        return self.divergence(self.logits(end), self.logits(real(prior.detach())))

    def keep_or_redraw(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: int, s: int, field: Field) -> Tensor:
        """y_s = y_t with chance (1 - keep[s]) / (1 - keep[t]), else a draw from pi: right marginals for every s < t."""
        chances = self.chances(self.belief(noisy, logits, prior, t))
        stay = (1 - self.keep[s]) / (1 - self.keep[t])
        return torch.where(field(s, KEEP) < float(stay), noisy, self.draw(chances, field(s, REDRAW)))

    def exactly(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: int, s: int, field: Field) -> Tensor:
        """y_s from the exact reverse kernel: the slower walk, each step as small a change as the chain's own."""
        return self.draw(self.reverse(noisy, logits, prior, t, s), field(s, REDRAW))

    def plugged_in(self, noisy: Tensor, logits: Tensor, prior: Tensor, t: int, s: int, field: Field) -> Tensor:
        """y_s from `plug_in_reverse`, for the comparison only."""
        return self.draw(self.plug_in_reverse(noisy, logits, prior, t, s), field(s, REDRAW))

    @torch.no_grad()
    def sample(
        self,
        model: Model,
        prior: Tensor,
        levels: Sequence[int],
        field: Field,
        start: Tensor | None = None,
        kernel: Kernel | None = None,
    ) -> Tensor:
        """Walk the chain down `levels`, from T (or from `start`, a mask at levels[0]) to 0; the last pi is returned.

        One call of the model a step. `field(level, stream)` gives uniform numbers and must differ from level to level:
        with one field for all steps a chance of .700 ends at .453. `kernel` is `keep_or_redraw` unless another is given.
        A prior of exactly 0 or 1 is certain, and comes back unchanged in every sample: that is how clicks hold. So keep a
        segmentor's own probabilities off 0 and 1 (float32's sigmoid reaches 1 at a logit of 17): no network corrects those.
        """
        steps = self.steps(levels, started=start is not None)
        prior, kernel = real(prior), kernel or self.keep_or_redraw
        noisy = self.draw(prior, field(levels[0], REDRAW)) if start is None else start.to(prior)
        for t, s in steps:
            logits = self.hold(real(model(noisy, batch_of(t, noisy))), prior)
            if s > 0:
                noisy = kernel(noisy, logits, prior, t, s, field)
        return self.chances(self.belief(noisy, logits, prior, t))
