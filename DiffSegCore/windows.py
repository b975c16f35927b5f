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


def by_planes(network: Callable[[Tensor], Tensor], window: Sequence[int]) -> Callable[[Tensor], Tensor]:
    """The network as one of volumes (B, C, k, j, i): where windows are one plane thick it is a 2D network, and sees (B, C, j, i)."""
    return network if window[0] > 1 else lambda image: network(image[:, :, 0])[:, :, None]


def together(device: torch.device | str) -> int:
    """How many windows to look at at once: on CPUs torch leaves small convolutions of a single image to its slowest code."""
    return 4 if torch.device(device).type == "cpu" else 1


def in_pairs(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The network, shown a lone image twice: on CPUs torch leaves small convolutions of a single image to its slowest code, and to other
    roundings than those of two, so that labels would depend on how windows happen to be counted.
    """
    return lambda image: network(image) if len(image) > 1 else network(image.repeat(2, *[1] * (image.ndim - 1)))[:1]


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
    slab, row, seen = None, None, 0
    rows = {start: list(row) for start, row in groupby(windows, key=lambda window: window.start[0])}
    for some in _batches(windows, batch):
        progress(seen / len(windows), f"Looking at window {seen + 1} of {len(windows)}")
        logits = predict(torch.stack([cut(image, window, outside) for window in some]).to(device))
        slab = slab or Slab(Box(windows[0].start, windows[-1].stop).clip(image.shape[1:]), rows[windows[0].start[0]], logits)
        for window, part in zip(some, logits):
            if row is not None and row.start[0] != window.start[0]:
                slab.weigh(row)
                yield from slab.finished(window.start[0])
            row = window
            slab.add(window, part)
        seen += len(some)
    slab.weigh(row)
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

    def __init__(self, region: Box, row: Sequence[Box], logits: Tensor) -> None:
        window, channels = row[0].shape, logits.shape[1]
        self.depth = min(window[0], region.shape[0])
        self.region, self.first = region, region.start[0]
        shape = (self.depth, *region.shape[1:])
        self.weights = torch.zeros(shape, device=logits.device)
        weight = importance(window).to(logits.device)
        self.row_weights = torch.zeros((window[0], *region.shape[1:]), device=logits.device)  # every row lies alike in plane
        for each in row:
            _, part, place = self._overlap(each)
            self.row_weights[(slice(None), *place)] += weight[(slice(None), *part)]
        if channels > 1 and logits.stride(1) == 1:
            self.sums = weight.new_zeros(*shape, channels).movedim(-1, 0)
            self.spread = weight[..., None].repeat(1, 1, 1, channels).movedim(-1, 0)
        else:
            self.sums, self.spread = weight.new_zeros(channels, *shape), weight[None]

    def add(self, window: Box, logits: Tensor) -> None:
        planes, part, place = self._overlap(window)
        for here, there in self._places(planes):
            inside = (slice(None), slice(here.start - window.start[0], here.stop - window.start[0]), *part)
            self.sums[(slice(None), there, *place)].addcmul_(logits[inside].float(), self.spread[inside])

    def weigh(self, window: Box) -> None:
        """Add the weights of the row of windows that begins with this one."""
        for here, there in self._places(self._overlap(window)[0]):
            self.weights[there] += self.row_weights[here.start - window.start[0]:here.stop - window.start[0]]

    def _overlap(self, window: Box) -> tuple[slice, tuple[slice, slice], tuple[slice, slice]]:
        """What a window shares with the region: planes of the image, rows and columns of the window and of the region."""
        corners = zip(window.start, window.stop, self.region.start, self.region.stop)
        spans = [(max(a, c), min(b, d), a, c) for a, b, c, d in corners]
        part = tuple(slice(low - own, high - own) for low, high, own, _ in spans[1:])
        return slice(*spans[0][:2]), part, tuple(slice(low - whole, high - whole) for low, high, _, whole in spans[1:])

    def finished(self, until: int) -> Iterator[tuple[Box, Tensor]]:
        """The planes below `until`, averaged, as views that hold until the next step; their room is free again then."""
        _, *start = self.region.start
        _, *stop = self.region.stop
        for here, there in self._places(slice(self.first, until)):
            planes = self.sums[:, there].div_(self.weights[there])
            yield Box((here.start, *start), (here.stop, *stop)), planes
            planes.zero_()
            self.weights[there].zero_()
        self.first = max(self.first, until)

    def _places(self, planes: slice) -> Iterator[tuple[slice, slice]]:
        """Planes of the image and their places in the slab, cut where the slab begins anew."""
        at = planes.start
        while at < planes.stop:
            there = at % self.depth
            count = min(planes.stop - at, self.depth - there)
            yield slice(at, at + count), slice(there, there + count)
            at += count


def _batches(windows: Sequence[Box], size: int) -> Iterator[Sequence[Box]]:
    return (windows[start:start + size] for start in range(0, len(windows), size))
