"""Ten real cases, one of them cut short: the list for a batch, a batch that is killed and taken up again, and what its folder holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, Sequence

import numpy as np

from DiffSegCore import read_labels
from DiffSegCore.volume import LabelMap

ROOT = Path(__file__).resolve().parents[1]
PATIENTS = ("pt_242", "pt_243", "pt_245", "pt_247", "pt_251", "pt_256", "pt_260")


def write_list(data: Path, folder: Path) -> Path:
    """A list of seven heads in NIfTI, one of them once more and cut short, a small chest in NIfTI, and a head as a DICOM series."""
    heads = [data / "ct_hn_openkbp/test" / name / "ct.nii.gz" for name in PATIENTS]
    (folder / "corrupt.nii.gz").write_bytes(heads[0].read_bytes()[:200_000])
    small = data / "tests_small"
    chosen = [*heads[:3], folder / "corrupt.nii.gz", *heads[3:], small / "acil_ct64/ct.nii.gz", small / "cthead_dicom"]
    (folder / "list.txt").write_text("\n".join(map(str, chosen)))
    return folder / "list.txt"


def save_coarse_model(path: Path) -> Path:
    """An untrained model for CT on voxels of 16 mm, which takes a second a case."""
    import torch

    from DiffSegCore.model import Model, save_model
    from DiffSegCore.networks import build
    from DiffSegCore.preprocess import Preprocessing

    torch.manual_seed(3)
    architecture = {"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16]}}
    preprocessing = Preprocessing((16.0,) * 3, ((-1000.0, -1.0), (1000.0, 1.0)), "CT")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(Model(build(architecture).eval(), architecture, preprocessing, ("brainstem", "mandible"), (16, 16, 16)), path)
    return path


def killed(line: Sequence[str], after: int) -> list[dict[str, Any]]:
    """Start a batch and kill it, without a chance to tidy up, in the middle of the case after so many; the records that it told."""
    process = subprocess.Popen(line, **_HOW)
    told = [json.loads(process.stdout.readline()) for _ in range(after)]
    time.sleep(told[-1]["seconds"] / 2)
    process.send_signal(signal.SIGKILL)
    rest, _ = process.communicate()
    return told + [json.loads(each) for each in rest.splitlines() if each.endswith("}")]


def finished(line: Sequence[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run a batch to its end; its exit code and the records that it told."""
    done = subprocess.run(line, **_HOW)
    return done.returncode, [json.loads(each) for each in done.stdout.splitlines()]


_HOW = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True,
        "env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}}


def records(out: Path) -> dict[str, dict[str, Any]]:
    """What a batch noted, by case; each may be there only once."""
    lines = (out / "cases.jsonl").read_text().splitlines()
    found = {record["case"]: record for record in map(json.loads, lines)}
    assert len(found) == len(lines), "a case is there twice"
    return found


def labels(out: Path, name: str) -> LabelMap:
    return read_labels(out / f"{name}.seg.nrrd")


def differing(found: LabelMap, expected: LabelMap) -> int:
    """How many voxels of `found` carry another id than `expected` has at their place in the world.

    So a volume that one reader stores from head to foot and another from foot to head may agree. AssertionError where the voxels
    of one lie between those of the other: then nobody can tell.
    """
    kji = np.moveaxis(np.indices(found.geometry.shape), 0, -1)
    there = expected.geometry.to_index(found.geometry.to_ras(kji))
    at = np.rint(there).astype(int)
    assert np.abs(there - at).max() < 1e-2, "the voxels of the two lie beside each other"
    assert found.ids.size == expected.ids.size and expected.geometry.contains(at), "the two are not of the same volume"
    return int((found.ids != expected.ids[tuple(np.moveaxis(at, -1, 0))]).sum())
