"""An interactive session: labels become right prompt by prompt, and each prompt can be taken back.

The labels are those at the start plus, in order, what each prompt changed. So undo restores every voxel, a prompt taken from the middle
takes with it what it caused (the later ones are answered anew), and the same prompts give the same labels.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import torch

from .click_refining import STEPS, click_refiner
from .errors import BadInput
from .geometry import Box
from .looking import Seen, Sight
from .marks import region as covered
from .model import FIRST_OWN_ID, Model
from .next_place import Place, place_in, uncertainty, whole_look
from .organs import ORGANS
from .progress import Progress, silent
from .prompts import BoxPrompt, Lasso, Point, Prompt, Ras, Scribble, from_json
from .refiner_card import RefinerCard
from .segmenter import Prediction, usable_device
from .session_file import Saved, read_session, write_session
from .timeline import Step, Timeline
from .turn import Held, may_change
from .volume import LabelMap, Volume

log = logging.getLogger(__name__)
PLACE_SAMPLES = 4


@dataclass(frozen=True, eq=False)
class Edit:
    """What changed: the ids of `box` after it and before it; millilitres that took on a label and that lost theirs; the prompt's number."""

    box: Box
    labels: np.ndarray
    previous: np.ndarray
    added_ml: float
    removed_ml: float
    number: int | None = None


