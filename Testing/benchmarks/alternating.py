"""Segmentor and refiner that learn in turns, against the same two trained one after the other: equal steps of each, data, seeds and forms.

    python -m Testing.benchmarks.alternating train --steps 800 -o runs/alternating
    python -m Testing.benchmarks.alternating table -o runs/alternating

Apart: the segmentor takes so many steps, then a refiner as many on its answers to the cases it learnt from. In turns: twice as many steps, every second
of them the segmentor's, with mu times the refiner's loss (METHODS B2). Both refiners read the segmentor's features. Records are of OpenKBP's
test cases, those of `refiner_openkbp.py`; what is there is not made again, and --resume goes on with a stopped training.
"""
from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import refiner_openkbp
from lightning.fabric import Fabric
from openkbp import DATA
from refiner_table import report

from DiffSegCore.errors import BadInput
from DiffSegCore.training.head import train_head
from DiffSegCore.training.precision import arithmetic
from DiffSegCore.training.recipes import HEAD_NECK
from DiffSegCore.training.refiner import How, Sources, train_refiner
from DiffSegCore.training.refiner_recipes import HEAD_NECK_REFINER, RefinerRecipe
from Testing.benchmarks.bundled import ending

WAYS = ("apart", "in turns")
LEVELS_READ = (0, 1, 2, 3)
RATE = 1.5e-3


def recipe(steps: int, seed: int) -> RefinerRecipe:
    """The product's refiner, small, at random to begin with, which reads the segmentor's features."""
    return replace(HEAD_NECK_REFINER, seed=seed, widths=(16, 32, 64, 96), as_segmentor=False, reads=LEVELS_READ, floor=.02,
                   budget=replace(HEAD_NECK_REFINER.budget, steps=steps, learning_rate=RATE, validate_every=steps))


def train(args: argparse.Namespace) -> None:
    """Both pairs, the faster one's segmentor first."""
    fabric, apart, turns = Fabric(accelerator="cpu", devices=1, **arithmetic("bf16" if args.bf16 else "fp32", "cpu")), args.out / "apart", args.out / "in turns"
    head = replace(HEAD_NECK, made=None, seed=args.seed, budget=replace(HEAD_NECK.budget, steps=args.steps, learning_rate=RATE, validate_every=args.steps))
    cache = args.out / "cache"

    def begun(folder: Path) -> bool:
        return args.resume and (folder / "last.ckpt").is_file()

    if not (segmentor := apart / f"{head.name}.safetensors").is_file():
        train_head(head, args.data, apart, fabric, resume=begun(apart))
    if not (apart / "refiner" / f"{HEAD_NECK_REFINER.name}.safetensors").is_file():
        train_refiner(recipe(args.steps, args.seed), Sources(args.data, model=segmentor, in_sample=True, cache=cache), apart / "refiner", fabric,
                      resume=begun(apart / "refiner"))
    if args.control and not (apart / "control" / f"{HEAD_NECK_REFINER.name}-control.safetensors").is_file():
        train_refiner(recipe(args.steps, args.seed), Sources(args.data, model=segmentor, in_sample=True, cache=cache), apart / "control", fabric,
                      how=How(control=True), resume=begun(apart / "control"))
    if not (turns / f"{HEAD_NECK_REFINER.name}.safetensors").is_file():
        train_refiner(recipe(2 * args.steps, args.seed), Sources(args.data, cache=cache), turns, fabric, how=How(alternate=True), resume=begun(turns))


def table(args: argparse.Namespace) -> None:
    """Measure what is not measured yet, and print both pairs."""
    for way, folder in zip(WAYS, (args.out / "apart" / "refiner", args.out / "in turns")):
        model, records = folder / f"{HEAD_NECK_REFINER.name}.safetensors", args.out / "records" / way
        if not model.is_file():
            raise BadInput(f"{model} is not there yet: run `train` first")
        refiner_openkbp.run(argparse.Namespace(refiner=str(model), head=str(model), data=args.data, split="test", cases=args.cases, share=(1, 1), out=records,
                                               settings=["exact-2x1"], bf16=False, seed=0))
        print(f"{way}\n\n{report(records, ['head'])}\n")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "table"))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR")
    parser.add_argument("--steps", type=int, default=800, metavar="N", help="of each network")
    parser.add_argument("--cases", type=int, metavar="N", help="only the first N test cases")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all trainings: first weights, patches and noise")
    parser.add_argument("--control", action="store_true", help="train the network without diffusion, too, for refiner_openkbp.py")
    parser.add_argument("--bf16", action="store_true", help="on a CPU that is fast with it")
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    (train if args.command == "train" else table)(args)


if __name__ == "__main__":
    sys.exit(ending(main))
