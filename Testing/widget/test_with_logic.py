"""The window over the real logic and the real scene; only the engine is a toy whose answers can be foretold."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from conftest import EXTENSION, HERE
from test_window import _click

SHAPE = (8, 40, 40)


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    from DiffSegCore.service import Service

    monkeypatch.syspath_prepend(str(HERE.parent / "scene"))
    with Service(inside=True, engine="toy_engine:ToyEngine") as service:
        yield service


@pytest.fixture
def panel(window: Any, frame: Any, scene: Any, service: Any) -> Any:
    from DiffSegLib.Logic import Logic
    from DiffSegLib.Widget import Widget

    panel = Widget(frame.layout(), str(EXTENSION / "Resources/UI/DiffSeg.ui"), Logic(scene, service))
    yield panel
    panel.close()


@pytest.fixture
def volume(addVolume: Any) -> Any:
    """What the toy takes for a brainstem (1) and an esophagus (5), about the middle of the views."""
    image = np.zeros(SHAPE, np.int16)
    image[2:6, 15:25, 15:25] = 1
    image[2:6, 30:34, 10:16] = 5
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    matrix[:3, 3] = (-80, -80, -16)
    return addVolume(image, matrix)


@pytest.fixture
def segmented(panel: Any, volume: Any, spin: Any) -> Any:
    panel.ui.volumeSelector.setCurrentNode(volume)
    panel.ui.segmentButton.click()
    spin(lambda: not panel.work.busy)
    return panel.inputs.segmentation


def voxels(segmentation: Any, segment: str) -> np.ndarray:
    import slicer

    value = segmentation.GetSegmentation().GetSegment(segment).GetLabelValue()
    return slicer.util.arrayFromSegmentInternalBinaryLabelmap(segmentation, segment) == value


def test_segment_fills_the_scene_and_the_list_least_certain_first(panel, segmented):
    assert segmented.GetSegmentation().GetNumberOfSegments() == 2
    assert [panel.ui.organTable.item(row, 0).text() for row in range(2)] == ["Esophagus", "Brainstem"]
    assert "toy" in panel.ui.messageLabel.text  # what the model said of the volume


def test_a_click_is_previewed_and_only_accepting_it_changes_the_segment(panel, window, segmented, spin):
    segment = panel.organs.current
    before = voxels(segmented, segment).sum()
    panel.ui.pointButton.checked = True
    _click(window, 100, 60)
    spin(lambda: not panel.work.busy)
    assert not panel.ui.previewRow.isHidden() and panel.ui.previewLabel.text.startswith("<b>1.7 ml</b> added")  # 3^3 voxels of 4^3 mm
    assert voxels(segmented, segment).sum() == before
    panel.ui.acceptButton.click()
    assert voxels(segmented, segment).sum() == before + 27
    assert panel.ui.previewRow.isHidden()
    panel.ui.undoButton.click()
    assert voxels(segmented, segment).sum() == before
    panel.ui.redoButton.click()
    assert voxels(segmented, segment).sum() == before + 27


def test_a_segment_of_ones_own_is_added_and_clicked_into_without_any_automatic_result(panel, window, volume, spin):
    assert not panel.ui.addSegmentButton.enabled
    panel.ui.volumeSelector.setCurrentNode(volume)
    panel.ui.addSegmentButton.click()
    segment, node = panel.organs.current, panel.inputs.segmentation
    assert segment and node.GetName() == "CT segmentation"
    panel.ui.addSegmentButton.click()
    assert panel.organs.current != segment and panel.inputs.segmentation is node
    panel.ui.pointButton.checked = True
    _click(window, 100, 60)
    spin(lambda: not panel.work.busy)
    panel.ui.acceptButton.click()
    assert voxels(node, panel.organs.current).sum() == 27


def test_a_rejected_click_leaves_everything_as_it_was(panel, window, segmented, spin):
    before = voxels(segmented, panel.organs.current)
    panel.ui.pointButton.checked = True
    _click(window, 100, 60)
    spin(lambda: not panel.work.busy)
    panel.correct.escape()
    np.testing.assert_array_equal(voxels(segmented, panel.organs.current), before)
    assert panel.logic.pending is None


def test_a_prompt_outside_the_volume_is_refused_in_a_sentence(panel, window, segmented, spin):
    window.layoutManager().sliceWidget("Red").mrmlSliceNode().SetFieldOfView(2000.0, 2000.0, 1.0)
    panel.ui.pointButton.checked = True
    _click(window, 5, 5)
    spin(lambda: not panel.work.busy)
    assert not panel.ui.messageRow.isHidden() and panel.ui.messageLabel.text


def test_a_label_map_is_not_offered_as_an_image(panel, scene, volume):
    label = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "A label map")
    panel.ui.volumeSelector.setCurrentNode(label)
    assert panel.inputs.volume is None


def test_closing_the_scene_in_the_middle_of_a_task_leaves_an_empty_window(panel, scene, addVolume, spin):
    panel.ui.volumeSelector.setCurrentNode(addVolume(np.full(SHAPE, 99, np.int16), np.eye(4)))  # the toy takes two seconds for it
    panel.ui.segmentButton.click()
    spin(lambda: panel.ui.progressBar.value > 0)
    scene.Clear()
    spin(lambda: not panel.work.busy)
    assert panel.ui.organTable.rowCount == 0
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0


def test_a_saved_scene_opens_with_the_same_choices_and_segments(panel, scene, segmented, spin, tmp_path):
    import slicer

    panel.ui.deviceSelector.setCurrentIndex(1)
    names = (panel.inputs.volume.GetName(), segmented.GetName())
    assert scene.WriteToMRB(str(tmp_path / "work.mrb"), None) is not False
    scene.Clear()
    assert panel.inputs.volume is None and panel.ui.organTable.rowCount == 0
    scene.ReadFromMRB(str(tmp_path / "work.mrb"), False)
    assert (panel.inputs.volume.GetName(), panel.inputs.segmentation.GetName()) == names
    assert panel.ui.deviceSelector.currentData == "cpu"
    assert panel.ui.organTable.rowCount == 2
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1


def test_opening_the_module_takes_the_first_volume_that_is_an_image(panel, scene, volume):
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "A label map")
    panel.enter()
    assert panel.inputs.volume.GetName() == volume.GetName()


def test_the_registered_module_opens_the_same_window(window, frame, scene, monkeypatch):
    import DiffSeg
    from DiffSegLib import WorkerPython

    monkeypatch.setattr("slicer.util.modulePath", lambda name: str(EXTENSION / "DiffSeg.py"))
    widget = DiffSeg.DiffSegWidget(frame)
    widget.setup()
    widget.enter()
    assert widget.panel.ui.modelSelector.currentData == "automatic"
    widget.exit()
    widget.cleanup()
    python, environment = WorkerPython.command()
    assert python == sys.executable and str(EXTENSION.parent) in environment["PYTHONPATH"]


def test_registration_says_where_the_module_belongs(window):
    import DiffSeg

    parent = type("Parent", (), {})()
    DiffSeg.DiffSeg(parent)
    assert (parent.title, parent.categories) == ("DiffSeg", ["Segmentation"])
    assert "Not for clinical use" in parent.helpText
    assert [name for name, _ in window.connections] == ["startupCompleted()"]
