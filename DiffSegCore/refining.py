"""A prior refined over a whole volume: regions where it may be wrong, several samples of the chain, and how far they agree.

The noisy mask belongs to the volume, not to a window: at every step all windows are asked about the same mask, their
answers are blended, and only then is the next mask drawn, with numbers that belong to voxels. So windows agree where
they overlap, and a crop gives what the whole gives.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Iterator, Sequence

import torch
from torch import Tensor, nn

from .decision import decided
from .diffusion import REDRAW, VoxelFields, levels
from .diffusion.mask import MaskDiffusion
from .errors import BadInput
from .geometry import Box
from .model import Model
from .networks import Context, OrganNetwork, Refiner
from .progress import Progress, silent
from .refiner_card import RefinerCard
from .regions import doubtful, spanned, windows_over
from .windows import cut, importance, together

log = logging.getLogger(__name__)
SURE = 1e-4  # no segmentor is believed more nearly than this: what a prior forbids, no network corrects
KEPT_BYTES = 3e9  # contexts beyond this are computed anew at every step: slower, but memory stays bounded
KERNELS = ("exact", "plug-in", "redraw")


@dataclass(frozen=True, eq=False)
class Refinement:
    """chances (classes, K, J, I), the mean of the samples inside `region` and the prior as given elsewhere; one class, or
    exclusive labels with background first. entropy and information (K, J, I) in nats, 0 outside the region: of the mean,
    and the part of it on which samples disagree. voxels (samples, labels): how many voxels each sample gives each label
    (after background); by the control, and of one step, there is one sample however many were asked for.
    """

    chances: Tensor
    entropy: Tensor
    information: Tensor
    voxels: Tensor
    region: Tensor
    windows: int

    @cached_property
    def logits(self) -> Tensor:
        """(labels with background first, K, J, I), finite: what `native_labels` reads. The largest is the label that promises the best Dice."""
        return decided(labelled(self.chances))

    @property
    def labels(self) -> Tensor:
        """uint8 (K, J, I), 0 background."""
        return self.logits.max(0).indices.to(torch.uint8)  # argmax over channels is slow on CPUs


def labelled(chances: Tensor) -> Tensor:
    """(1 or K, ...) -> (2 or K, ...): chances with background first, whichever the form."""
    return torch.cat([1 - chances, chances]) if len(chances) == 1 else chances


def refine_volume(model: Model, image: Tensor, prior: Tensor, *, steps: int = 4, samples: int = 8, seed: int = 0, kernel: str = "exact",
                  region: Tensor | None = None, origin: Sequence[int] = (0, 0, 0), overlap: float = .25,
                  device: torch.device | str = "cpu", progress: Progress = silent) -> Refinement:
    """That of so many samples (see `refinements`)."""
    found, = refinements(model, image, prior, steps=steps, samples=(samples,), seed=seed, kernel=kernel, region=region, origin=origin,
                         overlap=overlap, device=device, progress=progress)
    return found


@torch.no_grad()
def refinements(model: Model, image: Tensor, prior: Tensor, *, steps: int = 4, samples: Sequence[int] = (8,), seed: int = 0, kernel: str = "exact",
                region: Tensor | None = None, origin: Sequence[int] = (0, 0, 0), overlap: float = .25,
                device: torch.device | str = "cpu", progress: Progress = silent) -> Iterator[Refinement]:
    """What so many samples make, for each of the growing numbers `samples`: one by the control and of one step, whose mask says nothing, or where nothing is in doubt.

    image (channels, K, J, I) in model values and prior (classes, K, J, I), chances, both on the model grid.

    kernel: "exact", "plug-in" (as published, wrong: for comparison) or "redraw" (keep or redraw). region: where to refine, bool
    (K, J, I); by default where the prior is doubtful. origin: where the image's first voxel lies in the whole volume, for crops.
    Sample n is the same whatever the number of samples. The network has to be on `device`. Raises BadInput for tensors that
    do not fit the model, and whatever `progress` raises.
    """
    refiner, card = refiner_of(model), RefinerCard.of(model.card)
    chain = card.chain(refiner.classes)
    _check(refiner, image, prior, steps, samples, kernel, chain.last)
    counts = samples if card.diffusion and steps > 1 else (1,)  # all samples of one step are the same
    region = doubtful(prior, model.preprocessing.spacing_mm) if region is None else region
    windows = windows_over(region, model.window, overlap)
    if not windows:
        yield _unchanged(prior, region, samples[-1])
        return
    span = spanned(windows)
    outside = model.preprocessing.intensity_knots[0][1]
    views = Views(model.network, cut(image, span, outside), believable(_background_around(prior, span)),
                  [each.shift([-a for a in span.start]) for each in windows], device)
    views.told = Told(progress, views.count * (1 + (counts[-1] * steps if card.diffusion else 1)))
    beliefs = _samples(views, chain, span.shift(origin), steps, counts[-1], seed, kernel) if card.diffusion else _control(views, chain)
    yield from _gathered(beliefs, counts, prior, region, span, len(windows))


def refiner_of(model: Model) -> Refiner:
    """The model's refiner, alone or beside an organ head; BadInput where it has none."""
    network = model.network.refiner if isinstance(model.network, OrganNetwork) else model.network
    if not isinstance(network, Refiner):
        raise BadInput(f"The model {model.card.get('name', '')!r} carries no refiner; train one with `diffseg train refiner`.")
    return network


