"""What every command's parser has."""

from __future__ import annotations

import argparse
from typing import Any, Callable


def add_command(commands: Any, name: str, help: str, run: Callable[[argparse.Namespace], int | None], *, more: str = "") -> argparse.ArgumentParser:
    """A parser for `diffseg name`, which calls `run` with its arguments; `run` may return an exit code."""
    parser = commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}. {more}".strip())
    parser.add_argument("--debug", action="store_true", help="show tracebacks and libraries' warnings")
    parser.set_defaults(run=run)
    return parser
