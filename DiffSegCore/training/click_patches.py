"""Situations and batches that a click model learns from, all functions of (seed, number): any object at any scale, from nothing or a wrong mask."""
from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, Sequence

import numpy as np
import torch
from torch import Tensor

from ..crops import SPACINGS_MM, ImageRange, crop_grid, crop_image
from ..data.click_cases import ClickCase
from ..data.patches import rotation
from ..data.priors import corrupted
from ..data.synthesised import grown_object, smooth_noise, synthesised
from ..diffusion import draw_times, refining_weights
from ..errors import BadInput
from ..geometry import Geometry
from ..marks import Mark
from ..preprocess import Preprocessing
from ..volume import Volume
from ..zoom import FILLED, FIRST_MM, at_least, useful
from .click_naming import Named
from .click_situations import Situation
from .refiner_patches import GOLDEN, NUMBER_BITS

STEPS_FROM_FIT = ((-2, .12), (-1, .25), (0, .43), (1, .2))  # how often so many spacings of the ladder from the one that fits
AT_FIRST = .6, .15  # how often patches are as a session first sees what isn't there yet: those that start from nothing, and others
CENTRED = .5  # how often the first prompt is a click in the middle of the crop, where a session puts it
MOST_PROMPTS = 6
PARTIAL = .4  # how often a mask that is worked on is only a part of the object: without these, later clicks were answered with the prior
MOST_ROUNDS = 5  # times that the network answers and is prompted again, before it learns
FEWEST = 8  # voxels of an object in a crop
ATTEMPTS = 8


class ClickBatch(NamedTuple):
    """Rendered situations, stacked, and how to noise them (as of RefinerBatch); rounds int64 (B,): how often the network answers first, and is
    prompted again where it was wrong. situations: to do that with.
    """

    image: Tensor
    prior: Tensor
    truth: Tensor
    known: Tensor
    prompts: Tensor
    near: Tensor
    times: Tensor
    recycled: Tensor
    rounds: Tensor
    seeds: Tensor
    situations: Situations


class Situations:
    """A list that no device wants to have."""

    def __init__(self, each: Sequence[Situation]) -> None:
        self.each = tuple(each)