def believable(prior: Tensor) -> Tensor:
    """A segmentor's chances (classes, ...) held SURE off 0 and 1; exclusive ones still sum to 1."""
    if len(prior) == 1:
        return prior.float().clamp(SURE, 1 - SURE)
    held = prior.float().clamp(min=SURE)
    return held / held.sum(0, keepdim=True)


class Views:
    """A network's leave-one-out logits of a whole volume: every window's, blended by their Gaussian weights."""

    def __init__(self, network: nn.Module, image: Tensor, prior: Tensor, windows: Sequence[Box], device: torch.device | str) -> None:
        """image (channels, K, J, I), prior (classes, K, J, I); windows lie inside."""
        self.refiner = network.refiner if isinstance(network, OrganNetwork) else network
        self.segmentor = network.encoder if isinstance(network, OrganNetwork) else None
        self.flat = self.refiner.encoder.stem.weight.ndim == 4  # 2D: windows of one plane
        self.image, self.prior, self.device = image, prior, device
        self.together = together(device)
        self.groups = [windows[n:n + self.together] for n in range(0, len(windows), self.together)]
        self.count, self.told = len(windows), lambda: None
        self.weight = importance(windows[0].shape)
        self.weights = torch.zeros(image.shape[1:])
        for each in windows:
            self.weights[each.slices] += self.weight
        self._kept: dict[int, list[Context]] = {}

    def logits(self, mask: Tensor | None, keep: float) -> Tensor:
        """mask uint8 (K, J, I), the label seen at each voxel, or None for an empty one -> l (1, classes, K, J, I). Contexts are made of several
        windows at once, which is faster on CPUs; steps, which are light, are taken one window at a time, which is faster again."""
        result = torch.zeros_like(self.prior)
        level = torch.tensor([keep], dtype=torch.float32, device=self.device)
        seen = torch.zeros_like(self.prior) if mask is None else self.one_hot(mask)[0]
        for number, group in enumerate(self.groups):
            for each, context in zip(group, self._contexts(number, group)):
                found = self.refiner.step(context, self._input(seen, [each]), level)[0].cpu().float(memory_format=torch.contiguous_format)
                result[(slice(None), *each.slices)].addcmul_(self.weight, found[:, None] if self.flat else found)
                self.told()
        return (result / self.weights.clamp(min=1e-9))[None]

    def one_hot(self, mask: Tensor) -> Tensor:
        """uint8 (K, J, I) -> (1, classes, K, J, I)."""
        if len(self.prior) == 1:
            return mask[None, None].float()
        return (mask[None, None] == torch.arange(len(self.prior), dtype=mask.dtype, device=mask.device).view(1, -1, 1, 1, 1)).float()

    def _contexts(self, number: int, group: Sequence[Box]) -> list[Context]:
        if number in self._kept:
            return self._kept[number]
        shown = [*group, *group] if len(group) == 1 < self.together else group  # a lone one is seen twice, lest it be rounded otherwise
        image = self._input(self.image, shown)
        features = self.segmentor.features(image) if self.segmentor is not None and any(self.refiner.feature_widths) else ()
        contexts = self.refiner.context(image, self._input(self.prior, shown), features).singly()[:len(group)]
        if len(self._kept) * len(self.groups[0]) * _bytes(contexts[0]) <= KEPT_BYTES:
            self._kept[number] = contexts
            for _ in group:
                self.told()
        return contexts

    def _input(self, whole: Tensor, windows: Sequence[Box]) -> Tensor:
        """(channels, K, J, I) -> a batch of windows for the network, in its memory layout."""
        parts = torch.stack([whole[(slice(None), *each.slices)] for each in windows]).to(self.device)
        return parts[:, :, 0].contiguous(memory_format=torch.channels_last) if self.flat else parts.contiguous(memory_format=torch.channels_last_3d)


