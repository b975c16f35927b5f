"""What a refiner learns from: an image, what a segmentor thinks of it, and the truth. Patches are functions of (seed, number)."""
from __future__ import annotations

from functools import lru_cache
from typing import Mapping, NamedTuple, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.cache import GridCase
from ..data.patches import AIR, Augmentation, Patches, look_up
from ..data.priors import corrupted
from ..diffusion import draw_times, refining_weights
from ..errors import BadInput

GOLDEN = .6180339887498949  # multiples of it, less their whole part, spread evenly however many there are
NUMBER_BITS = 40  # of a patch's seed: the rest is the training's
FEWEST = 20  # voxels in which a segmentor must be wrong about an organ for patches to be centred there
STILL = Augmentation(rotation=0, scale=0, shear=0, shift=0, contrast=0, noise=0, mirror=False)


class RefinerPatch(NamedTuple):
    """image float32 (channels, *spatial); prior, truth float32 (labels, *spatial), background first, or (1, *spatial) for one object;
    known bool (labels,): False where the case's organ was not contoured. spatial (j, i) for flat images.
    """

    image: Tensor
    prior: Tensor
    truth: Tensor
    known: Tensor


class RefinerBatch(NamedTuple):
    """Patches, stacked; times int64 (B,), levels of the chain; recycled bool (B,): the noisy mask is made from the model's own answer;
    own bool (B,): the segmentor at hand is asked for the prior; seeds int64 (B,), of whatever else is drawn.
    """

    image: Tensor
    prior: Tensor
    truth: Tensor
    known: Tensor
    times: Tensor
    recycled: Tensor
    own: Tensor
    seeds: Tensor


