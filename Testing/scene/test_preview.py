"""The preview lies where the change will be, green and red, and leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.geometry import Box
from DiffSegLib.Edits import Difference, Patch
from DiffSegLib.Preview import PreviewNode
from DiffSegLib.VolumeFrame import localGeometry
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

SHAPE = (6, 7, 8)


@pytest.fixture
def volume(addVolume, addTransform):
    node = addVolume(np.zeros(SHAPE, np.int16), grid(turned((10, -20, 30)), SHAPE).ijk_to_ras)
    node.SetAndObserveTransformNodeID(addTransform(np.eye(4)).GetID())
    return node


@pytest.fixture
def difference():
    """From two patches: a voxel comes, another goes, a third only changes its owner for a while."""
    ids = np.zeros(SHAPE, np.uint8)
    ids[2, 2, 2] = ids[3, 3, 3] = 4
    first, second = ids.copy(), ids.copy()
    first[2, 2, 3], first[3, 3, 3] = 4, 9
    second[2, 2, 3], second[2, 2, 2] = 4, 0
    whole = Box((1, 1, 1), (5, 5, 5))
    patches = [Patch.of(whole, ids[whole.slices], first[whole.slices]), Patch.of(whole, first[whole.slices], second[whole.slices])]
    return Difference.of(patches, second)


def test_patches_together_say_what_changed_from_first_to_last(difference):
    assert np.argwhere(difference.added).tolist() == [[1, 1, 2]] and np.argwhere(difference.removed).tolist() == [[1, 1, 1]]
    (change,) = difference.changes({4: "four", 9: "nine"})
    assert change.segmentId == "four" and change.added.sum() == change.removed.sum() == 1


def test_added_and_removed_voxels_are_shown_in_their_colours(scene, volume, difference):
    preview = PreviewNode(scene)
    preview.show(volume, localGeometry(volume), difference)
    node = preview.node
    assert np.argwhere(voxelsOf(node, "added", SHAPE)).tolist() == [[2, 2, 3]]
    assert np.argwhere(voxelsOf(node, "removed", SHAPE)).tolist() == [[2, 2, 2]]
    green, red = (node.GetSegmentation().GetSegment(name).GetColor() for name in ("added", "removed"))
    assert green[1] > green[0] and red[0] > red[1]
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()


def test_the_preview_is_neither_saved_nor_listed_and_goes_with_its_display(scene, volume, difference):
    before = scene.GetNumberOfNodes()
    preview = PreviewNode(scene)
    for _ in range(3):
        preview.show(volume, localGeometry(volume), difference)
    node = preview.node
    assert not node.GetSaveWithScene() and not node.GetDisplayNode().GetSaveWithScene() and node.GetHideFromEditors()
    assert node.GetSegmentation().GetNumberOfSegments() == 2
    preview.hide()
    preview.hide()
    assert preview.node is None and scene.GetNumberOfNodes() == before


def test_a_closed_scene_takes_the_preview_and_a_new_one_can_be_shown(scene, addVolume, volume, difference):
    preview = PreviewNode(scene)
    preview.show(volume, localGeometry(volume), difference)
    scene.Clear(0)
    assert preview.node is None
    volume = addVolume(np.zeros(SHAPE, np.int16), np.eye(4))
    preview.show(volume, localGeometry(volume), difference)
    assert preview.node is not None
