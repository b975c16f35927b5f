"""A scene saved in the middle of work and opened again goes on: same labels, same prompts, each of which can still be taken back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import slicer

from DiffSegCore.geometry import Box
from DiffSegCore.service import Service
from DiffSegLib import SceneBridge, SessionState
from DiffSegLib.Logic import Logic
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

SHAPE, SOON = (10, 11, 12), 10.0


@pytest.fixture
def makeLogic(scene, monkeypatch):
    """makeLogic() -> Logic with a worker of its own, as after a restart."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    made = []

    def make():
        made.append(Logic(scene, Service(inside=True, engine="toy_engine:ToyEngine")))
        return made[-1]

    yield make
    for logic in made:
        logic.close()


@pytest.fixture
def volume(addVolume):
    image = np.zeros(SHAPE, np.int16)
    image[2:5, 2:6, 2:7] = 1
    image[5:8, 3:9, 6:10] = 5
    return addVolume(image, grid(turned((10, -20, 30)), SHAPE).ijk_to_ras)


def world(volume, kji):
    from DiffSegLib.VolumeFrame import VolumeFrame

    frame = VolumeFrame.of(volume, np.eye(4))
    return tuple(frame.toWorld(frame.local.to_ras(kji)))


@pytest.fixture
def saved(scene, makeLogic, volume, tmp_path):
    """(path of an .mrb with two accepted clicks and a third one pending, label ids by then)."""
    logic = makeLogic()
    node = logic.segment(volume).wait(SOON)
    brainstem = SceneBridge.segmentIds(node)[0]
    for kji in ((1, 8, 3), (1, 8, 9)):
        logic.click(world(volume, kji), brainstem).wait(SOON)
        logic.accept()
    ids = SceneBridge.labelsOf(node, volume, known=logic._session.mirror.labelIds).ids
    logic.click(world(volume, (8, 1, 1)), brainstem).wait(SOON)
    for each in (volume, node):
        each.AddDefaultStorageNode()
    path = tmp_path / "work.mrb"
    assert scene.WriteToMRB(str(path))
    logic.close()
    return path, ids


@pytest.fixture
def reopened(scene, saved):
    """(volume node, segmentation node) of the scene as it is opened again."""
    scene.Clear(0)
    assert scene.ReadFromMRB(str(saved[0]))
    return scene.GetFirstNodeByName("CT"), scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")


def shown(logic, volume, node):
    return SceneBridge.labelsOf(node, volume, known=logic._session.mirror.labelIds).ids


def test_the_reopened_scene_shows_what_was_accepted_and_no_preview(scene, reopened, saved):
    volume, node = reopened
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1 and scene.GetNumberOfNodesByClass("vtkMRMLMarkupsFiducialNode") == 0
    assert set(np.unique(SceneBridge.labelsOf(node, volume).ids)) == {0, 1, 2}
    assert (SceneBridge.labelsOf(node, volume).ids > 0).sum() == (saved[1] > 0).sum()


def test_work_goes_on_after_reopening(reopened, saved, makeLogic):
    volume, node = reopened
    logic = makeLogic()
    logic.beginSession(volume, node)
    assert [row.confidence for row in logic.organs()] == pytest.approx([0.5, 0.9])
    brainstem = SceneBridge.segmentIds(node)[0]
    logic.click(world(volume, (8, 1, 1)), brainstem).wait(SOON)
    np.testing.assert_array_equal(shown(logic, volume, node), saved[1])
    logic.accept()
    assert voxelsOf(node, brainstem, SHAPE)[8, 1, 1] and [each["number"] for each in logic.prompts()] == [1, 2, 3]
    np.testing.assert_array_equal(shown(logic, volume, node), logic.service.call("current")[1]["labels"])


def test_a_prompt_from_before_can_be_taken_back_after_reopening(reopened, saved, makeLogic):
    volume, node = reopened
    logic = makeLogic()
    logic.beginSession(volume, node)
    logic.prepare().wait(SOON)
    assert [(each["number"], each["name"]) for each in logic.prompts()] == [(1, "Brainstem"), (2, "Brainstem")]
    logic.removePrompt(1).wait(SOON)
    expected = saved[1].copy()
    expected[0:3, 7:10, 2:5] = 0
    np.testing.assert_array_equal(shown(logic, volume, node), expected)
    logic.undo()
    np.testing.assert_array_equal(shown(logic, volume, node), saved[1])


