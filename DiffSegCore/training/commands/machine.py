"""What every training shares: where its data and results lie, and the machine it runs on."""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BadInput

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import Strategy


def add_arguments(parser: argparse.ArgumentParser, recipes: str, *, default: str | None = None, several: bool = False) -> None:
    """Arguments of every kind of training; `recipes` says in words which recipes it has, `several`: data sets may be given."""
    parser.add_argument("--recipe", required=default is None, default=default, metavar="NAME", help=recipes)
    parser.add_argument("--data", required=True, type=Path, nargs="+" if several else None, metavar="DIR",
                        help="data set: nnU-Net raw, MSD, MONAI datalist or a folder a case")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="DIR", help="where checkpoints, logs and the model go")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="processes on this machine (GPUs, or CPU processes)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines, when started by torchrun or a scheduler")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--strategy", choices=("auto", "ddp", "sharded"), default="auto",
                        help="of several processes: each with the whole network (ddp, as auto), or with a share of it, for large ones")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto",
                        help="of the arithmetic: auto takes bf16 on a GPU that has it, fp32 elsewhere; CPUs with AVX-512 BF16 are faster with bf16")
    parser.add_argument("--steps", type=int, metavar="N", help="instead of the recipe's number of steps")


def start(args: argparse.Namespace) -> Fabric:
    """Fabric for the wished machine, its processes started."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.loggers import TensorBoardLogger

        from ..precision import arithmetic
    except ImportError as error:
        raise BadInput(f"training needs the packages of diffseg[train] ({error.name} is missing): pip install 'diffseg[train]'") from error
    fabric = Fabric(accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[args.device], devices=args.devices,
                    num_nodes=args.nodes, strategy=_strategy(args.strategy, args.devices * args.nodes), **arithmetic(args.precision, args.device),
                    loggers=TensorBoardLogger(root_dir=args.out / "logs", name=""))
    fabric.launch()
    return fabric


def shortened(recipe: Any, steps: int | None) -> Any:
    """The recipe (a dataclass with a `budget`, and perhaps one for `sides`) with that many steps, if a number is given."""
    from dataclasses import replace
    budgets = {name: budget for name in ("budget", "sides") if (budget := getattr(recipe, name, None)) is not None}
    return replace(recipe, **{name: replace(each, steps=steps, validate_every=min(each.validate_every, steps)) for name, each in budgets.items()}) if steps else recipe


def _strategy(wished: str, processes: int) -> str | Strategy:
    if wished == "sharded":
        return _sharded(processes)
    if wished == "auto" and processes == 1:
        return "auto"
    from lightning.fabric.strategies import DDPStrategy
    return DDPStrategy(find_unused_parameters=True)  # the noise level's weights rest while a clean image is read


def _sharded(processes: int) -> Strategy:
    if processes == 1:
        raise BadInput("--strategy sharded splits a network over several processes, and this is one; add --devices or --nodes, or leave --strategy out")
    from ..sharding import Sharded, check_available
    check_available()
    return Sharded(processes)
