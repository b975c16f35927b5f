"""A click finds its voxel whatever lies above the volume, and a session keeps its frame whatever happens to the transform later."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegLib.VolumeFrame import VolumeFrame, localGeometry
from Testing.conftest import grid, turned

SHAPE = (6, 7, 8)
MOTIONS = {
    "turned": (turned((5, 25, 30)), True),
    "scaled": (np.diag([1.1, 1.1, 1.1]), False),
    "sheared": (np.array([[1, 0.2, 0], [0, 1, 0], [0, 0, 1.0]]), False),
    "mirrored": (np.diag([-1.0, 1, 1]), False),
}


@pytest.fixture(params=["oblique", "left handed"])
def volume(request, addVolume):
    axes = turned((10, -20, 30)) @ np.diag([1.0, 1.0, 1.0 if request.param == "oblique" else -1.0])
    return addVolume(np.zeros(SHAPE, np.int16), grid(axes, SHAPE).ijk_to_ras)


def motion(axes):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = axes, (12, -7, 30)
    return matrix


KJI = np.array([[0, 0, 0], [5, 6, 7], [2.25, 3.5, 1.75]])


def test_without_a_transform_all_frames_are_one(volume):
    frame = VolumeFrame.of(volume)
    assert frame.geometry == frame.local == localGeometry(volume)
    np.testing.assert_allclose(frame.toSession([1, 2, 3]), [1, 2, 3])


@pytest.mark.parametrize("name", MOTIONS)
def test_a_rigid_motion_is_the_sessions_and_no_other(volume, addTransform, name):
    axes, rigid = MOTIONS[name]
    volume.SetAndObserveTransformNodeID(addTransform(motion(axes)).GetID())
    frame = VolumeFrame.of(volume)
    expected = motion(axes) @ frame.local.ijk_to_ras if rigid else frame.local.ijk_to_ras
    np.testing.assert_allclose(frame.geometry.ijk_to_ras, expected, atol=1e-9)


@pytest.mark.parametrize("name", MOTIONS)
def test_a_click_in_the_world_finds_its_voxel_and_comes_back(volume, addTransform, name):
    volume.SetAndObserveTransformNodeID(addTransform(motion(MOTIONS[name][0])).GetID())
    frame = VolumeFrame.of(volume)
    world = (motion(MOTIONS[name][0]) @ np.c_[frame.local.to_ras(KJI), np.ones(3)].T)[:3].T
    np.testing.assert_allclose(frame.geometry.to_index(frame.toSession(world)), KJI, atol=1e-6)
    np.testing.assert_allclose(frame.toWorld(frame.geometry.to_ras(KJI)), world, atol=1e-6)


def test_under_a_bent_transform_a_click_finds_its_voxel_too(volume, bentTransform):
    volume.SetAndObserveTransformNodeID(bentTransform.GetID())
    frame = VolumeFrame.of(volume)
    world = frame.toWorld(frame.geometry.to_ras(KJI))
    assert np.abs(world - frame.local.to_ras(KJI)).max() > 0.01
    np.testing.assert_allclose(frame.geometry.to_index(frame.toSession(world)), KJI, atol=1e-3)


def test_a_session_keeps_its_frame_when_the_volume_is_moved(volume, addTransform):
    frame = VolumeFrame.of(volume)
    before = frame.geometry
    volume.SetAndObserveTransformNodeID(addTransform(motion(MOTIONS["turned"][0])).GetID())
    assert frame.geometry == before
    world = (motion(MOTIONS["turned"][0]) @ np.c_[frame.local.to_ras(KJI), np.ones(3)].T)[:3].T
    np.testing.assert_allclose(before.to_index(frame.toSession(world)), KJI, atol=1e-6)
    again = VolumeFrame.of(volume, frame.localToSession)
    assert again.geometry == before


def test_transforms_above_transforms_count_all(volume, addTransform):
    lower, upper = addTransform(motion(turned((5, 0, 0)))), addTransform(motion(turned((0, 0, 40))))
    lower.SetAndObserveTransformNodeID(upper.GetID())
    volume.SetAndObserveTransformNodeID(lower.GetID())
    frame = VolumeFrame.of(volume)
    np.testing.assert_allclose(frame.geometry.ijk_to_ras, motion(turned((0, 0, 40))) @ motion(turned((5, 0, 0))) @ frame.local.ijk_to_ras, atol=1e-9)
