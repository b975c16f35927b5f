"""Probe an encoder: cases and an encoder in, a record of what a head on it reaches out."""
from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Sequence

import numpy as np
import torch
from lightning.fabric import Fabric

from ..data.cache import cached_cases
from ..data.cases import Case, read_dataset
from ..errors import BadInput
from ..progress import Progress, part, silent
from .folding import Fold
from .head import mirror_pairs
from .probe_bodies import BodyMaps
from .probe_features import Scene
from .probe_reading import Reading, Source, open_source
from .probe_recipes import ProbeRecipe
from .probe_records import Wish, read_record, settings, write_record
from .probe_scores import score_case, summary
from .probe_sweep import chosen_reading
from .probe_training import Job, Outcome, train_probe


def run_probe(recipe: ProbeRecipe, wish: Wish, data: Path, out: Path, fabric: Fabric, *, reading: Reading | None = None,
              bodies: BodyMaps | None = None, features: Path | None = None, progress: Progress = silent) -> Path:
    """Train and score one probe; writes out/records/<run>.json and returns its path. A run whose record is there isn't done again.

    reading: the noise level to read at, chosen on validation cases where None. bodies: needed where coordinates are read.
    features: where a frozen encoder's are kept, out/features where None. Dice is measured on the model grid; an interrupted run goes on from its last checkpoint.
    """
    torch.manual_seed(wish.seed)
    source = open_source(wish.encoder, recipe.widths, recipe.preprocessing).with_body(wish.body, bodies.key if bodies else "")
    record, wanted = out / "records" / f"{wish.name}.json", settings(recipe, wish, source.about, reading)
    if record.is_file():
        return _same(record, wanted)
    splits = _scenes(recipe, source, data, out, bodies, wish.fold, part(progress, 0, .05))
    job = Job(recipe, source, reading or Reading(), wish.protocol, wish.seed, labelled_share(splits["train"], wish.labels, wish.seed),
              splits["validation"][:recipe.watched], mirror_pairs(recipe.organs), fabric, out / "runs" / wish.name, features or out / "features")
    job = job if reading else replace(job, reading=_chosen(job, splits, part(progress, .05, .2)))
    if wish.protocol == "finetune":
        job = replace(job, reading=job.reading.noiseless())
    outcome = train_probe(job, part(progress, .2, .8))
    if fabric.is_global_zero:
        found = {split: _scored(job, outcome, splits[split], split, part(progress, .8, 1)) for split in ("validation", "test") if split in splits}
        write_record(record, {"settings": wanted, **_about(job, outcome), **found})
        shutil.rmtree(job.folder, ignore_errors=True)
    return record


def _about(job: Job, outcome: Outcome) -> dict[str, Any]:
    return {"reading": asdict(job.reading), "steps": outcome.steps, "seconds": round(outcome.seconds, 3),
            "device": str(job.fabric.device), "train": [scene.case.name for scene in job.scenes]}


def labelled_share(scenes: Sequence[Scene], share: float, seed: int) -> list[Scene]:
    """That share of the cases, drawn by `seed`, drawn again while an organ that others have is missing in all of them."""
    count = max(1, round(share * len(scenes)))
    present = set().union(*(scene.case.places for scene in scenes))
    for attempt in range(100):
        order = np.random.default_rng((seed, attempt)).permutation(len(scenes))[:count]
        chosen = [scenes[n] for n in sorted(order)]
        if present == set().union(*(scene.case.places for scene in chosen)):
            break
    return chosen


def _chosen(job: Job, splits: dict[str, list[Scene]], progress: Progress) -> Reading:
    cases = job.recipe.sweep_cases
    return chosen_reading(replace(job, scenes=splits["train"][:cases], watched=splits["validation"][:cases]), progress)


def _same(record: Path, wanted: dict[str, Any]) -> Path:
    if read_record(record)["settings"] != wanted:
        raise BadInput(f"{record} was made with other settings or another encoder of that name; choose another output folder or remove it")
    return record


def _scenes(recipe: ProbeRecipe, source: Source, data: Path, out: Path, bodies: BodyMaps | None, fold: Fold | None,
            progress: Progress) -> dict[str, list[Scene]]:
    """Labelled cases of every split on the model grid, with coordinates where the encoder reads them."""
    dataset = read_dataset(data, label_file=recipe.label_file)
    splits = _labelled(dataset.cases, data)
    splits = fold.of(splits) if fold else splits
    listed = [case for cases in splits.values() for case in cases]
    cases = cached_cases(listed, dataset.labels, recipe.organs, recipe.preprocessing, out / "cache", progress)
    told = bodies(cases) if source.wants_body else [None] * len(cases)
    scenes = iter([Scene(case, body) for case, body in zip(cases, told)])
    return {split: [next(scenes) for _ in cases] for split, cases in splits.items()}


def _labelled(cases: dict[str, tuple[Case, ...]], data: Path) -> dict[str, list[Case]]:
    """Labelled cases by split; every tenth training case validates where the data set has no such split."""
    splits = {split: [case for case in some if case.label] for split, some in cases.items()}
    if not splits.get("validation"):
        learn = splits.get("train", [])
        splits.update(train=[case for n, case in enumerate(learn) if n % 10], validation=learn[::10])
    if not splits["train"] or not splits["validation"]:
        counts = {split: len(splits[split]) for split in ("train", "validation")}
        raise BadInput(f"{data} has {counts['train']} labelled cases to train on and {counts['validation']} to validate with; both are needed")
    return {split: some for split, some in splits.items() if some}


def _scored(job: Job, outcome: Outcome, scenes: Sequence[Scene], split: str, progress: Progress) -> dict[str, Any]:
    scores = []
    for number, scene in enumerate(scenes):
        progress(number / len(scenes), f"scoring {split} case {scene.case.name} ({number + 1} of {len(scenes)})")
        scores.append(score_case(scene.case, outcome.found(scene), job.recipe.organs, job.pairs, job.recipe.empty_is_undrawn))
    return summary(scores)
