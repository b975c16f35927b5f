"""`DiffSegLib/Batch.py` as Slicer runs it: the script executed in a `__main__` that already has `slicer`, nothing shown, always an exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from toys import toy_ct, toy_model

from DiffSegCore import read_labels
from DiffSegCore.cli import main

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "DiffSegExtension/DiffSegLib/Batch.py"
# What of the application the script touches. An event loop would follow: whoever does not call exit() hangs.
APPLICATION = """
import sys, types, os
slicer, qt = types.ModuleType("slicer"), types.ModuleType("qt")
def leave(code): print("EXIT", code, flush=True); os._exit(code)
slicer.app = object()
slicer.util = types.SimpleNamespace(exit=leave, startupEnvironment=lambda: dict(os.environ))
qt.QSettings = lambda: types.SimpleNamespace(value=lambda key: None)
sys.modules.update(slicer=slicer, qt=qt)
sys.argv = sys.argv[1:]
scope = {"__name__": "__main__", "__file__": sys.argv[0]}
try:
    exec(open(sys.argv[0]).read(), scope)
except BaseException as error:
    print("UNCAUGHT", repr(error), flush=True)
import time; time.sleep(600)
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two good volumes and a bad one in in/, a model beside."""
    (tmp_path / "in").mkdir()
    for name in ("a.nii.gz", "b.mha"):
        toy_ct(tmp_path / "in" / name)
    (tmp_path / "in/bad.nii.gz").write_bytes(b"nothing")
    toy_model(tmp_path / "toy.safetensors")
    return tmp_path


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "DIFFSEG_PYTHON": sys.executable}


def line(place: Path, *more: str) -> list[str]:
    return [str(place / "in"), str(place / "out"), "--model", str(place / "toy.safetensors"), "--device", "cpu", *more]


def in_slicer(*words: str) -> list[str]:
    return [sys.executable, "-c", APPLICATION, str(SCRIPT), *words]


@pytest.mark.parametrize("inside", [True, False], ids=["slicer", "python"])
def test_the_script_gives_the_labels_lines_and_exit_code_of_the_command(place, inside):
    words = line(place)
    whole = in_slicer("--", *words) if inside else [sys.executable, str(SCRIPT), *words]
    done = subprocess.run(whole, env=environment(), cwd=place, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1 and ("EXIT 1" in done.stdout) == inside, done.stderr
    told = [json.loads(each) for each in done.stdout.splitlines() if each.startswith("{")]
    assert {each["case"]: each["state"] for each in told} == {"a": "done", "b": "done", "bad": "failed"}
    assert main(["batch", str(place / "in"), str(place / "again"), *line(place)[2:], "--quiet"]) == 1
    for name in ("a", "b"):
        np.testing.assert_array_equal(*(read_labels(place / folder / f"{name}.seg.nrrd").ids for folder in ("out", "again")))


@pytest.mark.parametrize(("words", "python"), [(["--no-such-option"], sys.executable), (["in", "out"], "/nowhere/python")], ids=["wrong use", "no Python"])
def test_whatever_is_wrong_slicer_ends_with_2(tmp_path, words, python):
    done = subprocess.run(in_slicer(*words), env={**environment(), "DIFFSEG_PYTHON": python}, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2 and "EXIT 2" in done.stdout and done.stderr.strip() and "Traceback" not in done.stderr


@pytest.mark.parametrize("interrupts", [signal.SIG_DFL, signal.SIG_IGN], ids=["in a terminal", "in the background"])
def test_when_slicer_is_killed_the_work_stops_and_the_next_run_goes_on(place, interrupts):
    for n in range(40):
        toy_ct(place / f"in/more{n}.nrrd", (40, 40, 40))
    process = subprocess.Popen(in_slicer(*line(place)), env=environment(), cwd=place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts))  # shells have background jobs ignore it
    assert json.loads(process.stdout.readline())["case"] == "a"
    process.send_signal(signal.SIGKILL)
    process.wait()
    patience = time.monotonic() + 60
    while (place / "out/.batch.lock").exists():
        assert time.monotonic() < patience, "the batch outlived Slicer"
        time.sleep(0.1)
    finished = len((place / "out/cases.jsonl").read_text().splitlines())
    assert 0 < finished < 43
    again = subprocess.run([sys.executable, str(SCRIPT), *line(place)], env=environment(), cwd=place, capture_output=True, text=True, timeout=150)
    assert again.returncode == 1 and again.stdout.count('"resumed": true') >= finished - 1  # the bad one is tried again
    assert len((place / "out/cases.jsonl").read_text().splitlines()) == 43
