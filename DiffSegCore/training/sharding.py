"""Trainings in which every process keeps a share of the numbers alone: of weights, gradients, the optimiser's state and averaged weights.

FSDP2 (torch.distributed.fsdp.fully_shard; arXiv 2304.11277) under Lightning Fabric, over NCCL or gloo. A layer's weights are split along
their first axis; they are put together while the layer is read, and again on the way back. What is scored, kept and returned is whole:
the first process must be able to hold the network once more.
"""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.strategies import ModelParallelStrategy
from torch import Tensor, nn

from ..errors import BadInput

LARGE = 1 << 13  # weights; smaller layers are put together with all others of their size, because asking for each would take longer


class Sharded(ModelParallelStrategy):
    """Fabric's FSDP2 over all processes. A checkpoint is one whole file, as one process writes it; either can go on with it."""

    def __init__(self, processes: int) -> None:
        super().__init__(split, data_parallel_size=processes, tensor_parallel_size=1, save_distributed_checkpoint=False)

    def save_checkpoint(self, path: Path, state: dict[str, Any], storage_options: Any = None, filter: Any = None) -> None:
        """All processes take part; the first writes. Fabric's own would take one split module, and here are two."""
        stored = {name: _gathered(part.state_dict(), on="cpu") if hasattr(part, "state_dict") else part for name, part in state.items()}
        if _is_first():
            with open(path, "wb") as file:  # torch's own writer hides that a disk is full
                torch.save(stored, file)

    def load_checkpoint(self, path: Path, state: dict[str, Any], strict: bool = True, weights_only: bool | None = None) -> dict[str, Any]:
        """Fill the modules and optimisers of `state`, each with its share; returns what else is stored."""
        stored = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        for name, part in state.items():
            part.load_state_dict((_optimiser_shares if isinstance(part, torch.optim.Optimizer) else _shares)(stored.pop(name), part, path))
        return stored


def split(network: nn.Module, mesh: Any) -> nn.Module:
    """The network, its weights split over the processes of the mesh: large layers one by one, the rest together.

    A network with `irregular` set is put together as one: the processes' batches read its layers in different numbers.
    """
    from torch.distributed.fsdp import fully_shard
    network.to(memory_format=torch.contiguous_format)  # no other is split
    everyone = mesh["data_parallel"]
    for layer in [] if getattr(network, "irregular", False) else list(network.modules()):
        if sum(weights.numel() for weights in layer.parameters(recurse=False)) >= LARGE:
            fully_shard(layer, mesh=everyone)
    return fully_shard(network, mesh=everyone)


def check_available() -> None:
    """BadInput where this torch cannot split networks."""
    try:
        from torch.distributed.fsdp import fully_shard  # noqa: F401
    except ImportError as error:
        raise BadInput(f"--strategy sharded needs torch 2.6 or newer, and this is {torch.__version__}; update torch, or choose --strategy ddp") from error


def split_alike(average: nn.Module, network: nn.Module) -> None:
    """Split an average as its network is split, if it is: the average of a share is the share of the average."""
    state = network.state_dict()
    if any(map(_is_split, state.values())):
        average.load_state_dict({name: value.detach().clone() for name, value in state.items()}, assign=True)


def whole(network: nn.Module) -> nn.Module:
    """The network itself, or, of a split one, a whole copy in the first process and one without weights in the others. All take part."""
    if not any(map(_is_split, network.parameters())):
        return network
    state, found = _gathered(network.state_dict()), hollow(network)
    if _is_first():
        found.load_state_dict(state, assign=True)
    return found


def hollow(network: nn.Module) -> nn.Module:
    """A copy whose parameters take no memory, to be filled by load_state_dict(..., assign=True)."""
    empty = {id(old): nn.Parameter(torch.empty(old.shape, dtype=old.dtype, device="meta"), old.requires_grad) for old in network.parameters()}
    return copy.deepcopy(network, empty)


def _is_first() -> bool:
    return torch.distributed.get_rank() == 0


def _is_split(value: Any) -> bool:
    return hasattr(value, "full_tensor")  # a DTensor, whose class has moved between versions of torch


def _gathered(state: Any, on: str | None = None) -> Any:
    """The state with its tensors put together, one after the other, on that device; None in their place in all processes but the first."""
    if isinstance(state, dict):
        return {name: _gathered(value, on) for name, value in state.items()}
    if not isinstance(state, Tensor):
        return [_gathered(value, on) for value in state] if isinstance(state, list) else state
    found = state.full_tensor() if _is_split(state) else state
    return found.to(on or found.device) if _is_first() else None


def _shares(stored: dict[str, Tensor], network: nn.Module, path: Path) -> dict[str, Tensor]:
    own = network.state_dict()
    if own.keys() != stored.keys():
        raise BadInput(f"{path} holds another network, or was not written by --strategy sharded or one process; go on as the training was begun")
    return {name: _share_of(value, own[name]) for name, value in stored.items()}


def _optimiser_shares(stored: dict[str, Any], optimiser: torch.optim.Optimizer, path: Path) -> dict[str, Any]:
    weights = [each for group in optimiser.param_groups for each in group["params"]]
    return {**stored, "state": {number: {name: _share_of(value, weights[number]) for name, value in values.items()}
                                for number, values in stored["state"].items()}}


def _share_of(value: Any, like: Tensor) -> Any:
    """This process's share of what lies beside split weights, value by value; anything else as it is."""
    if not _is_split(like) or getattr(value, "shape", None) != like.shape:
        return value
    from torch.distributed.tensor import distribute_tensor
    return distribute_tensor(value.contiguous(), like.device_mesh, like.placements)
