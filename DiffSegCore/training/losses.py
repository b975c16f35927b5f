"""Dice and cross-entropy that know which organs were contoured."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss
from torch import Tensor

NEVER = -1e4  # a log-probability whose exponential is 0 and whose gradient is 0 rather than NaN


def merge_unknown(logits: Tensor, known: Tensor) -> Tensor:
    """Log-probabilities (B, C, *spatial) in which organs that were not contoured count as background.

    logits (B, C, *spatial), known (B, C) with known[:, 0] True. A voxel that the contours call background may hold an
    organ nobody drew; the marginal probability of "background or an undrawn organ" is what can be compared with it.
    """
    log_p = logits.float().log_softmax(1)
    drawn = known.reshape(*known.shape, *[1] * (logits.ndim - 2))
    undrawn = log_p.masked_fill(drawn, NEVER).logsumexp(1, keepdim=True)
    return torch.cat([torch.logaddexp(log_p[:, :1], undrawn), log_p[:, 1:].masked_fill(~drawn[:, 1:], NEVER)], 1)


def organ_loss(logits: Tensor, target: Tensor, known: Tensor) -> Tensor:
    """Cross-entropy + (1 - Dice) of the organs that each patch shows. target (B, *spatial) int64, known (B, C) bool -> scalar.

    A batch's loss is the mean of its patches' losses, so that one process and several with the same patches learn the same.
    """
    log_p = merge_unknown(logits, known)
    truth = F.one_hot(target, logits.shape[1]).movedim(-1, 1).float()
    return F.nll_loss(log_p, target) + missed_overlap(log_p, truth).mean()


def missed_overlap(log_p: Tensor, truth: Tensor) -> Tensor:
    """1 - Dice, the mean over the organs that an element of the batch shows, (B,). Both (B, C, *spatial), background first."""
    shown = truth.flatten(2).amax(2)[:, 1:] > 0  # an organ outside the patch has no overlap to measure; cross-entropy guards against inventing it
    dice = DiceLoss(include_background=False, reduction="none", smooth_nr=0.)(log_p.exp(), truth).flatten(1)
    return (dice * shown).sum(1) / shown.sum(1).clamp(min=1)
