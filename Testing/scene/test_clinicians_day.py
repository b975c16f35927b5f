"""A clinician's day on real MRML, with the real worker process and the bundled model: from loading to comparing the exported files.

The click model is an untrained one, which moves its prior as the prompts push it: that is enough for every promise held here, as none
is about how well it segments.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

from DiffSegCore import read_labels
from DiffSegCore.batch import BatchCase, find_cases
from DiffSegCore.service import Failure, Service
from DiffSegLib import SceneBridge
from DiffSegLib.Logic import Logic
from DiffSegLib.VolumeFrame import VolumeFrame, localGeometry
from Testing.by_button import load
from Testing.conftest import turned
from Testing.core.toys import toy_click_model
from Testing.scene.conftest import voxelsOf

ROOT = Path(__file__).resolve().parents[2]
SOON, MINUTES = 60.0, 300.0
MARGIN = 60  # voxels


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """One warm worker for the whole day, in a process of its own."""
    models = tmp_path_factory.mktemp("models")
    toy_click_model(models / "toy-clicks.safetensors")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    with Service(python=sys.executable, env={**os.environ, "PYTHONPATH": path, "DIFFSEG_MODELS": str(models)}) as service:
        yield service


@pytest.fixture
def logic(scene, service):
    logic = Logic(scene, service)
    logic.clickModel = "toy-clicks"
    yield logic
    logic._service = None  # it is the module's, not this test's
    logic.close()


def readDicom(scene, shared_data):
    case, = find_cases(shared_data / "tests_small" / "cthead_dicom")
    return load(case)


def readSample(scene):
    node = load(BatchCase("Sample", ROOT / "Resources" / "Sample" / "sample_ct.nii.gz"))
    node.SetAttribute("DICOM.Modality", "CT")
    return node


def everySegment(node, volume):
    shape = localGeometry(volume).shape
    return {segment: voxelsOf(node, segment, shape) for segment in SceneBridge.segmentIds(node)}


def changed(before, after):
    return {segment for segment in before if not np.array_equal(before[segment], after[segment])}


def freePlace(volume, segments, near):
    """The world place of a voxel that belongs to nobody, as near to a segment as there is."""
    free = ~np.any(list(segments.values()), axis=0)
    kji, home = np.argwhere(free), np.argwhere(segments[near]).mean(0)
    return toWorld(volume, kji[np.linalg.norm(kji - home, axis=1).argmin()])


def somePlace(volume, mask):
    kji = np.argwhere(mask)
    return toWorld(volume, kji[len(kji) // 2])


def toWorld(volume, kji):
    frame = VolumeFrame.of(volume, np.eye(4))
    return tuple(frame.toWorld(frame.local.to_ras(kji)))


def turn(scene, nodes, degrees):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Turned")
    matrix = np.eye(4)
    matrix[:3, :3] = turned((0, 0, degrees))
    slicer.util.updateTransformMatrixFromArray(transform, matrix)
    for node in nodes:
        node.SetAndObserveTransformNodeID(transform.GetID())


def inStep(logic, service, volume):
    session = logic._session
    scene = SceneBridge.labelsOf(session.segmentationNode, volume, known=session.mirror.labelIds).ids
    np.testing.assert_array_equal(service.call("current")[1]["labels"], scene)
    return True


def correct(logic, service, volume, node, segment):
    """Two positive clicks and a negative one; reject; again, accept; undo, redo."""
    before = everySegment(node, volume)
    place, inner = freePlace(volume, before, segment), somePlace(volume, before[segment])
    preview = logic.click(place, segment, True).wait(SOON)
    assert preview.addedMl > 0
    logic.click(place, segment, True).wait(SOON)
    preview = logic.click(inner, segment, False).wait(SOON)
    assert preview.removedMl > 0 and len(preview.numbers) == 3
    assert not changed(before, everySegment(node, volume))
    assert logic.reject() and not changed(before, everySegment(node, volume)) and inStep(logic, service, volume)

    logic.click(place, segment, True).wait(SOON)
    logic.click(inner, segment, False).wait(SOON)
    assert logic.accept()
    after = everySegment(node, volume)
    assert changed(before, after) == {segment}
    frame = VolumeFrame.of(volume, np.eye(4))
    at = [tuple(np.round(frame.local.to_index(frame.toSession(ras))).astype(int)) for ras in (place, inner)]
    assert after[segment][at[0]] and not after[segment][at[1]]  # clicked voxels obey
    assert logic.undo() and not changed(before, everySegment(node, volume)) and inStep(logic, service, volume)
    assert logic.redo() and not changed(after, everySegment(node, volume)) and inStep(logic, service, volume)


def clickIntoNeighbour(logic, volume, node, segment, neighbour):
    """With the neighbour locked, not one of its voxels changes, wherever one clicks."""
    before = everySegment(node, volume)
    try:
        logic.click(somePlace(volume, before[neighbour]), segment, True).wait(SOON)
        logic.accept()
    except Failure as refused:
        assert refused.kind == "BadInput" and "locked" in refused.text
    assert neighbour not in changed(before, everySegment(node, volume))
    beside = np.roll(before[neighbour], 1, axis=2) & ~np.any(list(before.values()), axis=0)
    logic.click(somePlace(volume, beside), segment, True).wait(SOON)
    logic.accept()
    assert changed(before, everySegment(node, volume)) <= {segment}


def exported(logic, volume, node, folder):
    """The written files hold the scene's voxels on the volume's own grid."""
    manifest = Path(logic.export(folder, ("seg.nrrd", "nii.gz")).wait(SOON))
    shown = SceneBridge.labelsOf(node, volume, known=logic._session.mirror.labelIds)
    for name in ("segmentation.seg.nrrd", "segmentation.nii.gz"):
        labels = read_labels(manifest.parent / name)
        assert labels.geometry.same_grid(localGeometry(volume))
        np.testing.assert_array_equal(labels.ids, shown.ids)
    assert {file["name"] for file in json.loads(manifest.read_text())["files"]} >= {"segmentation.seg.nrrd", "segmentation.nii.gz"}


@pytest.mark.parametrize("which", ["sample", "DICOM series"])
def test_from_loading_to_the_exported_files(scene, logic, service, which, tmp_path, request):
    volume = readSample(scene) if which == "sample" else readDicom(scene, request.getfixturevalue("shared_data"))
    assert logic.inputCheck(volume)[0] in ("green", "amber")
    stages = []
    node = logic.segment(volume, None, None, "cpu", lambda fraction, stage: stages.append(stage)).wait(MINUTES)
    rows = logic.organs()
    assert len(rows) == 7 and len(set(stages)) > 1
    confidences = [row.confidence for row in rows if row.confidence is not None]
    assert confidences == sorted(confidences)
    place = logic.nextPlace().wait(SOON)
    assert place is None or place.segmentId in SceneBridge.segmentIds(node)

    found = [row.segmentId for row in sorted(rows, key=lambda row: -row.ml) if row.ml > 0]
    assert len(found) >= 2
    segment, neighbour = found[:2]
    correct(logic, service, volume, node, segment)
    clickIntoNeighbour(logic, volume, node, segment, neighbour)
    turn(scene, (volume, node), 30)
    correct(logic, service, volume, node, segment)
    clickIntoNeighbour(logic, volume, node, neighbour, segment)
    logic.setChecked(segment, True)

    prompts, before = len(logic.prompts()), everySegment(node, volume)
    node.AddDefaultStorageNode()
    assert scene.WriteToMRB(str(tmp_path / "day.mrb"))
    logic.beginSession(None, None)
    scene.Clear(0)
    assert scene.ReadFromMRB(str(tmp_path / "day.mrb"))
    volume, node = scene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"), scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    logic.beginSession(volume, node)
    assert not changed(before, everySegment(node, volume)) and SceneBridge.isChecked(node, segment)
    correct(logic, service, volume, node, neighbour)
    assert len(logic.prompts()) == prompts + 2 and inStep(logic, service, volume)
    logic.removePrompt(logic.prompts()[0]["number"]).wait(SOON)
    assert inStep(logic, service, volume)
    assert len(logic.measure()) == 7
    exported(logic, volume, node, tmp_path / "export")


def test_thirteen_segments_that_share_a_layer(scene, logic, service, addSegmentation):
    volume = readSample(scene)
    shape = localGeometry(volume).shape
    ids = np.zeros(shape, np.uint8)
    ids[20:60, 20:72, 30:90] = np.repeat(np.arange(1, 14, dtype=np.uint8), 4)[None, :, None]
    node = addSegmentation(volume, ids)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    logic.beginSession(volume, node)
    segments = SceneBridge.segmentIds(node)
    correct(logic, service, volume, node, segments[5])
    clickIntoNeighbour(logic, volume, node, segments[5], segments[6])
    turn(scene, (volume, node), 30)
    correct(logic, service, volume, node, segments[8])


def test_a_segmentation_with_another_reference_geometry(scene, logic, addSegmentation):
    from DiffSegLib.Images import orientedImage

    volume = readSample(scene)
    grid = localGeometry(volume)
    node = addSegmentation(volume, np.zeros(grid.shape, np.uint8))
    middle = grid.to_ras((np.array(grid.shape) - 1) / 2)
    matrix = np.eye(4)
    matrix[:3, :3] = turned((20, 10, 0)) * 3.0
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.full(3, 19.5)
    masks = {}
    for name, part in (("left", slice(8, 20)), ("right", slice(20, 32))):
        mask = np.zeros((40, 40, 40), np.uint8)
        mask[8:32, 8:32, part] = 1
        masks[node.AddSegmentFromBinaryLabelmapRepresentation(orientedImage(mask, matrix), name)] = mask
    left, right = masks
    logic.beginSession(volume, node)

    def now():  # what is added may lie beyond the segments' own lattice
        return {segment: voxelsOf(node, segment, (40, 40, 40), MARGIN) for segment in masks}

    before = now()
    outside, inside = (tuple(matrix[:3, :3] @ ijk + matrix[:3, 3]) for ijk in ([5, 20, 20], [12, 20, 20]))
    logic.click(outside, left, True).wait(SOON)
    logic.click(inside, left, False).wait(SOON)
    assert logic.pending.addedMl > 0 and logic.pending.removedMl > 0 and not changed(before, now())
    assert logic.reject() and not changed(before, now())
    logic.click(outside, left, True).wait(SOON)
    logic.click(inside, left, False).wait(SOON)
    logic.accept()
    after = now()
    assert changed(before, after) == {left} and after[left][MARGIN + 20, MARGIN + 20, MARGIN + 5] and not after[left][MARGIN + 20, MARGIN + 20, MARGIN + 12]
    assert logic.undo() and not changed(before, now())
    assert logic.redo() and not changed(after, now())
    logic.click(tuple(matrix[:3, :3] @ [19.4, 20, 20] + matrix[:3, 3]), left, True).wait(SOON)
    logic.accept()
    assert right not in changed(after, now())
