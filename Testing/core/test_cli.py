"""The commands as people and scripts call them: what they write, print and return."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from toys import ORGANS, toy_ct, toy_geometry, toy_model

from DiffSegCore import read_labels, write_labels
from DiffSegCore.cli import main, segment
from DiffSegCore.volume import LabelMap

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """ct.nii.gz and toy.safetensors, made once."""
    folder = tmp_path_factory.mktemp("cli")
    toy_ct(folder / "ct.nii.gz")
    toy_model(folder / "toy.safetensors")
    return folder


@pytest.fixture
def ct(folder):
    return str(folder / "ct.nii.gz")


@pytest.fixture
def model(folder):
    return str(folder / "toy.safetensors")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_training_process_whose_peer_is_gone_points_to_what_that_one_said(monkeypatch, capsys, tmp_path):
    from DiffSegCore.training.commands import click

    def lost(*_):
        raise RuntimeError("[pair.cc:553] Connection closed by peer [127.0.0.1]:64680.")

    monkeypatch.setattr(click, "run", lost)
    assert main(["train", "click", "--data", str(tmp_path), "-o", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert "another process of this training has ended" in said and "pair.cc" not in said


def test_without_a_command_it_helps_with_examples(capsys):
    assert main([]) == 0
    assert "diffseg segment ct.nii.gz -o organs.seg.nrrd" in capsys.readouterr().out


@pytest.mark.parametrize("line", [["fly"], ["segment", "ct.nii.gz"], ["segment", "a", "-o", "b.nrrd", "--device", "abacus"], ["train"]])
def test_wrong_use_is_2(line, capsys):
    with pytest.raises(SystemExit) as exit:
        main(line)
    assert exit.value.code == 2 and "usage: diffseg" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["demo", "segment", "batch", "refine", "export", "evaluate", "train", "models"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as exit:
        main([command, "--help"])
    assert exit.value.code == 0 and f"usage: diffseg {command}" in capsys.readouterr().out


def test_segment_writes_labels_on_the_inputs_grid_and_prints_a_table(ct, model, tmp_path, capsys):
    assert main(["segment", ct, "-o", str(tmp_path / "organs.nii.gz"), "--model", model, "--device", "cpu"]) == 0
    labels, out = read_labels(tmp_path / "organs.nii.gz"), capsys.readouterr().out
    assert labels.geometry.same_grid(toy_geometry())
    assert set(labels.names.values()) == set(ORGANS)
    assert out.splitlines()[0] == f"{'organ':<9}     ml  in 90 % of cases" and "mandible" in out and str(tmp_path / "organs.nii.gz") in out
    assert names(tmp_path) == ["organs.json", "organs.nii.gz"]


def test_several_outputs_hold_the_same_labels(ct, model, tmp_path):
    outputs = [tmp_path / name for name in ("a.nii.gz", "b.seg.nrrd", "c.mha")]
    assert main(["segment", ct, "--model", model, "--quiet", *(word for path in outputs for word in ("-o", str(path)))]) == 0
    first, *rest = (read_labels(path) for path in outputs)
    for other in rest:
        np.testing.assert_array_equal(other.ids, first.ids)


@pytest.mark.parametrize("output", [".", "new/../"])
def test_a_folder_as_output_gets_the_inputs_name(ct, model, tmp_path, output):
    (tmp_path / "new").mkdir()
    assert main(["segment", ct, "-o", f"{tmp_path}/{output}", "--model", model, "--quiet"]) == 0
    assert names(tmp_path) == ["ct.seg.nrrd", "new"]


def test_quiet_says_nothing(ct, model, tmp_path, capfd):
    assert main(["segment", ct, "-o", str(tmp_path / "o.nrrd"), "--model", model, "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_what_speaks_against_the_volume_is_said_beside_the_table(ct, model, tmp_path, capsys, monkeypatch):
    import DiffSegCore.segmenter

    monkeypatch.setattr(DiffSegCore.segmenter, "concerns", lambda *_: ("The image is a teapot.",))
    assert main(["segment", ct, "-o", str(tmp_path / "o.nrrd"), "--model", model]) == 0
    assert capsys.readouterr().err == "The image is a teapot.\n"


def test_a_picture_is_drawn_on_request(ct, model, tmp_path):
    pytest.importorskip("matplotlib")
    line = ["segment", ct, "-o", str(tmp_path / "o.seg.nrrd"), "--model", model, "--picture", str(tmp_path / "p.png"), "--quiet"]
    assert main(line) == 0
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_output_is_never_the_input(ct, model, capsys):
    before = Path(ct).read_bytes()
    assert main(["segment", ct, "-o", ct, "--model", model]) == 2
    assert "is the input itself" in capsys.readouterr().err and Path(ct).read_bytes() == before


def test_evaluate_prints_a_table_or_json(tmp_path, capsys):
    truth = np.zeros((20, 24, 28), np.uint8)
    truth[5:10, 5:10, 5:10] = 1
    half = truth.copy()
    half[5:10, 5:10, 8:] = 0  # 3 of 5 columns stay: Dice 2 * 3 / (3 + 5)
    for name, ids in (("truth", truth), ("half", half)):
        write_labels(LabelMap(ids, toy_geometry(), {1: "brainstem", 7: "mandible"}), tmp_path / f"{name}.nii.gz")
    line = ["evaluate", str(tmp_path / "half.nii.gz"), str(tmp_path / "truth.nii.gz")]
    assert main([*line, "--json", "--skip-empty"]) == 0
    (score,) = json.loads(capsys.readouterr().out)
    assert score["organ"] == "brainstem" and score["dice"] == pytest.approx(0.75)
    assert main(line) == 0
    assert "0.750" in capsys.readouterr().out


def test_models_lists_what_is_known_of_each(folder, monkeypatch, capsys):
    monkeypatch.setenv("DIFFSEG_MODELS", str(folder))
    assert main(["models", "--json"]) == 0
    toy = next(row for row in json.loads(capsys.readouterr().out) if row["name"] == "toy")
    assert toy["organs"] == list(ORGANS) and toy["spacing_mm"] == [4, 4, 4] and toy["licence"] == "CC0" and len(toy["sha256"]) == 64
    assert main(["models"]) == 0
    assert "0.600, the mean of brainstem 0.500" in capsys.readouterr().out


def test_a_broken_model_hides_no_other(folder, tmp_path, monkeypatch, capsys):
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    monkeypatch.setenv("DIFFSEG_MODELS", f"{folder}{os.pathsep}{tmp_path}")
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    assert "toy: A toy" in out and "broken: " in out and "damaged" in out


def failing(error: BaseException):
    def run(args):
        raise error

    return run


def test_a_failure_is_a_sentence_and_1_and_shows_its_traceback_only_on_request(monkeypatch, capsys):
    monkeypatch.setattr(segment, "run", failing(RuntimeError("the disk sings")))
    assert main(["segment", "in", "-o", "out.nrrd"]) == 1
    plain = capsys.readouterr().err
    assert plain.count("\n") == 1 and "the disk sings" in plain and "--debug" in plain
    assert main(["segment", "in", "-o", "out.nrrd", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_caller_in_python_keeps_its_own_signals(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(segment, "run", failing(RuntimeError()))
    main(["segment", "in", "-o", "out.nrrd"])
    assert signal.getsignal(signal.SIGTERM) is before


def test_python_m_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "DiffSegCore", "--version"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("diffseg ")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "kill"])
def test_stopped_in_the_middle_it_leaves_no_file(tmp_path, stop):
    """The real command on a terminal; the signal comes when the bar says that windows are being looked at."""
    ct, model, out = toy_ct(tmp_path / "ct.nii.gz", (120, 120, 120)), toy_model(tmp_path / "m.safetensors", (32, 32)), tmp_path / "out"
    out.mkdir()
    line = [sys.executable, "-m", "DiffSegCore", "segment", str(ct), "-o", str(out / "organs.seg.nrrd"), "--model", str(model), "--device", "cpu"]
    terminal, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # on no columns nothing is drawn
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=end, env={**os.environ, "OMP_NUM_THREADS": "1"},
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # whoever runs the tests in the background has it ignored
    os.close(end)
    seen = b""
    while b"Looking at window" not in seen:
        seen += os.read(terminal, 1000)
    process.send_signal(stop)
    process.communicate(timeout=60)
    os.close(terminal)
    assert process.returncode == 130 and b"left" in seen
    assert names(out) == []


def test_a_json_that_is_someone_elses_is_refused_before_the_slow_work(ct, tmp_path, capsys, monkeypatch):
    (tmp_path / "organs.json").write_text('{"mine": 1}')
    monkeypatch.setattr("DiffSegCore.data.sources.read_image", lambda *args, **more: pytest.fail("the slow work began"))
    assert main(["segment", ct, "-o", str(tmp_path / "organs.nii.gz")]) == 2
    assert "organs.json holds something else" in capsys.readouterr().err
    assert names(tmp_path) == ["organs.json"]
