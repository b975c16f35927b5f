"""`diffseg train probe`: how much of the organs a frozen encoder already knows, or what fine-tuning makes of it."""
from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...progress import Progress, silent
from . import machine

if TYPE_CHECKING:
    from ..loop import Budget

HELP = "probe a pretrained encoder: linear, non-linear or fine-tuned"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    machine.add_arguments(parser, "how to probe, e.g. head-neck-cpu, head-neck-gpu or trial")
    parser.add_argument("--encoder", required=True, metavar="FILE|random|scratch",
                        help="a pretrained model file, or an untrained encoder, frozen or not")
    parser.add_argument("--protocol", required=True, choices=("linear", "nonlinear", "finetune"))
    parser.add_argument("--labels", type=float, default=1., metavar="SHARE", help="share of the labelled training cases, e.g. 0.1")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the head, the order of patches and the draw of cases")
    parser.add_argument("--fold", metavar="K/N", help="validate with the K-th of N parts of the labelled cases, e.g. 1/5, instead of the data set's own split")
    parser.add_argument("--log-snr", type=float, metavar="X", help="noise level to read at, instead of the one that validates best")
    parser.add_argument("--coordinates", type=Path, metavar="FILE", help="a model of `diffseg train body`, where coordinates are read")
    parser.add_argument("--body", choices=("told", "untold", "beside"), default="told",
                        help="whether a guided encoder is told coordinates, or not, or the probe gets them beside any encoder's features")


def run(args: argparse.Namespace, progress: Progress = silent) -> list[Path]:
    """Probe as the arguments say; the run record, in the first of several processes, nothing in the others."""
    fabric = machine.start(args)
    from ..folding import Fold
    from ..probe import run_probe
    from ..probe_bodies import BodyMaps
    from ..probe_reading import Reading
    from ..probe_recipes import probe_recipe
    from ..probe_records import Wish

    wish = Wish(args.encoder, args.protocol, args.labels, args.seed, args.body, Fold.parsed(args.fold) if args.fold else None)
    recipe = probe_recipe(args.recipe)
    if args.steps:
        recipe = replace(recipe, **{stage: _shortened(getattr(recipe, stage), args.steps) for stage in ("frozen", "head_first", "released")})
    reading = None if args.log_snr is None else Reading(args.log_snr, "keyed")
    bodies = args.coordinates and BodyMaps.of(args.coordinates, args.out / "cache", recipe.preprocessing)
    path = run_probe(recipe, wish, args.data, args.out, fabric, reading=reading, bodies=bodies,
                     progress=progress if fabric.is_global_zero else silent)
    return [path] if fabric.is_global_zero else []


def _shortened(budget: Budget, steps: int) -> Budget:
    return replace(budget, steps=min(budget.steps, steps), validate_every=min(budget.validate_every, steps))
