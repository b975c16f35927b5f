"""An interactive session: labels become right prompt by prompt, and each prompt can be taken back.

The labels are those at the start plus, in order, what each prompt changed. So undo restores every voxel, a prompt taken from the middle
takes with it what it caused (the later ones are answered anew), and the same prompts give the same labels.
"""
from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import torch

from .click_refining import click_refiner
from .clicking import Held, click, may_change
from .draft import NOWHERE, Delta, Draft, union
from .errors import BadInput
from .geometry import Box
from .history import Entry, History, Step, Trail
from .looking import Sight
from .marks import region as covered
from .model import FIRST_OWN_ID, Model
from .next_place import Place, place_in, uncertainty, whole_look
from .organs import ORGANS
from .progress import Progress, part, silent
from .prompts import BoxPrompt, Lasso, Point, Prompt, Ras, Scribble, from_json
from .refiner_card import RefinerCard
from .segmenter import Prediction, usable_device
from .session_file import Saved, read_session, write_session
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

    def __init__(self, model: Model, *, steps: int = 4, seed: int = 0, device: str | torch.device = "auto") -> None:
        """steps: of the chain, a look; seed: of its noise, which belongs to places: the same prompts always give the same labels."""
        click_refiner(model)
        if not 1 <= steps <= (most := RefinerCard.of(model.card).levels):
            raise BadInput(f"This model takes 1 to {most} steps, not {steps}.")
        self.model, self.steps, self.seed, self.device = model, steps, seed, usable_device(device)
        model.network.to(self.device, memory_format=torch.channels_last_3d).eval()
        self.lock_others, self.locked, self.region = True, set(), None
        self._sight: Sight | None = None
        self._history = History()

    def set_volume(self, volume: Volume, labels: LabelMap | None = None, prediction: Prediction | None = None, *, progress: Progress = silent) -> None:
        """Begin anew on a volume, with these labels, or the prediction's, or none; a prediction also brings what it was unsure of."""
        if labels is None:
            labels = prediction.labels if prediction else LabelMap(np.zeros(volume.geometry.shape, np.uint8), volume.geometry)
        for each in filter(None, (labels, prediction and prediction.labels)):
            _check_grid(each, volume)
        self._sight = Sight.of(self.model, volume, prediction, self.steps, self.seed, self.device, progress)
        self._draft, self._history = Draft.of(labels.ids.copy()), History()
        self.names = {id: labels.names.get(id, f"label_{id}") for id in sorted({*labels.names, *self._draft.boxes})}
        self.locked, self.region, self._places = set(), None, {}

    @property
    def labels(self) -> LabelMap:
        """As they are, read-only: later edits show in it. Copy the ids to keep them."""
        ids = self._now.ids.view()
        ids.flags.writeable = False
        return LabelMap(ids, self._sight.native, self.names)

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """Those in force, in the order in which they were answered."""
        return tuple(entry.prompt for entry in self._history.trail if entry.held)

    def add_label(self, name: str) -> int:
        """Its id: the organ table's where the name is there, else the next free one from 200. BadInput for a name that is taken."""
        if not name or name in self.names.values():
            raise BadInput(f"There is a label {name!r} already; choose another name." if name else "A label needs a name.")
        known = ORGANS[name].id if name in ORGANS else 0
        label = known if known and known not in self.names else next(n for n in range(FIRST_OWN_ID, 1 << 16) if n not in self.names)
        self._widen(label)
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
        if prompt.label in self.locked:
            raise BadInput(f"{self.names[prompt.label]} is locked; unlock it first.")
        self._check_freedom(Held.of(prompt, self._sight.native))
        trail = self._answered(self._history.trail, prompt, progress)
        return self._done(trail[-1].delta, trail, prompt.number)

    def set_labels(self, labels: LabelMap) -> Edit:
        """Take over labels that were changed elsewhere, as one step; prompts stay in force."""
        _check_grid(labels, self._now and self._sight.volume)
        self.names = {**self.names, **labels.names}
        self._widen(int(labels.ids.max()))
        delta = Delta.of(Box.whole(labels.ids.shape), self._now.ids, labels.ids)
        self.names |= {id: f"label_{id}" for id in np.unique(delta.ids(after=True)).tolist() if id and id not in self.names}
        self._put(delta, after=True)
        return self._done(delta, (*self._history.trail, Entry(None, delta)), None)

    def undo(self) -> Edit | None:
        """Take back the last step: a prompt, a removal, a replay. None where there is none."""
        return self._turned(self._history.undo(), after=False) if self._now and self._history.done else None

    def redo(self) -> Edit | None:
        """Do again what was undone last. None where nothing was, or something was done since."""
        return self._turned(self._history.redo(), after=True) if self._now and self._history.undone else None

    def remove(self, number: int, *, progress: Progress = silent) -> Edit:
        """Take one prompt away with all that it caused: the prompts after it are answered as if it had never been."""
        found = [n for n, entry in enumerate(self._history.trail) if entry.held and entry.prompt.number == number]
        if not found:
            raise BadInput(f"There is no prompt {number}; there are {', '.join(str(each.number) for each in self.prompts) or 'none'}.")
        later = self._history.trail[found[0] + 1:]
        with self._draft.attempt() as attempt:
            trail = self._rewound(found[0])
            for n, entry in enumerate(later):
                trail = self._again(trail, entry, part(progress, n / len(later), (n + 1) / len(later)))
            delta = attempt.delta()
        return self._done(delta, trail, number)

    def replay(self, prompts: Iterable[Mapping[str, Any]], *, progress: Progress = silent) -> Edit:
        """Answer these prompts, as `to_json` gives them, from the labels at the start: one step. The same prompts give the same labels."""
        wanted = [from_json(values) for values in prompts]
        for n, prompt in enumerate(wanted):
            self._check(prompt, wanted[:n])
        with self._now.attempt() as attempt:
            trail = self._rewound(0)
            for n, prompt in enumerate(wanted):
                trail = self._answered(trail, prompt, part(progress, n / len(wanted), (n + 1) / len(wanted)))
            delta = attempt.delta()
        return self._done(delta, trail, None)

    def uncertainty(self, label: int, samples: int = 8) -> Volume:
        """Entropy in nats on the volume's grid, of the mean of so many samples; 0 away from the object."""
        self._check_label(label)
        return uncertainty(whole_look(self._sight, self._now, label, self._prompts_of(label), samples), self._sight.native)

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
                    "lock_others": self.lock_others, "locked": sorted(self.locked), "region": region, "bytes": self._now.ids.dtype.itemsize}
        write_session(Saved(settings, self._sight.native, self._first(), self._history.trail), path)

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
        for n, entry in enumerate(saved.trail):
            session._put(entry.delta, after=True)
            session._history.do(Step(entry.delta, saved.trail[:n], saved.trail[:n + 1], entry.prompt and entry.prompt.number))
        return session

    @property
    def _now(self) -> Draft:
        if self._sight is None:
            raise BadInput("The session has no volume yet; give it one with set_volume.")
        return self._draft

    @property
    def _number(self) -> int:
        return 1 + max((prompt.number for prompt in self.prompts), default=0) if self._now else 1

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
        native = self._sight.native
        if isinstance(prompt, (BoxPrompt, Lasso)):
            outside = prompt.places if covered(prompt, native)[0].is_empty else ()
        else:
            outside = [place for place in prompt.places if not native.contains(native.to_index(place))]
        if outside:
            raise BadInput(f"The {prompt.kind} at ({', '.join(f'{mm:.1f}' for mm in outside[0])}) mm (RAS) is outside the volume.")

    def _check_freedom(self, held: Held) -> None:
        """A prompt whose own voxels may all not change is a mistake that has to be told."""
        ids, prompt = self._now.ids[held.box.slices], held.prompt
        if held.mask.any() and not (held.mask & may_change(ids, held.box, prompt)).any():
            there = sorted(self.names[id] for id in np.unique(ids[held.mask]).tolist() if id not in (0, prompt.label))
            raise BadInput(f"The {prompt.kind} lies in {', '.join(there)}, which is locked; unlock it first." if there else
                           f"The {prompt.kind} lies outside the region to which changes are limited.")

    def _answered(self, trail: Trail, prompt: Prompt, progress: Progress) -> Trail:
        """The trail with one prompt more, answered on the draft as it is."""
        held = Held.of(prompt, self._sight.native)
        with self._draft.attempt() as attempt:
            click(self._sight, self._draft, held, [entry.held for entry in trail if entry.held], progress)
            return (*trail, Entry(held, attempt.delta()))

    def _rewound(self, entries: int) -> Trail:
        """Lead the draft back to where it was after so many entries of the trail."""
        for entry in reversed(self._history.trail[entries:]):
            self._put(entry.delta, after=False)
        return self._history.trail[:entries]

    def _again(self, trail: Trail, entry: Entry, progress: Progress) -> Trail:
        """A later entry on another past: a prompt is answered anew, voxels that were changed elsewhere are changed again."""
        if entry.held:
            return self._answered(trail, entry.prompt, progress)
        before, after, box = entry.delta.ids(after=False), entry.delta.ids(after=True), entry.delta.box
        with self._draft.attempt() as attempt:
            self._draft.put(box, np.where(before != after, after, self._draft.ids[box.slices]))
            return (*trail, Entry(None, attempt.delta()))

    def _widen(self, label: int) -> None:
        """Make room for a label that the draft's numbers cannot hold."""
        if label > np.iinfo(self._now.ids.dtype).max:
            self._draft = Draft(self._draft.ids.astype(np.uint16), self._draft.boxes)

    def _put(self, delta: Delta, *, after: bool) -> None:
        self._draft.put(delta.box, delta.ids(after=after))

    def _first(self) -> Delta:
        """The labels at the start, as a change of nothing."""
        draft = Draft.of(self._now.ids.copy())
        for entry in reversed(self._history.trail):
            draft.put(entry.delta.box, entry.delta.ids(after=False))
        box = reduce(union, draft.boxes.values(), NOWHERE)
        ids = draft.ids[box.slices]
        return Delta.of(box, np.zeros_like(ids), ids)

    def _done(self, delta: Delta, trail: Trail, number: int | None) -> Edit:
        """Remember a change that the draft shows already."""
        self._history.do(Step(delta, self._history.trail, trail, number))
        return self._shown(delta, number, after=True)

    def _turned(self, step: Step, *, after: bool) -> Edit:
        self._put(step.delta, after=after)
        return self._shown(step.delta, step.number, after=after)

    def _shown(self, delta: Delta, number: int | None, *, after: bool) -> Edit:
        """What changed, for those who show it."""
        labels, previous = (delta.ids(after=which).astype(self._draft.ids.dtype) for which in (after, not after))
        touched = {*np.unique(previous).tolist(), *np.unique(labels).tolist()}
        self._places = {key: place for key, place in self._places.items() if key[1] not in touched}
        changed, ml = previous != labels, float(np.prod(self._sight.native.spacing)) / 1000
        added = int((changed & (labels > 0)).sum())
        return Edit(delta.box, labels, previous, added * ml, (int(changed.sum()) - added) * ml, number)

    def _place(self, label: int) -> Place | None:
        prompts = self._prompts_of(label)
        if (prompts, label) not in self._places:
            seen = whole_look(self._sight, self._draft, label, prompts, PLACE_SAMPLES)
            self._places[prompts, label] = place_in(seen, label, self.names[label], prompts)
        return self._places[prompts, label]


def _check_grid(labels: LabelMap, volume: Volume) -> None:
    if not labels.geometry.same_grid(volume.geometry):
        raise BadInput(f"The labels are on a grid of {labels.geometry.shape} voxels at {labels.geometry.origin} mm (RAS), the volume on one of "
                       f"{volume.geometry.shape} at {volume.geometry.origin}; resample them first.")
