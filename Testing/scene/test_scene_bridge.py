"""SceneBridge: what a segmentation shows at a place in the world is what the arrays hold for that place, whatever the geometry."""

from __future__ import annotations

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegLib import SceneBridge
from DiffSegLib.Images import orientedImage
from DiffSegLib.SceneBridge import Organ
from Testing.conftest import grid, turned
from Testing.scene.conftest import voxelsOf

SHAPE = (6, 7, 8)
LIVER = Organ(5, "liver", "Liver", (221, 130, 101), {"TerminologyEntry": "Segmentation category~SCT^123037004^Anatomical Structure"})
SPLEEN = Organ(1, "spleen", "Spleen", (157, 108, 162))


@pytest.fixture(params=["straight", "oblique", "left handed", "axes swapped"])
def geometry(request):
    axes = {
        "straight": np.eye(3),
        "oblique": turned((10, -20, 30)),
        "left handed": turned((10, -20, 30)) @ np.diag([1.0, 1.0, -1.0]),
        "axes swapped": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
    }[request.param]
    return grid(axes, SHAPE)


@pytest.fixture
def ids():
    ids = np.zeros(SHAPE, np.uint8)
    ids[1:4, 2:5, 1:6] = 1
    ids[4, 5:7, 2:8] = 2
    ids[0, 0, 7] = 3
    return ids


@pytest.fixture
def volume(addVolume, geometry):
    return addVolume(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), geometry.ijk_to_ras)


def addSegment(node, mask, ijkToRas, name, start=(0, 0, 0)):
    image = orientedImage(mask, ijkToRas, start)
    return node.AddSegmentFromBinaryLabelmapRepresentation(image, name)


def test_the_image_is_a_view_of_the_scenes_voxels(volume):
    array, modality = SceneBridge.imageOf(volume)
    assert array.shape == SHAPE and modality == "CT"
    volume.GetImageData().SetScalarComponentFromDouble(3, 2, 1, 0, -77)
    assert array[1, 2, 3] == -77


@pytest.mark.parametrize("said", ["MR", ""])
def test_the_modality_is_what_the_dicom_module_notes_in_the_subject_hierarchy(scene, addVolume, said):
    import slicer

    volume = addVolume(np.zeros(SHAPE, np.int16), np.eye(4), modality="")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume, "Series")
    hierarchy.SetItemAttribute(item, "DICOM.Modality", said)
    assert SceneBridge.imageOf(volume)[1] == said


def test_a_volume_without_voxels_is_refused(scene):
    with pytest.raises(BadInput, match="no image"):
        SceneBridge.imageOf(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode"))


def test_a_volume_with_colours_is_refused(scene):
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    image = vtk.vtkImageData()
    image.SetDimensions(3, 3, 3)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    node.SetAndObserveImageData(image)
    with pytest.raises(BadInput, match="3 values"):
        SceneBridge.imageOf(node)


def test_labels_come_back_as_they_went_in(volume, addSegmentation, ids):
    got = SceneBridge.labelsOf(addSegmentation(volume, ids), volume)
    np.testing.assert_array_equal(got.ids, ids)
    assert got.names == {1: "part_1", 2: "part_2", 3: "part_3"}
    assert not got.overlapping


def test_thirteen_segments_in_one_layer_come_back_exactly(volume, addSegmentation):
    ids = np.random.default_rng(0).integers(0, 14, SHAPE).astype(np.uint8)
    node = addSegmentation(volume, ids)
    assert node.GetSegmentation().GetNumberOfLayers() == 1
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, ids)


def test_reading_leaves_the_segmentation_as_it_is(volume, addSegmentation, ids):
    node = addSegmentation(volume, ids)
    before = SceneBridge.signature(node)
    SceneBridge.labelsOf(node, volume)
    assert SceneBridge.signature(node) == before


def test_a_hidden_segment_is_read_too(volume, addSegmentation, ids):
    node = addSegmentation(volume, ids)
    node.GetDisplayNode().SetSegmentVisibility(SceneBridge.segmentIds(node)[0], False)
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, ids)


