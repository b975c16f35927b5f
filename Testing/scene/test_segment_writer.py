"""SegmentWriter: the named voxels change, no other does, in no segment; with Slicer's editor logic and without it."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.geometry import Box, Geometry
from DiffSegLib import SceneBridge
from DiffSegLib.Images import orientedImage
from DiffSegLib.SegmentWriter import Change, SegmentWriter
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

SHAPE = (12, 13, 14)


@pytest.fixture(params=["Slicer's editor", "own fallback"])
def writing(request):
    """writing(segmentation, volume) -> SegmentWriter."""
    return lambda segmentation, volume: SegmentWriter(segmentation, volume, slicersEditor=request.param == "Slicer's editor")


@pytest.fixture(params=["oblique", "left handed"])
def geometry(request):
    return grid(turned((10, -20, 30)) @ np.diag([1.0, 1.0, 1.0 if request.param == "oblique" else -1.0]), SHAPE)


@pytest.fixture
def volume(addVolume, geometry):
    return addVolume(np.zeros(SHAPE, np.int16), geometry.ijk_to_ras)


@pytest.fixture
def thirteen():
    """Thirteen slabs that touch each other."""
    ids = np.zeros(SHAPE, np.uint8)
    ids[2:10, :, 2:12] = np.arange(1, 14, dtype=np.uint8)[None, :, None]
    return ids


def change(segment, box, added=None, removed=None, **places):
    empty = np.zeros(box.shape, dtype=bool)
    return Change(segment, box, empty if added is None else added, empty if removed is None else removed, **places)


def every(node, shape=SHAPE):
    return {segment: voxelsOf(node, segment, shape) for segment in SceneBridge.segmentIds(node)}


def same(a, b):
    return a.keys() == b.keys() and all((a[key] == b[key]).all() for key in a)


BOX = Box((4, 1, 3), (8, 9, 7))


def test_voxels_come_and_go_and_the_twelve_others_keep_theirs(volume, addSegmentation, thirteen, writing):
    node = addSegmentation(volume, thirteen)
    segments = SceneBridge.segmentIds(node)
    before = every(node)
    rng = np.random.default_rng(1)
    added, removed = rng.random(BOX.shape) < 0.3, rng.random(BOX.shape) < 0.3
    removed &= thirteen[BOX.slices] == 6
    added &= thirteen[BOX.slices] == 0
    free = np.zeros(SHAPE, dtype=bool)
    free[BOX.slices] = removed
    writing(node, volume).write([change(segments[5], BOX, added, removed)], locked=segments)
    after = every(node)
    expected = before[segments[5]] & ~free
    expected[BOX.slices] |= added
    np.testing.assert_array_equal(after.pop(segments[5]), expected)
    before.pop(segments[5])
    assert same(before, after)


def test_a_locked_neighbour_keeps_its_voxels_and_shares_none(volume, addSegmentation, thirteen, writing):
    node = addSegmentation(volume, thirteen)
    segments = SceneBridge.segmentIds(node)
    before = every(node)
    writing(node, volume).write([change(segments[5], BOX, np.ones(BOX.shape, bool))], locked=segments)
    after = every(node)
    assert sum(mask.astype(int) for mask in after.values()).max() == 1
    assert all((after[s] == before[s]).all() for s in segments if s != segments[5])


def test_an_unlocked_neighbour_loses_what_the_edit_says(volume, addSegmentation, thirteen, writing):
    node = addSegmentation(volume, thirteen)
    segments = SceneBridge.segmentIds(node)
    taken = thirteen[BOX.slices] == 7
    writing(node, volume).write([change(segments[5], BOX, added=taken), change(segments[6], BOX, removed=taken)],
                                locked=[s for s in segments if s not in segments[5:7]])
    expected = thirteen.copy()
    expected[BOX.slices][taken] = 6
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, expected)
    assert not voxelsOf(node, segments[6], SHAPE)[BOX.slices].any()


def test_undo_and_redo_restore_every_voxel_of_every_segment(volume, addSegmentation, thirteen, writing):
    node = addSegmentation(volume, thirteen)
    segments = SceneBridge.segmentIds(node)
    writer = writing(node, volume)
    states = [every(node)]
    rng = np.random.default_rng(2)
    for number in range(6):
        inside = rng.random(BOX.shape) < 0.5
        writer.write([change(segments[number % 3], BOX, added=inside, removed=~inside)], locked=segments)
        states.append(every(node))
    for state in reversed(states[:-1]):
        assert writer.undo() and same(every(node), state)
    assert not writer.undo()
    for state in states[1:]:
        assert writer.redo() and same(every(node), state)
    assert not writer.redo()


def test_undo_takes_back_voxels_and_no_name_tick_or_new_segment(volume, addSegmentation, thirteen, writing):
    node = addSegmentation(volume, thirteen)
    segment = SceneBridge.segmentIds(node)[3]
    writer = writing(node, volume)
    writer.write([change(segment, BOX, np.ones(BOX.shape, bool))])
    node.GetSegmentation().GetSegment(segment).SetName("renamed")
    SceneBridge.setChecked(node, segment, True)
    new = node.GetSegmentation().AddEmptySegment("", "new")
    assert writer.undo() and new in SceneBridge.segmentIds(node)
    assert node.GetSegmentation().GetSegment(segment).GetName() == "renamed" and SceneBridge.isChecked(node, segment)
    assert SceneBridge.tagOf(node, segment, SceneBridge.MADE_BY) == "part_4"
    np.testing.assert_array_equal(voxelsOf(node, segment, SHAPE), thirteen == 4)


def test_a_new_empty_segment_takes_the_volumes_voxels(volume, scene, writing):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    SceneBridge.prepare(node, volume)
    segment = node.GetSegmentation().AddEmptySegment("tumour", "Tumour")
    SceneBridge.prepare(node, volume)
    writing(node, volume).write([change(segment, BOX, np.ones(BOX.shape, bool))])
    expected = np.zeros(SHAPE, np.uint8)
    expected[BOX.slices] = 1
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, expected)


def test_a_transformed_segmentation_is_written_where_the_volume_is(volume, addSegmentation, thirteen, writing, addTransform):
    node = addSegmentation(volume, thirteen)
    moved = np.eye(4)
    moved[:3, :3], moved[:3, 3] = turned((0, 0, 30)), (5, -3, 2)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(addTransform(moved).GetID())
    inside = thirteen[BOX.slices] == 0
    inside[0] = True
    segment = SceneBridge.segmentIds(node)[0]
    writing(node, volume).write([change(segment, BOX, added=inside)])
    assert voxelsOf(node, segment, SHAPE)[BOX.slices][inside].all()
    assert voxelsOf(node, segment, SHAPE).sum() == (inside | (thirteen[BOX.slices] == 1)).sum() + (thirteen == 1).sum() - (thirteen[BOX.slices] == 1).sum()


@pytest.fixture
def coarse(volume, addSegmentation, geometry):
    """A segmentation whose voxels are turned against the volume's and twice as large: two segments side by side."""
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    middle = geometry.to_ras((np.array(SHAPE) - 1) / 2)
    matrix = np.eye(4)
    matrix[:3, :3] = turned((35, 10, -20)) * 1.9
    matrix[:3, 3] = middle - matrix[:3, :3] @ np.full(3, 9.5)
    for name, part in (("left", slice(0, 10)), ("right", slice(10, 20))):
        mask = np.zeros((20, 20, 20), np.uint8)
        mask[5:15, 5:15, part] = 1
        mask[:, :, :5] = mask[:, :, 15:] = 0
        node.AddSegmentFromBinaryLabelmapRepresentation(orientedImage(mask, matrix), name)
    return node, Geometry((20, 20, 20), matrix)


