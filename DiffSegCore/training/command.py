"""`diffseg train`: the arguments of each kind of training, and the call."""
from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BadInput
from ..progress import Progress, silent


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `diffseg train head`."""
    parser.add_argument("--recipe", required=True, metavar="NAME", help="what to train, e.g. head-neck-ct or quick")
    parser.add_argument("--data", required=True, type=Path, metavar="DIR", help="data set: nnU-Net raw, MSD, MONAI datalist or a folder a case")
    parser.add_argument("-o", "--out", required=True, type=Path, metavar="DIR", help="where checkpoints, logs and the model go")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the output folder")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="processes on this machine (GPUs, or CPU processes)")
    parser.add_argument("--nodes", type=int, default=1, metavar="N", help="machines, when started by torchrun or a scheduler")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    parser.add_argument("--steps", type=int, metavar="N", help="instead of the recipe's number of steps")


def run(args: argparse.Namespace, progress: Progress = silent) -> Path | None:
    """Train as the arguments say and return the model file's path, in the first of several processes; None in the others."""
    try:
        from lightning.fabric import Fabric
        from lightning.fabric.loggers import TensorBoardLogger
    except ImportError as error:
        raise BadInput(f"training needs the packages of diffseg[train] ({error.name} is missing): pip install 'diffseg[train]'") from error
    from dataclasses import replace

    from .head import train_head
    from .recipes import recipe as find

    recipe = find(args.recipe)
    if args.steps:
        recipe = replace(recipe, budget=replace(recipe.budget, steps=args.steps, validate_every=min(recipe.budget.validate_every, args.steps)))
    logger = TensorBoardLogger(root_dir=args.out / "logs", name="")
    fabric = Fabric(accelerator={"auto": "auto", "cpu": "cpu", "cuda": "gpu", "mps": "mps"}[args.device], devices=args.devices, num_nodes=args.nodes,
                    strategy=_strategy(args.devices * args.nodes), precision=_precision(args.device), loggers=logger)
    fabric.launch()
    path = train_head(recipe, args.data, args.out, fabric, resume=args.resume, progress=progress if fabric.is_global_zero else silent)
    return path if fabric.is_global_zero else None


def _strategy(processes: int):
    if processes == 1:
        return "auto"
    from lightning.fabric.strategies import DDPStrategy
    return DDPStrategy(find_unused_parameters=True)  # the noise level's weights rest while a clean image is read


def _precision(device: str) -> str:
    """bf16 where the GPU has it; a CPU's bf16 is slower than fp32 but on the newest."""
    import torch
    usable = device in ("auto", "cuda") and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return "bf16-mixed" if usable else "32-true"
