"""The labels of a session through time: the prompts in force with what each changed, and the steps taken, to go back and forth.

Start labels plus the deltas of the trail, in order, are the labels now. A step leads from one trail to another.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import Sequence

import numpy as np

from .clicking import click
from .draft import NOWHERE, Delta, Draft, union
from .geometry import Box
from .looking import Sight
from .progress import Progress, part, silent
from .prompts import Prompt
from .turn import Held


@dataclass(frozen=True)
class Entry:
    """A prompt and what it changed; without one, voxels that were changed elsewhere."""

    held: Held | None
    delta: Delta

    @property
    def prompt(self) -> Prompt | None:
        return self.held and self.held.prompt

    @cached_property
    def drawn(self) -> frozenset[int]:
        """Labels that somebody drew."""
        return frozenset() if self.held else frozenset(np.unique(self.delta.ids(after=True)).tolist())


Trail = tuple[Entry, ...]


@dataclass(frozen=True)
class Step:
    """`delta` is all in which the labels of two trails differ; number: of the prompt that this was about, None for several or none."""

    delta: Delta
    before: Trail
    after: Trail
    number: int | None = None


class Timeline:
    """Every change is a step that can be taken back, without limit: what a step keeps is the voxels of its box.

    What raises on the way, a progress callback for one, leaves everything as it was.
    """

    def __init__(self, sight: Sight, ids: np.ndarray) -> None:
        """ids (K, J, I): the labels at the start, which this owns from now on."""
        self._sight, self.draft = sight, Draft.of(ids)
        self._at_start = frozenset(self.draft.boxes)
        self.trail: Trail = ()
        self.done: list[Step] = []
        self.undone: list[Step] = []

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        return tuple(entry.prompt for entry in self.trail if entry.held)

    @property
    def sight(self) -> Sight:
        return self._sight_after(self.trail)

    def add(self, prompt: Prompt, progress: Progress = silent) -> Step:
        trail = self._answered(self.trail, prompt, progress)
        return self._stepped(trail[-1].delta, trail, prompt.number)

    def recall(self, prompt: Prompt, box: Box, ids: np.ndarray) -> Step:
        """As `add`, with the answer that another timeline gave in the same situation."""
        delta = Delta.of(box, self.draft.ids[box.slices], ids)
        held = Held.of(prompt, self.sight.native)
        self._put(delta, after=True)
        return self._stepped(delta, (*self.trail, Entry(held, delta)), prompt.number)

    def overwrite(self, ids: np.ndarray) -> Step:
        """Take over labels that were changed elsewhere."""
        delta = Delta.of(Box.whole(ids.shape), self.draft.ids, ids)
        self._put(delta, after=True)
        return self._stepped(delta, (*self.trail, Entry(None, delta)), None)

    def remove(self, number: int, progress: Progress = silent) -> Step:
        """Take away the prompt of this number; those after it are answered as if it had never been."""
        place = next(n for n, entry in enumerate(self.trail) if entry.held and entry.prompt.number == number)
        return self._retold(self.trail[:place], self.trail[place + 1:], number, progress)

    def replay(self, prompts: Sequence[Prompt], progress: Progress = silent) -> Step:
        """Answer these from the start."""
        return self._retold((), prompts, None, progress)

    def undo(self) -> Step:
        step = self.done.pop()
        self.undone.append(step)
        self.trail = step.before
        self._put(step.delta, after=False)
        return step

    def redo(self) -> Step:
        step = self.undone.pop()
        self.done.append(step)
        self.trail = step.after
        self._put(step.delta, after=True)
        return step

    def resume(self, trail: Trail) -> None:
        """Go to the end of a trail that another timeline left, from the same start: one step an entry."""
        for n, entry in enumerate(trail):
            self._put(entry.delta, after=True)
            self._stepped(entry.delta, trail[:n + 1], entry.prompt and entry.prompt.number)

    def start(self) -> Delta:
        """The labels at the start, as a change of nothing."""
        draft = Draft.of(self.draft.ids.copy())
        for entry in reversed(self.trail):
            draft.put(entry.delta.box, entry.delta.ids(after=False))
        box = reduce(union, draft.boxes.values(), NOWHERE)
        return Delta.of(box, np.zeros_like(draft.ids[box.slices]), draft.ids[box.slices])

    def widen(self, label: int) -> None:
        """Make room for a label that the ids cannot hold."""
        if label > np.iinfo(self.draft.ids.dtype).max:
            self.draft = Draft(self.draft.ids.astype(np.uint16), self.draft.boxes)

    def _sight_after(self, trail: Trail) -> Sight:
        return replace(self._sight, drawn=self._at_start.union(*(entry.drawn for entry in trail)))

    def _retold(self, trail: Trail, then: Sequence[Prompt | Entry], number: int | None, progress: Progress) -> Step:
        """Back to the end of a shorter trail, and on from there: prompts are answered anew, voxels that were changed elsewhere change again."""
        with self.draft.attempt() as attempt:
            for entry in reversed(self.trail[len(trail):]):
                self._put(entry.delta, after=False)
            for n, each in enumerate(then):
                prompt = each.prompt if isinstance(each, Entry) else each
                told = part(progress, n / len(then), (n + 1) / len(then))
                trail = self._repeated(trail, each.delta) if prompt is None else self._answered(trail, prompt, told)
            delta = attempt.delta()
        return self._stepped(delta, trail, number)

    def _answered(self, trail: Trail, prompt: Prompt, progress: Progress) -> Trail:
        """The trail with one prompt more, answered on the draft as it is."""
        held = Held.of(prompt, self.sight.native)
        with self.draft.attempt() as attempt:
            click(self._sight_after(trail), self.draft, held, [entry.held for entry in trail if entry.held], progress)
            return (*trail, Entry(held, attempt.delta()))

    def _repeated(self, trail: Trail, delta: Delta) -> Trail:
        """The trail with voxels that were changed elsewhere changed once more."""
        before, after = delta.ids(after=False), delta.ids(after=True)
        with self.draft.attempt() as attempt:
            self.draft.put(delta.box, np.where(before != after, after, self.draft.ids[delta.box.slices]))
            return (*trail, Entry(None, attempt.delta()))

    def _put(self, delta: Delta, *, after: bool) -> None:
        self.draft.put(delta.box, delta.ids(after=after))

    def _stepped(self, delta: Delta, trail: Trail, number: int | None) -> Step:
        """Remember a step that the draft shows already."""
        step = Step(delta, self.trail, trail, number)
        self.done.append(step)
        self.undone.clear()
        self.trail = trail
        return step
