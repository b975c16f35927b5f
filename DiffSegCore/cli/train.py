"""`diffseg train KIND`: models from cases on disk."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import contextmanager
from functools import partial
from types import ModuleType
from typing import Any, Iterator

from ..training.commands import KINDS
from .command import add_command
from .terminal import bar


def add(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model on your own cases", description="Train a model on your own cases.")
    kinds = train.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True)
    for name, kind in KINDS.items():
        kind.add_arguments(add_command(kinds, name, kind.HELP, partial(run, kind)))


@contextmanager
def _others_named() -> Iterator[None]:
    """Of several processes, the one that fails says why; the others lose their connection, which is no reason to look into."""
    try:
        yield
    except RuntimeError as error:
        if "by peer" not in str(error):  # "Connection closed by peer", or "reset"
            raise
        raise RuntimeError("another process of this training has ended; what it said is the reason") from error


def run(kind: ModuleType, args: argparse.Namespace) -> None:
    if not sys.stderr.isatty():  # a log file gets a line a validation instead of a bar
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with bar() as progress, _others_named():
        written = kind.run(args, progress)
    for path in written:
        print(path)
    if args.kind == "head" and written:
        print(f"Try it: diffseg segment INPUT -o OUTPUT --model {written[0]}")
    if args.kind == "refiner" and written:
        print(f"Try it: diffseg refine INPUT --prior LABELS -o OUTPUT --model {written[0]}")
    if args.kind == "click" and written and not args.check:
        print(f"Try it: diffseg evaluate-clicks --data DIR --model {written[0]} -o OUTPUT")