def test_a_cropped_layer_lies_where_it_was(volume, addSegmentation, geometry):
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    mask = np.ones((2, 3, 2), np.uint8)
    addSegment(node, mask, geometry.ijk_to_ras, "cropped", start=(3, 1, 5))
    expected = np.zeros(SHAPE, np.uint8)
    expected[3:5, 1:4, 5:7] = 1
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, expected)


def test_what_sticks_out_of_the_volume_is_cut(volume, addSegmentation, geometry):
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    addSegment(node, np.ones((3, 3, 3), np.uint8), geometry.ijk_to_ras, "beyond", start=(-1, 5, 6))
    expected = np.zeros(SHAPE, np.uint8)
    expected[:2, 5:, 6:] = 1
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, expected)


def test_of_overlapping_segments_the_named_one_wins(volume, addSegmentation, geometry):
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    first = addSegment(node, np.ones((3, 3, 3), np.uint8), geometry.ijk_to_ras, "first")
    second = addSegment(node, np.ones((2, 2, 2), np.uint8), geometry.ijk_to_ras, "second")
    labels = SceneBridge.labelsOf(node, volume)
    assert labels.overlapping and labels.ids[0, 0, 0] == labels.segments[second]
    labels = SceneBridge.labelsOf(node, volume, last=first)
    assert labels.ids[0, 0, 0] == labels.segments[first] and (labels.ids > 0).sum() == 27


def test_known_segments_keep_their_numbers(volume, addSegmentation, ids):
    node = addSegmentation(volume, ids)
    a, b, c = SceneBridge.segmentIds(node)
    labels = SceneBridge.labelsOf(node, volume, known={b: 1, c: 40})
    assert labels.segments == {a: 2, b: 1, c: 40}
    np.testing.assert_array_equal(labels.ids == 1, ids == 2)


@pytest.mark.parametrize("segmentationMovesToo", [True, False])
def test_a_transformed_volume_meets_the_segmentation_in_the_world(volume, addSegmentation, addTransform, ids, geometry, segmentationMovesToo):
    node = addSegmentation(volume, ids)
    matrix = np.eye(4)
    matrix[:3, 3] = geometry.ijk_to_ras[:3, 2] * 2  # two voxels along k
    volume.SetAndObserveTransformNodeID(addTransform(matrix).GetID())
    if segmentationMovesToo:
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
    expected = ids if segmentationMovesToo else np.concatenate([ids[2:], np.zeros((2, *SHAPE[1:]), np.uint8)])
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, expected)


def test_segments_under_the_same_bent_transform_are_read_exactly(volume, addSegmentation, ids, bentTransform):
    node = addSegmentation(volume, ids)
    for each in (volume, node):
        each.SetAndObserveTransformNodeID(bentTransform.GetID())
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, ids)


def test_a_bent_transform_between_volume_and_segmentation_is_refused(volume, addSegmentation, ids, bentTransform):
    node = addSegmentation(volume, ids)
    volume.SetAndObserveTransformNodeID(bentTransform.GetID())
    with pytest.raises(BadInput, match="harden"):
        SceneBridge.labelsOf(node, volume)


def test_another_lattice_is_read_at_each_voxels_centre(volume, addSegmentation, geometry):
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    finer = geometry.ijk_to_ras.copy()
    finer[:3, :3] /= 3  # three fine voxels for each of the volume's, the middle one on its centre
    fine = np.zeros([3 * n for n in SHAPE], np.uint8)
    fine[4:13, 7:16, 10:19] = 1
    addSegment(node, fine, finer, "fine")
    centres = tuple(np.arange(n) * 3 for n in SHAPE)
    np.testing.assert_array_equal(SceneBridge.labelsOf(node, volume).ids, fine[np.ix_(*centres)])


