"""`diffseg train refiner`: what betters a segmentation, from labelled cases and priors."""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from ...errors import BadInput
from ...progress import Progress, silent
from . import machine

HELP = "train a refiner that betters the segmentations of a model or of another tool"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "what to train, e.g. head-neck-refiner, object, vessels-2d or quick")
    parser.add_argument("--model", metavar="NAME|FILE", help="an organ model whose features the refiner reads, and which carries it afterwards")
    parser.add_argument("--priors", type=Path, metavar="DIR",
                        help="another tool's answers to refine: a file named like each case, labels or chances (.nii.gz, .seg.nrrd, .npz, .png, ...)")
    parser.add_argument("--folds", type=int, default=0, metavar="N", help="train N organ networks with a fold left out each, for priors (N >= 2)")
    parser.add_argument("--fold-steps", type=int, metavar="N", help="steps of each of these, instead of the recipe's")
    parser.add_argument("--in-sample", action="store_true", help="take --model's answers on the cases it learnt from as priors: it must not be "
                        "better there than elsewhere, and the card tells both Dice; it spares the folds' training")
    parser.add_argument("--alternate", action="store_true", help="let segmentor and refiner learn in turns, from each other")
    parser.add_argument("--control", action="store_true", help="train the same network without diffusion, for comparison")
    parser.add_argument("--binary", action="store_true", help="train the variant with sign weights")
    parser.add_argument("--channels", type=int, metavar="N", help="of the images, instead of the recipe's")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where cases on the model grid are kept (default: OUT/cache)")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path]:
    """Train as the arguments say; the model file, in the first of several processes, nothing in the others."""
    _check_wishes(args)
    fabric = machine.start(args)
    from ...registry import find_model
    from ..refiner import How, Sources, train_refiner
    from ..refiner_recipes import recipe

    wished = machine.shortened(recipe(args.recipe), args.steps)
    if args.fold_steps and wished.head:
        wished = replace(wished, head=machine.shortened(wished.head, args.fold_steps))
    wished = replace(wished, image_channels=args.channels or wished.image_channels)
    sources = Sources(args.data, find_model(args.model) if args.model else None, args.priors, args.folds, args.in_sample, args.cache)
    path = train_refiner(wished, sources, args.out, fabric, how=How(args.alternate, args.control, args.binary), resume=args.resume,
                         progress=progress if fabric.is_global_zero else silent)
    return [path] if fabric.is_global_zero else []


def _check_wishes(args: argparse.Namespace) -> None:
    if args.priors and args.folds:
        raise BadInput("--priors gives the priors that --folds would make; choose one of them")
    if args.folds < 0 or args.folds == 1:
        raise BadInput(f"--folds is a number of parts from 2, not {args.folds}: each is left out once")
    if args.fold_steps and not args.folds:
        raise BadInput("--fold-steps says how long folds train; add --folds N")
    if args.in_sample and (args.priors or args.folds or not args.model):
        raise BadInput("--in-sample takes the priors from --model; name one, and leave --priors and --folds out")
    if args.alternate and (args.priors or args.folds or args.in_sample):
        raise BadInput("--alternate refines what the segmentor says while it learns; leave --priors, --folds and --in-sample out")
