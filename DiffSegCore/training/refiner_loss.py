"""What a refiner is trained by: proper scores of pi, the exact kernel's divergence, and overlap (METHODS B2). In float32."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from ..diffusion.mask import MaskDiffusion
from .losses import merge_unknown, missed_overlap

OVERLAP = .5  # weight of 1 - Dice


class Noised(NamedTuple):
    """Noisy masks (B, classes, *spatial) at levels t (B,) of their chain, towards `prior` (B, classes, *spatial).

    recycled (B,): drawn from the model's own answer, not from the truth.
    """

    mask: Tensor
    prior: Tensor
    t: Tensor
    recycled: Tensor


def refining_loss(chain: MaskDiffusion, seen: Noised, logits: Tensor, truth: Tensor, known: Tensor, where: Tensor | None = None) -> Tensor:
    """BCE(pi, y_0) + T KL(theta(y_t, y_0) || theta(y_t, r)) + .5 (1 - Dice(pi, y_0)) -> scalar, from leave-one-out logits.

    logits, truth (B, classes, *spatial); known (B, classes): labels that nobody drew count as background. In a recycled mask
    the voxel's own value was drawn from what the model believes, so it is no evidence of the truth: there pi = r, and there is no KL.
    where: bool (B, *spatial), the voxels that BCE and KL are means over; None for all.
    """
    logits, truth, fresh = logits.float(), truth.float(), ~seen.recycled
    losses = scores(belief(chain, seen, logits), truth, known, where)
    if bool(fresh.any()):
        losses = losses + chain.last * fresh * divergence(chain, seen, logits, truth, known, where)
    return losses.mean()


def belief(chain: MaskDiffusion, seen: Noised, logits: Tensor) -> Tensor:
    """Logits of pi, from leave-one-out logits: what a fresh mask says of its own voxels is added, a recycled one says nothing."""
    return logits + chain.evidence(seen.mask, seen.prior, seen.t) * _over(~seen.recycled, logits)


def scores(logits: Tensor, truth: Tensor, known: Tensor, where: Tensor | None = None) -> Tensor:
    """Cross-entropy and .5 (1 - Dice) of every element of the batch, (B,): all that a feed-forward refiner learns by."""
    log_p, truth = merged(logits, known), with_background(truth)
    entropy = _mean(-(truth * log_p).sum(1), where)
    return entropy + OVERLAP * missed_overlap(log_p, truth)


def divergence(chain: MaskDiffusion, seen: Noised, logits: Tensor, truth: Tensor, known: Tensor, where: Tensor | None = None) -> Tensor:
    """KL of the step from t to t - 1, the mean over voxels (`where`, if given), (B,): theta with the truth against theta with the leave-one-out chance."""
    steps = (chain.posterior_logits(seen.mask, each, seen.prior, seen.t, seen.t - 1) for each in (chain.logits(truth), logits))
    right, ours = (merged(each, known) for each in steps)
    return _mean((right.exp() * (right - ours)).sum(1), where)


def merged(logits: Tensor, known: Tensor) -> Tensor:
    """Log-chances (B, labels, *spatial), background first, of logits of one object or of exclusive labels."""
    if logits.shape[1] == 1:
        return torch.cat([F.logsigmoid(-logits), F.logsigmoid(logits)], 1)
    return merge_unknown(logits, known)


def with_background(mask: Tensor) -> Tensor:
    """Chances of one object get background in front: (B, 1 or labels, *spatial) -> (B, 2 or labels, *spatial)."""
    return torch.cat([1 - mask, mask], 1) if mask.shape[1] == 1 else mask


def without_unknown(prior: Tensor, known: Tensor) -> Tensor:
    """The prior in which labels that nobody drew in the case count as background, as they do in its truth."""
    if prior.shape[1] == 1:
        return prior
    drawn = _over(known, prior)
    undrawn = (prior * ~drawn).sum(1, keepdim=True)
    return torch.cat([prior[:, :1] + undrawn, prior[:, 1:] * drawn[:, 1:]], 1)


def _mean(values: Tensor, where: Tensor | None) -> Tensor:
    """(B, *spatial) -> (B,); 0 where nothing is asked."""
    values = values.flatten(1)
    if where is None:
        return values.mean(1)
    where = where.flatten(1)
    return (values * where).sum(1) / where.sum(1).clamp(min=1)


def _over(flags: Tensor, like: Tensor) -> Tensor:
    """(B,) or (B, classes), shaped to multiply (B, classes, *spatial)."""
    return flags.reshape(*flags.shape, *[1] * (like.ndim - flags.ndim))
