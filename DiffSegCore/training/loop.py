"""The training loop on Lightning Fabric: one CPU, one GPU or many processes; exact resume; averaged weights; TensorBoard.

A step's batch is a function of its number, so the only state is step, weights, averaged weights, optimiser and best score.
"""
from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..errors import BadInput
from ..files import atomic
from ..progress import Progress, silent
from .sharding import hollow, split_alike, whole

log = logging.getLogger(__name__)
AGAIN = .4  # of its first height, to which a learning rate rises that begins anew


@dataclass(frozen=True)
class Budget:
    """How long and how fast to learn. `validate_every` steps the averaged weights are scored and a checkpoint is written, `log_every`
    steps the loss is logged, the mean over processes. restart: the share of the steps after which the learning rate begins anew, at AGAIN of what it
    began with: for trainings whose material changes there, and which would otherwise learn the new with what is left of the rate."""

    steps: int
    batch: int
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup: int = 100
    averaging: float = .998
    validate_every: int = 500
    clip: float = 1.
    log_every: int = 20
    restart: float = 1.

    @property
    def restarts_at(self) -> int:
        """The step from which on the learning rate is the second one."""
        return round(self.restart * self.steps)


@dataclass(frozen=True)
class Task:
    """What is learnt: batch_of(first, count) -> batch; loss(network, batch) -> scalar; score(network) -> higher is better."""

    batch_of: Callable[[int, int], Any]
    loss: Callable[[nn.Module, Any], Tensor]
    score: Callable[[nn.Module], float]


@dataclass(frozen=True)
class Trained:
    """The averaged network that scored best, its score, and the seconds of training, those before a resume included."""

    network: nn.Module
    score: float
    seconds: float


def learning_rate(step: int, budget: Budget) -> float:
    """Linear warm-up, then a half cosine down to zero, or two."""
    if budget.restart == 1 or step < budget.restarts_at:
        first, steps, highest = 0, budget.restarts_at, budget.learning_rate
    else:
        first, steps, highest = budget.restarts_at, budget.steps - budget.restarts_at, AGAIN * budget.learning_rate
    warm = min(1., (step - first + 1) / budget.warmup)
    return highest * warm * .5 * (1 + math.cos(math.pi * (step - first) / steps))


def share_of(budget: Budget, processes: int) -> int:
    """How much of a step's batch each process takes; BadInput where it cannot be shared evenly."""
    if budget.batch % processes:
        raise BadInput(f"A step takes {budget.batch} at once, which {processes} processes cannot share evenly: choose --devices (and --nodes) that divide "
                       f"{budget.batch}, or a recipe with a larger batch.")
    return budget.batch // processes


def train(fabric: Fabric, network: nn.Module, task: Task, budget: Budget, folder: Path, *, resume: bool = False,
          progress: Progress = silent, logged: str = "", last: bool = False) -> Trained:
    """Train on from the start or from folder/last.ckpt; the best network is kept in folder/best.ckpt. `logged` stands before its curves' names.

    last: the network of the last step counts as the best, whatever the scores say.
    """
    averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(budget.averaging))
    network = fabric.setup_module(network)
    split_alike(averaged.module, network.module)
    averaged.to(fabric.device)
    optimiser = fabric.setup_optimizers(torch.optim.AdamW(network.parameters(), lr=budget.learning_rate, weight_decay=budget.weight_decay))
    state = {"network": network, "averaged": averaged, "optimiser": optimiser, "step": 0, "best": -math.inf, "seconds": 0.}
    if resume:
        _restore(fabric, folder / "last.ckpt", state)
    share, began = share_of(budget, fabric.world_size), time.monotonic() - state["seconds"]
    for step in range(state["step"], budget.steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, budget)
        batch = fabric.to_device(task.batch_of(step * budget.batch + fabric.global_rank * share, share))
        loss = task.loss(network, batch)
        optimiser.zero_grad()
        fabric.backward(loss)
        _clip(fabric, network, optimiser, budget, step)
        optimiser.step()
        averaged.update_parameters(network.module)
        state.update(step=step + 1, seconds=time.monotonic() - began)
        _report(fabric, state, budget, loss, progress, logged)
        if (step + 1) % budget.validate_every == 0 or step + 1 == budget.steps:
            _validate(fabric, task, state, folder, logged, last)
    best = hollow(averaged)
    best.load_state_dict(torch.load(folder / "best.ckpt", map_location=fabric.device, weights_only=True), assign=True)
    return Trained(best.module, state["best"], state["seconds"])


def _clip(fabric: Fabric, network: nn.Module, optimiser: torch.optim.Optimizer, budget: Budget, step: int) -> None:
    norm = fabric.clip_gradients(network, optimiser, max_norm=budget.clip, error_if_nonfinite=False)
    if not torch.isfinite(norm):
        raise BadInput(f"In step {step + 1} the gradients are no finite numbers, so nothing can be learnt from it. With bf16, try --precision fp32, together "
                       "with --resume where there is a checkpoint; otherwise give the recipe a lower learning rate.")


def _report(fabric: Fabric, state: dict[str, Any], budget: Budget, loss: Tensor, progress: Progress, logged: str) -> None:
    step = state["step"]
    if step % budget.log_every == 0:
        fabric.log_dict({f"{logged}loss": fabric.all_reduce(loss.detach()).item(), f"{logged}learning rate": learning_rate(step - 1, budget)}, step)
    progress(step / budget.steps, f"step {step} of {budget.steps}, loss {loss.item():.3f}, best score {max(state['best'], 0):.3f}")


def _validate(fabric: Fabric, task: Task, state: dict[str, Any], folder: Path, logged: str, last: bool) -> None:
    """Score the averaged weights on the first process, keep them if they are the best so far or the `last` count, and checkpoint everything."""
    averaged = whole(state["averaged"])
    score = fabric.broadcast(task.score(averaged.module) if fabric.is_global_zero else 0.)
    fabric.log(f"{logged}validation score", score, state["step"])
    if fabric.is_global_zero:
        log.info("step %d: validation score %.4f after %.0f s", state["step"], score, state["seconds"])
    if last or score > state["best"]:
        state["best"] = score
        if fabric.is_global_zero:
            with atomic(folder / "best.ckpt") as temporary, open(temporary, "wb") as file:  # torch's own writer hides that a disk is full
                torch.save(averaged.state_dict(), file)
    _save(fabric, folder / "last.ckpt", state)


def _save(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    """A kill or a full disk while writing leaves the checkpoint before it. Only the first process writes, all take part."""
    if fabric.is_global_zero:
        with atomic(path) as temporary:
            fabric.save(temporary, state)
    else:
        fabric.save(path, state)


def _restore(fabric: Fabric, path: Path, state: dict[str, Any]) -> None:
    if not path.is_file():
        raise BadInput(f"nothing to resume: {path} does not exist; leave --resume out to start anew")
    rest = fabric.load(path, {key: state[key] for key in ("network", "averaged", "optimiser")})
    state.update(rest)
