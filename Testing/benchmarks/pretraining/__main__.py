"""Pretexts compared on the same encoder, volumes and budget, by the same probes.

    python -m Testing.benchmarks.pretraining --plan cpu --coordinates runs/body/body-ct.safetensors -o runs/pretraining
    python -m Testing.benchmarks.pretraining -o runs/pretraining --table --figure pretraining.png

The first command does what is still missing of the plan and can be stopped at any time: the same command goes on. The second
one makes table and figure of the records alone. Every run leaves a JSON record in OUT/records.
"""
from __future__ import annotations

import argparse
import logging
import math
import sys
from pathlib import Path

from DiffSegCore.errors import BadInput
from DiffSegCore.files import atomic
from DiffSegCore.progress import silent
from DiffSegCore.training.probe_records import read_records

from .causes import causes
from .figure import save_figure
from .plan import PLANS, plan_of
from .results import Results
from .table import markdown, table

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m Testing.benchmarks.pretraining", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", default="cpu", help=f"what to compare: {', '.join(PLANS)}")
    parser.add_argument("--only", nargs="+", default=[], metavar="ENCODER", help="only what concerns these: several processes can share a plan")
    parser.add_argument("--protocols", nargs="+", default=[], metavar="PROTOCOL", help="only these: linear, nonlinear, finetune")
    parser.add_argument("--data", type=Path, default=DATA, metavar="DIR", help="where the data sets lie")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="where encoders, records and what is cached go")
    parser.add_argument("--coordinates", type=Path, metavar="FILE", help="a model of `diffseg train body`, which guidance needs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin nothing new after so many")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--list", action="store_true", help="only say what is missing")
    parser.add_argument("--table", action="store_true", help="only make the table, and the figure, of the records that are there")
    parser.add_argument("--markdown", action="store_true", help="only print the means, for the README")
    parser.add_argument("--causes", action="store_true", help="only print what changes where one thing is changed, of records in OUT/<plan>")
    parser.add_argument("--figure", type=Path, metavar="FILE.png")
    return parser.parse_args()


def compare(args: argparse.Namespace) -> None:
    """Run what is missing, or list it."""
    from lightning.fabric import Fabric

    from DiffSegCore.training.precision import arithmetic

    from .running import Place, missing, run

    plan, place = plan_of(args.plan).only(args.only, args.protocols), Place(args.data, args.out, args.coordinates)
    kind = {"auto": "auto", "cpu": "cpu", "cuda": "gpu"}[args.device]
    fabric = Fabric(accelerator=kind, devices=1, **arithmetic("auto", args.device))
    left = missing(plan, place, fabric)
    print(f"{plan.title}: {len(left)} pieces are missing; the whole is guessed at {plan.hours():.1f} hours", flush=True)
    if args.list:
        print("\n".join(left))
    else:
        run(plan, place, fabric, silent, args.minutes, lambda line: print(line, flush=True))


def report(args: argparse.Namespace) -> None:
    """Table and figure of the records."""
    if args.causes:
        print(causes(args.out))
        return
    results = Results(read_records(args.out / "records"))
    if args.markdown:
        print(markdown(results))
        return
    text = table(results)
    print(text)
    args.out.mkdir(parents=True, exist_ok=True)
    with atomic(args.out / "table.txt") as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    if args.figure and results.records:
        save_figure(results, args.figure)


def main() -> int:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    try:
        if not (args.table or args.markdown or args.causes):
            compare(args)
        if not args.list:
            report(args)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
