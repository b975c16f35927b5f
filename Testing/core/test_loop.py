"""Training: it learns, keeps the best, and goes on after a stop exactly where it was."""
from __future__ import annotations

import sys
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from torch import nn

from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.training.loop import AGAIN, Budget, Task, Trained, learning_rate, share_of, train
from DiffSegCore.training.precision import arithmetic

BUDGET = Budget(steps=12, batch=4, learning_rate=.05, warmup=2, averaging=.5, validate_every=4)


def batch_of(first: int, count: int) -> torch.Tensor:
    """Numbered points: the same whenever and wherever they are asked for."""
    return torch.stack([torch.randn(3, generator=torch.Generator().manual_seed(n)) for n in range(first, first + count)])


def a_task(score=lambda network: -network.weight.sub(1).abs().sum().item()) -> Task:
    return Task(batch_of, lambda network, points: (network(points) - points.sum(1, keepdim=True)).square().mean(), score)


def a_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def run(folder: Path, task: Task | None = None, budget: Budget = BUDGET, **options) -> Trained:
    folder.mkdir(exist_ok=True)
    return train(Fabric(accelerator="cpu", devices=1), a_network(), task or a_task(), budget, folder, **options)


def stop_after(step: int):
    def progress(fraction: float, stage: str) -> None:
        if stage.startswith(f"step {step} "):
            raise Cancelled
    return progress


def test_it_learns(tmp_path):
    assert run(tmp_path, budget=replace(BUDGET, steps=200, validate_every=50)).network.weight.sub(1).abs().max() < .1


def test_a_stopped_and_resumed_run_ends_bit_for_bit_where_an_uninterrupted_one_does(tmp_path):
    whole = run(tmp_path / "whole")
    with pytest.raises(Cancelled):
        run(tmp_path / "parts", progress=stop_after(6))  # two steps past the checkpoint: they are done again
    resumed = run(tmp_path / "parts", resume=True)
    assert torch.equal(whole.network.weight, resumed.network.weight)
    last, again = (torch.load(tmp_path / part / "last.ckpt", weights_only=True) for part in ("whole", "parts"))
    assert torch.equal(last["network"]["weight"], again["network"]["weight"])


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit on the size of files")
@pytest.mark.parametrize(("scores", "file"), [((1, 2, 3), "best.ckpt"), ((3, 2, 1), "last.ckpt")])
def test_a_disk_that_fills_up_is_told_with_the_files_name_and_the_last_good_checkpoint_survives(tmp_path, scores, file):
    import resource
    limits, left = resource.getrlimit(resource.RLIMIT_FSIZE), iter(scores)

    def fill(fraction: float, stage: str) -> None:
        if stage.startswith("step 5 "):
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(BadInput, match=file):
            run(tmp_path / "parts", a_task(lambda network: next(left)), progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {"best.ckpt", "last.ckpt"}
    left = iter(scores[1:])
    resumed = run(tmp_path / "parts", a_task(lambda network: next(left)), resume=True)
    left = iter(scores)
    assert torch.equal(resumed.network.weight, run(tmp_path / "whole", a_task(lambda network: next(left))).network.weight)


@pytest.mark.parametrize(("last", "kept", "best"), ((False, 1, 3.), (True, 2, 2.)))
def test_the_best_scored_weights_are_returned_or_if_asked_for_the_last(tmp_path, last, kept, best):
    scores, seen = iter([1., 3., 2.]), []
    def score(network):
        seen.append(network.weight.detach().clone())
        return next(scores)
    trained = run(tmp_path, a_task(score), last=last)
    assert torch.equal(trained.network.weight, seen[kept]) and trained.score == best


def test_gradients_that_are_no_numbers_end_a_training_with_a_sentence_and_its_last_checkpoint(tmp_path):
    step = count(1)
    task = replace(a_task(), loss=lambda network, points: network(points).mean() * (float("nan") if next(step) == 6 else 1))
    with pytest.raises(BadInput, match="In step 6 the gradients.*--resume"):
        run(tmp_path, task)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] == 4


def test_resuming_nothing_says_so(tmp_path):
    with pytest.raises(BadInput, match="last.ckpt.*--resume"):
        run(tmp_path / "empty", resume=True)


def test_processes_share_a_batch_evenly_or_say_that_they_cannot():
    assert share_of(BUDGET, 1) == 4 and share_of(BUDGET, 2) == 2
    with pytest.raises(BadInput, match="4 at once, which 3 processes cannot share evenly"):
        share_of(BUDGET, 3)


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    rates = [learning_rate(step, BUDGET) for step in range(BUDGET.steps)]
    assert rates[0] < rates[1] and rates[1:] == sorted(rates[1:], reverse=True)
    assert learning_rate(BUDGET.steps, BUDGET) == pytest.approx(0)


def test_a_learning_rate_that_begins_anew_falls_to_nothing_twice():
    budget = Budget(steps=100, batch=1, learning_rate=1., warmup=4, restart=.6)
    rates = np.array([learning_rate(step, budget) for step in range(100)])
    assert budget.restarts_at == 60 and rates[59] < .01 and rates[99] < .01
    assert .9 < rates[:60].max() < 1 and .9 * AGAIN < rates[60:].max() < AGAIN and np.argmax(rates[60:]) == 3
    assert (np.diff(rates[4:60]) < 0).all() and (np.diff(rates[64:]) < 0).all()


def test_bf16_is_for_products_and_rounds_nothing_that_a_network_is_given():
    seen: list[torch.Tensor] = []

    class Looks(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend([x, super().forward(x)])
            return seen[-1]

    network = Fabric(accelerator="cpu", devices=1, **arithmetic("bf16", "cpu")).setup_module(Looks(3, 1))
    given = torch.full((1, 3), .998)
    network(given)
    assert torch.equal(seen[0], given) and seen[1].dtype == torch.bfloat16