def test_on_another_reference_geometry_only_places_of_the_edit_change(coarse, volume, geometry, writing):
    node, own = coarse
    left, right = SceneBridge.segmentIds(node)
    before = every(node, own.shape)
    removed = np.ones(BOX.shape, bool)
    writing(node, volume).write([change(left, BOX, removed=removed)], locked=[right])
    after = every(node, own.shape)
    centres = np.stack(np.meshgrid(*map(np.arange, own.shape), indexing="ij"), -1)
    kji = np.floor(geometry.to_index(own.to_ras(centres)) + 0.5)
    inside = ((kji >= BOX.start) & (kji < BOX.stop)).all(-1)
    np.testing.assert_array_equal(after[left], before[left] & ~inside)
    np.testing.assert_array_equal(after[right], before[right])
    assert (before[left] & inside).any()


def test_on_another_reference_geometry_undo_is_exact(coarse, volume, writing):
    node, own = coarse
    left, right = SceneBridge.segmentIds(node)
    before = every(node, own.shape)
    writer = writing(node, volume)
    writer.write([change(left, BOX, removed=np.ones(BOX.shape, bool)), change(right, BOX, added=np.ones(BOX.shape, bool))])
    assert not same(every(node, own.shape), before)
    writer.undo()
    assert same(every(node, own.shape), before)


def test_a_clicked_place_obeys_where_voxels_are_coarser_than_the_edit(coarse, volume, geometry, writing):
    node, own = coarse
    left, right = SceneBridge.segmentIds(node)
    place = geometry.to_index(own.to_ras(np.array([16.3, 16.3, 7.2])))
    voxel = tuple(np.round(place).astype(int))
    box = Box(voxel, tuple(n + 1 for n in voxel))
    writing(node, volume).write([change(left, box, added=np.zeros(box.shape, bool), mustHave=[voxel])], locked=[right])
    gained = every(node, own.shape)[left]
    assert gained[tuple(np.round(own.to_index(geometry.to_ras(voxel))).astype(int))]


def test_closing_leaves_no_node_behind(volume, addSegmentation, thirteen, scene, writing):
    node = addSegmentation(volume, thirteen)
    count = scene.GetNumberOfNodes()
    writer = writing(node, volume)
    writer.write([change(SceneBridge.segmentIds(node)[0], BOX, np.ones(BOX.shape, bool))])
    writer.close()
    assert scene.GetNumberOfNodes() == count