def test_a_turned_lattice_is_read_where_it_lies(volume, addSegmentation, geometry):
    turnedGrid = Geometry((30, 30, 30), _around(geometry))
    inside = np.stack(np.meshgrid(*map(np.arange, turnedGrid.shape), indexing="ij"), -1)
    ball = (np.linalg.norm(turnedGrid.to_ras(inside) - _middle(geometry), axis=-1) < 4).astype(np.uint8)
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    addSegment(node, ball, turnedGrid.ijk_to_ras, "ball")
    places = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1)
    distance = np.linalg.norm(geometry.to_ras(places) - _middle(geometry), axis=-1)
    got = SceneBridge.labelsOf(node, volume).ids
    assert (got[distance < 3.3] == 1).all() and not got[distance > 4.7].any() and got.any()


def _middle(geometry):
    return geometry.to_ras((np.array(geometry.shape) - 1) / 2)


def _around(geometry):
    matrix = np.eye(4)
    matrix[:3, :3] = turned((40, 15, -25)) * 0.7
    matrix[:3, 3] = _middle(geometry) - matrix[:3, :3] @ np.full(3, 14.5)
    return matrix


def test_an_imported_organ_has_name_colour_code_and_place(volume, scene, ids):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    SceneBridge.prepare(node, volume)
    got = SceneBridge.importLabels(node, volume, np.where(ids == 2, 5, ids).astype(np.uint8), [SPLEEN, LIVER])
    assert list(got.values()) == [1, 5]
    segment = node.GetSegmentation().GetSegment(list(got)[1])
    assert segment.GetName() == "Liver"
    assert segment.GetColor() == pytest.approx([c / 255 for c in LIVER.color])
    assert SceneBridge.tagOf(node, list(got)[1], "TerminologyEntry") == LIVER.tags["TerminologyEntry"]
    np.testing.assert_array_equal(voxelsOf(node, list(got)[1], SHAPE), ids == 2)
    assert not (voxelsOf(node, list(got)[0], SHAPE) & (ids != 1)).any()


def test_an_organ_without_a_voxel_is_a_segment_too(volume, scene):
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    SceneBridge.prepare(node, volume)
    (segment,) = SceneBridge.importLabels(node, volume, np.zeros(SHAPE, np.uint8), [LIVER])
    assert not SceneBridge.labelsOf(node, volume).ids.any()
    assert node.GetSegmentation().GetSegment(segment).GetName() == "Liver"


def test_a_second_result_replaces_the_first_but_nothing_to_be_kept_and_no_foreign_segment(volume, addSegmentation, ids, geometry):
    node = addSegmentation(volume, np.zeros(SHAPE, np.uint8))
    own = addSegment(node, np.ones((2, 2, 2), np.uint8), geometry.ijk_to_ras, "Liver")
    first = SceneBridge.importLabels(node, volume, np.where(ids == 2, 5, ids).astype(np.uint8), [SPLEEN, LIVER])
    spleen, liver = first
    changed = np.full(SHAPE, 5, np.uint8)
    (again,) = SceneBridge.importLabels(node, volume, changed, [SPLEEN, LIVER], keep=[spleen])
    assert liver not in SceneBridge.segmentIds(node) or again == liver
    assert set(SceneBridge.segmentIds(node)) == {own, spleen, again}
    np.testing.assert_array_equal(voxelsOf(node, spleen, SHAPE), ids == 1)
    assert voxelsOf(node, again, SHAPE).all() and voxelsOf(node, own, SHAPE).sum() == 8


def test_an_empty_segmentation_goes_where_the_volume_is(volume, scene, addTransform):
    volume.SetAndObserveTransformNodeID(addTransform(np.eye(4)).GetID())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    SceneBridge.prepare(node, volume)
    assert node.GetParentTransformNode() is volume.GetParentTransformNode()
    assert node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()) is volume


def test_a_segmentation_of_surfaces_becomes_voxels(volume, addSegmentation, ids):
    node = addSegmentation(volume, ids)
    node.CreateClosedSurfaceRepresentation()
    node.SetSourceRepresentationToClosedSurface()
    node.RemoveBinaryLabelmapRepresentation()
    SceneBridge.prepare(node, volume)
    got = SceneBridge.labelsOf(node, volume)
    assert node.GetSegmentation().GetSourceRepresentationName() == "Binary labelmap"
    assert got.ids[2, 3, 3] == 1 and not (got.ids == 1)[ids != 1].any()  # smoothing shrinks so small a thing