class RefinementSession:
    """A click model and one volume at a time. `set_volume` is slow, everything else is what somebody repeats.

    Whatever is refused, with BadInput, and whatever is stopped, by a `progress` that raises, changes nothing.
    Other labels keep their voxels while `lock_others`; without it, those in `locked` do. `region` limits all change to a box of the volume.
    """

    def __init__(self, model: Model, *, steps: int = STEPS, seed: int = 0, device: str | torch.device = "auto") -> None:
        """steps: of the chain, a look; seed: of its noise, which belongs to places: the same prompts always give the same labels."""
        click_refiner(model)
        if not 1 <= steps <= (most := RefinerCard.of(model.card).levels):
            raise BadInput(f"This model takes 1 to {most} steps, not {steps}.")
        self.model, self.steps, self.seed, self.device = model, steps, seed, usable_device(device)
        model.network.to(self.device, memory_format=torch.channels_last_3d).eval()
        self.lock_others, self.locked, self.region = True, set(), None
        self._timeline: Timeline | None = None

    def set_volume(self, volume: Volume, labels: LabelMap | None = None, prediction: Prediction | None = None, *, progress: Progress = silent) -> None:
        """Begin anew on a volume, with these labels, or the prediction's, or none; a prediction also brings what it was unsure of."""
        if labels is None:
            labels = prediction.labels if prediction else LabelMap(np.zeros(volume.geometry.shape, np.uint8), volume.geometry)
        for each in filter(None, (labels, prediction and prediction.labels)):
            _check_grid(each, volume)
        sight = Sight.of(self.model, volume, prediction, self.steps, self.seed, self.device, progress)
        self._timeline = Timeline(sight, labels.ids.copy())
        self.names = {id: labels.names.get(id, f"label_{id}") for id in sorted({*labels.names, *self._now.draft.boxes})}
        self.locked, self.region, self._places = set(), None, {}

    @property
    def labels(self) -> LabelMap:
        """As they are, read-only: later edits show in it. Copy the ids to keep them."""
        ids = self._now.draft.ids.view()
        ids.flags.writeable = False
        return LabelMap(ids, self._now.sight.native, self.names)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Those in force, in the order in which they were answered."""
        return self._timeline.prompts if self._timeline else ()

    def add_label(self, name: str) -> int:
        """Its id: the organ table's where the name is there, else the next free one from 200. BadInput for a name that is taken."""
        if not name or name in self.names.values():
            raise BadInput(f"There is a label {name!r} already; choose another name." if name else "A label needs a name.")
        known = ORGANS[name].id if name in ORGANS else 0
        label = known if known and known not in self.names else next(n for n in range(FIRST_OWN_ID, 1 << 16) if n not in self.names)
        self._now.widen(label)
        self.names = {**self.names, label: name}
        return label

    def add_point(self, ras: Ras, label: int, *, inside: bool, progress: Progress = silent) -> Edit:
        return self.add(Point(self._number, label, inside, ras, **self._limits), progress=progress)

    def add_scribble(self, points_ras: Sequence[Ras], label: int, *, inside: bool, progress: Progress = silent) -> Edit:
        return self.add(Scribble(self._number, label, inside, points_ras, **self._limits), progress=progress)

    def add_box(self, corner: Ras, opposite: Ras, label: int, *, inside: bool = True, progress: Progress = silent) -> Edit:
        return self.add(BoxPrompt(self._number, label, inside, (corner, opposite), **self._limits), progress=progress)

    def add_lasso(self, polygon_ras: Sequence[Ras], label: int, *, inside: bool, depth_mm: float, progress: Progress = silent) -> Edit:
        return self.add(Lasso(self._number, label, inside, polygon_ras, depth_mm, **self._limits), progress=progress)

    def add(self, prompt: Prompt, *, progress: Progress = silent) -> Edit:
        """Answer a prompt; its own `locked` and `region` hold. BadInput where it lies outside, in a locked label, or has a label or number that can't be."""
        self._check(prompt, self.prompts)
        if prompt.label in {*self.locked, *(prompt.locked or ())}:
            raise BadInput(f"{self.names[prompt.label]} is locked; unlock it first.")
        self._check_freedom(prompt)
        return self._shown(self._now.add(prompt, progress))

    def recall(self, prompt: Prompt, box: Box, ids: np.ndarray) -> Edit:
        """As `add`, without computing: ids of `box` as this prompt left them in a session that was like this one until then."""
        self._check(prompt, self.prompts)
        if ids.shape != box.shape or box.clip(self._now.draft.ids.shape) != box:
            raise BadInput(f"The answer of {ids.shape} voxels does not fit the box {box.start} to {box.stop} (K, J, I).")
        return self._shown(self._now.recall(prompt, box, ids))

    def set_labels(self, labels: LabelMap) -> Edit:
        """Take over labels that were changed elsewhere, as one step; prompts stay in force."""
        _check_grid(labels, self._now.sight.volume)
        self._now.widen(int(labels.ids.max()))
        step = self._now.overwrite(labels.ids)
        known = {**{label: f"label_{label}" for label in self._now.draft.boxes}, **self.names}
        self.names = {**known, **labels.names}
        return self._shown(step)

    def undo(self) -> Edit | None:
        """Take back the last step: a prompt, a removal, a replay. None where there is none."""
        return self._shown(self._now.undo(), after=False) if self._now.done else None

    def redo(self) -> Edit | None:
        """Do again what was undone last. None where nothing was, or something was done since."""
        return self._shown(self._now.redo()) if self._now.undone else None

    def remove(self, number: int, *, progress: Progress = silent) -> Edit:
        """Take one prompt away with all that it caused: the prompts after it are answered as if it had never been."""
        if number not in (there := [prompt.number for prompt in self.prompts]):
            raise BadInput(f"There is no prompt {number}; there are {', '.join(map(str, there)) or 'none'}.")
        return self._shown(self._now.remove(number, progress))

    def replay(self, prompts: Iterable[Mapping[str, Any]], *, progress: Progress = silent) -> Edit:
        """Answer these prompts, as `to_json` gives them, from the labels at the start: one step. The same prompts give the same labels."""
        wanted = [from_json(values) for values in prompts]
        for n, prompt in enumerate(wanted):
            self._check(prompt, wanted[:n])
        return self._shown(self._now.replay(wanted, progress))

    def uncertainty(self, label: int, samples: int = 8) -> Volume:
        """Entropy in nats on the volume's grid, of the mean of so many samples; 0 away from the object."""
        self._check_label(label)
        if samples < 1:
            raise BadInput(f"Doubt is measured on one sample or more, not {samples}.")
        return uncertainty(self._whole(label, samples), self._now.sight.native)

    def next_place(self, label: int | None = None, *, progress: Progress = silent) -> Place | None:
        """Where samples disagree most, in this label or any; None where they agree. A second or so a label that changed since it was asked last."""
        for each in () if label is None else (label,):
            self._check_label(each)
        labels = list(self.names) if label is None else [label]
        places = []
        for n, each in enumerate(labels):
            progress(n / len(labels), f"Looking at {self.names[each]}")
            places.append(self._place(each))
        return max(filter(None, places), key=lambda place: place.score, default=None)

    def save(self, path: str | Path) -> None:
        """Everything but the volume and the model, for `restore`; undo goes back prompt by prompt."""
        region = self.region and [list(self.region.start), list(self.region.stop)]
        settings = {"names": {str(id): name for id, name in self.names.items()}, "steps": self.steps, "seed": self.seed, "model": self.model.sha256,
                    "lock_others": self.lock_others, "locked": sorted(self.locked), "region": region, "bytes": self._now.draft.ids.dtype.itemsize}
        write_session(Saved(settings, self._now.sight.native, self._now.start(), self._now.trail), path)

    @classmethod
    def restore(cls, path: str | Path, model: Model, volume: Volume, prediction: Prediction | None = None, *, device: str | torch.device = "auto",
                progress: Progress = silent) -> RefinementSession:
        """The session as it was saved. BadInput where the file is damaged or the volume has another grid."""
        saved = read_session(path)
        settings = saved.settings
        if not saved.geometry.same_grid(volume.geometry):
            raise BadInput(f"{path} belongs to a volume of {saved.geometry.shape} voxels at {saved.geometry.origin} mm (RAS), not to this one of "
                           f"{volume.geometry.shape} at {volume.geometry.origin}.")
        if settings["model"] != model.sha256:
            log.warning("%s was made with another click model; prompts are answered anew by this one where earlier ones are removed", path)
        session = cls(model, steps=settings["steps"], seed=settings["seed"], device=device)
        ids = np.zeros(volume.geometry.shape, np.uint8 if settings["bytes"] == 1 else np.uint16)
        ids[saved.start.box.slices] = saved.start.ids(after=True)
        session.set_volume(volume, LabelMap(ids, volume.geometry, {int(id): name for id, name in settings["names"].items()}), prediction, progress=progress)
        session.lock_others, session.locked = settings["lock_others"], set(settings["locked"])
        session.region = settings["region"] and Box(*settings["region"])
        session._now.resume(saved.trail)
        return session

    @property
    def _now(self) -> Timeline:
        if self._timeline is None:
            raise BadInput("The session has no volume yet; give it one with set_volume.")
        return self._timeline

    @property
    def _number(self) -> int:
        return 1 + max((prompt.number for prompt in self.prompts), default=0)

    @property
    def _limits(self) -> dict[str, Any]:
        return {"locked": None if self.lock_others else tuple(self.locked), "region": self.region}

    def _prompts_of(self, label: int) -> tuple[Prompt, ...]:
        return tuple(prompt for prompt in self.prompts if prompt.label == label)

    def _check_label(self, label: int) -> None:
        if self._now and label not in self.names:
            there = ", ".join(f"{id} ({name})" for id, name in self.names.items()) or "none"
            raise BadInput(f"There is no label {label}; there are {there}. Add it first.")

    def _check(self, prompt: Prompt, earlier: Sequence[Prompt]) -> None:
        self._check_label(prompt.label)
        if prompt.number in (each.number for each in earlier):
            raise BadInput(f"There is a prompt {prompt.number} already.")
        native = self._now.sight.native
        if isinstance(prompt, (BoxPrompt, Lasso)):
            outside = prompt.places if covered(prompt, native)[0].is_empty else ()
        else:
            outside = [place for place in prompt.places if not native.contains(native.to_index(place))]
        if outside:
            raise BadInput(f"The {prompt.kind} at ({', '.join(f'{mm:.1f}' for mm in outside[0])}) mm (RAS) is outside the volume.")

    def _check_freedom(self, prompt: Prompt) -> None:
        """A prompt that claims voxels of which none may change is a mistake that has to be told."""
        held = Held.of(prompt, self._now.sight.native)
        ids = self._now.draft.ids[held.box.slices]
        if prompt.inside and held.mask.any() and not (held.mask & may_change(ids, held.box, prompt)).any():
            there = sorted(self.names[id] for id in np.unique(ids[held.mask]).tolist() if id not in (0, prompt.label))
            raise BadInput(f"The {prompt.kind} lies in {', '.join(there)}, which is locked; unlock it first." if there else
                           f"The {prompt.kind} lies outside the region to which changes are limited.")

    def _shown(self, step: Step, *, after: bool = True) -> Edit:
        """A step, or its undoing, for those who show it."""
        labels, previous = (step.delta.ids(after=which).astype(self._now.draft.ids.dtype) for which in (after, not after))
        touched = {*np.unique(previous).tolist(), *np.unique(labels).tolist()}
        self._places = {key: place for key, place in self._places.items() if key[1] not in touched}
        changed, ml = previous != labels, float(np.prod(self._now.sight.native.spacing)) / 1000
        added = int((changed & (labels > 0)).sum())
        return Edit(step.delta.box, labels, previous, added * ml, (int(changed.sum()) - added) * ml, step.number)

    def _whole(self, label: int, samples: int) -> Seen | None:
        return whole_look(self._now.sight, self._now.draft, label, self._prompts_of(label), samples)

    def _place(self, label: int) -> Place | None:
        """Remembered as long as neither the label nor its prompts change."""
        prompts = self._prompts_of(label)
        if (prompts, label) not in self._places:
            self._places[prompts, label] = place_in(self._whole(label, PLACE_SAMPLES), label, self.names[label], prompts)
        return self._places[prompts, label]


def _check_grid(labels: LabelMap, volume: Volume) -> None:
    if not labels.geometry.same_grid(volume.geometry):
        raise BadInput(f"The labels are on a grid of {labels.geometry.shape} voxels at {labels.geometry.origin} mm (RAS), the volume on one of "
                       f"{volume.geometry.shape} at {volume.geometry.origin}; resample them first.")
