"""What the click model is shown of a volume in a session, and what it answers: everything that stays while somebody clicks."""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from .click_refining import WAYS, Look, refine_crop
from .crops import SPACINGS_MM, ImageRange, crop_image, crop_mask, lattice_index, seen
from .draft import Draft
from .errors import BadInput
from .geometry import Geometry
from .marks import Mark, away_mm, marks
from .model import Model
from .progress import Progress, silent
from .prompt_maps import Steering, believed, doubted, steering
from .prompts import Prompt
from .resample import block_size, resample
from .segmenter import Prediction
from .volume import Volume
from .zoom import useful

COARSE_MM = 4.  # crops of this spacing and beyond are cut from a copy of the volume in which blocks are averaged already
# How far a prompt's answer is taken over what was there: in mm, and in depths of the prompt's place.
DRAWN = 9., 2.2    # over what was drawn, by hand or by a tool that does not say how sure it is; further gains more of masks that are wrong all round
FOUND = 7., 1.8    # over an automatic result that says how sure it is: the middle of a range, 6 to 8 mm, in which validation cases gain about as much
CLICKED = 25., 2.  # over what clicks alone made, where the answer lacks more than LOST of it: the model has lost the object then
LOST = .5
SETTLED = 12., 2.  # over what more clicks than these few made: late ones took and added whole muscles
FEW = 5
CLEAR = .2      # of the chance from which on a voxel belongs to the object
UNTOUCHED = .25  # share of a voxel by which a label may differ from the automatic one and still count as that


@dataclass(frozen=True, eq=False)
class Seen:
    """One look: its crop, the share (k, j, i) of each voxel that was object before, how prompts steered, and the answer; known (k, j, i):
    the chances of what was there, without the prompts; drawn: whether that is more than prompts alone made; found: whether it is an automatic
    result, or was one, whose chances are known."""

    grid: Geometry
    share: Tensor
    steering: Steering
    answer: Look
    known: Tensor
    drawn: bool
    found: bool

    def near(self, newest: Mark, count: int, depth_mm: float | None) -> Seen:
        """What was there is believed the more the further from the newest of `count` prompts: a correction of one place is no second opinion on
        all of it. The deeper the place lay in the mask, or the further from it, the more is meant. depth_mm: as `depth_mm` says of the mask as it was
        before the prompt, None where there was nothing.
        """
        if depth_mm is None or (reach := self._reach(newest, count)) is None:
            return self
        least_mm, depths = reach
        weight = torch.from_numpy(1 - np.exp(-(away_mm(newest, self.grid) / max(least_mm, depths * depth_mm)) ** 2 / 2)).float()
        return replace(self, answer=self.answer.believing(self.known, weight, .5 if self.drawn else self.answer.cut))

    def depth_mm(self, newest: Mark) -> float | None:
        """How far the prompt lies from the outline of the mask, on either side; None where the crop shows none of it."""
        inside = (self.share >= .5).numpy()
        if not inside.any():
            return None
        away = away_mm(newest, self.grid)
        return float(outline_mm(inside, self.grid.spacing)[away == away.min()].min())

    def _reach(self, newest: Mark, count: int) -> tuple[float, float] | None:
        """None: all is seen anew. So it is while few clicks alone made the object, unless the answer has lost it."""
        if self.drawn:
            return FOUND if self.found else DRAWN
        if newest.kind == "region":
            return None
        if count > FEW:
            return SETTLED
        return CLICKED if self._lost else None

    @property
    def _lost(self) -> bool:
        """Whether most of what was there would go."""
        before = self.share >= .5
        return bool((before & ~self.answer.mask).sum() > LOST * before.sum())

    @property
    def changed(self) -> np.ndarray:
        """bool (k, j, i): where the answer clearly differs from what was. An outline that trembles is no change."""
        before, after, cut = self.share >= .5, self.answer.chances, self.answer.cut
        return torch.where(before, after <= cut * (1 - CLEAR), after >= cut * (1 + CLEAR)).numpy()


@dataclass(frozen=True, eq=False)
class Doubts:
    """What an automatic result was unsure of, for labels that are still as it left them."""

    prediction: Prediction
    draft: Draft

    @classmethod
    def of(cls, prediction: Prediction | None) -> Doubts | None:
        return None if prediction is None else cls(prediction, Draft.of(prediction.labels.ids))

    def chance(self, label: int, grid: Geometry) -> Tensor | None:
        """Chance (k, j, i) of a label on a crop, 0 outside the model grid; None for one that the prediction does not know."""
        channels = list(self.prediction.labels.names)  # channel 1 is the first organ
        if label not in channels:
            return None
        own = self.prediction.geometry
        part = seen(own, grid)
        if part.is_empty:
            return torch.zeros(grid.shape)
        chances = self.prediction.logits[(slice(None), *part.slices)].float().softmax(0)[1 + channels.index(label)]
        return resample(chances.cpu().numpy(), own.crop(part), grid)


