"""Batches: which cases, what is written and printed, what becomes of bad ones, and how a stopped run goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stored import write_series
from toys import ORGANS, toy_ct, toy_geometry, toy_model

from DiffSegCore import read_labels, write_labels
from DiffSegCore.batch import Job, find_cases, run_batch, run_case
from DiffSegCore.batch.cluster import _record
from DiffSegCore.batch.lock import only_one
from DiffSegCore.batch.report import write_report
from DiffSegCore.cli import main
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import describe_model
from DiffSegCore.volume import LabelMap, Volume

ROOT = Path(__file__).resolve().parents[2]
SMALL = (10, 12, 14)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return toy_model(tmp_path_factory.mktemp("model") / "toy.safetensors")


@pytest.fixture
def images(tmp_path) -> Path:
    """Three good volumes, one cut short, labels and notes."""
    folder = tmp_path / "in"
    (folder / "a").mkdir(parents=True)
    for name in ("a/ct.nii.gz", "b.mha", "c.nrrd"):
        toy_ct(folder / name, SMALL)
    (folder / "bad.nii.gz").write_bytes((folder / "a/ct.nii.gz").read_bytes()[:100])
    write_labels(LabelMap(np.ones(SMALL, np.uint8), toy_geometry(SMALL), {1: "brainstem"}), folder / "a/organs.nii.gz")
    write_labels(LabelMap(np.ones(SMALL, np.uint8), toy_geometry(SMALL), {1: "brainstem"}), folder / "old.seg.nrrd")
    (folder / "notes.md").write_text("nothing")
    return folder


@pytest.fixture
def job(model, tmp_path) -> Job:
    return Job(tmp_path / "out", model, describe_model(model)["sha256"], device="cpu")


def a_series(folder: Path, name: str, seed: int) -> Path:
    array = np.random.default_rng(seed).integers(-1000, 1000, SMALL).astype(np.int16)
    return write_series(Volume(array, toy_geometry(SMALL), "CT"), folder / name)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def batch(images: Path, out: Path, model: Path, *more: str) -> int:
    return main(["batch", str(images), str(out), "--model", str(model), "--device", "cpu", *more])


def test_the_volumes_of_a_folder_are_cases_and_labels_are_not(images):
    assert [case.name for case in find_cases(images)] == ["b", "bad", "c", "a/ct"]


def test_a_pattern_chooses(images):
    assert [case.name for case in find_cases(images, pattern="*/ct.nii.gz")] == ["a/ct"]
    with pytest.raises(BadInput, match=r"no volume that fits '\*\.png'"):
        find_cases(images, pattern="*.png")


def test_two_files_of_one_name_are_two_cases(images):
    toy_ct(images / "a/CT.nrrd", SMALL)
    assert {"a/ct.nii.gz", "a/CT.nrrd"} <= {case.name for case in find_cases(images)}


def test_the_output_inside_the_input_is_no_input(images):
    toy_ct(images / "a/ct.mha", SMALL)
    assert [case.name for case in find_cases(images, skip=images / "a")] == ["b", "bad", "c"]


def test_a_list_names_files_and_folders_relative_to_itself(images, tmp_path):
    (tmp_path / "list.txt").write_text("# two\nin/a\n\nin/c.nrrd\nin/gone.nii.gz\n")
    assert [case.name for case in find_cases(tmp_path / "list.txt")] == ["a/ct", "c", "gone"]


def test_one_file_is_a_batch_of_one(images):
    assert [case.name for case in find_cases(images / "c.nrrd")] == ["c"]


@pytest.mark.parametrize(("name", "words"), [("nowhere", "no such file"), ("empty", "holds no volume"), ("list.txt", "not")])
def test_nothing_to_do_is_said(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match=words):
        find_cases(tmp_path / name)


def test_the_series_of_a_dicom_tree_are_cases_whose_names_tell_no_patient(tmp_path):
    for seed, name in enumerate(("Meier^Anna/one", "Meier^Anna/two", "Schmidt^Otto/one")):
        a_series(tmp_path, name, seed)
    found = find_cases(tmp_path)
    assert len({case.name for case in found}) == 3 and all(case.name.startswith("series-") for case in found)
    assert [len(case.files) for case in found] == [SMALL[0]] * 3
    a_series(tmp_path, "Abel^Kain/one", 9)
    assert {case.name for case in found} < {case.name for case in find_cases(tmp_path)}  # a grown tree renames nobody


def test_one_dicom_file_stands_for_its_series(tmp_path):
    a_series(tmp_path, "one", 1)
    (case,) = find_cases(next((tmp_path / "one").iterdir()))
    assert len(case.files) == SMALL[0]


def test_a_damaged_dicom_file_is_a_case_that_fails(tmp_path, job):
    (tmp_path / "Meier^Anna").mkdir()
    (tmp_path / "Meier^Anna/1.dcm").write_bytes(b"")
    (case,) = find_cases(tmp_path)
    record = run_case(case, job)
    assert record["state"] == "failed" and "1 of the DICOM files" in record["error"] and "Meier" not in json.dumps(record)


def test_a_dicom_series_is_segmented_and_its_failure_tells_no_patient(tmp_path, job):
    folder = a_series(tmp_path, "Meier^Anna/one", 1)
    (case,) = find_cases(tmp_path / "Meier^Anna")
    assert run_case(case, job)["state"] == "done"
    assert read_labels(job.out / f"{case.name}.seg.nrrd").geometry.same_grid(toy_geometry(SMALL))
    sorted(folder.iterdir())[4].unlink()
    (case,) = find_cases(tmp_path / "Meier^Anna")
    record = run_case(case, job)
    assert "unevenly spaced" in record["error"] and "Meier" not in record["error"] and ".dcm" not in record["error"]


def test_a_batch_writes_labels_records_and_a_table_and_reports_the_bad_one(images, tmp_path, model, capsys):
    assert batch(images, tmp_path / "out", model, "--format", "nii.gz") == 1
    told = {record["case"]: record for record in lines(capsys.readouterr().out)}
    assert {name: record["state"] for name, record in told.items()} == {"a/ct": "done", "b": "done", "c": "done", "bad": "failed"}
    assert "cut short" in told["bad"]["error"] and str(tmp_path) not in json.dumps(told)
    assert names(tmp_path / "out") == ["a/ct.json", "a/ct.nii.gz", "b.json", "b.nii.gz", "c.json", "c.nii.gz", "cases.jsonl", "report.html", "volumes.csv"]
    rows = list(csv.DictReader((tmp_path / "out/volumes.csv").open()))
    assert [row["case"] for row in rows] == ["a/ct", "b", "bad", "c"]
    assert float(rows[0]["mandible ml"]) == told["a/ct"]["ml"]["mandible"] and rows[2]["mandible ml"] == ""


def test_the_labels_are_those_of_diffseg_segment(images, tmp_path, model):
    batch(images, tmp_path / "out", model, "--quiet")
    main(["segment", str(images / "b.mha"), "-o", str(tmp_path / "b.nrrd"), "--model", str(model), "--device", "cpu", "--quiet"])
    one, other = read_labels(tmp_path / "out/b.seg.nrrd"), read_labels(tmp_path / "b.nrrd")
    np.testing.assert_array_equal(one.ids, other.ids)
    assert set(one.names.values()) == set(ORGANS)


def test_the_report_shows_what_failed_first_and_takes_names_for_text(tmp_path):
    done = {"case": "a&<b>", "state": "done", "files": ["a&<b>.seg.nrrd", "a&<b>.png"], "ml": {"liver": 1234.5, "left_kidney": 0.0}, "model": "toy"}
    write_report([done, {"case": "z", "state": "failed", "error": "It is a <teapot>."}, {**done, "case": "y", "warnings": ["Odd."]}], tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.index("&lt;teapot&gt;") < page.index("Odd.") < page.index("<td>a&amp;&lt;b&gt;")
    assert "2 of 3 cases" in page and "1234.5" in page and "not found" in page and 'src="a%26%3Cb%3E.png"' in page and "<b>" not in page


def test_exit_codes(images, tmp_path, model, capsys):
    assert batch(images / "a/ct.nii.gz", tmp_path / "one", model) == 0
    assert batch(images / "bad.nii.gz", tmp_path / "two", model) == 2
    assert batch(tmp_path / "nowhere", tmp_path / "three", model) == 2
    assert "no such file" in capsys.readouterr().err and not (tmp_path / "three").exists()


def test_what_is_done_is_kept_and_what_failed_is_tried_again(images, tmp_path, model, capsys):
    batch(images, tmp_path / "out", model, "--quiet")
    before = (tmp_path / "out/b.seg.nrrd").stat().st_mtime_ns
    toy_ct(images / "bad.nii.gz", SMALL)
    assert batch(images, tmp_path / "out", model) == 0
    told = {record["case"]: record["resumed"] for record in lines(capsys.readouterr().out)}
    assert told == {"a/ct": True, "b": True, "c": True, "bad": False}
    assert (tmp_path / "out/b.seg.nrrd").stat().st_mtime_ns == before
    assert sorted(record["case"] for record in lines((tmp_path / "out/cases.jsonl").read_text())) == ["a/ct", "b", "bad", "c"]


@pytest.mark.parametrize("change", ["image", "labels", "model", "formats"])
def test_a_case_is_done_again_when_what_it_rests_on_changed(images, job, tmp_path, change):
    (case,) = find_cases(images / "c.nrrd")
    run_batch([case], job)
    if change == "image":
        toy_ct(images / "c.nrrd", (10, 12, 15))
    elif change == "labels":
        (job.out / "c.seg.nrrd").unlink()
    elif change == "model":
        other = toy_model(tmp_path / "other.safetensors", (16, 16))
        job = replace(job, model=other, sha256=describe_model(other)["sha256"])
    else:
        job = replace(job, formats=("mha",))
    assert run_batch([case], job).resumed == 0
    assert run_batch([case], job).resumed == 1
    assert run_batch([case], job, resume=False).resumed == 0


def test_two_inputs_may_go_into_one_folder_one_after_the_other(images, job):
    b, c = find_cases(images / "b.mha"), find_cases(images / "c.nrrd")
    for cases in (b, c):
        assert run_batch(cases, job, resume=False).done == 1
    assert run_batch(b, job).resumed == 1
    assert [row["case"] for row in csv.DictReader((job.out / "volumes.csv").open())] == ["b", "c"]


def test_killed_in_the_middle_the_next_run_does_the_rest(images, tmp_path, model):
    for n in range(4):
        toy_ct(images / f"more{n}.nrrd", (20, 24, 28))
    line = [sys.executable, "-m", "DiffSegCore", "batch", str(images), str(tmp_path / "out"), "--model", str(model), "--device", "cpu"]
    how = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
    process = subprocess.Popen(line, **how)
    first = json.loads(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with open(tmp_path / "out/cases.jsonl", "a") as journal:
        journal.write('{"case": "b", "sta')  # as a killed writer may leave it
    again = subprocess.run(line, **how)
    told = lines(again.stdout)
    assert again.returncode == 1 and told[0]["case"] == first["case"] and told[0]["resumed"]
    stored = lines((tmp_path / "out/cases.jsonl").read_text())
    assert sorted(each["case"] for each in stored) == sorted(case.name for case in find_cases(images))
    assert [each["case"] for each in stored if each["state"] == "failed"] == ["bad"]
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")]


def test_a_case_that_was_being_worked_on_when_the_run_ended_comes_last(images, job):
    cases = find_cases(images)
    job.partial(cases[0]).mkdir(parents=True)
    told = []
    run_batch(cases, job, report=lambda record: told.append(record["case"]))
    assert told == ["bad", "c", "a/ct", "b"]


def test_stopping_leaves_a_table_and_no_partial_file(images, job):
    def stop(fraction, stage):
        if stage.startswith("2 of"):
            raise Cancelled

    with pytest.raises(Cancelled):
        run_batch(find_cases(images, pattern="[bc].*"), job, progress=stop)
    assert names(job.out) == ["b.seg.nrrd", "cases.jsonl", "report.html", "volumes.csv"]


def test_labels_never_overwrite_the_image(images, job):
    with pytest.raises(BadInput, match="would overwrite its image"):
        run_batch(find_cases(images / "c.nrrd"), replace(job, out=images, formats=("nrrd",)))
    assert not (images / "cases.jsonl").exists()


def test_two_batches_do_not_share_a_folder(images, job):
    job.out.mkdir()
    with only_one(job.out), pytest.raises(BadInput, match="Another batch"):
        run_batch(find_cases(images), job)
    assert run_batch(find_cases(images / "c.nrrd"), job).done == 1


def test_too_little_memory_is_said_of_the_case(images, job, monkeypatch):
    def burst(*args, **more):
        raise MemoryError

    monkeypatch.setattr("DiffSegCore.batch.work._read", burst)
    record = run_case(find_cases(images / "c.nrrd")[0], job)
    assert record["kind"] == "OutOfMemory" and not job.partial(find_cases(images / "c.nrrd")[0]).exists()


def test_another_model_under_that_path_is_refused(images, job):
    record = run_case(find_cases(images / "c.nrrd")[0], replace(job, sha256="0" * 64))
    assert "another one" in record["error"]


def test_pictures_and_sources_on_request(images, tmp_path, model):
    pytest.importorskip("matplotlib")
    assert batch(images / "c.nrrd", tmp_path / "out", model, "--pictures", "--sources", str(tmp_path / "sources.csv"), "--quiet") == 0
    assert (tmp_path / "out/c.png").read_bytes().startswith(b"\x89PNG")
    assert list(csv.reader((tmp_path / "sources.csv").open()))[1] == ["c", str(images / "c.nrrd"), ""]


def test_a_dask_cluster_gives_the_same_labels(images, job, tmp_path):
    distributed = pytest.importorskip("distributed")
    cases = find_cases(images)
    run_batch(cases, job)
    there = replace(job, out=tmp_path / "there")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        tally = run_batch(cases, there, scheduler=cluster.scheduler_address)
    assert (tally.done, tally.failed) == (3, 1)
    for name in ("a/ct", "b", "c"):
        np.testing.assert_array_equal(read_labels(there.out / f"{name}.seg.nrrd").ids, read_labels(job.out / f"{name}.seg.nrrd").ids)


def test_a_scheduler_that_passes_cases_on_loads_nothing_heavy():
    code = "import sys, DiffSegCore.batch.parcel; print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip() == "[]"


def test_jobs_side_by_side_do_the_same_in_processes_of_their_own(images, tmp_path, model):
    """The real command, as worker processes import its main module again."""
    pytest.importorskip("distributed")
    line = [sys.executable, "-m", "DiffSegCore", "batch", str(images), str(tmp_path / "out"), "--model", str(model), "--jobs", "2", "--device", "cpu"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=150, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1 and {record["case"] for record in lines(done.stdout)} == {"a/ct", "b", "c", "bad"}
    assert "Traceback" not in done.stderr


def test_no_scheduler_there_is_a_sentence(images, job, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("DiffSegCore.batch.cluster._CONNECT_S", 1)
    with pytest.raises(BadInput, match="No Dask scheduler answers at tcp://127.0.0.1:9"):
        run_batch(find_cases(images), job, scheduler="tcp://127.0.0.1:9")


def test_without_dask_the_package_is_named(images, job, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInput, match=r"diffseg\[cluster\]"):
        run_batch(find_cases(images), job, jobs=2)


def test_a_worker_that_died_is_a_failed_case(images):
    class KilledWorker(Exception):
        pass

    class Future:
        def exception(self):
            return KilledWorker("run_case-1")

    record = _record(Future(), find_cases(images)[0])
    assert record["state"] == "failed" and "for want of memory" in record["error"]
