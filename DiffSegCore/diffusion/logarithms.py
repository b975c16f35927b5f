"""Logarithms of chances that may be 0 or 1, finite forward and backward in float32."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

FLOOR = 1e-30  # below any chance that matters, above float32's smallest normal number


def log_chance(chance: Tensor) -> Tensor:
    return chance.clamp(min=FLOOR).log()


def log_mix(keep: Tensor, redraw: Tensor, log_kept: Tensor, log_redrawn: Tensor) -> Tensor:
    """log(keep * exp(log_kept) + redraw * exp(log_redrawn))."""
    return torch.logaddexp(log_chance(keep) + log_kept, log_chance(redraw) + log_redrawn)


def log_evidence(keep: Tensor, redraw: Tensor, prior_of_seen: Tensor) -> Tensor:
    """log[(keep + redraw * p) / (redraw * p)] for the value seen, whose prior is p: never negative.

    It is softplus(log(keep / redraw) - log p), written with logsigmoid because softplus stops being exact at 20.
    """
    return -logsigmoid(log_chance(redraw) + log_chance(prior_of_seen) - log_chance(keep))
