"""What a batch has done so far: `cases.jsonl`, one record a line, which is how a stopped run is taken up again."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping

from .. import __version__
from ..files import atomic
from .cases import BatchCase
from .work import Job

NAME, TABLE = "cases.jsonl", "volumes.csv"


def fingerprint(case: BatchCase, job: Job) -> str:
    """Changes with the case's files and with whatever changes its result; not with where they lie."""
    images = sorted(each.instance for each in case.series.slices) if case.series else [_stamp(case.source)]
    said = [__version__, job.sha256, job.formats, job.pictures, images]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


def _stamp(path: Path) -> list[int]:
    try:
        about = path.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]


@dataclass
class Journal:
    """Records of cases by name, on disk as soon as they are known."""

    out: Path
    records: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def open(cls, out: Path, wanted: Mapping[str, str], *, resume: bool) -> Journal:
        """`wanted`: fingerprint of each case, as it has to be to count as done; without `resume` none of them does.

        Finished cases of other inputs that went into the same folder stay, as long as their files do.
        """
        kept = {name: record for name, record in _read(out / NAME).items() if _is_there(record, out)
                and (name not in wanted or resume and record.get("fingerprint") == wanted[name])}
        with atomic(out / NAME) as temporary:
            temporary.write_text("".join(map(_line, kept.values())), encoding="utf-8")
        return cls(out, kept)

    def add(self, record: dict[str, Any]) -> None:
        self.records[record["case"]] = record
        with open(self.out / NAME, "a", encoding="utf-8") as file:
            file.write(_line(record))
            file.flush()
            os.fsync(file.fileno())

    def write_table(self) -> None:
        """A row a case with the millilitres of each organ, for a spreadsheet."""
        rows = [self.records[name] for name in sorted(self.records)]
        organs = list(dict.fromkeys(organ for row in rows for organ in row.get("ml", {})))
        with atomic(self.out / TABLE) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(("case", "state", *(f"{organ} ml" for organ in organs), "seconds", "remarks"))
            for row in rows:
                remarks = " ".join([*row.get("warnings", ()), *filter(None, [row.get("error")])])
                table.writerow((row["case"], row["state"], *(row.get("ml", {}).get(organ, "") for organ in organs), row["seconds"], remarks))


def _is_there(record: Mapping[str, Any], out: Path) -> bool:
    return record["state"] == "done" and all((out / name).is_file() for name in record.get("files", ()))


def _line(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """The last record of each case; a line that a stopped run did not finish is none."""
    found = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
            found[record["case"]] = {**record, "state": record["state"]}
        except (KeyError, TypeError, ValueError):
            continue
    return found
