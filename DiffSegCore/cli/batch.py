"""`diffseg batch`: many volumes in, labels, a record of each case and a table of volumes out."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from .command import add_command
from .segment import DEVICES
from .terminal import bar

ALL_DONE, SOME_FAILED, NOTHING_RAN = 0, 1, 2
_FORMATS = ("seg.nrrd", "nii.gz", "nii", "nrrd", "mha")  # batch.FORMATS; said again, since importing it takes seconds


def add(commands: Any) -> None:
    parser = add_command(commands, "batch", "segment every volume of a folder, a list or a DICOM tree", run,
                         more="Prints a line of JSON for each case. What an earlier run finished is kept, a case that fails does not stop the others. "
                              "Exit code: 0 all done, 1 some failed, 2 nothing could run.")
    parser.add_argument("input", metavar="IN", type=Path, help="folder (searched with those below it), text file with a path on each line, or one volume")
    parser.add_argument("output", metavar="OUT", type=Path, help="folder for labels, cases.jsonl, volumes.csv and report.html")
    parser.add_argument("--model", metavar="NAME|PATH", help="a name that `diffseg models` lists, or a model file")
    parser.add_argument("--format", choices=_FORMATS, action="append", help="of the labels (default: seg.nrrd); may be given several times")
    parser.add_argument("--pattern", metavar="GLOB", help="only files whose path below IN it fits, such as '*/ct.nii.gz'")
    parser.add_argument("--pictures", action="store_true", help="also draw each case (PNG)")
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="cases side by side, each in a process of its own (needs Dask)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="send the cases to the Dask cluster there, such as tcp://node1:8786")
    parser.add_argument("--resume", action=argparse.BooleanOptionalAction, default=True, help="keep what an earlier run finished (default), or begin anew")
    parser.add_argument("--sources", metavar="CSV", type=Path,
                        help="also write which case came from which file; paths may name patients, so keep it apart from the results")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute; auto takes the fastest there is")
    parser.add_argument("--quiet", action="store_true", help="print no lines and no bar")


def run(args: argparse.Namespace) -> int:
    with bar(quiet=args.quiet) as progress:
        progress(0.0, "Looking for volumes")
        from ..batch import Job, find_cases, run_batch
        from ..model import describe_model
        from ..registry import DEFAULT, find_model

        out, model = Path(os.path.abspath(args.output)), Path(os.path.abspath(find_model(args.model or DEFAULT)))
        cases = find_cases(args.input, pattern=args.pattern, skip=out)
        job = Job(out, model, describe_model(model)["sha256"], tuple(dict.fromkeys(args.format or ["seg.nrrd"])), args.device, args.pictures)
        _check(args)
        if args.sources is not None:
            _write_sources(cases, args.sources)
        report = (lambda record: None) if args.quiet else _print
        tally = run_batch(cases, job, resume=args.resume, jobs=args.jobs, scheduler=args.scheduler, report=report, progress=progress)
    if not args.quiet:
        print(f"{tally.done} of {tally.done + tally.failed} done ({tally.resumed} before), {tally.failed} failed; see {out}", file=sys.stderr)
    return ALL_DONE if not tally.failed else SOME_FAILED if tally.done else NOTHING_RAN


def _check(args: argparse.Namespace) -> None:
    """Refuse once what would fail for every case."""
    from ..segmenter import usable_device

    if args.scheduler is None:
        usable_device(args.device)
    if args.pictures:
        from ..pictures import check_picture

        check_picture("case.png")


def _print(record: dict[str, Any]) -> None:
    from tqdm import tqdm

    told = {key: value for key, value in record.items() if key != "fingerprint"}
    tqdm.write(json.dumps(told, ensure_ascii=False), file=sys.stdout)  # past the bar, where there is one
    sys.stdout.flush()


def _write_sources(cases: Any, path: Path) -> None:
    import csv

    from ..files import atomic

    with atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("case", "source", "series"))
        rows.writerows((case.name, case.source, case.series.uid if case.series else "") for case in cases)
