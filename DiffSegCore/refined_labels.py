"""Labels of a volume, made better: a prior and an image on the volume's own grid in, labels, sizes and doubts out."""
from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .data.prior_files import Given, channels_of, chances_on_grid, label_prior, names_in
from .decision import decided
from .errors import BadInput
from .geometry import Geometry
from .model import Model
from .preprocess import native_labels, to_model_grid
from .progress import Progress, part, silent
from .refiner_card import CARD, RefinerCard
from .refining import Refinement, labelled, refine_volume, refiner_of
from .regions import doubtful
from .resample import resample
from .volume import LabelMap, Volume
from .volume_ranges import VolumeRanges, range_of

LABEL_REACH_MM = 16.  # from the outlines of labels that come without chances: nothing says where they are unsure


@dataclass(frozen=True)
class SizeRange:
    """A label's size in ml: as given, as refined, and between which it lies: with the chance `rate`, as the refiner's validation cases say, or,
    where `rate` is None, where the chance is .75 and .25 or more."""

    id: int
    name: str
    before_ml: float
    after_ml: float
    low_ml: float
    high_ml: float
    rate: float | None


@dataclass(frozen=True, eq=False)
class RefinedLabels:
    """labels on the volume's own grid; entropy and disagreement (mutual information), float32 (K, J, I) there, in nats."""

    labels: LabelMap
    sizes: tuple[SizeRange, ...]
    entropy: Volume
    disagreement: Volume
    seconds: float


@dataclass(frozen=True, eq=False)
class Job:
    """One run of the refiner: channel c of the prior is the label ids[c], called names[ids[c]]."""

    prior: Tensor
    region: Tensor
    ids: dict[int, int]
    names: dict[int, str]


@torch.no_grad()
def refine_labels(model: Model, volume: Volume, prior: Given, *, label: int | None = None, steps: int | None = None, samples: int = 8, seed: int = 0,
                  kernel: str = "exact", device: torch.device | str = "cpu", progress: Progress = silent) -> RefinedLabels:
    """Refine all labels that the model knows, or `label` alone. A refiner of one object takes the labels one by one.
    steps: as many as the model's card says where None.

    Voxels far from any doubt, and labels that the model does not know, stay as they were. BadInput where labels and model don't fit.
    """
    began = time.monotonic()
    refiner_of(model).to(device)
    model.network.to(device).eval()
    image, grid = to_model_grid(volume, model.preprocessing, part(progress, 0, .05))
    usual = RefinerCard.of(model.card).steps
    steps = usual if steps is None else steps
    jobs, before = _jobs(model, prior, grid, label)
    found = [refine_volume(model, image, job.prior, steps=steps, samples=samples, seed=seed, kernel=kernel, region=job.region, device=device,
                           progress=part(progress, .05 + .85 * n / len(jobs), .05 + .85 * (n + 1) / len(jobs))) for n, job in enumerate(jobs)]
    progress(.9, "Labels on the image's own grid")
    labels = _labels(before, jobs, found, grid, label)
    ranges = VolumeRanges.of(model.card[CARD]) if steps == usual else None  # with more steps chances are surer, not righter
    sizes = tuple(size for job, each in zip(jobs, found) for size in _sizes(job, each, grid, before, labels, label, ranges))
    entropy, disagreement = (_on_native([getattr(each, what) for each in found], grid, volume) for what in ("entropy", "information"))
    progress(1., "Done")
    return RefinedLabels(labels, sizes, entropy, disagreement, time.monotonic() - began)


def _jobs(model: Model, prior: Given, grid: Geometry, label: int | None) -> tuple[list[Job], LabelMap]:
    """What to run, and the labels as given on the volume's own grid."""
    classes, organs = refiner_of(model).classes, RefinerCard.of(model.card).organs or model.organs
    if classes > 1 and len(organs) != classes - 1:
        raise BadInput(f"The refiner tells {classes - 1} labels apart, its card names {len(organs)}; train it again.")
    if isinstance(prior, LabelMap):
        return _of_labels(prior, classes, organs, grid, label), prior
    return _of_chances(prior, classes, organs, grid, model.preprocessing.spacing_mm)


