"""Logic: what the buttons do, on a real scene, with an engine whose answers can be foretold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.service import Failure, Service
from DiffSegLib import SceneBridge
from DiffSegLib.Logic import Logic
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

SHAPE = (10, 11, 12)
SOON = 10.0


@pytest.fixture(params=["oblique", "left handed"])
def geometry(request):
    return grid(turned((10, -20, 30)) @ np.diag([1.0, 1.0, 1.0 if request.param == "oblique" else -1.0]), SHAPE)


@pytest.fixture
def image():
    image = np.zeros(SHAPE, np.int16)
    image[2:5, 2:6, 2:7] = 1
    image[5:8, 3:9, 6:10] = 5
    return image


@pytest.fixture
def volume(addVolume, geometry, image):
    return addVolume(image, geometry.ijk_to_ras)


@pytest.fixture
def service(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with Service(inside=True, engine="toy_engine:ToyEngine") as service:
        yield service


@pytest.fixture
def logic(scene, service):
    logic = Logic(scene, service)
    yield logic
    logic.close()


@pytest.fixture
def segmented(logic, volume):
    """(segmentation node, brainstem's segment id, esophagus's) after Segment."""
    node = logic.segment(volume).wait(SOON)
    return (node, *SceneBridge.segmentIds(node))


def world(volume, kji):
    from DiffSegLib.VolumeFrame import VolumeFrame

    frame = VolumeFrame.of(volume, np.eye(4))
    return tuple(frame.toWorld(frame.local.to_ras(kji)))


def shown(logic, volume):
    """The scene's labels by the session's ids."""
    session = logic._session
    return SceneBridge.labelsOf(session.segmentationNode, volume, known=session.mirror.labelIds).ids


def workers(service):
    return service.call("current")[1]["labels"]


def inStep(logic, volume, service):
    np.testing.assert_array_equal(shown(logic, volume), workers(service))
    np.testing.assert_array_equal(workers(service), logic._session.mirror.ids)
    return True


def test_segment_gives_organs_with_names_colours_and_the_least_certain_first(logic, volume, image, segmented):
    node, brainstem, esophagus = segmented
    np.testing.assert_array_equal(voxelsOf(node, brainstem, SHAPE), image == 1)
    np.testing.assert_array_equal(voxelsOf(node, esophagus, SHAPE), image == 5)
    rows = logic.organs()
    assert [row.name for row in rows] == ["Esophagus", "Brainstem"]
    assert rows[0].confidence == pytest.approx(0.5) and rows[0].range == (0.0, 9.0) and rows[0].rangeRate == 0.9 and not rows[0].checked
    assert rows[1].ml == pytest.approx((image == 1).sum() * 0.7 * 0.8 * 2.5 / 1000)
    assert "Brainstem" in SceneBridge.tagOf(node, brainstem, "TerminologyEntry") or "Brain stem" in SceneBridge.tagOf(node, brainstem, "TerminologyEntry")
    assert logic.warnings == ("Toys in cubes: chosen by what the image shows.", "It is a toy.")


def test_progress_is_told_and_done_is_called_once(logic, volume):
    stages, results = [], []
    task = logic.segment(volume, None, None, "auto", lambda fraction, stage: stages.append((fraction, stage)), results.append)
    task.wait(SOON)
    task.poll()
    assert results == [task.result] and stages and all(0 <= fraction <= 1 and stage for fraction, stage in stages)


def test_a_failed_segmentation_leaves_the_scene_as_it_was(logic, volume, scene):
    count, errors = scene.GetNumberOfNodes(), []
    task = logic.segment(volume, None, "missing", "auto", None, None, errors.append)
    with pytest.raises(Failure, match="missing"):
        task.wait(SOON)
    assert scene.GetNumberOfNodes() == count and errors[0].kind == "BadInput"


def test_stop_leaves_the_scene_as_it_was(logic, addVolume, geometry, scene):
    volume = addVolume(np.full(SHAPE, 99, np.int16), geometry.ijk_to_ras)
    count = scene.GetNumberOfNodes()
    task = logic.segment(volume)
    while not task.poll() and not task._asked.call.poll().fraction:
        pass
    task.cancel()
    with pytest.raises(Failure) as caught:
        task.wait(3.0)
    assert caught.value.kind == "Cancelled" and scene.GetNumberOfNodes() == count


def test_looking_at_another_segmentation_meanwhile_does_not_stop_segmenting(logic, volume, segmented, addSegmentation, image):
    other = addSegmentation(volume, (image > 0).astype(np.uint8))
    task = logic.segment(volume, segmented[0])
    logic.beginSession(volume, other)
    assert task.wait(SOON) is segmented[0] and len(logic.organs()) == 2


def test_a_volume_changed_meanwhile_drops_the_result(logic, volume, scene):
    task = logic.segment(volume)
    volume.GetImageData().Modified()
    with pytest.raises(Failure, match="changed while"):
        task.wait(SOON)
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None


def test_a_volume_removed_meanwhile_drops_the_result(logic, volume, scene):
    task = logic.segment(volume)
    scene.RemoveNode(volume)
    with pytest.raises(Failure, match="removed"):
        task.wait(SOON)
    assert scene.GetFirstNodeByClass("vtkMRMLSegmentationNode") is None


def test_a_click_is_previewed_then_accepted(logic, volume, service, segmented):
    node, brainstem, _ = segmented
    before = shown(logic, volume)
    preview = logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    assert preview.addedMl == pytest.approx(27 * 0.7 * 0.8 * 2.5 / 1000) and preview.removedMl == 0 and logic.pending is preview
    np.testing.assert_array_equal(shown(logic, volume), before)
    assert logic.accept() and logic.pending is None and not logic.accept()
    expected = before.copy()
    expected[0:3, 7:10, 2:5] = 1
    np.testing.assert_array_equal(shown(logic, volume), expected)
    assert inStep(logic, volume, service)


def test_a_negative_click_removes(logic, volume, service, segmented):
    _, _, esophagus = segmented
    preview = logic.click(world(volume, (6, 5, 7)), esophagus, False).wait(SOON)
    assert preview.removedMl > 0 and preview.addedMl == 0
    logic.accept()
    assert shown(logic, volume)[6, 5, 7] == 0 and inStep(logic, volume, service)


def test_a_rejected_click_leaves_scene_and_worker_as_they_were(logic, volume, service, segmented, scene):
    _, brainstem, _ = segmented
    before = shown(logic, volume)
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    assert logic.reject() and logic.pending is None and logic.prompts() == [] and not logic.reject()
    np.testing.assert_array_equal(shown(logic, volume), before)
    assert inStep(logic, volume, service) and scene.GetFirstNodeByName("DiffSeg preview") is None


def test_clicks_gather_until_they_are_accepted_as_one_step(logic, volume, service, segmented):
    _, brainstem, _ = segmented
    before = shown(logic, volume)
    for kji in ((1, 8, 3), (1, 8, 5)):
        preview = logic.click(world(volume, kji), brainstem).wait(SOON)
    assert preview.numbers == (1, 2) and preview.addedMl == pytest.approx(45 * 1.4 / 1000)
    logic.undo()
    assert logic.pending.numbers == (1,) and logic.pending.addedMl == pytest.approx(27 * 1.4 / 1000)
    logic.click(world(volume, (1, 8, 5)), brainstem).wait(SOON)
    logic.accept()
    assert (shown(logic, volume) != before).sum() == 45
    assert logic.undo() and (shown(logic, volume) == before).all() and inStep(logic, volume, service)


def test_random_clicks_undo_redo_and_removals_keep_scene_and_worker_in_step(logic, volume, service, segmented):
    _, brainstem, esophagus = segmented
    rng = np.random.default_rng(3)
    for _ in range(40):
        action = rng.choice(["click", "accept", "reject", "undo", "redo", "remove"], p=[0.4, 0.25, 0.05, 0.12, 0.1, 0.08])
        if action == "click":
            logic.click(world(volume, rng.integers(0, SHAPE)), (brainstem, esophagus)[rng.integers(2)], bool(rng.integers(2))).wait(SOON)
        elif action == "remove" and logic.prompts():
            logic.removePrompt(int(rng.choice([each["number"] for each in logic.prompts()]))).wait(SOON)
        elif action in ("accept", "reject", "undo", "redo"):
            getattr(logic, action)()
        np.testing.assert_array_equal(workers(service), logic._session.mirror.ids)
        if logic.pending is None:
            assert inStep(logic, volume, service)


def test_undo_reaches_back_to_the_result_and_redo_comes_forth_again(logic, volume, service, segmented):
    _, brainstem, esophagus = segmented
    states = [shown(logic, volume)]
    for kji, segment in (((1, 8, 3), brainstem), ((8, 1, 1), esophagus), ((1, 8, 9), brainstem)):
        logic.click(world(volume, kji), segment).wait(SOON)
        logic.accept()
        states.append(shown(logic, volume))
    for state in reversed(states[:-1]):
        assert logic.canUndo and logic.undo()
        np.testing.assert_array_equal(shown(logic, volume), state)
    assert not logic.canUndo and not logic.undo() and logic.prompts() == []
    for state in states[1:]:
        assert logic.canRedo and logic.redo()
        np.testing.assert_array_equal(shown(logic, volume), state)
    assert not logic.canRedo and not logic.redo() and [each["number"] for each in logic.prompts()] == [1, 2, 3]
    assert inStep(logic, volume, service)


def test_a_neighbour_keeps_every_voxel_unless_it_is_unlocked(logic, volume, segmented):
    node, brainstem, esophagus = segmented
    before = voxelsOf(node, esophagus, SHAPE)
    logic.click(world(volume, (5, 5, 6)), brainstem).wait(SOON)
    logic.accept()
    np.testing.assert_array_equal(voxelsOf(node, esophagus, SHAPE), before)
    logic.lockOthers = False
    logic.click(world(volume, (6, 6, 7)), brainstem).wait(SOON)
    logic.accept()
    after = voxelsOf(node, esophagus, SHAPE)
    assert (before & ~after).sum() == 27 and voxelsOf(node, brainstem, SHAPE)[6, 6, 7]


def test_a_checked_neighbour_is_locked_for_good(logic, volume, segmented):
    node, brainstem, esophagus = segmented
    before = voxelsOf(node, esophagus, SHAPE)
    logic.setChecked(esophagus, True)
    logic.lockOthers = False
    logic.click(world(volume, (6, 6, 7)), brainstem).wait(SOON)
    logic.accept()
    np.testing.assert_array_equal(voxelsOf(node, esophagus, SHAPE), before)
    assert [row.checked for row in logic.organs()] == [True, False]


def test_removing_a_prompt_takes_what_it_caused(logic, volume, service, segmented):
    _, brainstem, _ = segmented
    before = shown(logic, volume)
    for kji in ((1, 8, 3), (1, 8, 9)):
        logic.click(world(volume, kji), brainstem).wait(SOON)
        logic.accept()
    logic.removePrompt(1).wait(SOON)
    expected = before.copy()
    expected[0:3, 7:10, 8:11] = 1
    np.testing.assert_array_equal(shown(logic, volume), expected)
    assert [each["number"] for each in logic.prompts()] == [2] and logic.prompts()[0]["name"] == "Brainstem"
    logic.undo()
    assert shown(logic, volume)[1, 8, 3] == 1 and inStep(logic, volume, service)


@pytest.mark.parametrize("ras", [(float("nan"), 0, 0), (9999, 0, 0)])
def test_a_refused_click_changes_nothing(logic, volume, service, segmented, ras):
    _, brainstem, _ = segmented
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    before = shown(logic, volume)
    with pytest.raises(Failure) as caught:
        logic.click(ras, brainstem).wait(SOON)
    assert caught.value.kind == "BadInput" and logic.pending is None
    np.testing.assert_array_equal(shown(logic, volume), before)
    assert logic.canUndo and inStep(logic, volume, service)


def test_a_click_without_a_session_says_what_to_do(logic):
    with pytest.raises(Failure, match="Choose a volume"):
        logic.click((0, 0, 0), "any").wait(SOON)


def test_a_click_on_a_deleted_segment_is_refused(logic, volume, segmented):
    node, brainstem, _ = segmented
    node.GetSegmentation().RemoveSegment(brainstem)
    with pytest.raises(Failure, match="not there"):
        logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)


def test_a_new_segment_is_drawn_from_nothing(logic, volume, service, segmented):
    node, _, _ = segmented
    tumour = logic.addSegment("Tumour")
    logic.click(world(volume, (1, 1, 1)), tumour).wait(SOON)
    logic.accept()
    assert voxelsOf(node, tumour, SHAPE).sum() == 26 and inStep(logic, volume, service)
    assert [row.name for row in logic.organs()][-1] == "Tumour"


def test_from_nothing_on_a_transformed_volume(logic, volume, scene, addTransform):
    moved = np.eye(4)
    moved[:3, :3] = turned((0, 0, 30))
    volume.SetAndObserveTransformNodeID(addTransform(moved).GetID())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    logic.beginSession(volume, node)
    tumour = logic.addSegment("Tumour")
    logic.click(world(volume, (5, 5, 5)), tumour).wait(SOON)
    logic.accept()
    expected = np.zeros(SHAPE, bool)
    expected[4:7, 4:7, 4:7] = True
    np.testing.assert_array_equal(voxelsOf(node, tumour, SHAPE), expected)
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()


def test_choosing_a_segmentation_of_surfaces_changes_nothing_until_the_first_click(logic, volume, addSegmentation, image):
    node = addSegmentation(volume, (image > 0).astype(np.uint8))
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    logic.beginSession(volume, node)
    assert node.GetSegmentation().GetSourceRepresentationName() == "Closed surface" and len(logic.organs()) == 1
    logic.click(world(volume, (1, 8, 3)), SceneBridge.segmentIds(node)[0]).wait(SOON)
    logic.accept()
    assert SceneBridge.labelsOf(node, volume).ids[1, 8, 3] == 1


def test_without_slicers_editor_logic_the_promises_are_the_same(logic, volume, service, monkeypatch):
    import slicer

    monkeypatch.delattr(slicer, "vtkSlicerSegmentEditorLogic")
    node = logic.segment(volume).wait(SOON)
    brainstem, esophagus = SceneBridge.segmentIds(node)
    before = shown(logic, volume)
    logic.lockOthers = False
    logic.click(world(volume, (6, 6, 7)), brainstem).wait(SOON)
    logic.accept()
    assert (shown(logic, volume) != before).sum() == 27 and inStep(logic, volume, service)
    assert logic.undo() and (shown(logic, volume) == before).all() and logic.redo() and inStep(logic, volume, service)


def test_what_somebody_else_draws_is_what_the_next_click_starts_from(logic, volume, service, segmented):
    from DiffSegCore.geometry import Box
    from DiffSegLib.SegmentWriter import Change, SegmentWriter

    node, brainstem, esophagus = segmented
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    box = Box((0, 0, 0), (1, 1, 12))
    SegmentWriter(node, volume).write([Change(esophagus, box, np.ones(box.shape, bool), np.zeros(box.shape, bool))])
    assert not logic.undo()  # it would take the other's work along
    logic.click(world(volume, (8, 1, 1)), brainstem).wait(SOON)
    logic.accept()
    assert (shown(logic, volume)[0, 0] == 5).all() and inStep(logic, volume, service)


def test_a_preview_on_a_segmentation_that_changed_is_dropped(logic, volume, segmented):
    from DiffSegCore.geometry import Box
    from DiffSegLib.SegmentWriter import Change, SegmentWriter

    node, brainstem, esophagus = segmented
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    box = Box((0, 0, 0), (1, 1, 12))
    SegmentWriter(node, volume).write([Change(esophagus, box, np.ones(box.shape, bool), np.zeros(box.shape, bool))])
    with pytest.raises(BadInput, match="elsewhere"):
        logic.accept()
    assert logic.pending is None and not voxelsOf(node, brainstem, SHAPE)[1, 8, 3]


def test_layers_that_only_moved_about_cost_no_preview_and_no_undo(logic, volume, service, segmented):
    node, brainstem, _ = segmented
    before = shown(logic, volume)
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    logic.click(world(volume, (1, 8, 9)), brainstem).wait(SOON)
    node.GetSegmentation().CollapseBinaryLabelmaps(False)
    assert logic.accept() and logic.undo()
    node.GetSegmentation().CollapseBinaryLabelmaps(True)
    assert logic.undo() and (shown(logic, volume) == before).all() and inStep(logic, volume, service)


def test_a_segment_added_while_a_preview_waits_does_not_drop_it(logic, volume, service, segmented):
    _, brainstem, _ = segmented
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    tumour = logic.addSegment("Tumour")
    preview = logic.click(world(volume, (8, 1, 1)), tumour).wait(SOON)
    assert preview.numbers == (1, 2) and logic.accept()
    assert [each["name"] for each in logic.prompts()] == ["Brainstem", "Tumour"] and inStep(logic, volume, service)


def test_segmenting_again_replaces_what_nobody_touched_and_keeps_somebodys_work(logic, volume, service, segmented):
    node, brainstem, esophagus = segmented
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    corrected = voxelsOf(node, brainstem, SHAPE)
    logic.segment(volume, node).wait(SOON)
    np.testing.assert_array_equal(voxelsOf(node, brainstem, SHAPE), corrected)
    assert len(SceneBridge.segmentIds(node)) == 2 and logic.prompts() == [] and inStep(logic, volume, service)


def test_overlapping_segments_are_each_corrected_whole(logic, volume, addSegmentation, geometry):
    from DiffSegLib.Images import orientedImage

    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    masks = [np.zeros(SHAPE, np.uint8) for _ in range(2)]
    masks[0][2:8, 2:8, 2:8] = masks[1][4:9, 4:9, 4:9] = 1
    first, second = (node.AddSegmentFromBinaryLabelmapRepresentation(orientedImage(mask, geometry.ijk_to_ras), name) for mask, name in zip(masks, "ab"))
    logic.beginSession(volume, node)
    for segment, mask, other in ((first, masks[0], second), (second, masks[1], first), (first, masks[0], second)):
        before = voxelsOf(node, other, SHAPE)
        logic.click(world(volume, (5, 5, 5)), segment, False).wait(SOON)
        logic.accept()
        mask[4:7, 4:7, 4:7] = 0
        np.testing.assert_array_equal(voxelsOf(node, segment, SHAPE), mask)
        np.testing.assert_array_equal(voxelsOf(node, other, SHAPE), before)


def test_an_imported_segmentation_is_corrected_as_well(logic, volume, service, addSegmentation, image):
    node = addSegmentation(volume, (image > 0).astype(np.uint8))
    (segment,) = SceneBridge.segmentIds(node)
    logic.beginSession(volume, node)
    logic.click(world(volume, (1, 8, 3)), segment).wait(SOON)
    logic.accept()
    assert voxelsOf(node, segment, SHAPE).sum() == (image > 0).sum() + 27 and inStep(logic, volume, service)


def test_a_volume_turned_in_the_middle_is_clicked_where_it_is_now(logic, volume, service, segmented, addTransform):
    node, brainstem, _ = segmented
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = turned((0, 0, 30)), (20, -3, 5)
    transform = addTransform(moved)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    preview = logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    assert preview.addedMl == pytest.approx(27 * 1.4 / 1000)
    logic.accept()
    assert voxelsOf(node, brainstem, SHAPE)[0:3, 7:10, 2:5].all() and inStep(logic, volume, service)


def test_a_volume_under_a_bent_transform_is_segmented_and_clicked(logic, volume, service, image, bentTransform):
    volume.SetAndObserveTransformNodeID(bentTransform.GetID())
    node = logic.segment(volume).wait(SOON)
    assert node.GetParentTransformNode() is bentTransform
    brainstem = SceneBridge.segmentIds(node)[0]
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    assert voxelsOf(node, brainstem, SHAPE)[1, 8, 3] and inStep(logic, volume, service)


def test_other_segments_survive_segmenting_and_are_known_to_the_worker(logic, volume, service, addSegmentation):
    drawn = np.zeros(SHAPE, np.uint8)
    drawn[9, :, :] = 3
    node = addSegmentation(volume, drawn)
    (own,) = SceneBridge.segmentIds(node)
    logic.segment(volume, node).wait(SOON)
    assert voxelsOf(node, own, SHAPE)[9].all() and inStep(logic, volume, service)
    logic.click(world(volume, (9, 5, 5)), SceneBridge.segmentIds(node)[1]).wait(SOON)
    logic.accept()
    assert voxelsOf(node, own, SHAPE)[9].all()


def test_a_region_of_interest_limits_the_change(logic, volume, segmented, scene):
    node, brainstem, _ = segmented
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    centre = world(volume, (1, 8, 3))
    roi.SetCenterWorld(*centre)
    roi.SetSizeWorld(0.9, 0.9, 0.9)
    logic.region = roi
    preview = logic.click(centre, brainstem).wait(SOON)
    assert 0 < preview.addedMl < 27 * 1.4 / 1000


def test_nodes_that_go_away_take_the_session_along(logic, volume, segmented, scene):
    node, brainstem, _ = segmented
    task = logic.click(world(volume, (1, 8, 3)), brainstem)
    scene.RemoveNode(node)
    with pytest.raises(Failure):
        task.wait(SOON)
    assert logic.organs() == [] and logic.pending is None and not logic.accept() and logic.prompts() == []
    assert scene.GetFirstNodeByName("DiffSeg preview") is None


def test_a_closed_scene_takes_the_session_along(logic, volume, segmented, scene):
    logic.click(world(volume, (1, 8, 3)), segmented[1]).wait(SOON)
    scene.Clear(0)
    assert logic.pending is None and not logic.accept() and logic.organs() == []


def test_next_place_is_told_in_the_world(logic, volume, segmented, addTransform):
    moved = np.eye(4)
    moved[:3, 3] = (20, -3, 5)
    transform = addTransform(moved)
    for each in (volume, segmented[0]):
        each.SetAndObserveTransformNodeID(transform.GetID())
    place = logic.nextPlace().wait(SOON)
    assert place.segmentId == segmented[2] and place.reason
    assert place.ras == pytest.approx(world(volume, (5, 3, 6)))


def test_uncertainty_is_laid_over_the_slices_and_taken_away(logic, volume, segmented, scene):
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    node = logic.showUncertainty(segmented[1]).wait(SOON)
    assert composite.GetForegroundVolumeID() == node.GetID() and node.GetImageData().GetScalarRange() == (0, 200)
    logic.hideUncertainty()
    assert composite.GetForegroundVolumeID() is None and not scene.IsNodePresent(node)


def test_measures_are_those_of_the_voxels(logic, volume, segmented, image, geometry):
    rows = {row.name: row for row in logic.measure()}
    assert rows["Brainstem"].mean == pytest.approx(1.0) and rows["Esophagus"].mean == pytest.approx(5.0)
    corners = geometry.to_ras([(2, 2, 2), (4, 5, 6)])
    assert rows["Brainstem"].diameterMm == pytest.approx(np.linalg.norm(corners[1] - corners[0]))
    logic.click(world(volume, (1, 8, 3)), segmented[1]).wait(SOON)
    logic.accept()
    row = {row.name: row for row in logic.measure()}["Brainstem"]
    assert row.automaticMl == pytest.approx(rows["Brainstem"].ml) and row.ml > row.automaticMl and row.range is None


def test_the_input_line_says_what_the_volume_is(logic, volume, scene, addVolume):
    level, text = logic.inputCheck(volume)
    assert level == "amber" and text.startswith("CT, 0.7 x 0.8 x 2.5 mm, 12 x 11 x 10 voxels.") and "no air" in text
    ct = addVolume(np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20)).astype(np.int16), np.eye(4))
    assert logic.inputCheck(ct)[0] == "green"
    assert logic.inputCheck(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))[0] == "red"
    assert logic.inputCheck(ct, "CT")[0] == "green"
    level, text = logic.inputCheck(ct, "MR")
    assert level == "amber" and "learnt from MR" in text
    ct.SetAttribute("DICOM.Modality", None)
    assert logic.inputCheck(ct, "CT")[0] == "green" and "does not say" in logic.inputCheck(ct)[1]


def test_a_new_segment_leaves_earlier_steps_to_undo(logic, volume, service, segmented):
    node, brainstem, _ = segmented
    before = shown(logic, volume)
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    logic.accept()
    for name in ("Tumour", "Tumour"):
        tumour = logic.addSegment(name)
        logic.click(world(volume, (8, 1, 1)), tumour).wait(SOON)
        logic.accept()
        logic.undo()
    assert [each["number"] for each in logic.prompts()] == [1] and logic.undo()
    np.testing.assert_array_equal(shown(logic, volume), before)
    assert inStep(logic, volume, service)


def test_export_hands_on_what_the_scene_shows_on_the_files_own_grid(logic, volume, segmented, tmp_path, geometry, addTransform):
    import json

    node, brainstem, _ = segmented
    moved = np.eye(4)
    moved[:3, :3] = turned((0, 0, 30))
    transform = addTransform(moved)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(transform.GetID())
    logic.setChecked(brainstem, True)
    logic.click(world(volume, (1, 8, 3)), brainstem).wait(SOON)
    manifest = logic.export(tmp_path / "out", ("seg.nrrd",)).wait(SOON)
    written = np.load(tmp_path / "out" / "labels.npz")
    np.testing.assert_array_equal(written["labels"], shown(logic, volume))
    np.testing.assert_allclose(written["ijk_to_ras"], geometry.ijk_to_ras)
    said = json.loads(Path(manifest).read_text())
    assert said["checked"] == ["brainstem"] and said["names"] == {"1": "brainstem", "5": "esophagus"} and len(said["measured"]) == 2


def test_exporting_asks_for_no_model_for_clicks(logic, segmented, service, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(logic, "ask", lambda name, *rest: asked.append(name) or Logic.ask(logic, name, *rest))
    logic.device = "cpu"
    logic.export(tmp_path / "out", ("seg.nrrd",)).wait(SOON)
    assert "click_model" not in asked and "export" in asked


def test_dicom_seg_of_a_volume_without_dicom_files_is_refused_with_the_way_out(logic, volume, segmented, tmp_path):
    with pytest.raises(Failure, match="DICOM module"):
        logic.export(tmp_path / "out", ("dicomseg",)).wait(SOON)
    assert not (tmp_path / "out").exists()


def test_closing_leaves_no_node_and_no_observer(logic, volume, segmented, scene, service):
    nodes = {scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes())}
    logic.click(world(volume, (1, 8, 3)), segmented[1]).wait(SOON)
    logic.showUncertainty(segmented[1]).wait(SOON)
    logic.close()
    after = {scene.GetNthNode(n).GetName() for n in range(scene.GetNumberOfNodes())}
    assert after <= nodes | {"DiffSeg session"} and not scene.HasObserver("NodeAboutToBeRemovedEvent")
