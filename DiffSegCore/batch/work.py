"""One case of a batch: read, segmented, written whole or not at all; whatever goes wrong becomes a sentence in its record."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..data.sources import read_image, write_found
from ..dicom import volume_of
from ..errors import BadInput, Cancelled
from ..files import naming
from ..organ_volumes import organ_volumes
from ..progress import Progress, part, silent
from ..registry import name_of
from ..segmenter import Prediction, Segmenter
from ..segmentors import ForeignSegmenter, open_segmenter
from ..volume import Volume
from .cases import BatchCase

log = logging.getLogger(__name__)
FORMATS = ("seg.nrrd", "nii.gz", "nii", "nrrd", "mha")
PARTIAL = ".partial"


@dataclass(frozen=True)
class Job:
    """What is done to every case: which model file, where to, in which formats.

    sha256: the model that was meant, in case another machine has another file; threads: for each process, None to leave it alone.
    """

    out: Path
    model: Path
    sha256: str
    formats: tuple[str, ...] = ("seg.nrrd",)
    device: str = "auto"
    pictures: bool = False
    threads: int | None = None

    def targets(self, case: BatchCase) -> tuple[Path, ...]:
        """The files that a case leaves, names of labels apart."""
        suffixes = (*self.formats, *(("png",) if self.pictures else ()))
        return tuple(self.out / f"{case.name}.{suffix}" for suffix in suffixes)

    def partial(self, case: BatchCase) -> Path:
        """Where a case's files grow; a folder left here was being worked on when its run was stopped."""
        return self.out / PARTIAL / hashlib.sha256(case.name.encode()).hexdigest()[:16]


def run_case(case: BatchCase, job: Job, progress: Progress = silent) -> dict[str, Any]:
    """The record of a case, plain values: {"case", "state": "done" | "failed", "seconds", and what came out or the "error"}.

    Raises nothing but Cancelled and KeyboardInterrupt. No path of the input and no DICOM text is in a record.
    """
    began = time.monotonic()
    try:
        found = _done(case, job, progress)
    except Cancelled:
        raise
    except Exception as error:  # one bad case never ends the others
        log.debug("case %s failed", case.name, exc_info=True)
        found = {"state": "failed", **_reason(error, case)}
    finally:
        shutil.rmtree(job.partial(case), ignore_errors=True)
    return {"case": case.name, **found, "seconds": round(time.monotonic() - began, 2)}


def _done(case: BatchCase, job: Job, progress: Progress) -> dict[str, Any]:
    if case.problem:
        raise BadInput(case.problem)
    if case.source.exists():
        job.partial(case).mkdir(parents=True, exist_ok=True)
    segmenter = _segmenter(str(job.model), job.sha256, job.device, job.threads)
    progress(0.02, "Reading")
    volume = _read(case, segmenter)
    prediction = segmenter.segment(volume, progress=part(progress, 0.1, 0.9))
    progress(0.9, "Writing")
    _write(case, job, volume, prediction)
    sizes = {each.name: round(each.ml, 3) for each in organ_volumes(prediction.labels)}
    return {"state": "done", "files": _publish(case, job), "ml": sizes, "warnings": list(prediction.warnings)}


@lru_cache(maxsize=1)
def _segmenter(path: str, sha256: str, device: str, threads: int | None) -> Segmenter | ForeignSegmenter:
    """Kept for the next case of this process."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    segmenter = open_segmenter(path, device)
    model = segmenter.model
    if model.sha256 != sha256:
        raise BadInput(f"The model file {path} on this machine is another one ({model.sha256[:12]}..., not {sha256[:12]}...); copy it here again.")
    return segmenter


def _read(case: BatchCase, segmenter: Segmenter | ForeignSegmenter) -> Volume:
    if case.series is None:
        return read_image(case.source, channels=segmenter.model.channels, flat=segmenter.model.flat)
    with naming(case.name):
        return volume_of(case.series)


def _write(case: BatchCase, job: Job, volume: Volume, prediction: Prediction) -> None:
    for target in job.targets(case):
        path = job.partial(case) / target.name
        if target.suffix == ".png":
            from ..pictures import save_picture

            save_picture(path, volume, prediction.labels, title=case.name, note=f"DiffSeg, model {name_of(job.model)}. Not for clinical use.")
        else:
            write_found(prediction.labels, path)


def _publish(case: BatchCase, job: Job) -> list[str]:
    """Move the finished files to their places; names below the batch's folder."""
    home = (job.out / case.name).parent
    home.mkdir(parents=True, exist_ok=True)
    ready = sorted(job.partial(case).iterdir())
    for path in ready:
        os.replace(path, home / path.name)
    return [(home / path.name).relative_to(job.out).as_posix() for path in ready]


def _reason(error: Exception, case: BatchCase) -> dict[str, str]:
    """What went wrong as a sentence that names the case instead of its files."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return {"kind": "OutOfMemory", "error": "The memory was too small for this case; crop it, or run fewer jobs side by side."}
    kind = "BadInput" if isinstance(error, BadInput) else "Crash"
    text = str(error) if kind == "BadInput" else f"It failed: {type(error).__name__}: {error}."
    for path in (case.source, *case.files):
        text = text.replace(str(path), case.name)
        if case.series is not None:
            text = text.replace(path.name, "a slice")
    return {"kind": kind, "error": text}
