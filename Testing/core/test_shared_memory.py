"""Blocks of shared memory: seen from two sides, gone when they are freed, and never more than there is room for."""
from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.service import Failure, memory
from DiffSegCore.service.memory import Blocks, attach, create, unlink

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /dev/shm")


@pytest.fixture
def blocks():
    blocks = Blocks()
    yield blocks
    blocks.free_all()


@pytest.mark.parametrize("array", [np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, ::-1], np.zeros((0, 3)), np.float32(4.5), np.array([True, False])],
                         ids=["turned", "empty", "single", "flags"])
def test_an_array_is_seen_from_both_sides(blocks, array):
    there = attach(blocks.put(array).described).array
    np.testing.assert_array_equal(there, array)
    assert there.dtype == np.asarray(array).dtype and there.shape == np.shape(array)


def test_what_one_side_writes_the_other_reads(blocks):
    block = blocks.put(np.zeros(3))
    attach(block.described).array[1] = 7
    assert block.array[1] == 7


def test_a_freed_block_stays_readable_for_those_who_have_it_and_is_found_by_nobody_else(blocks):
    block = blocks.put(np.ones(3))
    there = attach(block.described)
    block.free()
    block.free()  # twice does no harm
    assert there.array.sum() == 3
    with pytest.raises(FileNotFoundError):
        attach(block.described)


def test_a_block_that_its_maker_never_finished_is_not_read(blocks):
    block = blocks.put(np.ones(3))
    memory._mapped(block.name, memory.HEADER, create=False)[:8] = bytes(8)
    with pytest.raises(FileNotFoundError):
        attach(block.described)


@on_linux
def test_a_block_cut_short_is_not_read(blocks):
    block = blocks.put(np.ones(3))
    os.truncate(memory.FOLDER / block.name, 10)
    with pytest.raises(FileNotFoundError):
        attach(block.described)


def test_all_of_a_clients_blocks_go_at_once(blocks):
    made = [blocks.put(np.ones(3)), create(blocks.names(3)[1], np.ones(3))]
    blocks.free_all()
    for block in made:
        with pytest.raises(FileNotFoundError):
            attach(block.described)


def test_two_clients_of_one_process_have_names_of_their_own():
    assert Blocks().prefix != Blocks().prefix and len("/" + Blocks().prefix + "999999") <= 31  # a Mac allows no more


@on_linux
def test_where_there_is_no_room_it_is_said_before_anything_breaks(blocks, monkeypatch):
    there = os.statvfs(memory.FOLDER)
    monkeypatch.setattr(memory.os, "statvfs", lambda path: os.statvfs_result((*there[:4], 1, *there[5:])))
    with pytest.raises(Failure, match="shared memory are needed") as refused:
        blocks.put(np.zeros(1 << 20))
    assert refused.value.kind == "OutOfMemory"


def test_objects_cannot_be_shared(blocks):
    with pytest.raises(TypeError):
        blocks.put(np.array([{}]))


@on_linux
def test_what_a_dead_client_and_its_dead_worker_left_is_swept_away_in_time():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old, young, own = (create(f"diffseg-{pid}-abcdef-{n}", np.ones(3)).name for n, pid in enumerate((gone.pid, gone.pid, os.getpid())))
    for name in (old, own):
        os.utime(memory.FOLDER / name, (time.time() - 2 * memory.STALE_S,) * 2)
    memory.sweep()
    assert [Path(memory.FOLDER, name).exists() for name in (old, young, own)] == [False, True, True]
    for name in (young, own):
        unlink(name)
