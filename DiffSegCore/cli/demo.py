"""`diffseg demo`: the sample volume segmented, so that one sees what to expect."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .command import add_command
from .terminal import bar, warn


def add(commands: Any) -> None:
    parser = add_command(commands, "demo", "segment the sample volume that ships with DiffSeg", run)
    parser.add_argument("--out", metavar="DIR", type=Path, default=Path("demo"), help="where the results go (default: demo)")


def run(args: argparse.Namespace) -> None:
    with bar() as progress:
        from ..demo import run_demo

        demo = run_demo(args.out, progress=progress)
    _print(demo)


def _print(demo: Any) -> None:
    from ..evaluation import aligned

    ml = {each.name: each.ml for each in demo.volumes}
    rows = [(score.organ, f"{ml[score.organ]:.1f}", f"{score.reference_ml:.1f}", f"{score.dice:.3f}") for score in demo.scores]
    print(aligned([("organ", "ml", "true ml", "Dice"), *rows, ("mean", "", "", f"{demo.mean_dice:.3f}")]))
    print()
    for what, path in demo.files.items():
        print(f"{what:<22}{path.resolve()}")
    for sentence in demo.warnings:
        warn(sentence)
