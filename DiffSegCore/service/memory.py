"""Arrays that two processes see: named blocks of shared memory.

`multiprocessing.shared_memory` is not used: before Python 3.13 its resource tracker, a third process that needs an executable
Python (a program that embeds Python has none), removes blocks that others still use. Here nobody tracks. Every block's name
is its client's prefix and a number, so that client and worker, each without the other, can remove them all.
"""
from __future__ import annotations

import math
import mmap
import os
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping, Sequence

import numpy as np

from .failures import Failure

try:
    import _posixshmem
except ImportError:  # Windows: a block goes away with the last process that holds it
    _posixshmem = None

MARK = b"DiffSeg1"  # a block starts with it once its array is complete; Windows would hand out zeros for one that is gone
HEADER = 64
FOLDER = Path("/dev/shm")  # where Linux shows them
STALE_S = 600.0  # a block of a process that ended is surely nobody's after so long
AHEAD = 256  # more blocks than anybody makes between two messages


@dataclass(frozen=True, eq=False)
class Block:
    """An array in shared memory; the memory stays mapped as long as the array is used."""

    name: str
    array: np.ndarray

    @property
    def described(self) -> dict[str, Any]:
        """Plain values from which another process finds the array."""
        return {"name": self.name, "shape": list(self.array.shape), "dtype": self.array.dtype.str}

    def free(self) -> None:
        """Give the name back; those who see the array keep seeing it."""
        unlink(self.name)


class Blocks:
    """The blocks of one client: numbered, freed one by one or all at once."""

    def __init__(self) -> None:
        self.prefix = f"diffseg-{os.getpid()}-{secrets.token_hex(3)}-"  # with a number below 31 letters, all that a Mac allows
        self.count = 0

    def names(self, count: int) -> list[str]:
        """New names, for blocks that somebody else will make."""
        first, self.count = self.count, self.count + count
        return [f"{self.prefix}{number}" for number in range(first, self.count)]

    def put(self, array: np.ndarray) -> Block:
        return create(self.names(1)[0], array)

    def free_all(self) -> None:
        free_all(self.prefix, self.count)


def create(name: str, array: np.ndarray) -> Block:
    """A new block with a copy of the array. Failure("OutOfMemory") where there is no room for it."""
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise TypeError(f"an array of {array.dtype} cannot be shared")
    _check_room(array.nbytes + HEADER)
    try:
        memory = _mapped(name, array.nbytes + HEADER, create=True)
    except OSError as error:
        raise Failure("OutOfMemory", f"{array.nbytes / 1e6:.0f} MB of shared memory could not be had ({error.strerror}); close other programs.") from error
    shared = _array(memory, array.shape, array.dtype)
    shared[...] = array
    memory[: len(MARK)] = MARK
    return Block(name, shared)


def attach(described: Mapping[str, Any]) -> Block:
    """The block that another process described. FileNotFoundError where it is gone."""
    shape, dtype = tuple(described["shape"]), np.dtype(described["dtype"])
    memory = _mapped(described["name"], math.prod(shape) * dtype.itemsize + HEADER, create=False)
    if memory[: len(MARK)] != MARK:
        raise FileNotFoundError(described["name"])
    return Block(described["name"], _array(memory, shape, dtype))


def unlink(name: str) -> None:
    """Take the name away if it is there."""
    if _posixshmem is not None:
        try:
            _posixshmem.shm_unlink("/" + name)
        except FileNotFoundError:
            pass


def free_all(prefix: str, count: int) -> None:
    """Remove the blocks 0 to `count` of a client, and the few that may have come after."""
    for number in range(count + AHEAD):
        unlink(f"{prefix}{number}")


def sweep() -> None:
    """Remove what was left where client and worker were both ended at once. Linux only: elsewhere names are not listed."""
    for path in FOLDER.glob("diffseg-*-*-*") if sys.platform == "linux" else ():
        owner = path.name.split("-")[1]
        try:
            if owner.isdigit() and not Path("/proc", owner).exists() and time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()
        except OSError:  # somebody else's, or gone meanwhile
            pass


def _mapped(name: str, size: int, *, create: bool) -> mmap.mmap:
    if _posixshmem is None:
        return mmap.mmap(-1, size, tagname=name)
    file = _posixshmem.shm_open("/" + name, os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0), mode=0o600)
    try:
        if create:
            os.ftruncate(file, size)
        return mmap.mmap(file, size)
    except ValueError as error:  # shorter than it should be: its maker was ended before it was done
        raise FileNotFoundError(name) from error
    finally:
        os.close(file)


def _array(memory: mmap.mmap, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(memory, dtype, math.prod(shape), offset=HEADER).reshape(shape)


def _check_room(size: int) -> None:
    """Writing into shared memory that the system cannot back ends the process (a bus error): containers often have 64 MB."""
    if FOLDER.is_dir() and sys.platform == "linux":
        there = os.statvfs(FOLDER)
        free = there.f_bavail * there.f_frsize
        if size > free:
            raise Failure("OutOfMemory", f"{size / 1e6:.0f} MB of shared memory are needed and {free / 1e6:.0f} MB are free in {FOLDER}; "
                          "close other programs, or give a container more (--shm-size).")
