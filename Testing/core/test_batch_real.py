"""Ten real cases, one of them corrupt: killed in the middle and taken up again, the same labels wherever they are computed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from DiffSegCore import read_labels, read_volume
from DiffSegCore.batch import Job, find_cases, run_batch
from DiffSegCore.engine import Engine
from DiffSegCore.model import Model, describe_model, save_model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing

ROOT = Path(__file__).resolve().parents[2]
PATIENTS = ("pt_242", "pt_243", "pt_245", "pt_247", "pt_251", "pt_256", "pt_260")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Untrained, on voxels of 16 mm: the files are what is real here."""
    torch.manual_seed(3)
    architecture = {"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16]}}
    network = build(architecture).eval()
    made = Model(network, architecture, Preprocessing((16.0,) * 3, ((-1000.0, -1.0), (1000.0, 1.0)), "CT"), ("brainstem", "mandible"), (16, 16, 16))
    path = tmp_path_factory.mktemp("model") / "coarse.safetensors"
    save_model(made, path)
    return path


@pytest.fixture
def cases(shared_data, tmp_path) -> Path:
    """A list of seven NIfTI files, one cut short, a small CT, and a DICOM folder."""
    heads = [shared_data / "ct_hn_openkbp/test" / name / "ct.nii.gz" for name in PATIENTS]
    (tmp_path / "corrupt.nii.gz").write_bytes(heads[0].read_bytes()[:200_000])
    small = shared_data / "tests_small"
    chosen = [*heads[:3], tmp_path / "corrupt.nii.gz", *heads[3:], small / "acil_ct64/ct.nii.gz", small / "cthead_dicom"]
    (tmp_path / "list.txt").write_text("\n".join(map(str, chosen)))
    return tmp_path / "list.txt"


def records(out: Path) -> dict[str, dict]:
    lines = (out / "cases.jsonl").read_text().splitlines()
    found = {record["case"]: record for record in map(json.loads, lines)}
    assert len(found) == len(lines), "a case is there twice"
    return found


def ids(out: Path, name: str) -> np.ndarray:
    return read_labels(out / f"{name}.seg.nrrd").ids


def test_killed_and_resumed_every_good_case_is_there_once_and_equal_everywhere(cases, model, tmp_path):
    out = tmp_path / "out"
    line = [sys.executable, "-m", "DiffSegCore", "batch", str(cases), str(out), "--model", str(model), "--device", "cpu"]
    how = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(line, **how)
    before = [json.loads(process.stdout.readline())["case"] for _ in range(3)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = subprocess.run(line, **how)
    told = [json.loads(each) for each in again.stdout.splitlines()]
    assert again.returncode == 1 and len(told) == 10
    assert {each["case"] for each in told if each["resumed"]} >= set(before)
    found = records(out)
    assert [name.rpartition("/")[2] for name, record in found.items() if record["state"] == "failed"] == ["corrupt"]

    good = [case for case in find_cases(cases) if found[case.name]["state"] == "done"]
    assert len(good) == 9 and all(np.isfinite(list(found[case.name]["ml"].values())).all() for case in good)
    _a_cluster_agrees(cases, model, tmp_path, good)
    _the_engine_agrees(model, out, good)


def _a_cluster_agrees(cases: Path, model: Path, tmp_path: Path, good: list) -> None:
    distributed = pytest.importorskip("distributed")
    job = Job(tmp_path / "there", model, describe_model(model)["sha256"], device="cpu")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        tally = run_batch(find_cases(cases), job, scheduler=cluster.scheduler_address)
    assert (tally.done, tally.failed) == (9, 1)
    for case in good:
        np.testing.assert_array_equal(ids(job.out, case.name), ids(tmp_path / "out", case.name))


def _the_engine_agrees(model: Path, out: Path, good: list) -> None:
    """What the module's button asks for."""
    engine = Engine()
    for case in (good[0], good[-1]):
        volume = read_volume(case.source)
        geometry = {"shape": list(volume.geometry.shape), "ijk_to_ras": volume.geometry.ijk_to_ras.tolist()}
        engine.call("set_volume", {"geometry": geometry, "modality": volume.modality}, {"image": volume.array})
        _, arrays = engine.call("segment", {"model": str(model), "device": "cpu"}, {})
        np.testing.assert_array_equal(arrays["labels"], ids(out, case.name))
