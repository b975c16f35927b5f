"""At which noise level an encoder is best read: chosen on validation cases, with a short linear probe, once for every encoder."""
from __future__ import annotations

import json
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..files import atomic
from ..progress import Progress, part
from .probe_features import features_key
from .probe_reading import Reading
from .probe_training import Job, train_probe

log = logging.getLogger(__name__)


def chosen_reading(job: Job, progress: Progress) -> Reading:
    """The reading of the recipe's sweep whose linear probe scores best; the scores stay in a file beside the features.

    An encoder that never met noise is read clean. Training cases are the first few whatever the run's label share, so that every
    run of an encoder reads it alike; test cases are not looked at.
    """
    if not job.source.denoises:
        return Reading()
    file = job.features / f"{job.source.key}.sweep.json"
    scores = {str(Reading(each["log_snr"], each["noise"])): each for each in _stored(file)}
    for number, reading in enumerate(job.recipe.sweep):
        if str(reading) not in scores:
            stage = part(progress, number / len(job.recipe.sweep), (number + 1) / len(job.recipe.sweep))
            scores[str(reading)] = {**asdict(reading), "dice": _score(job, reading, stage)}
            log.info("%s: %s gives %.4f", job.source.about["name"], reading, scores[str(reading)]["dice"])
            _store(job, file, list(scores.values()))
    return max(job.recipe.sweep, key=lambda reading: scores[str(reading)]["dice"])


def _stored(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def _store(job: Job, file: Path, scores: list[dict[str, Any]]) -> None:
    if job.fabric.is_global_zero:
        with atomic(file) as temporary:
            temporary.write_text(json.dumps(scores, indent=1), encoding="utf-8")


def _score(job: Job, reading: Reading, progress: Progress) -> float:
    steps = job.recipe.sweep_steps
    budget = replace(job.recipe.frozen, steps=steps, validate_every=steps)
    short = replace(job, recipe=replace(job.recipe, frozen=budget), reading=reading, protocol="linear", seed=0,
                    folder=job.folder / f"sweep-{reading.log_snr}-{reading.noise}", features=job.features / "sweep")
    score = short.mean_dice(train_probe(short, progress).found)
    job.fabric.barrier()  # nobody reads them any more
    if job.fabric.is_global_zero:
        for used in (short.folder, short.features / features_key(job.source, reading, job.windows)):
            shutil.rmtree(used, ignore_errors=True)
    return score
