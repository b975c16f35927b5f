"""`diffseg train head`: an organ network from labelled cases."""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ...progress import Progress, silent
from . import machine

HELP = "train an encoder with an organ head, from scratch or from a pretrained encoder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "what to train, head-neck-ct, abdomen-ct, abdomen-mr, pictures or quick")
    parser.add_argument("--channels", type=int, metavar="N", help="of the images, instead of the recipe's")
    parser.add_argument("--encoder", type=Path, metavar="FILE", help="begin with the encoder of a model that `train pretrain` made, on the recipe's grid")
    parser.add_argument("--start", type=Path, metavar="FILE", help="go on from a model of this recipe, at a lower learning rate")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="PATTERN", help='cases to leave out, for tests, e.g. "3?"')
    parser.add_argument("--label-maps", nargs="+", type=Path, default=[], metavar="FILE",
                        help="label maps without images, with the data set's label values: abdomen-ct imagines its images from them")
    parser.add_argument("--mr", nargs="+", type=Path, default=[], metavar="DIR",
                        help="labelled, fat-suppressed T2 MR, which abdomen-ct shows as CT; --leave-out holds for its cases, too")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path]:
    """Train as the arguments say; the model file, in the first of several processes, nothing in the others."""
    fabric = machine.start(args)
    from ..head import train_head
    from ..loop import AGAIN
    from ..recipes import recipe

    wished = machine.shortened(recipe(args.recipe), args.steps)
    wished = replace(wished, image_channels=args.channels or wished.image_channels)
    if args.start:
        wished = replace(wished, budget=replace(wished.budget, learning_rate=AGAIN * wished.budget.learning_rate))
    path = train_head(wished, args.data, args.out, fabric, leave_out=args.leave_out, label_maps=args.label_maps, mr=args.mr, encoder=args.encoder,
                      start_from=args.start, resume=args.resume, progress=progress if fabric.is_global_zero else silent)
    return [path] if fabric.is_global_zero else []