class ClickPatches:
    """Numbered situations of cases: the data set is drawn first, a larger one more often, then the case, then the object.

    empty: share that starts from nothing with the first prompt; the rest has a corrupted mask and 0 to 6 prompts. made: share of
    images synthesised from labels; grown: share of objects that nobody labelled. straight: no augmentation, all from nothing and
    unprompted, for checking: situation n is of the n-th data set, in turn, every second as a session first sees it. small: crops of
    this size are drawn first, this many.
    """

    def __init__(self, cases: Sequence[ClickCase], size: tuple[int, int, int], preprocessing: Preprocessing, *, empty: float = .4, made: float = .05,
                 grown: float = .1, straight: bool = False, small: tuple[tuple[int, int, int], int] | None = None, seed: int = 0) -> None:
        self.size, self.preprocessing, self.straight, self.seed = size, preprocessing, straight, seed
        self.small = small or (size, 0)
        self.empty, self.made, self.grown = empty, made, grown
        self.groups: dict[str, list[ClickCase]] = {}
        for case in cases:
            self.groups.setdefault(case.group, []).append(case)
        if not self.groups:
            raise BadInput("none of the cases holds a labelled object; a click model needs some to learn from")
        weights = np.sqrt([max(4, len(group)) for group in self.groups.values()])  # one volume with many objects is more than one in a hundred
        self._weights = weights / weights.sum()
        self.structures = {name: sorted({label for case in group for label in case.boxes}) for name, group in self.groups.items()}

    def situation(self, number: int) -> Situation:
        """The situation with this number."""
        random = np.random.default_rng((self.seed, number))
        begins = not self.straight and random.random() < self.empty
        first = bool(number % 2) if self.straight else random.random() < AT_FIRST[not begins]
        nothing = self._nothing(number, first, random)
        if self.straight:
            return nothing
        return _begun(nothing, random) if begins else _worked_on(nothing, random)

    def _nothing(self, number: int, first: bool, random: np.random.Generator) -> Situation:
        """A crop that shows an object, of which nobody has said anything yet."""
        size = self.small[0] if number < self.small[1] else self.size
        for _ in range(ATTEMPTS):
            case = self._case(number, random)
            label = int(random.choice(list(case.boxes)))
            grid = self._grid(case, label, size, first, random)
            truth = case.object(label, grid)
            if truth.sum() >= FEWEST:
                break
        else:
            raise BadInput(f"no object of {case.name} shows in crops of {size} voxels; check its labels")
        image = self._image(case, grid, random)
        if not self.straight and random.random() < self.grown:
            other = grown_object(image[0].numpy(), random)
            truth = truth if other is None else other
        named = None if self.straight else Named.of(case, grid, self.structures)
        return Situation(image if self.straight else shaded(image, random), truth, np.zeros(size, np.float32), (), grid.spacing, named=named)

    def _case(self, number: int, random: np.random.Generator) -> ClickCase:
        names = list(self.groups)
        name = names[number % len(names)] if self.straight else names[random.choice(len(names), p=self._weights)]
        return self.groups[name][random.integers(len(self.groups[name]))]

    def _grid(self, case: ClickCase, label: int, size: tuple[int, int, int], first: bool, random: np.random.Generator) -> Geometry:
        spacing, centre = self._spacing(case, label, size, first, random), case.geometry.to_ras(_middle(case, label))
        if not self.straight:
            if random.random() < .5:
                centre = case.geometry.to_ras(case.places[label][random.integers(len(case.places[label]))])
            if random.random() < .5:
                centre = centre + random.normal(0, .1 * size[0] * spacing, 3)
        grid = crop_grid(case.geometry, centre, spacing, size)
        return grid if self.straight else turned(grid, random)

    def _spacing(self, case: ClickCase, label: int, size: tuple[int, int, int], first: bool, random: np.random.Generator) -> float:
        """Of the ladder: a first look's, or near the finest in which the object fits; not much finer than the scan."""
        box = case.boxes[label]
        extent = max(n * mm for n, mm in zip(box.shape, case.geometry.spacing))
        ladder = useful(SPACINGS_MM, case.geometry)
        steps, weights = zip(*STEPS_FROM_FIT)
        if first:
            return at_least(FIRST_MM, ladder)
        fits = SPACINGS_MM.index(at_least(extent / (FILLED * size[0]), SPACINGS_MM)) + (0 if self.straight else int(random.choice(steps, p=weights)))
        return at_least(SPACINGS_MM[min(max(fits, 0), len(SPACINGS_MM) - 1)], ladder)

    def _image(self, case: ClickCase, grid: Geometry, random: np.random.Generator) -> Tensor:
        if case.image is not None and (self.straight or random.random() >= self.made):
            return case.seen(grid, self.preprocessing)
        volume = Volume(synthesised(case.labels_on(grid), random), grid, "MR")
        return crop_image(volume, grid, ImageRange.of(volume), self.preprocessing)