def _of_labels(prior: LabelMap, classes: int, organs: Sequence[str], grid: Geometry, label: int | None) -> list[Job]:
    there = names_in(prior)
    if label is not None and label not in {**prior.names, **there}:
        raise BadInput(f"There is no label {label} in the prior; there are {', '.join(map(str, there)) or 'none'}.")
    if not there:
        raise BadInput("The prior is empty: there is nothing to refine.")
    if classes == 1:
        wanted = [label] if label is not None else list(there)
        return [_job((prior.ids == id).astype(np.uint8), {1: id}, there, classes, prior.geometry, grid) for id in wanted]
    channels, ids = channels_of(prior, organs)
    if not channels.any():
        raise BadInput(f"No label of the prior ({', '.join(there.values())}) is one that the refiner knows: {', '.join(organs)}.")
    if label is not None and label not in ids.values():
        raise BadInput(f"The refiner does not know label {label} ({there.get(label, 'absent')}); it knows {', '.join(organs)}.")
    return [_job(channels, ids, {ids[c]: name for c, name in enumerate(organs, 1)}, classes, prior.geometry, grid)]


def _job(channels: np.ndarray, ids: dict[int, int], names: Mapping[int, str], classes: int, native: Geometry, grid: Geometry) -> Job:
    soft, hard = label_prior(channels, classes, native, grid)
    return Job(soft, doubtful(hard, grid.spacing, reach_mm=LABEL_REACH_MM), ids, dict(names))


def _of_chances(prior: Volume, classes: int, organs: Sequence[str], grid: Geometry, spacing_mm: Sequence[float]) -> tuple[list[Job], LabelMap]:
    chances = chances_on_grid(prior, grid, classes)
    array = torch.from_numpy(prior.array).reshape(-1, *prior.geometry.shape)
    names = dict(enumerate(organs, 1)) if classes > 1 else {1: "object"}
    channels, ids = labelled(array).argmax(0).numpy().astype(np.uint8), {c: c for c in names}
    if classes > 1:  # ids as the organ table has them
        _, ids = channels_of(LabelMap(np.zeros((1, 1, 1), np.uint8), Geometry((1, 1, 1), np.eye(4))), organs)
    table = np.array([0, *ids.values()])
    table = table.astype(np.uint8 if table.max() < 256 else np.uint16)
    named = {ids[c]: name for c, name in names.items()}
    return [Job(chances, doubtful(chances, spacing_mm), ids, named)], LabelMap(table[channels], prior.geometry, named)


def _labels(before: LabelMap, jobs: Sequence[Job], found: Sequence[Refinement], grid: Geometry, label: int | None) -> LabelMap:
    """The labels as given, changed where a job changed its mind: where what it found names another label than its own prior, both brought from the
    model grid onto the volume's. So what a refiner leaves alone stays to the voxel, however fine the volume's grid is."""
    most = max(int(before.ids.max()), *(max(job.ids.values()) for job in jobs))
    ids = before.ids.astype(np.uint8 if most < 256 else np.uint16)
    names = dict(before.names)
    for job, each in zip(jobs, found):
        table = np.zeros(max(job.ids) + 1, ids.dtype)
        table[list(job.ids)] = list(job.ids.values())
        looked = native_labels(torch.stack([~each.region, each.region]).float(), grid, before.geometry) > 0
        old, new = (table[native_labels(logits, grid, before.geometry)] for logits in (decided(labelled(job.prior)), each.logits))
        wanted = list(job.ids.values()) if label is None else [label]
        changed = looked & (old != new)
        ids[changed & np.isin(ids, wanted)] = 0
        put = changed & np.isin(new, wanted) & (ids == 0)
        ids[put] = new[put]
        names.update({id: job.names[id] for id in np.unique(new[put]).tolist() if id not in names})
    return LabelMap(ids, before.geometry, names)


def _sizes(job: Job, found: Refinement, grid: Geometry, before: LabelMap, after: LabelMap, label: int | None,
           ranges: VolumeRanges | None) -> list[SizeRange]:
    """Chances are counted on the model grid, and scaled to the volume's own."""
    own_ml, grid_ml = math.prod(before.geometry.spacing) / 1000, math.prod(grid.spacing) / 1000
    sizes = []
    for channel, id in job.ids.items():
        was, now = (int((each.ids == id).sum()) * own_ml for each in (before, after))
        if (label is None or id == label) and (was or now):
            count = int((found.labels == channel).sum())
            unit = now / count if now and count else grid_ml
            low, high = (unit * voxels for voxels in range_of(labelled(found.chances)[channel]))
            known = ranges.widened(job.names[id], low, high) if ranges else None
            low, high = known or (low, high)
            sizes.append(SizeRange(id, job.names[id], was, now, min(low, now), max(high, now), ranges.rate if known else None))
    return sizes


def _on_native(maps: Sequence[Tensor], grid: Geometry, volume: Volume) -> Volume:
    worst = torch.stack(list(maps)).amax(0).numpy()
    return Volume(resample(worst, grid, volume.geometry).numpy(), volume.geometry, "")
