"""Trials on a data set: which cases and objects, from which masks, by which clicker."""
from __future__ import annotations

import zlib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Callable, Iterator, Sequence

import numpy as np

from ..data.cases import Case, read_dataset
from ..data.label_names import organ_name
from ..data.priors import corrupt_to
from ..data.sources import read_image, read_truth
from ..errors import BadInput
from ..progress import Progress, silent
from ..segmenter import Prediction, Segmenter
from ..volume import LabelMap, Volume
from .trials import Clicker, Trial, tried

STARTS = ("empty", "automatic", "corrupted")
CORRUPTED_DICE = (.4, .8)
FEWEST = 20  # voxels of an object

MakeClicker = Callable[[Prediction | None, str], Clicker]


@dataclass(frozen=True)
class Which:
    """split: of the data set, the only one where it has just one; only, leave_out: patterns of cases' names; organs: names, () for all;
    cases: so many at most, spread over the data set.
    """

    split: str = "test"
    only: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    organs: Sequence[str] = ()
    cases: int | None = None


@dataclass(frozen=True)
class Task:
    """start: of STARTS; clicks: how many; boxed: a box comes first; segmenter: makes the automatic masks."""

    start: str = "empty"
    clicks: int = 10
    boxed: bool = False
    segmenter: Segmenter | None = None


def evaluated(folder: Path, which: Which, task: Task, make: MakeClicker, progress: Progress = silent) -> list[Trial]:
    """A trial of every object of the chosen cases. BadInput where nothing is left to try, or the start cannot be made."""
    if task.start == "automatic" and task.segmenter is None:
        raise BadInput("from the automatic result needs a segmentor; name one with --segmentor")
    cases, names = chosen_cases(folder, which)
    trials: list[Trial] = []
    for number, case in enumerate(cases):
        for done, trial in _of_case(folder.name, case, names, which, task, make):
            trials.append(trial)
            progress((number + done) / len(cases), f"{case.name}: {trial.organ}")
    if not trials:
        raise BadInput(f"none of the {len(cases)} cases of {folder} holds an object that can be tried; check --organs"
                       + (" and which organs the segmentor knows" if task.segmenter else ""))
    return trials


def chosen_cases(folder: Path, which: Which) -> tuple[list[Case], dict[int, str]]:
    """Labelled cases, and the names of their label ids."""
    dataset = read_dataset(folder)
    split = which.split if which.split in dataset.cases else next(iter(dataset.cases)) if len(dataset.cases) == 1 else None
    if split is None:
        raise BadInput(f"{folder} has no split {which.split!r}; there are {', '.join(dataset.cases)}")
    cases = [case for case in dataset.cases[split] if case.label and not _matches(case.name, which.leave_out)
             and (not which.only or _matches(case.name, which.only))]
    if not cases:
        raise BadInput(f"no labelled case of {folder} is left; check --only and --leave-out")
    if which.cases is not None and which.cases < len(cases):
        cases = [cases[int(n)] for n in np.linspace(0, len(cases) - 1, which.cases).round()]
    return cases, dataset.labels


def _of_case(data: str, case: Case, names: dict[int, str], which: Which, task: Task, make: MakeClicker) -> Iterator[tuple[float, Trial]]:
    """(share of the case that is done, trial)."""
    volume, labels = read_image(case.image), read_truth(case.label)
    if labels.ids.shape != volume.geometry.shape:
        raise BadInput(f"case {case.name}: its labels have {labels.ids.shape} voxels and its image {volume.geometry.shape}; resample one of them")
    wanted = {organ_name(each) for each in which.organs}
    objects = [(id, names.get(id, f"label_{id}")) for id, count in zip(*np.unique(labels.ids, return_counts=True)) if id and count >= FEWEST]
    objects = [(id, name) for id, name in objects if not wanted or name in wanted]
    prediction = task.segmenter.segment(volume) if task.start == "automatic" and objects else None
    if prediction is not None:
        objects = [(id, name) for id, name in objects if name in prediction.labels.names.values()]
    for done, (id, name) in enumerate(objects, 1):
        truth = labels.ids == id
        start = start_mask(task.start, truth, volume, name, f"{data} {case.name} {name}", prediction)
        rounds, clicked = tried(make(prediction, name), volume, truth, start, task.clicks, boxed=task.boxed)
        yield done / len(objects), Trial(data, case.name, name, float(truth.sum() * np.prod(volume.geometry.spacing)) / 1000, rounds, clicked)


def start_mask(start: str, truth: np.ndarray, volume: Volume, name: str, key: str, prediction: Prediction | None) -> np.ndarray:
    """bool (K, J, I) before the first click. A corrupted one is the same for every clicker: it is drawn from `key`."""
    if start == "automatic":
        return of_organ(prediction.labels, name)
    if start == "corrupted":
        random = np.random.default_rng(zlib.crc32(key.encode()))
        return corrupt_to(random.uniform(*CORRUPTED_DICE), truth.astype(np.uint8), random, volume.geometry.spacing) > 0
    return np.zeros(truth.shape, bool)


def of_organ(labels: LabelMap, name: str) -> np.ndarray:
    """bool (K, J, I)."""
    return np.isin(labels.ids, [id for id, each in labels.names.items() if each == name])


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, each) for each in patterns)
