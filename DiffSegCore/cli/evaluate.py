"""`diffseg evaluate`: how well labels agree with a reference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command import add_command

_RULES = ("Both empty counts as agreement (Dice 1, NSD 1, HD95 0 mm); one empty as none (Dice 0, NSD 0, HD95 the image's diagonal). "
          "NSD: share of both surfaces within the tolerance printed beside it. The mean is over organs")


def add(commands: Any) -> None:
    parser = add_command(commands, "evaluate", "compare labels with a reference, organ by organ", run, more=f"{_RULES}.")
    parser.add_argument("prediction", metavar="PREDICTION", type=Path, help="labels to judge")
    parser.add_argument("reference", metavar="REFERENCE", type=Path, help="labels to trust, on the same grid")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--labels", metavar="MAP", type=Path,
                        help="what REFERENCE's ids mean, if the file does not say: JSON {id: name}, dataset.json or labels.txt")
    parser.add_argument("--skip-empty", action="store_true", help="leave out organs that REFERENCE has no voxel of: they were not contoured")


def run(args: argparse.Namespace) -> None:
    from ..evaluation import as_json, evaluate, table

    scores = evaluate(args.prediction, args.reference, args.labels, skip_empty=args.skip_empty)
    print(as_json(scores) if args.json else table(scores))
