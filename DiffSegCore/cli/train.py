"""`diffseg train head`: a model from cases on disk."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from ..training import command
from .command import add_command
from .terminal import bar


def add(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model on your own cases", description="Train a model on your own cases.")
    kinds = train.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True)
    command.add_arguments(add_command(kinds, "head", "train an encoder with an organ head, from scratch", run))


def run(args: argparse.Namespace) -> None:
    if not sys.stderr.isatty():  # a log file gets a line a validation instead of a bar
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    with bar() as progress:
        path = command.run(args, progress)
    if path:
        print(f"{path}\nTry it: diffseg segment INPUT -o OUTPUT --model {path}")