class ClickBatches:
    """Numbered batches: batch(first, count) is the training's `batch_of`. keep (T + 1,): the chain's; recycled: a share; own: the chance of every further
    round of answer and prompt. together: so many in a row go through as many rounds, so that the processes that share a step need not wait for each other."""

    def __init__(self, patches: ClickPatches, keep: Tensor, *, recycled: float = .5, own: float = .6, together: int = 1) -> None:
        self.patches, self.recycled, self.own, self.together = patches, recycled, own, together
        self._weights = refining_weights(keep)

    def batch(self, first: int, count: int) -> ClickBatch:
        """Situations first .. first + count - 1."""
        numbers, seed = range(first, first + count), self.patches.seed
        situations = [self.patches.situation(number) for number in numbers]
        prior, truth, prompts, near = (torch.stack(parts) for parts in zip(*(each.rendered() for each in situations)))
        recycled = np.array([np.random.default_rng((seed, number, 1)).random() < self.recycled for number in numbers])
        further = np.array([np.random.default_rng((seed, number // self.together, 3)).random() for number in numbers])
        rounds = (further[:, None] < self.own ** np.arange(1, MOST_ROUNDS + 1)).sum(1)
        spread = torch.tensor([(number + 1) * GOLDEN % 1. for number in numbers], dtype=torch.float64)
        return ClickBatch(torch.stack([each.image for each in situations]), prior, truth, torch.ones(count, 1, dtype=torch.bool), prompts, near,
                          draw_times(self._weights, spread), torch.from_numpy(recycled), torch.from_numpy(rounds),
                          torch.tensor([(seed << NUMBER_BITS) + number for number in numbers]), Situations(situations))


def turned(grid: Geometry, random: np.random.Generator) -> Geometry:
    """The grid mirrored, or turned by up to 15 degrees and stretched by up to a sixth about its middle; half of the time neither turned nor stretched."""
    change = np.diag(random.choice([-1., 1.], 3, p=[.3, .7]))
    if random.random() < .5:
        change = rotation(np.radians(random.uniform(-15, 15, 3))) @ change * np.exp(random.uniform(-.15, .15))
    middle = (np.array(grid.shape) - 1) / 2
    matrix = grid.ijk_to_ras.copy()
    matrix[:3, :3] = change @ matrix[:3, :3]
    matrix[:3, 3] += grid.to_ras(middle) - Geometry(grid.shape, matrix).to_ras(middle)
    return Geometry(grid.shape, matrix)


def shaded(image: Tensor, random: np.random.Generator) -> Tensor:
    """Another contrast, now and then the opposite, and noise that both channels share."""
    bent = ((image + 1) / 2).clamp(0, 1) ** float(np.exp(random.normal(0, .15))) * 2 - 1
    bent[0] = bent[0] * float(np.exp(random.uniform(-.15, .15))) + float(random.uniform(-.08, .08))
    if random.random() < .05:
        bent = -bent
    if random.random() < .4:
        grain = torch.from_numpy(smooth_noise(image.shape[1:], random.uniform(0, 1), random).astype(np.float32))
        bent = bent + grain * torch.tensor([1., 2.]).reshape(2, 1, 1, 1) * float(random.uniform(0, .06))
    return bent.clamp(-1, 1)


def _begun(nothing: Situation, random: np.random.Generator) -> Situation:
    """The first prompt."""
    middle = np.array(nothing.truth.shape) // 2
    if nothing.truth[tuple(middle)] and random.random() < CENTRED:
        return replace(nothing, marks=(Mark("point", True, middle[None] + random.uniform(-.5, .5, (1, 3))),))
    return nothing.prompted(random)


def _worked_on(nothing: Situation, random: np.random.Generator) -> Situation:
    """Some prompts later: they lie where earlier masks were wrong, and the present mask, wrong elsewhere, obeys them; then one prompt more."""
    wrong, before = (corrupted(nothing.truth.astype(np.uint8), 2, random, nothing.spacing_mm)[1] for _ in range(2))
    prompts, situation = int(random.integers(0, MOST_PROMPTS + 1)), nothing
    for number in range(prompts - 1):
        situation = (situation.answered(before).obeying() if number else situation).prompted(random)
    if prompts and random.random() < PARTIAL:
        wrong = wrong * _stub(situation, random)
    mask = wrong if random.random() < .3 else (wrong >= .5).astype(np.float32)
    situation = replace(situation, mask=mask, own=False).obeying()
    return situation.prompted(random) if prompts or not (mask >= .5).any() else situation  # nothing at all says nothing


def _stub(situation: Situation, random: np.random.Generator) -> np.ndarray:
    """bool (k, j, i): near one place, where a prompt said that the object is, or any of the object's: what a first answer covers of a large one."""
    said = [each.places[0] for each in situation.marks if each.inside and len(each.places)]
    places = said or np.argwhere(situation.truth)
    centre, shape = places[random.integers(len(places))], situation.truth.shape
    away = sum((axis - at) ** 2 for axis, at in zip(np.ogrid[tuple(map(slice, shape))], centre))
    return away < (random.uniform(.08, .3) * shape[0]) ** 2


def _middle(case: ClickCase, label: int) -> np.ndarray:
    box = case.boxes[label]
    return (np.array(box.start) + np.array(box.stop) - 1) / 2
