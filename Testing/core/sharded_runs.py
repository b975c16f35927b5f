"""Two processes that split one network, started by test_sharding.py: `python sharded_runs.py DATA OUT`.

A whole pretraining in OUT/whole, with the bytes that each process holds in OUT/held-<rank>.json; then one in OUT/parts that is killed.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from torch import Tensor

from DiffSegCore.training.commands import pretrain as command
from DiffSegCore.training.sharding import Sharded


def run(data: Path, out: Path, progress=lambda fraction, stage: None) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", "--devices", "2",
                                   "--strategy", "sharded"]), progress)


def killed(fraction: float, stage: str) -> None:
    if stage.startswith("step 15 "):  # five past the checkpoint
        os.kill(os.getpid(), signal.SIGKILL)


def watched(save, out: Path):
    """save_checkpoint that first writes down what this process holds of each part of the training."""
    def save_checkpoint(strategy: Sharded, path: Path, state: dict[str, Any], *rest, **more) -> None:
        held = {name: bytes_of(state[name].state_dict()) for name in ("network", "averaged", "optimiser")}
        (out / f"held-{strategy.global_rank}.json").write_text(json.dumps(held))
        save(strategy, path, state, *rest, **more)

    return save_checkpoint


def bytes_of(state: Any) -> int:
    """Of the tensors in a state, of a split one this process's share."""
    if isinstance(state, Tensor):
        return (state.to_local() if hasattr(state, "to_local") else state).nbytes
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list) else ()
    return sum(map(bytes_of, inner))


if __name__ == "__main__":
    data, out = map(Path, sys.argv[1:])
    plain, Sharded.save_checkpoint = Sharded.save_checkpoint, watched(Sharded.save_checkpoint, out)
    run(data, out / "whole")
    Sharded.save_checkpoint = plain
    run(data, out / "parts", killed)