@dataclass(frozen=True, eq=False)
class Sight:
    """A click model on a device, looking at one volume; drawn: labels that prompts alone did not make."""

    model: Model
    volume: Volume
    coarse: Volume
    values: ImageRange
    doubts: Doubts | None
    steps: int
    seed: int
    device: torch.device
    drawn: frozenset[int] = frozenset()

    @classmethod
    def of(cls, model: Model, volume: Volume, prediction: Prediction | None, steps: int, seed: int, device: torch.device,
           progress: Progress = silent) -> Sight:
        """The slow part: percentiles and block means of the whole volume."""
        if volume.array.ndim != 3:
            raise BadInput(f"The image has {len(volume.array)} channels; clicks are answered in one. Choose one of them.")
        return cls(model, volume, averaged(volume, COARSE_MM, progress), ImageRange.of(volume), Doubts.of(prediction), steps, seed, device)

    @property
    def ladder(self) -> Sequence[float]:
        """The spacings in mm that the model was trained at and the volume has something to show at, fine to coarse."""
        return useful(sorted(self.model.card.get("click", {}).get("spacings_mm", SPACINGS_MM)), self.native)

    @property
    def native(self) -> Geometry:
        return self.volume.geometry

    def look(self, draft: Draft, label: int, prompts: Sequence[Prompt], grid: Geometry, samples: int = WAYS) -> Seen:
        """At a label of the draft, on a crop, with the prompts of that label, oldest first."""
        share = share_of(draft, label, self.native, grid)
        source = self.coarse if grid.spacing[0] >= COARSE_MM else self.volume
        image = crop_image(source, grid, self.values, self.model.preprocessing)
        given = steering(marks(prompts, grid), share, image[1], grid.spacing, own=label not in self.drawn)
        chance = None if self.doubts is None else self.doubts.chance(label, grid)
        prior = share if chance is None else self._known(label, grid, share, chance)
        answer = refine_crop(self.model, image, believed(prior, given), given, steps=self.steps, samples=samples, seed=self.seed,
                             origin=lattice_index(grid), device=self.device)
        return Seen(grid, share, given, answer, doubted(prior), label in self.drawn, chance is not None)

    def _known(self, label: int, grid: Geometry, share: Tensor, chance: Tensor) -> Tensor:
        """The share (k, j, i), or an automatic result's chances where its label is as it was."""
        untouched = (share - share_of(self.doubts.draft, label, self.native, grid)).abs() < UNTOUCHED
        return torch.where(untouched, chance, share)


def share_of(draft: Draft, label: int, native: Geometry, grid: Geometry) -> Tensor:
    """The share (k, j, i) of each voxel of a crop that a label covers."""
    room = 1 + 2 * block_size(min(native.spacing), grid.spacing[0])
    box = draft.box_of(label)
    if box.is_empty:
        return torch.zeros(grid.shape)
    box = box.grow(room).clip(native.shape)
    return crop_mask(draft.ids[box.slices] == label, native.crop(box), grid)


def outline_mm(mask: np.ndarray, spacing_mm: Sequence[float]) -> np.ndarray:
    """How far each voxel (k, j, i) lies from the outline of a mask, on either side, in mm."""
    return ndimage.distance_transform_edt(mask, sampling=spacing_mm) + ndimage.distance_transform_edt(~mask, sampling=spacing_mm)


def averaged(volume: Volume, spacing_mm: float, progress: Progress = silent) -> Volume:
    """The volume in means of whole blocks, as many voxels as fit into `spacing_mm` along each axis; itself where that is one."""
    blocks = np.array([block_size(mm, spacing_mm) for mm in volume.geometry.spacing])
    if (blocks == 1).all():
        return volume
    shape = -(-np.array(volume.geometry.shape) // blocks)
    matrix = volume.geometry.ijk_to_ras.copy()
    matrix[:3, :3] *= blocks[::-1]
    matrix[:3, 3] = volume.geometry.to_ras((blocks - 1) / 2)
    grid = Geometry(tuple(shape), matrix)
    means = resample(volume.array, volume.geometry, grid, progress=progress)
    return Volume(means.numpy(), grid, volume.modality)
