"""One object, clicked right: the deterministic simulator against anything that answers clicks, and what every click did."""
from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol, Sequence

import numpy as np

from ..click_refining import STEPS
from ..data.clicks import Click, next_click
from ..geometry import Box, Geometry
from ..metrics import score
from ..model import Model
from ..segmenter import Prediction
from ..session import RefinementSession
from ..volume import LabelMap, Volume

FAR_MM = 30.  # a click should change nothing further away


class Clicker(Protocol):
    """What is judged. `begin` is slow, `click` answers one click; `mask` is bool (K, J, I) as it stands."""

    def begin(self, volume: Volume, start: np.ndarray) -> None: ...

    def click(self, kji: Sequence[int], inside: bool) -> None: ...

    def box(self, box: Box) -> None: ...

    @property
    def mask(self) -> np.ndarray: ...


@dataclass(frozen=True)
class Round:
    """After so many clicks (0: before the first): Dice and NSD at 2 mm; seconds that the answer took; how much changed further than
    FAR_MM from the click, and how much of that was wrong then, in ml; the share of all clicked voxels that are as they were told.
    """

    clicks: int
    dice: float
    nsd: float
    seconds: float = 0.
    far_ml: float = 0.
    far_wrong_ml: float = 0.
    satisfied: float = 1.


@dataclass(frozen=True)
class Trial:
    """One object's rounds, 0 to the number of clicks; where the mask was perfect before that, the last round is repeated."""

    data: str
    case: str
    organ: str
    ml: float
    rounds: tuple[Round, ...]
    clicked: int


class SessionClicker:
    """A RefinementSession with a click model; `prediction`: what the automatic result was unsure of, and `organ`, its name there."""

    def __init__(self, model: Model, *, steps: int = STEPS, seed: int = 0, device: str = "auto", prediction: Prediction | None = None, organ: str = "object") -> None:
        self.session = RefinementSession(model, steps=steps, seed=seed, device=device)
        self.session.lock_others = False  # what the truth gives to the object is taken from whoever has it
        self.prediction, self.organ = prediction, organ
        self.label = 0

    def begin(self, volume: Volume, start: np.ndarray) -> None:
        labels = None if self.prediction else LabelMap(start.astype(np.uint8), volume.geometry, {1: self.organ})
        self.session.set_volume(volume, labels, self.prediction)
        self.label = next(id for id, name in self.session.names.items() if name == self.organ)

    def click(self, kji: Sequence[int], inside: bool) -> None:
        self.session.add_point(self._ras(kji), self.label, inside=inside)

    def box(self, box: Box) -> None:
        self.session.add_box(self._ras(box.start), self._ras(np.array(box.stop) - 1), self.label)

    @property
    def mask(self) -> np.ndarray:
        return self.session.labels.ids == self.label

    def _ras(self, kji: Sequence[float]) -> tuple[float, ...]:
        return tuple(self.session.labels.geometry.to_ras(kji).tolist())


def tried(clicker: Clicker, volume: Volume, truth: np.ndarray, start: np.ndarray, clicks: int, *, boxed: bool = False) -> tuple[tuple[Round, ...], int]:
    """Rounds 0 .. clicks, and how many clicks were given. `boxed`: a box round the object comes before the first click, and is part of round 0."""
    geometry, given = volume.geometry, []
    clicker.begin(volume, start)
    if boxed:
        clicker.box(Box.of(truth))
    mask = clicker.mask
    rounds = [Round(0, *_agreement(mask, truth, geometry))]
    for number in range(1, clicks + 1):
        if (click := where_next(mask, truth, geometry)) is None:
            rounds.append(rounds[-1])
            continue
        given.append(click)
        began = time.perf_counter()
        clicker.click(click.place, click.inside)
        seconds = time.perf_counter() - began
        before, mask = mask, clicker.mask
        satisfied = float(np.mean([mask[each.place] == each.inside for each in given]))
        rounds.append(Round(number, *_agreement(mask, truth, geometry), seconds, *_far_ml(before, mask, truth, click, geometry), satisfied))
    return tuple(rounds), len(given)


def where_next(mask: np.ndarray, truth: np.ndarray, geometry: Geometry) -> Click | None:
    """`next_click` on a volume: beyond what is in either mask there is no error to look for."""
    box = Box.of(mask | truth).grow(1).clip(truth.shape)
    click = next_click(mask[box.slices], truth[box.slices], geometry.spacing)
    return click and Click(tuple(a + b for a, b in zip(click.place, box.start)), click.inside)


def _agreement(mask: np.ndarray, truth: np.ndarray, geometry: Geometry) -> tuple[float, float]:
    found = score(mask, truth, geometry.spacing)
    return found.dice, found.nsd


def _far_ml(before: np.ndarray, after: np.ndarray, truth: np.ndarray, click: Click, geometry: Geometry) -> tuple[float, float]:
    changed = np.argwhere(before != after)
    away_mm = np.linalg.norm((changed - click.place) * geometry.spacing, axis=1)
    far = changed[away_mm > FAR_MM]
    wrong = after[tuple(far.T)] != truth[tuple(far.T)]
    voxel_ml = float(np.prod(geometry.spacing)) / 1000
    return len(far) * voxel_ml, float(wrong.sum()) * voxel_ml
