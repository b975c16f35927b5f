"""What the person at the terminal sees while waiting: a bar with stage and time left, and sentences in amber."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import Iterator

from tqdm import tqdm

from ..progress import Progress, silent

_FORMAT = "{desc:<32.32} {bar:30} {percentage:3.0f} %  {remaining} left"
_AMBER, _PLAIN = "\033[33m", "\033[0m"


@contextmanager
def bar(*, quiet: bool = False) -> Iterator[Progress]:
    """A progress callback that draws on stderr, if that is a terminal and `quiet` is off; it cleans up after itself."""
    if quiet or not sys.stderr.isatty():
        yield silent
        return
    with tqdm(total=1.0, bar_format=_FORMAT, file=sys.stderr, leave=False, mininterval=0.1) as shown:

        def report(fraction: float, stage: str) -> None:
            shown.set_description_str(stage, refresh=False)
            shown.update(max(0.0, min(fraction, 1.0) - shown.n))

        yield report


def warn(sentence: str) -> None:
    """A sentence on stderr, in amber where that is a terminal that wants colours."""
    amber = sys.stderr.isatty() and "NO_COLOR" not in os.environ
    print(f"{_AMBER}{sentence}{_PLAIN}" if amber else sentence, file=sys.stderr)