class RefinerPatches(Patches):
    """Numbered patches of cases with priors. priors: case name -> float16 (labels, k, j, i) on the case's grid, from a segmentor
    that did not learn from the case; cases without one, and the share `spoilt` of the others' patches, get a corrupted truth.

    Half of the patches with a segmentor's prior are centred where it is wrong, the others on an organ or (on_organ) anywhere.
    `one`: one object against all else; every patch picks an organ and is centred on it, and knows nothing of the others.
    """

    def __init__(self, cases: Sequence[GridCase], organs: int, size: tuple[int, int, int], *, priors: Mapping[str, np.ndarray] | None = None,
                 spoilt: float = .25, one: bool = False, augmentation: Augmentation = Augmentation(), **how) -> None:
        super().__init__(cases, organs, size, augmentation=augmentation, **{"on_organ": 1. if one else 2 / 3, **how})
        if one and not self._drawable:
            raise BadInput("none of the cases holds an object to refine: all their labels are background")
        self.priors, self.spoilt, self.one = priors or {}, spoilt, one
        self._wrong_places = lru_cache(maxsize=None)(self._find_wrong)
        self._numbers = {case.name: number for number, case in enumerate(cases)}

    def patch(self, number: int) -> RefinerPatch:
        """The patch with this number."""
        random = np.random.default_rng((self.seed, number))
        case, centre, organ = self._somewhere(random)
        stored = self.priors.get(case.name) if random.random() >= self.spoilt else None
        if stored is not None and random.random() < .5:
            centre, organ = self._where_wrong(case, centre, organ, random)
        if self.size[0] == 1:
            centre[0] = round(centre[0])
        mirrored = self.augmentation.mirror and random.random() < .5
        points = torch.from_numpy(self._points(case, centre, mirrored, random))
        target = look_up(case.channels, points, "nearest", 0)[0].long()
        known = torch.tensor([True] + [c in case.places or not self.empty_is_undrawn for c in range(1, self.organs + 1)])
        order = self._mirror_order() if mirrored else torch.arange(self.organs + 1)
        target, known, organ = order[target], known[order], int(order[organ])
        prior = None if stored is None else _looked_up_prior(stored, points)[order]
        image = self._shaded(look_up(case.image, points, "bilinear", AIR), random)
        return self._assembled(image, target, prior, known, organ, case, random)

    def _assembled(self, image: Tensor, target: Tensor, prior: Tensor | None, known: Tensor, organ: int, case: GridCase,
                   random: np.random.Generator) -> RefinerPatch:
        spacing = case.geometry.spacing
        if self.size[0] == 1:
            image, target, spacing = image[:, 0], target[0], spacing[1:]
            prior = None if prior is None else prior[:, 0]
        if self.one:
            target, known = (target == organ).long(), torch.ones(1, dtype=torch.bool)
            prior = None if prior is None else prior[organ:organ + 1]
        labels = 2 if self.one else self.organs + 1
        if prior is None:
            prior = torch.from_numpy(corrupted(target.numpy(), labels, random, spacing))[1 if self.one else 0:]
        truth = F.one_hot(target, labels).movedim(-1, 0).float()
        return RefinerPatch(image, prior, truth[1:] if self.one else truth, known)

    def _somewhere(self, random: np.random.Generator) -> tuple[GridCase, np.ndarray, int]:
        """A case, a place in it, and the organ there (0 for none in particular)."""
        case, centre = self._place(random)
        at = np.clip(np.rint(centre), 0, np.array(case.channels.shape) - 1).astype(int)
        organ = int(case.channels[tuple(at)])
        if self.one and organ == 0:
            organ = min(case.places, key=lambda c: int(np.abs(case.places[c] - at).sum(1).min()))
        return case, np.asarray(centre, np.float64), organ

    def _where_wrong(self, case: GridCase, centre: np.ndarray, organ: int, random: np.random.Generator) -> tuple[np.ndarray, int]:
        """A place where the segmentor is wrong about an organ, each organ as likely as another; where it is right, the one given."""
        wrong = self._wrong_places(self._numbers[case.name])
        if not wrong:
            return centre, organ
        organ = sorted(wrong)[random.integers(len(wrong))]
        places = wrong[organ]
        return places[random.integers(len(places))] + random.normal(0, np.array(self.size) / 12), organ

    def _find_wrong(self, number: int) -> dict[int, np.ndarray]:
        """Organ -> voxels (n, 3) where the stored prior and the truth disagree on it, for the organs that are known."""
        case = self.cases[number]
        found = np.asarray(self.priors[case.name]).argmax(0)
        places = {c: np.argwhere((found == c) != (case.channels == c)).astype(np.int16) for c in case.places}
        return {c: each for c, each in places.items() if len(each) >= FEWEST}

    def _mirror_order(self) -> Tensor:
        order = torch.arange(self.organs + 1)
        for right, left in self.paired:
            order[right], order[left] = left, right
        return order


class RefinerBatches:
    """Numbered batches: batch(first, count) is the training's `batch_of`. keep (T + 1,): the chain's; recycled, own: shares."""

    def __init__(self, patches: RefinerPatches, keep: Tensor, *, recycled: float = .5, own: float = 0.) -> None:
        self.patches, self.recycled, self.own = patches, recycled, own
        self._weights = refining_weights(keep)

    def batch(self, first: int, count: int) -> RefinerBatch:
        """Patches first .. first + count - 1, stacked."""
        return RefinerBatch(*(torch.stack(parts) for parts in zip(*map(self._one, range(first, first + count)))))

    def _one(self, number: int) -> tuple[Tensor, ...]:
        seed = self.patches.seed
        recycled, own = np.random.default_rng((seed, number, 1)).random(2) < (self.recycled, self.own)
        time, = draw_times(self._weights, torch.tensor([(number + 1) * GOLDEN % 1.], dtype=torch.float64))
        return *self.patches.patch(number), time, torch.tensor(bool(recycled)), torch.tensor(bool(own)), torch.tensor((seed << NUMBER_BITS) + number)


def _looked_up_prior(prior: np.ndarray, points: Tensor) -> Tensor:
    """Chances (labels, k, j, i) at points; beyond the case is background. Interpolation keeps their sum."""
    found = look_up(prior, points, "bilinear", 0).clamp(0, 1)
    found[0] += 1 - found.sum(0)
    return found.clamp(0, 1)
