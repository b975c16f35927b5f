"""Markups become prompts where they lie in the world, and prompts become markups there."""

from __future__ import annotations

import numpy as np
import pytest
import vtk

from DiffSegCore.errors import BadInput
from DiffSegCore.prompts import from_json
from DiffSegLib.Prompts import Places, PromptMarkups, placesOf, regionOf
from DiffSegLib.VolumeFrame import VolumeFrame
from Testing.conftest import grid, turned

SHAPE = (10, 11, 12)


@pytest.fixture
def volume(addVolume, addTransform):
    """An oblique volume, turned by 30 degrees once more by a transform."""
    node = addVolume(np.zeros(SHAPE, np.int16), grid(turned((10, -20, 30)), SHAPE).ijk_to_ras)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turned((0, 0, 30)), (20, -3, 5)
    node.SetAndObserveTransformNodeID(addTransform(matrix).GetID())
    return node


@pytest.fixture(params=["world", "local"])
def frame(request, volume):
    """Sessions that began on the volume as it is turned, and before."""
    return VolumeFrame.of(volume, None if request.param == "world" else np.eye(4))


def markup(scene, className, places):
    node = scene.AddNewNodeByClass(className)
    for place in places:
        node.AddControlPointWorld(vtk.vtkVector3d(*place))
    return node


def places(frame, kji):
    return [tuple(place) for place in frame.toWorld(frame.geometry.to_ras(np.array(kji, float)))]


KJI = [(1, 2, 3), (4, 2, 8), (4, 9, 3)]


@pytest.mark.parametrize("className, kind", [("vtkMRMLMarkupsCurveNode", "scribble"), ("vtkMRMLMarkupsClosedCurveNode", "lasso"),
                                             ("vtkMRMLMarkupsLineNode", "scribble")])
def test_a_curve_is_one_prompt_through_the_voxels_it_was_drawn_on(scene, frame, className, kind):
    drawn = KJI[:2] if "Line" in className else KJI
    (place,) = placesOf(markup(scene, className, places(frame, drawn)), inside=False)
    prompt = from_json(place.prompt(frame, 7, 3))
    assert (prompt.kind, prompt.label, prompt.number, prompt.inside) == (kind, 7, 3, False)
    np.testing.assert_allclose(frame.geometry.to_index(prompt.ras), drawn, atol=1e-6)


def test_each_point_of_a_list_is_a_prompt(scene, frame):
    prompts = [from_json(place.prompt(frame, 1, 1)) for place in placesOf(markup(scene, "vtkMRMLMarkupsFiducialNode", places(frame, KJI)), True)]
    np.testing.assert_allclose(frame.geometry.to_index([prompt.ras for prompt in prompts]), KJI, atol=1e-6)


def test_a_box_covers_all_that_it_showed(scene, frame):
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    (centre,) = places(frame, [(5, 5, 6)])
    roi.SetCenterWorld(*centre)
    roi.SetSizeWorld(3, 4, 6)
    (place,) = placesOf(roi, True)
    prompt = from_json(place.prompt(frame, 1, 1))
    corners = np.array([[c + s * n / 2 for c, s, n in zip(centre, sign, (3, 4, 6))] for sign in ((-1, -1, -1), (1, 1, 1), (1, -1, 1))])
    inside = frame.toSession(corners)
    low, high = np.min(prompt.corners, 0), np.max(prompt.corners, 0)
    assert (inside >= low - 1e-3).all() and (inside <= high + 1e-3).all()


@pytest.mark.parametrize("axis, mm", [(0, 2.5), (1, 0.8), (2, 0.7)])
def test_a_lasso_is_one_voxel_deep_across_its_plane(frame, axis, mm):
    corners = np.insert([[2.0, 2], [2, 6], [6, 6], [6, 2]], axis, 3.4, axis=1)
    prompt = Places("lasso", tuple(places(frame, corners)), True).prompt(frame, 1, 1)
    assert prompt["depth_mm"] == pytest.approx(mm)
    assert Places("lasso", tuple(places(frame, corners)), True, 9.0).prompt(frame, 1, 1)["depth_mm"] == 9.0


def test_a_region_is_the_voxels_whose_centres_it_holds(scene, volume):
    frame = VolumeFrame.of(volume, np.eye(4))
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    (centre,) = places(frame, [(5, 5, 6)])
    roi.SetCenterWorld(*centre)
    roi.SetSizeWorld(0.2, 0.2, 0.2)
    assert regionOf(roi, frame) == [[5, 5, 6], [6, 6, 7]] and regionOf(None, frame) is None
    roi.SetCenterWorld(9999, 0, 0)
    with pytest.raises(BadInput, match="outside"):
        regionOf(roi, frame)


def test_nothing_placed_is_no_prompt(scene):
    for className in ("vtkMRMLMarkupsFiducialNode", "vtkMRMLMarkupsCurveNode", "vtkMRMLMarkupsROINode"):
        assert placesOf(scene.AddNewNodeByClass(className), True) == []


def test_an_angle_is_no_prompt(scene):
    with pytest.raises(BadInput, match="no prompt"):
        placesOf(scene.AddNewNodeByClass("vtkMRMLMarkupsAngleNode"), True)


@pytest.mark.parametrize("kind, ras", [("point", ()), ("box", ((0, 0, 0),)), ("lasso", ((0, 0, 0), (1, 0, 0))),
                                       ("point", ((0, float("inf"), 0),)), ("circle", ((0, 0, 0),))])
def test_places_that_make_no_prompt_are_refused(frame, kind, ras):
    with pytest.raises(BadInput):
        Places(kind, ras, True).prompt(frame, 1, 1)


def test_prompts_are_shown_where_they_were_placed_and_are_not_saved(scene, volume, frame):
    given = [Places("point", (place,), inside).prompt(frame, 1, n) for n, (place, inside) in enumerate(zip(places(frame, KJI), (True, False, True)), start=1)]
    given.append(Places("scribble", tuple(places(frame, KJI)), True).prompt(frame, 1, 4))
    shown = PromptMarkups(scene)
    shown.show(given, frame)
    positive, negative, curve = shown.nodes
    assert [positive.GetNthControlPointLabel(n) for n in range(2)] == ["1", "3"] and negative.GetNumberOfControlPoints() == 1
    at = [0.0] * 3
    positive.GetNthControlPointPositionWorld(1, at)
    np.testing.assert_allclose(at, places(frame, KJI)[2], atol=1e-6)
    assert curve.GetNumberOfControlPoints() == 3 and not any(node.GetSaveWithScene() for node in shown.nodes)
    count = scene.GetNumberOfNodes()
    shown.hide()
    assert shown.nodes == () and scene.GetNumberOfNodes() == count - 6  # three nodes and how they look
