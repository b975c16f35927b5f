"""How prompts steer a refinement, in the three places of METHODS B3: as channels, as a push on the prior, and exactly.

    p' = sigmoid(logit p + sum over prompts of sign * strength * exp(-d^2 / 2 reach^2)),   d in mm to the prompt;
    in a prompt's core p' = 0 or 1, where the chain is frozen: holding a clicked voxel is then exact conditioning.

Where nothing of the object is there yet, or a click says that more is missing or too much, p is what prompts alone make likely
(seeding.py). Older prompts lose strength and keep their core for ever. The session and the training of the refiner both come here.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from . import seeding
from .geodesic import paths
from .geometry import Box
from .marks import Mark

__all__ = ["Mark", "PROMPT_CHANNELS", "Steering", "believed", "doubted", "felt", "held", "steered", "steering"]

CHANNELS = ("previous mask", "point +", "point -", "scribble +", "scribble -", "region +", "region -", "nearness +", "nearness -", "likeness +", "likeness -")
PROMPT_CHANNELS = len(CHANNELS)
STRENGTH = 5.     # logits at the prompt itself: from a chance of .05 to .89
FADE = .8         # of the strength with every prompt that came after
MOST = 8.         # logits that all prompts together may push; free voxels stay free
REACH_MM = 4.     # one sigma of the push round a point or scribble
REACH_VOXELS = 1.5  # and at least so many voxels
CORE_MM = 1.      # the core of a point, and at least the voxel that holds it
BUMP_VOXELS = 1.5  # one sigma of a point or scribble in its channel
SIGMAS = 3.       # beyond so many, nothing
INSIDE = 1.5      # logits by which the prior rises inside a positive box or lasso
AROUND = 4.       # and falls outside it
FLAT = .25        # a region thinner than this share of its length says nothing about the slices above and below it
DOUBT = .05       # chance that a mask which the user wants corrected is wrong at a voxel
LEAST = .02       # the prior is held so far off 0 and 1 before it is pushed


@dataclass(frozen=True, eq=False)
class Steering:
    """channels float32 (11, k, j, i), see CHANNELS; push float32 (k, j, i), logits; core int8 (k, j, i): 1 object, 0 not, -1 free;
    seeded float32 (k, j, i): chances of voxels that are not object yet, None where prompts say nothing about that; mistaken float32
    (k, j, i): chances that voxels of the mask are not object, None likewise."""

    channels: Tensor
    push: Tensor
    core: Tensor
    seeded: Tensor | None
    mistaken: Tensor | None


def steering(marks: Sequence[Mark], previous_mask: Tensor, image: Tensor, spacing_mm: Sequence[float], *, own: bool = False) -> Steering:
    """Marks of one object in any order; previous_mask (k, j, i), the share of each voxel that was object before the newest prompt.

    image (k, j, i), values from -1 to 1; spacing_mm (k, j, i). own: the mask is what these prompts made; of any other, prompts name
    a few mistakes and say nothing of what is right. Where cores meet, the newest holds.
    """
    ways, mask = paths(marks, image), previous_mask >= .5
    channels = np.zeros((PROMPT_CHANNELS, *image.shape), dtype=np.float32)
    channels[0] = np.asarray(previous_mask, dtype=np.float32)
    channels[7:] = torch.cat([ways.nearness, ways.likeness])
    push, core = _laid_down(marks, channels, spacing_mm)
    return Steering(torch.from_numpy(channels), torch.from_numpy(push), torch.from_numpy(core),
                    seeding.chances(marks, mask, image, ways), seeding.mistakes(marks, mask, image, ways) if own else None)


def held(marks: Sequence[Mark], shape: Sequence[int], spacing_mm: Sequence[float]) -> np.ndarray:
    """int8 (k, j, i): the marks' core alone."""
    return _laid_down(marks, np.zeros((PROMPT_CHANNELS, *shape), dtype=np.float32), spacing_mm)[1]


def felt(mark: Mark, shape: Sequence[int], spacing_mm: Sequence[float], logits: float) -> np.ndarray:
    """bool (k, j, i): where one prompt alone decides, or pushes by more than so many logits."""
    push, core = _laid_down([mark], np.zeros((PROMPT_CHANNELS, *shape), dtype=np.float32), spacing_mm)
    return (core >= 0) | (np.abs(push) > logits)