class Told:
    """Progress by counting."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def __call__(self) -> None:
        self.progress(min(1., self.done / self.total), f"Refining: {min(self.done + 1, self.total)} of {self.total} looks")
        self.done += 1


def _samples(views: Views, chain: MaskDiffusion, place: Box, steps: int, samples: int, seed: int, kernel: str) -> Iterator[Tensor]:
    """pi (1, classes, K, J, I) of every sample, whatever else is running."""
    draw = {"exact": chain.exactly, "plug-in": chain.plugged_in, "redraw": chain.keep_or_redraw}[kernel]
    path = levels(chain.last, steps)
    prior = views.prior[None]
    for number in range(samples):
        field = VoxelFields.of(place.shape, starts=[place.start], seeds=((seed << 16) + number,)).uniform
        noisy = chain.draw(prior, field(path[0], REDRAW))
        for t, s in zip(path, path[1:]):
            found = views.logits(_index(noisy), float(chain.keep[t]))
            if s > 0:
                noisy = draw(noisy, found, prior, t, s, field)
        yield chain.chances(chain.belief(noisy, found, prior, path[-2]))


def _control(views: Views, chain: MaskDiffusion) -> Iterator[Tensor]:
    """The feed-forward control: one look, nothing noisy."""
    yield chain.chances(views.logits(None, 0.))


def _gathered(beliefs: Iterator[Tensor], counts: Sequence[int], prior: Tensor, region: Tensor, span: Box, windows: int) -> Iterator[Refinement]:
    """Means over so many samples, laid into the whole volume; `span` may reach over its edges."""
    inside = span.clip(region.shape)
    within = inside.shift([-a for a in span.start])
    total, doubts, voxels, asked = 0., 0., [], region[inside.slices]
    fixed = labelled(prior).max(0).indices.masked_fill(region, -1)
    settled = torch.stack([(fixed == label).sum() for label in range(1, len(labelled(prior)))])
    for belief in beliefs:
        belief = labelled(belief[(0, slice(None), *within.slices)])
        total, doubts = total + belief, doubts + entropy(belief)
        labels = belief[:, asked].argmax(0)
        voxels.append(settled + torch.stack([(labels == label).sum() for label in range(1, len(belief))]))
        if len(voxels) in counts:
            yield _laid(total / len(voxels), doubts / len(voxels), torch.stack(voxels), prior, region, inside, windows)


def _laid(mean: Tensor, doubt: Tensor, voxels: Tensor, prior: Tensor, region: Tensor, inside: Box, windows: int) -> Refinement:
    """mean (labels, *inside) of the samples' chances and doubt (*inside), of their entropies, in the whole volume."""
    chances, total, shared = prior.float().clone(), torch.zeros(region.shape), torch.zeros(region.shape)
    place, asked = (slice(None), *inside.slices), region[inside.slices]
    chances[place] = torch.where(asked, mean[-len(prior):], chances[place])
    total[inside.slices] = entropy(mean) * asked
    shared[inside.slices] = (entropy(mean) - doubt).clamp(min=0) * asked
    return Refinement(chances, total, shared, voxels, region, windows)


def entropy(chances: Tensor) -> Tensor:
    """Nats; (labels, ...) -> (...)."""
    return torch.special.entr(chances).sum(0)


def _unchanged(prior: Tensor, region: Tensor, samples: int) -> Refinement:
    nothing = torch.zeros(region.shape)
    counts = torch.bincount(labelled(prior).max(0).indices.flatten(), minlength=len(labelled(prior)))[1:]
    return Refinement(prior.float(), nothing, nothing.clone(), counts.repeat(samples, 1), region, 0)


def _background_around(prior: Tensor, span: Box) -> Tensor:
    """The span of a prior; beyond the image is background, for certain."""
    part = cut(prior.float(), span, 0.)
    if len(part) > 1:
        part[0] += 1 - cut(torch.ones_like(prior[:1], dtype=torch.float32), span, 0.)[0]
    return part


def _index(noisy: Tensor) -> Tensor:
    """(1, classes, K, J, I) of zeros and ones -> uint8 (K, J, I)."""
    return (noisy[0, 0] if noisy.shape[1] == 1 else noisy[0].max(0).indices).to(torch.uint8)  # as above


def _bytes(context: Context) -> int:
    return sum(x.numel() * x.element_size() for x in (context.prior, context.logits, context.fine, *context.coarse, context.tokens))


def _check(refiner: Refiner, image: Tensor, prior: Tensor, steps: int, samples: Sequence[int], kernel: str, last: int) -> None:
    channels = refiner.encoder.stem.weight.shape[1] - refiner.classes - refiner.prompt_channels
    if len(image) != channels:
        raise BadInput(f"The refiner reads images of {channels} channels, this one has {len(image)}.")
    if len(prior) != refiner.classes or prior.shape[1:] != image.shape[1:]:
        raise BadInput(f"The prior has shape {tuple(prior.shape)}; the refiner needs {(refiner.classes, *image.shape[1:])}.")
    if not bool(torch.isfinite(prior).all()) or float(prior.min()) < 0 or float(prior.max()) > 1 + 1e-4:
        raise BadInput(f"A prior is made of chances from 0 to 1, not of numbers from {float(prior.min()):g} to {float(prior.max()):g}.")
    if not 1 <= steps <= last:
        raise BadInput(f"This refiner takes 1 to {last} steps, not {steps}.")
    if min(samples) < 1 or kernel not in KERNELS:
        raise BadInput(f"A refinement has 1 sample or more and a kernel of {', '.join(KERNELS)}; got {min(samples)} and {kernel!r}.")
