"""`diffseg train click`: what draws and corrects any structure from prompts, learnt from labelled volumes and simulated users."""
from __future__ import annotations

import argparse
from pathlib import Path

from ...errors import BadInput
from ...progress import Progress, silent
from . import machine

HELP = "train the model behind clicks, on any labelled volumes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "what to train: click or quick", default="click", several=True)
    parser.add_argument("--label-maps", nargs="+", type=Path, default=[], metavar="FILE", help="label maps without images, which are made up")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PATTERN", help='cases to leave out, e.g. "STS_03?"')
    parser.add_argument("--unseen", nargs="+", default=[], metavar="NAME", help="structures that nothing is learnt from, such as liver or label_2: to try how well "
                        "clicks reach what a model never saw")
    parser.add_argument("--start", type=Path, metavar="MODEL", help="begin with a click model's weights: to go on with your own data")
    parser.add_argument("--keep", type=float, default=0., metavar="SHARE", help="of those weights in the file (.5: the mean of old and new): your own data is learnt, "
                        "and less is forgotten (default: 0)")
    parser.add_argument("--last", action="store_true", help="take the averaged weights of the last step: a few crops to check with may choose badly")
    parser.add_argument("--control", action="store_true", help="train the same network without diffusion, for comparison")
    parser.add_argument("--check", action="store_true", help="only try it: read the data, count, take a few steps, estimate the time")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where prepared cases are kept (default: OUT/cache)")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="threads that prepare crops ahead (0: none of their own)")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path] | list[str]:
    """The model file, or what a check found; nothing in any but the first of several processes."""
    if args.workers < 0:
        raise BadInput(f"--workers is a number of threads from 0, not {args.workers}")
    fabric = machine.start(args)
    from ..click import ClickSources, check, train_click
    from ..click_recipes import recipe

    wished = machine.shortened(recipe(args.recipe), args.steps)
    sources = ClickSources(args.data, args.label_maps, args.leave_out, args.unseen, args.cache, args.workers)
    progress = progress if fabric.is_global_zero else silent
    if args.check:
        found = check(wished, sources, args.out, fabric, progress)
        return found if fabric.is_global_zero else []
    path = train_click(wished, sources, args.out, fabric, control=args.control, start=args.start, keep=args.keep, resume=args.resume, last=args.last, progress=progress)
    return [path] if fabric.is_global_zero else []
