"""One batch at a time writes into a folder; the system forgets the lock of a process that is no more."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator

from ..errors import BadInput

NAME = ".batch.lock"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Raises BadInput where another batch is at work in the folder."""
    with open(folder / NAME, "a") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
                raise BadInput(f"Another batch is writing into {folder}; wait for it, or choose another folder.") from error
            # some network folders know no locks; better none than no batch
        try:
            yield
        finally:
            if os.name != "nt":  # Windows removes no open file, and minds an empty one less
                (folder / NAME).unlink(missing_ok=True)


def _lock(file: IO[str]) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
