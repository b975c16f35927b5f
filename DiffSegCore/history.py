"""What a session remembers: the prompts in force, each with what it changed, and the way there, to go back and forth."""
from __future__ import annotations

from dataclasses import dataclass, field

from .clicking import Held
from .draft import Delta
from .prompts import Prompt


@dataclass(frozen=True)
class Entry:
    """A prompt and what it changed; without one, labels that were changed elsewhere."""

    held: Held | None
    delta: Delta

    @property
    def prompt(self) -> Prompt | None:
        return self.held and self.held.prompt


Trail = tuple[Entry, ...]  # start labels plus these deltas, in order, are the labels now


@dataclass(frozen=True)
class Step:
    """From one trail to another; `delta` is all that differs, `number` of the prompt that this was about."""

    delta: Delta
    before: Trail
    after: Trail
    number: int | None = None


@dataclass
class History:
    """Steps done and steps undone, without limit: a step keeps the voxels of its box only."""

    trail: Trail = ()
    done: list[Step] = field(default_factory=list)
    undone: list[Step] = field(default_factory=list)

    def do(self, step: Step) -> None:
        self.done.append(step)
        self.undone.clear()
        self.trail = step.after

    def undo(self) -> Step:
        step = self.done.pop()
        self.undone.append(step)
        self.trail = step.before
        return step

    def redo(self) -> Step:
        step = self.undone.pop()
        self.done.append(step)
        self.trail = step.after
        return step

    @property
    def helds(self) -> tuple[Held, ...]:
        return tuple(entry.held for entry in self.trail if entry.held)
