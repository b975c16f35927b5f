"""`--strategy sharded`: two processes with half a network each learn what one with all of it does."""
from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.fsdp
from sharded_runs import bytes_of
from torch import nn
from toys import coarse_phantoms

from DiffSegCore.errors import BadInput
from DiffSegCore.model import load_model_file
from DiffSegCore.training.commands import pretrain as command
from DiffSegCore.training.sharding import check_available, hollow, whole

ROOT = Path(__file__).resolve().parents[2]


def run(data: Path, out: Path, *more: str) -> list[Path]:
    """In this process."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", *more]))


def two_processes(*words: str | Path) -> subprocess.CompletedProcess:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.run([sys.executable, *map(str, words)], cwd=ROOT, env={**os.environ, **threads, "PYTHONPATH": path},
                          capture_output=True, text=True, timeout=600)


def checkpoint(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.ckpt", weights_only=True)


def logged_losses(out: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(next(out.rglob("events.out.*")).parent))
    events.Reload()
    return [event.value for event in events.Scalars("loss")]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return coarse_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="module")
def one(data, tmp_path_factory) -> Path:
    """What one process learns in twenty steps."""
    out = tmp_path_factory.mktemp("one")
    run(data, out)
    return out


@pytest.fixture(scope="module")
def two(data, tmp_path_factory) -> Path:
    """whole/: what two processes learn; parts/: the same, killed after step 15 and not yet resumed; held-0.json and held-1.json: bytes."""
    if sys.platform == "win32" or not hasattr(torch.distributed.fsdp, "fully_shard"):
        pytest.skip("networks are split by torch 2.6 or newer, and not on Windows")
    out = tmp_path_factory.mktemp("two")
    ended = two_processes(Path(__file__).with_name("sharded_runs.py"), data, out)
    assert ended.returncode == -signal.SIGKILL, ended.stderr[-2000:]
    return out


def test_two_processes_that_split_a_network_learn_what_one_does(one, two):
    losses = logged_losses(one), logged_losses(two / "whole")
    assert len(losses[0]) == 20 and losses[1] == pytest.approx(losses[0], abs=1e-4)
    alone, split = (load_model_file(out / "diffusion.safetensors") for out in (one, two / "whole"))
    assert split.card["training"]["processes"] == 2
    torch.testing.assert_close(dict(split.network.state_dict()), dict(alone.network.state_dict()), rtol=0, atol=1e-4)


def test_each_process_holds_half(two):
    kept = checkpoint(two / "whole")
    for rank in (0, 1):
        held = json.loads((two / f"held-{rank}.json").read_text())
        for name in ("network", "averaged", "optimiser"):
            assert held[name] / bytes_of(kept[name]) == pytest.approx(.5, abs=.02)


def test_a_killed_training_resumes_to_the_same_weights(data, two):
    assert checkpoint(two / "parts")["step"] == 10 and not (two / "parts" / "diffusion.safetensors").exists()
    out = shutil.copytree(two / "parts", two / "resumed")
    ended = two_processes("-m", "DiffSegCore", "train", "pretrain", "--recipe", "quick", "--data", data, "-o", out, "--device", "cpu",
                          "--devices", "2", "--strategy", "sharded", "--resume")
    assert ended.returncode == 0, ended.stderr[-2000:]
    again, never_stopped = checkpoint(out), checkpoint(two / "whole")
    for part in ("network", "averaged"):
        assert all(torch.equal(again[part][name], value) for name, value in never_stopped[part].items())
    assert all(torch.equal(again["optimiser"]["state"][number]["exp_avg"], values["exp_avg"]) for number, values in never_stopped["optimiser"]["state"].items())


def test_one_process_goes_on_where_two_stopped(data, one, two):
    out = shutil.copytree(two / "parts", two / "alone")
    model = load_model_file(*run(data, out, "--resume"))
    torch.testing.assert_close(dict(model.network.state_dict()), dict(load_model_file(one / "diffusion.safetensors").network.state_dict()), rtol=0, atol=1e-4)


def test_one_process_has_nobody_to_split_with(data, tmp_path):
    with pytest.raises(BadInput, match="--strategy sharded .* --devices"):
        run(data, tmp_path, "--strategy", "sharded")


def test_an_older_torch_is_told_what_is_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    with pytest.raises(BadInput, match="torch 2.6"):
        check_available()


def test_a_hollow_copy_is_filled_with_what_is_loaded_into_it():
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1).requires_grad_(False))
    copy = hollow(network)
    assert all(each.is_meta for each in copy.parameters()) and whole(network) is network
    copy.load_state_dict(network.state_dict(), assign=True)
    assert torch.equal(copy(torch.ones(1, 2)), network(torch.ones(1, 2)))
    assert [each.requires_grad for each in copy.parameters()] == [True, True, False, False]
