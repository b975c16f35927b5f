"""What every chain shares: its schedule, and `hop`, by which one level is reached from another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .schedules import checked

Time = int | Tensor  # a level for the whole batch, or (B,) levels


def real(values: Tensor) -> Tensor:
    """Masks and half precision become float32, float64 stays: logarithms of chances need the digits."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class Chain:
    """A schedule `keep` (T + 1,), from keep[0] = 1 to keep[T] ~ 0."""

    def __init__(self, keep: Tensor) -> None:
        self.keep = checked(keep)

    @property
    def last(self) -> int:
        return len(self.keep) - 1

    def hop(self, t: Time, s: Time, like: Tensor) -> tuple[Tensor, Tensor]:
        """(hop, 1 - hop) of the step from s to t > s, shaped to multiply `like` (B, C, *spatial).

        With s = 0 that is (keep[t], 1 - keep[t]), for t = 0 too. Both are computed in float64: 1 - hop has no digits left
        if formed in float32.
        """
        t, s = self._checked_time(t), self._checked_time(s)
        if bool(((s >= t) & (t > 0)).any()):
            raise ValueError(f"A step goes from a level t down to a lower one, not from {t.tolist()} to {s.tolist()}.")
        above, below = self.keep[t], self.keep[s]
        return _shaped(above / below, like), _shaped((below - above) / below, like)

    def steps(self, levels: Sequence[int], started: bool) -> list[tuple[int, int]]:
        """Pairs (t, s) of falling levels that end at 0, and begin at T unless a start is given."""
        pairs = list(zip(levels[:-1], levels[1:]))
        if not pairs or levels[-1] != 0 or any(s >= t for t, s in pairs):
            raise ValueError(f"Levels fall strictly and end at 0, such as {self.last}, ..., 0; got {tuple(levels)}.")
        if not started and levels[0] != self.last:
            raise ValueError(f"Sampling from level {levels[0]} needs a start; only level {self.last} needs none.")
        return pairs

    def _checked_time(self, time: Time) -> Tensor:
        time = torch.as_tensor(time).detach().cpu()
        if bool((time < 0).any()) or bool((time > self.last).any()):
            raise ValueError(f"Levels of this chain run from 0 to {self.last}; got {time.tolist()}.")
        return time


def batch_of(t: int, like: Tensor) -> Tensor:
    """The level as networks expect it: (B,) int64 on the device of `like`."""
    return torch.full((like.shape[0],), t, dtype=torch.int64, device=like.device)


def _shaped(values: Tensor, like: Tensor) -> Tensor:
    values = values.to(like.dtype).to(like.device)  # in this order: some devices know no float64
    return values.reshape(-1, *[1] * (like.ndim - 1)) if values.ndim else values
