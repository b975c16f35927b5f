"""A volume through a network window by window, summed in a slab of planes that are handed on as soon as they are finished."""
from __future__ import annotations

from itertools import groupby
from typing import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .geometry import Box
from .progress import Progress, silent

SIGMA = 0.125  # of the window, as in MONAI and nnU-Net
LEAST = 1e-3   # weight of a window's corner: never zero, so that every voxel has a sum to divide by


def plan_windows(box: Box, window: Sequence[int], shape: Sequence[int], overlap: float = 0.5) -> list[Box]:
    """Windows (k, j, i) that cover `box` of an image of `shape`, in order of K, then J, then I.

    A box smaller than a window grows into the image around it; where the image itself is smaller, the window
    reaches evenly over its edges. Steps are those of MONAI's sliding_window_inference: the last window is moved back.
    """
    size = [max(n, w) for n, w in zip(box.shape, window)]
    middle = [(a + b - 1) / 2 for a, b in zip(box.start, box.stop)]
    region = Box.around(middle, size, shape)
    starts = [_starts(a, b - a, w, overlap) for a, b, w in zip(region.start, region.stop, window)]
    return [Box((k, j, i), (k + window[0], j + window[1], i + window[2])) for k in starts[0] for j in starts[1] for i in starts[2]]


def _starts(first: int, size: int, window: int, overlap: float) -> list[int]:
    room = size - window
    if room <= 0:
        return [first + -(-room // 2)]
    step = max(1, int(window * (1 - overlap)))
    return [first + min(start, room) for start in range(0, room + step, step)]


def importance(window: Sequence[int]) -> Tensor:
    """Gaussian weights (k, j, i) of a window's voxels: 1 in the middle, never below LEAST."""
    axes = [torch.exp(-((torch.arange(n) - (n - 1) / 2) ** 2) / (2 * (SIGMA * n) ** 2)) for n in window]
    weight = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    return weight.clamp_(min=max(float(weight.min()), LEAST))


def stitch(predict: Callable[[Tensor], Tensor], image: Tensor, windows: Sequence[Box], *, outside: float, batch: int = 1,
           device: torch.device | str = "cpu", progress: Progress = silent) -> Iterator[tuple[Box, Tensor]]:
    """Finished planes, from the lowest up: (box of the image, its logits (C, planes, J, I)), averaged over the windows.

    predict: (B, channels, k, j, i) on `device` -> logits (B, C, k, j, i); image (channels, K, J, I) on any device;
    windows as `plan_windows` orders them; `outside` is the value beyond the image. Progress is told before each batch.
    """
    slab, seen = None, 0
    for start, row in groupby(windows, key=lambda window: window.start[0]):
        if slab is not None:
            yield from slab.finished(start)
        for some in _batches(list(row), batch):
            progress(seen / len(windows), f"Looking at window {seen + 1} of {len(windows)}")
            logits = predict(torch.stack([cut(image, window, outside) for window in some]).to(device))
            slab = slab or Slab(Box(windows[0].start, windows[-1].stop).clip(image.shape[1:]), windows[0].shape, logits)
            for window, part in zip(some, logits):
                slab.add(window, part)
            seen += len(some)
    yield from slab.finished(slab.region.stop[0])


def cut(image: Tensor, window: Box, outside: float) -> Tensor:
    """The window of an image (channels, K, J, I), with `outside` where it reaches over the edges."""
    inside = window.clip(image.shape[1:])
    margins = [(a - b, c - d) for a, b, c, d in zip(inside.start, window.start, window.stop, inside.stop)]
    part = image[(slice(None), *inside.slices)]
    return F.pad(part, [m for pair in reversed(margins) for m in pair], value=outside) if inside != window else part


class Slab:
    """Weighted sums of logits, and of weights, over as many planes as a window has: plane k lies at k % depth.

    Sums and weights lie in memory as the network's logits do (channels first or last): to add across layouts, or to
    spread a weight over channels that come last, is two to three times slower.
    """

    def __init__(self, region: Box, window: Sequence[int], logits: Tensor) -> None:
        self.depth = min(window[0], region.shape[0])
        self.region, self.first = region, region.start[0]
        shape, channels = (self.depth, *region.shape[1:]), logits.shape[1]
        self.weight = importance(window).to(logits.device)
        self.weights = torch.zeros(shape, device=logits.device)
        self.sums = torch.zeros((channels, *shape), device=logits.device)
        self.spread = self.weight[None]
        if channels > 1 and logits.stride(1) == 1:
            self.sums = self.sums.new_zeros(*shape, channels).movedim(-1, 0)
            self.spread = self.weight[..., None].repeat(1, 1, 1, channels).movedim(-1, 0)

    def add(self, window: Box, logits: Tensor) -> None:
        inside = window.intersect(self.region)
        _, *place = inside.shift([-start for start in self.region.start]).slices
        planes, *part = inside.shift([-start for start in window.start]).slices
        for here, there in self._places(inside.start[0], inside.stop[0]):
            here = slice(here.start + planes.start, here.stop + planes.start)
            self.sums[(slice(None), there, *place)].addcmul_(logits[(slice(None), here, *part)].float(), self.spread[(slice(None), here, *part)])
            self.weights[(there, *place)] += self.weight[(here, *part)]

    def finished(self, until: int) -> Iterator[tuple[Box, Tensor]]:
        """The planes below `until`, averaged, as views that hold until the next step; their room is free again then."""
        _, *start = self.region.start
        _, *stop = self.region.stop
        for here, there in self._places(self.first, until):
            planes = self.sums[:, there].div_(self.weights[there])
            yield Box((self.first + here.start, *start), (self.first + here.stop, *stop)), planes
            planes.zero_()
            self.weights[there].zero_()
        self.first = max(self.first, until)

    def _places(self, start: int, stop: int) -> Iterator[tuple[slice, slice]]:
        """Planes start..stop, counted from `start`, and their places in the slab, cut where the slab begins anew."""
        at = start
        while at < stop:
            there = at % self.depth
            count = min(stop - at, self.depth - there)
            yield slice(at - start, at - start + count), slice(there, there + count)
            at += count


def _batches(windows: list[Box], size: int) -> Iterator[list[Box]]:
    return (windows[start:start + size] for start in range(0, len(windows), size))
