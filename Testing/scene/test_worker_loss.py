"""The worker process dies; the scene and what was accepted do not, and the next click goes on from there."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.service import Failure, Service
from DiffSegLib import SceneBridge
from DiffSegLib.Logic import Logic
from DiffSegLib.VolumeFrame import VolumeFrame
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

HERE = Path(__file__).resolve().parent
SHAPE, SOON = (10, 11, 12), 30.0


@pytest.fixture
def service():
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    with Service(python=sys.executable, env={**os.environ, "PYTHONPATH": path}, engine="toy_engine:ToyEngine") as service:
        yield service


@pytest.fixture
def logic(scene, service):
    logic = Logic(scene, service)
    yield logic
    logic.close()


@pytest.fixture
def volume(addVolume):
    image = np.zeros(SHAPE, np.int16)
    image[2:5, 2:6, 2:7] = 1
    image[5:8, 3:9, 6:10] = 5
    return addVolume(image, grid(turned((10, -20, 30)), SHAPE).ijk_to_ras)


def world(volume, kji):
    frame = VolumeFrame.of(volume, np.eye(4))
    return tuple(frame.toWorld(frame.local.to_ras(kji)))


def test_a_worker_killed_between_clicks_is_not_missed(logic, volume, service):
    node = logic.segment(volume).wait(SOON)
    brainstem = SceneBridge.segmentIds(node)[0]
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    os.kill(service.pid, signal.SIGKILL)
    preview = logic.click(world(volume, (1, 8, 9)), brainstem).wait(SOON)
    assert preview.numbers == (2,) and logic.accept()
    assert logic.undo() and logic.undo() and not voxelsOf(node, brainstem, SHAPE)[1, 8, 3]
    shown = SceneBridge.labelsOf(node, volume, known=logic._session.mirror.labelIds).ids
    np.testing.assert_array_equal(service.call("current")[1]["labels"], shown)


def test_a_worker_killed_while_it_segments_leaves_the_scene_as_it_was(logic, addVolume, service, scene):
    volume = addVolume(np.full(SHAPE, 99, np.int16), np.eye(4))
    count, stages = scene.GetNumberOfNodes(), []
    task = logic.segment(volume, None, None, "auto", lambda fraction, stage: stages.append(stage))
    while "Looking at the volume" not in stages:
        task.poll()
        time.sleep(0.01)
    os.kill(service.pid, signal.SIGKILL)
    with pytest.raises(Failure) as caught:
        task.wait(SOON)
    assert caught.value.kind == "Crash" and scene.GetNumberOfNodes() == count
    assert logic.segment(volume).wait(SOON) is not None


def test_stop_is_heard_within_two_seconds(logic, addVolume, scene):
    volume = addVolume(np.full(SHAPE, 99, np.int16), np.eye(4))
    count, stages = scene.GetNumberOfNodes(), []
    task = logic.segment(volume, None, None, "auto", lambda fraction, stage: stages.append(stage))
    while "Looking at the volume" not in stages:
        task.poll()
        time.sleep(0.01)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(Failure) as caught:
        task.wait(SOON)
    assert caught.value.kind == "Cancelled" and time.monotonic() - began < 2.5 and scene.GetNumberOfNodes() == count
