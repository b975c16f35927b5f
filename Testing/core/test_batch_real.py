"""Ten real cases, one of them corrupt: killed in the middle and taken up again, the same labels wherever they are computed.

By the module's button too, but that needs Slicer's scene: Testing/widget/test_button_and_batch.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from ten_cases import finished, killed, labels, records, save_coarse_model, write_list

from DiffSegCore.batch import Job, find_cases, run_batch
from DiffSegCore.model import describe_model


@pytest.fixture
def model(tmp_path) -> Path:
    """The files are what is real here."""
    return save_coarse_model(tmp_path / "coarse.safetensors")


@pytest.fixture
def cases(shared_data, tmp_path) -> Path:
    return write_list(shared_data, tmp_path)


def test_killed_and_resumed_every_good_case_is_there_once_and_equal_on_a_cluster(cases, model, tmp_path):
    out = tmp_path / "out"
    line = [sys.executable, "-m", "DiffSegCore", "batch", str(cases), str(out), "--model", str(model), "--device", "cpu"]
    before = {each["case"] for each in killed(line, after=5) if each["state"] == "done"}
    code, told = finished(line)
    assert code == 1 and len(told) == 10 and len(before) >= 4
    assert {each["case"] for each in told if each["resumed"]} >= before
    found = records(out)
    assert [name.rpartition("/")[2] for name, record in found.items() if record["state"] == "failed"] == ["corrupt"]

    good = [case for case in find_cases(cases) if found[case.name]["state"] == "done"]
    assert len(good) == 9 and all(np.isfinite(list(found[case.name]["ml"].values())).all() for case in good)
    _a_cluster_agrees(cases, model, tmp_path, good)


def _a_cluster_agrees(cases: Path, model: Path, tmp_path: Path, good: list) -> None:
    distributed = pytest.importorskip("distributed")
    job = Job(tmp_path / "there", model, describe_model(model)["sha256"], device="cpu")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        tally = run_batch(find_cases(cases), job, scheduler=cluster.scheduler_address)
    assert (tally.done, tally.failed) == (9, 1)
    for case in good:
        np.testing.assert_array_equal(labels(job.out, case.name).ids, labels(tmp_path / "out", case.name).ids)
