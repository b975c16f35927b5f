"""A batch from its input to its table: what is done already is kept, the rest is done, every case is reported once."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Sequence

from ..errors import BadInput
from ..progress import Progress, silent
from .cases import BatchCase
from .cluster import records
from .journal import Journal, fingerprint
from .lock import only_one
from .report import write_report
from .work import PARTIAL, Job


@dataclass(frozen=True)
class Tally:
    """How many cases are done (`resumed` of them by an earlier run) and how many failed."""

    done: int
    failed: int
    resumed: int


def run_batch(cases: Sequence[BatchCase], job: Job, *, resume: bool = True, jobs: int = 1, scheduler: str | None = None,
              report: Callable[[dict[str, Any]], None] = lambda record: None, progress: Progress = silent) -> Tally:
    """Segment the cases into `job.out`; `report` hears each case's record, those of an earlier run first with "resumed": true.

    Leaves `cases.jsonl`, a record a line, `volumes.csv` and `report.html`; all are whole after every way to stop, and the next run goes on
    from there. Raises BadInput where nothing can run: a result would overwrite its input, no place to write, no such scheduler.
    """
    if jobs < 1:
        raise BadInput(f"The number of jobs is 1 or more, not {jobs}.")
    _check_targets(cases, job)
    _make(job.out)
    with only_one(job.out):
        marks = {case.name: fingerprint(case, job) for case in cases}
        journal = Journal.open(job.out, marks, resume=resume)
        kept = {case.name: journal.records[case.name] for case in cases if case.name in journal.records}
        for record in kept.values():
            report({**record, "resumed": True})
        # What was being worked on when the last run ended may have ended it: it comes last.
        rest = sorted((case for case in cases if case.name not in kept), key=lambda case: job.partial(case).exists())
        shutil.rmtree(job.out / PARTIAL, ignore_errors=True)
        try:
            for record in records(rest, job, jobs=jobs, scheduler=scheduler, progress=progress) if rest else ():
                record = {**record, "model": job.model.stem, "fingerprint": marks[record["case"]]}
                journal.add(record)
                report({**record, "resumed": False})
        finally:
            journal.write_table()
            write_report(list(journal.records.values()), job.out)
            with suppress(OSError):
                (job.out / PARTIAL).rmdir()
    done = sum(journal.records[case.name]["state"] == "done" for case in cases)
    return Tally(done, len(cases) - done, len(kept))


def _check_targets(cases: Sequence[BatchCase], job: Job) -> None:
    for case in cases:
        for target in job.targets(case):
            if target.exists() and case.series is None and case.source.exists() and os.path.samefile(target, case.source):
                raise BadInput(f"The labels of {case.name} would overwrite its image; choose another folder for the output, or another format.")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"Cannot make the folder {folder}: {error.strerror}; choose another.") from error
    if not os.access(folder, os.W_OK):
        raise BadInput(f"Cannot write into {folder}: permission is denied; choose another folder.")
