"""One crop refined as its prompts say: a few steps of the Bernoulli chain, with what is certain frozen.

In the core of a prompt the prior is exactly 0 or 1. There every y_t is that value, from the first draw on, so that to hold it is to
condition the chain on it, not to overrule it (METHODS B3).

Every second sample sees the crop mirrored, left to right: training showed bodies both ways round, so that neither answer is the better one, and
what is peculiar to one of them weighs half in their mean.
"""
from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Sequence

import torch
from torch import Tensor

from .crops import IMAGE_CHANNELS
from .decision import object_cut
from .diffusion import REDRAW, VoxelFields, levels
from .diffusion.mask import MaskDiffusion
from .errors import BadInput
from .model import Model
from .networks import Context, Refiner
from .prompt_maps import PROMPT_CHANNELS, Steering, steered
from .refiner_card import RefinerCard
from .refining import entropy, labelled, refiner_of

STEPS = 2  # of the chain, a look: more were no better on validation cases
WAYS = 2  # to see a crop: as it lies, and mirrored
SURE = 1e-3  # no chance counts as closer to 0 or 1 than this


@dataclass(frozen=True, eq=False)
class Look:
    """chances, entropy and information, each float32 (k, j, i) on the CPU: the mean of the samples, the entropy of that mean in nats,
    and the part of it on which the samples disagree (0 for one sample). settled: the cut, where it does not follow from the chances."""

    chances: Tensor
    entropy: Tensor
    information: Tensor
    settled: float | None = None

    @cached_property
    def cut(self) -> float:
        """From which chance on a voxel belongs to the object."""
        return object_cut(self.chances) if self.settled is None else self.settled

    def believing(self, known: Tensor, weight: Tensor, cut: float) -> Look:
        """With the chances `known` before, in logits, by so much of `weight` (k, j, i), 0 to 1. What was drawn from `cut` on, or known from one half
        on, is now from one half on."""
        own = torch.logit(self.chances, eps=SURE) - math.log(cut / (1 - cut))
        logits = torch.lerp(own, torch.logit(known, eps=SURE), weight)
        return replace(self, chances=logits.sigmoid(), settled=.5)

    @property
    def mask(self) -> Tensor:
        """bool (k, j, i)."""
        return self.chances >= self.cut


@torch.no_grad()
def refine_crop(model: Model, image: Tensor, prior: Tensor, steering: Steering, *, steps: int = STEPS, samples: int = WAYS, seed: int = 0,
                origin: Sequence[int] = (0, 0, 0), device: torch.device | str = "cpu") -> Look:
    """image (2, k, j, i) as `crops.crop_image` makes it; prior (k, j, i), chances before the prompts push.

    origin: where the crop lies on the lattice of its spacing, so that crops which share voxels share their noise. Sample n is the same
    whatever the number of samples. A control, trained without diffusion, looks once each way. The network has to be on `device`.
    """
    refiner, card, shape = click_refiner(model), RefinerCard.of(model.card), image.shape[1:]
    chain, ways = card.chain(1), range(min(samples, WAYS))
    given = _each_way(steered(prior, steering)[None], ways, device)
    contexts = refiner.context(_each_way(image, ways, device), given, (), _each_way(steering.channels, ways, device)).singly()
    beliefs = []
    for way in ways:
        prior, numbers = given[way:way + 1], range(way, samples, WAYS)
        if card.diffusion:
            fields = VoxelFields.of(shape, starts=[_start(origin, shape, way)], seeds=[(seed << 16) + number for number in numbers], device=device)
            logits = _walked(refiner, contexts[way], chain, prior, levels(chain.last, steps), fields)
        else:
            logits = chain.hold(refiner.step(contexts[way], torch.zeros_like(prior), prior.new_zeros(1)).float(), prior)
        beliefs.append(_turned(chain.chances(logits)[:, 0], way).cpu())
    return _agreed(torch.cat(beliefs))


def _walked(refiner: Refiner, context: Context, chain: MaskDiffusion, given: Tensor, path: Sequence[int], fields: VoxelFields) -> Tensor:
    """Leave-one-out logits (samples, 1, k, j, i) at the end of each sample's walk down the levels of `path`.

    Over samples, P(y_0 | image, all but the voxel's own y_t) has the same mean as P(y_0 | image, y_t), namely P(y_0 | image), and varies
    less: the voxel's own last draw is not in it.
    """
    noisy = chain.draw(given, fields.uniform(path[0], REDRAW))
    for t, s in zip(path, path[1:]):
        logits = chain.hold(refiner.step(context, noisy, given.new_full((len(noisy),), float(chain.keep[t]))).float(), given)
        if s > 0:
            noisy = chain.exactly(noisy, logits, given, t, s, fields.uniform)
    return logits


def click_refiner(model: Model) -> Refiner:
    """The refiner of a click model; BadInput where the model is of another kind."""
    refiner = refiner_of(model)
    read = refiner.encoder.stem.weight.shape[1] - refiner.classes - refiner.prompt_channels
    if (refiner.classes, refiner.prompt_channels, read) != (1, PROMPT_CHANNELS, IMAGE_CHANNELS) or refiner.encoder.stem.weight.ndim != 5:
        raise BadInput(f"The model {model.card.get('name', '')!r} does not read clicks in the form of this version; update it, choose another under "
                       "`diffseg models`, or make one with `diffseg train click`.")
    return refiner


def _each_way(part: Tensor, ways: Sequence[int], device: torch.device | str) -> Tensor:
    """(channels, k, j, i) -> a batch, in the memory layout that convolutions are fast in."""
    return torch.stack([_turned(part, way) for way in ways]).to(device).contiguous(memory_format=torch.channels_last_3d)


def _turned(part: Tensor, way: int) -> Tensor:
    """(..., i), from how a crop lies to how it is seen, or back."""
    return part.flip(-1) if way else part


def _start(origin: Sequence[int], shape: Sequence[int], way: int) -> tuple[int, ...]:
    """Where the crop begins on the lattice that it is seen on: a mirrored one counts from the other side."""
    k, j, i = origin
    return (k, j, -i - shape[-1]) if way else (k, j, i)


def _agreed(beliefs: Tensor) -> Look:
    """From the chances (samples, k, j, i) that each sample ends with."""
    mean = beliefs.mean(0)
    total = entropy(labelled(mean[None]))
    own = torch.stack([entropy(labelled(each[None])) for each in beliefs]).mean(0)
    return Look(mean, total, (total - own).clamp(min=0))
