"""Ten real cases, one corrupt: a batch that is killed and taken up again, a cluster and the module's button, with a model that ships.

    python -m Testing.benchmarks.batches --data DIR -o OUT [--button 3]

The batch is the module's own script, DiffSegExtension/DiffSegLib/Batch.py, in a process that is killed in the middle; the cluster is
Dask's, with two worker processes; the button is pressed in Slicer's scene over files that Slicer's readers read (see
Testing/slicer_application.py). Prints a table, and exits with 1 where a promise is broken: every good case once, the corrupt one
reported, exit code 1 of the batch, no voxel that differs. About ten minutes on two cores.
"""
from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the batch, the cluster's workers and the button's worker alike

from Testing.slicer_application import Application  # before anything of Slicer or Qt
from Testing.ten_cases import ROOT, differing, finished, killed, labels, records, write_list

from DiffSegCore.batch import BatchCase, Job, find_cases, run_batch
from DiffSegCore.evaluation import aligned
from DiffSegCore.model import describe_model
from DiffSegCore.registry import DEFAULT, find_model

from .measure import machine

SCRIPT = ROOT / "DiffSegExtension/DiffSegLib/Batch.py"
BEFORE = 5  # cases that the killed batch tells of; among them the corrupt one
Record = Mapping[str, Any]


def killed_and_resumed(chosen: Path, out: Path, model: str) -> tuple[dict[str, Record], list[str]]:
    """The batch's records by case, and which promises it broke."""
    line = [sys.executable, str(SCRIPT), str(chosen), str(out), "--model", model]
    before = {each["case"] for each in killed(line, BEFORE) if each["state"] == "done"}
    say(f"killed; {len(before)} cases were done, {'one' if any((out / '.partial').glob('*')) else 'none'} was being worked on")
    code, told = finished(line)
    kept, found = {each["case"] for each in told if each["resumed"]}, records(out)
    bad = [name for name, record in found.items() if record["state"] != "done"]
    say(f"resumed; exit code {code}, {len(kept)} kept, {len(told) - len(kept)} done anew")
    broken = {"the exit code is 1": code == 1, "every case is told once": len(told) == len({each["case"] for each in told}) == 10,
              "what was done is kept": kept >= before, "only the corrupt one failed": [name.rpartition("/")[2] for name in bad] == ["corrupt"]}
    return found, [promise for promise, held in broken.items() if not held]


def on_a_cluster(cases: Sequence[BatchCase], job: Job) -> None:
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=None) as cluster:
        tally = run_batch(cases, job, scheduler=cluster.scheduler_address, report=lambda record: say(f"cluster: {short(record['case'])}"))
    say(f"cluster; {tally.done} done, {tally.failed} failed")


def by_the_button(cases: Sequence[BatchCase], model: str, expected: Path) -> Iterator[tuple[str, int]]:
    """Case and how many voxels differ from the batch's."""
    if not cases:
        return
    application = Application()
    from Testing.by_button import load, segmented  # needs slicer, as it now is

    panel = application.open()
    try:
        place = panel.ui.modelSelector.findData(model)
        if place < 0:
            sys.exit(f"The panel does not offer the model {model!r}; put it into the folder of your models.")
        panel.ui.modelSelector.setCurrentIndex(place)
        for case in cases:
            began = time.monotonic()
            found = segmented(panel, load(case), application.wait)
            say(f"button: {short(case.name)}, {time.monotonic() - began:.0f} s")
            yield case.name, differing(found, labels(expected, case.name))
    finally:
        panel.close()


def table(found: Mapping[str, Record], cluster: Mapping[str, int], button: Mapping[str, int]) -> str:
    head = ("case", "state", "seconds", "cluster differs", "button differs")
    rows = [(short(name), each["state"], f"{each['seconds']:.1f}", *(str(one.get(name, "-")) for one in (cluster, button)))
            for name, each in found.items()]
    return aligned([head, *rows])


def short(name: str) -> str:
    """Of .../pt_242/ct only pt_242."""
    return name.removesuffix("/ct").rpartition("/")[2]


def say(sentence: str) -> None:
    print(f"  {sentence}", file=sys.stderr, flush=True)


def run(data: Path, out: Path, model: str, pressed: int) -> bool:
    """Whether all promises are kept."""
    chosen, path = write_list(data, out), find_model(model).resolve()
    found, broken = killed_and_resumed(chosen, out / "batch", model)
    cases = find_cases(chosen)
    on_a_cluster(cases, Job(out / "cluster", path, describe_model(path)["sha256"]))
    good = [case for case in cases if found[case.name]["state"] == "done"]
    cluster = {case.name: differing(labels(out / "cluster", case.name), labels(out / "batch", case.name)) for case in good}
    button = dict(by_the_button(good[::-1][:pressed], model, out / "batch"))  # from the end: a DICOM series, a chest, then heads
    print(machine(), f"model {model}", table(found, cluster, button), sep="\n")
    broken += [f"{what} agrees" for what, differ in (("the cluster", cluster), ("the button", button)) if any(differ.values())]
    for promise in broken:
        print(f"BROKEN: {promise}")
    return not broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the folder of real volumes")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="OUT", help="an empty folder, or one to make")
    parser.add_argument("--model", default=DEFAULT, metavar="NAME", help="a model that the panel offers")
    parser.add_argument("--button", type=int, default=3, metavar="N", help="how many of the nine good cases the button is pressed for")
    chosen = parser.parse_args()
    out = chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        parser.error(f"{out} is not empty, and a batch keeps what it finds: name another folder")
    return 0 if run(chosen.data.resolve(), out, chosen.model, chosen.button) else 1


if __name__ == "__main__":
    sys.exit(main())
