"""`diffseg train body`: body coordinates from volumes, with or without labels."""
from __future__ import annotations

import argparse
from pathlib import Path

from ...progress import Progress, silent
from . import machine

HELP = "train body coordinates: where in the body each voxel lies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "what to train, e.g. body-ct or quick")
    parser.add_argument("--unlabelled", nargs="+", type=Path, default=[], metavar="DIR",
                        help="data sets, folders of volumes or DICOM, or volume files, to learn from without labels")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="NAME", help="cases of unlabelled folders not to use; patterns work (STS_03?)")
    parser.add_argument("--skip-corrupt", action="store_true", help="go on without unlabelled volumes that cannot be read")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where volumes on the model grid are kept (default: OUT/cache)")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path]:
    """Train as the arguments say; the model file, in the first of several processes, nothing in the others."""
    fabric = machine.start(args)
    from ..body import Sources, train_body
    from ..body_recipes import recipe

    wished = machine.shortened(recipe(args.recipe), args.steps)
    sources = Sources(args.data, args.unlabelled, args.leave_out, args.skip_corrupt, args.cache)
    path = train_body(wished, sources, args.out, fabric, resume=args.resume, progress=progress if fabric.is_global_zero else silent)
    return [path] if fabric.is_global_zero else []
