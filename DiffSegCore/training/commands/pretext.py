"""`diffseg train pretext`: an encoder from unlabelled volumes by a task that competes with diffusion."""
from __future__ import annotations

import argparse
from pathlib import Path

from ...progress import Progress, silent
from . import machine

HELP = "pretrain an encoder by a pretext that competes with diffusion, for comparisons"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "how large and how long, e.g. head-neck-cpu, head-neck-gpu or trial")
    parser.add_argument("--pretext", required=True, choices=("restorative", "masked", "contrastive"))
    parser.add_argument("--also", nargs="+", type=Path, default=[], metavar="DIR", help="more data sets, folders of volumes or DICOM, or files")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PATTERN", help='cases to leave out, e.g. "STS_03?"')
    parser.add_argument("--skip-corrupt", action="store_true", help="leave volumes out that cannot be used, instead of stopping")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="threads that prepare volumes and patches (0: none of their own)")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path]:
    """Pretrain as the arguments say; the encoder's model file, in the first of several processes, nothing in the others."""
    fabric = machine.start(args)
    from ..pretexts.train import train_pretext
    from ..pretrain_data import Source
    from ..probe_recipes import pretext_recipe

    recipe = machine.shortened(pretext_recipe(args.recipe), args.steps)
    source = Source([args.data, *args.also], leave_out=args.leave_out, skip_corrupt=args.skip_corrupt, workers=args.workers)
    path = train_pretext(args.pretext, recipe, source, args.out, fabric, resume=args.resume, progress=progress if fabric.is_global_zero else silent)
    return [path] if fabric.is_global_zero else []