def test_a_volume_moved_before_reopening_is_clicked_where_it_is(reopened, makeLogic, addTransform):
    volume, node = reopened
    moved = np.eye(4)
    moved[:3, :3] = turned((0, 0, 30))
    transform = addTransform(moved)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    logic = makeLogic()
    logic.beginSession(volume, node)
    logic.click(world(volume, (8, 1, 1)), SceneBridge.segmentIds(node)[0]).wait(SOON)
    logic.accept()
    assert voxelsOf(node, SceneBridge.segmentIds(node)[0], SHAPE)[7:10, 0:3, 0:3].all()
    assert [each["number"] for each in logic.prompts()] == [1, 2, 3]


def test_a_segmentation_changed_after_saving_counts_as_it_is(reopened, makeLogic):
    from DiffSegLib.SegmentWriter import Change, SegmentWriter

    volume, node = reopened
    brainstem = SceneBridge.segmentIds(node)[0]
    box = Box((9, 0, 0), (10, 11, 12))
    SegmentWriter(node, volume).write([Change(brainstem, box, np.ones(box.shape, bool), np.zeros(box.shape, bool))])
    logic = makeLogic()
    logic.beginSession(volume, node)
    logic.prepare().wait(SOON)
    np.testing.assert_array_equal(logic.service.call("current")[1]["labels"], shown(logic, volume, node))
    assert logic.prompts() == []  # what the worker remembers is not what the scene shows


GOOD = {"version": 1, "localToSession": np.eye(4).tolist(), "labelIds": {}, "prompts": [], "pending": 0}


@pytest.mark.parametrize("about, file", [("", ""), ("{", ""), ('{"version": 99}', ""), ('{"version": 1}', ""), ("[1]", ""), (json.dumps(GOOD), "no base64!"),
                                         (json.dumps({**GOOD, "localToSession": [1, 2]}), "")])
def test_a_damaged_state_is_no_state(scene, about, file):
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")
    node.SetParameter("session", about)
    node.SetParameter("file", file)
    assert SessionState.load(node) is None and SessionState.load(None) is None


def test_a_damaged_session_file_costs_the_prompts_and_nothing_else(reopened, saved, makeLogic, scene):
    volume, node = reopened
    SessionState.find(scene, volume, node).SetParameter("file", "AAAA")
    logic = makeLogic()
    logic.beginSession(volume, node)
    logic.prepare().wait(SOON)
    assert logic.prompts() == [] and (logic.service.call("current")[1]["labels"] > 0).sum() == (saved[1] > 0).sum()


def test_a_state_is_found_for_its_own_nodes_only(scene, volume):
    first, second = (scene.AddNewNodeByClass("vtkMRMLSegmentationNode") for _ in range(2))
    SessionState.save(scene, volume, first, SessionState.Saved(np.eye(4), {"liver": 5}, ({"number": 1},), 2, b"labels"))
    assert SessionState.find(scene, volume, second) is None
    again = SessionState.load(SessionState.find(scene, volume, first))
    assert (again.labelIds, again.prompts, again.pending, again.file) == ({"liver": 5}, ({"number": 1},), 2, b"labels")
    SessionState.forget(scene, volume, first)
    assert SessionState.find(scene, volume, first) is None


def test_another_worker_takes_the_session_over(scene, makeLogic, volume):
    logic = makeLogic()
    node = logic.segment(volume).wait(SOON)
    brainstem = SceneBridge.segmentIds(node)[0]
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    logic._forgetWorker()
    logic._makeService = lambda: Service(inside=True, engine="toy_engine:ToyEngine")
    logic.prepare().wait(SOON)
    assert [each["number"] for each in logic.prompts()] == [1]
    logic.removePrompt(1).wait(SOON)
    assert not voxelsOf(node, brainstem, SHAPE)[1, 8, 3]