def _laid_down(marks: Sequence[Mark], channels: np.ndarray, spacing_mm: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Push and core; each mark is drawn into its channel."""
    shape = channels.shape[1:]
    push, core = np.zeros(shape, dtype=np.float32), np.full(shape, -1, dtype=np.int8)
    for each in sorted(marks, key=lambda one: -one.age):
        strength = STRENGTH * FADE ** each.age * (1 if each.inside else -1)
        if each.kind == "region":
            _cover(each, channels[5 if each.inside else 6], push, core, spacing_mm)
            continue
        channel = channels[(1 if each.kind == "point" else 3) + (not each.inside)]
        reach = max(REACH_MM, REACH_VOXELS * max(spacing_mm))
        for near, distance in _distances(each, shape, spacing_mm, SIGMAS * reach):
            bump = np.exp(-distance ** 2 / (2 * (BUMP_VOXELS * min(spacing_mm)) ** 2))
            np.maximum(channel[near], bump, out=channel[near])
            push[near] += strength * np.exp(-distance ** 2 / (2 * reach ** 2)) * (distance < SIGMAS * reach)
        _hold(each, core, spacing_mm)
    return push.clip(-MOST, MOST), core


def steered(prior: Tensor, given: Steering) -> Tensor:
    """p' (k, j, i) of a prior (k, j, i), chances: pushed where voxels are free, exactly 0 or 1 in the core."""
    pushed = torch.sigmoid(torch.logit(prior.float(), eps=LEAST) + given.push.to(prior.device))
    core = given.core.to(prior.device)
    return torch.where(core < 0, pushed, core.to(pushed.dtype))


def doubted(share: Tensor) -> Tensor:
    """Chances (k, j, i) that a mask, or an automatic result's chances, stand for where no prompt says otherwise."""
    return DOUBT + (1 - 2 * DOUBT) * share.float()


def believed(share: Tensor, given: Steering) -> Tensor:
    """The prior that a mask is, given as the share of each voxel that it covers: a mask about to be corrected may be wrong anywhere.
    What is not in it is as likely as the prompts make it, and what is in it as unlikely.
    """
    known, inside = doubted(share), share >= .5
    if given.mistaken is not None:
        known = torch.where(inside, torch.minimum(known, 1 - given.mistaken), known)
    if given.seeded is None:
        return known
    likely = torch.maximum(known, given.seeded)
    if inside.any():
        return torch.where(inside, known, likely)
    return torch.where(share > 0, likely, given.seeded)  # what was half believed is not forgotten


def _distances(given: Mark, shape: Sequence[int], spacing_mm: Sequence[float], within_mm: float) -> Iterator[tuple[tuple[slice, ...], np.ndarray]]:
    """A window round the places, if it meets the grid, and each voxel's distance in mm to the nearest of them."""
    room = np.ceil(within_mm / np.asarray(spacing_mm))
    low, high = np.floor(given.places.min(0) - room), np.ceil(given.places.max(0) + room) + 1
    window = Box(tuple(low), tuple(high)).clip(shape)
    if window.is_empty:
        return
    if len(given.places) == 1:
        apart = [(np.arange(a, b) - at) * mm for a, b, at, mm in zip(window.start, window.stop, given.places[0], spacing_mm)]
        yield window.slices, np.sqrt(apart[0][:, None, None] ** 2 + apart[1][:, None] ** 2 + apart[2] ** 2)
        return
    around = window.grow(tuple(room.astype(int)))  # a line may leave the grid and still be near
    empty = np.ones(around.shape, dtype=bool)
    at = np.floor(given.places + .5).astype(int) - around.start
    at = at[((at >= 0) & (at < around.shape)).all(1)]
    if len(at):
        empty[tuple(at.T)] = False
        inner = window.shift([-a for a in around.start]).slices
        yield window.slices, ndimage.distance_transform_edt(empty, sampling=spacing_mm)[inner]


def _hold(given: Mark, core: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """The voxels that hold the places, and round a point those within CORE_MM of it."""
    at = np.floor(given.places + .5).astype(int)
    at = at[((at >= 0) & (at < core.shape)).all(1)]
    if given.kind == "point":
        for near, distance in _distances(given, core.shape, spacing_mm, CORE_MM):
            core[near][distance <= CORE_MM] = given.inside
    core[tuple(at.T)] = given.inside


def _cover(given: Mark, channel: np.ndarray, push: np.ndarray, core: np.ndarray, spacing_mm: Sequence[float]) -> None:
    """A negative region is no object, for certain; a positive one contains the object: it forbids nothing, but outside it the prior falls."""
    if not given.mask.any():
        return
    channel[given.mask] = 1
    if not given.inside:
        core[given.mask] = 0
        return
    fade, box = FADE ** given.age, Box.of(given.mask)
    push[given.mask] += INSIDE * fade
    sides = np.array(box.shape) * spacing_mm
    flat = sides < FLAT * sides.max()
    level = tuple(part if thin else slice(None) for part, thin in zip(box.slices, flat))
    push[level] -= AROUND * fade * ~given.mask[level]
