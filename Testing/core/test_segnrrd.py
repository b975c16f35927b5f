from __future__ import annotations

import nrrd
import numpy as np
import pytest

from DiffSegCore import LabelMap, read_labels, write_labels
from DiffSegCore.errors import BadInput
from DiffSegCore.organs import ORGANS


@pytest.fixture
def slicer():
    """Slicer's real scene, without its window."""
    return pytest.importorskip("slicer", reason="SLICER-CORE IS MISSING: what Slicer makes of .seg.nrrd is not tested")


def read_in_slicer(slicer, path):
    scene = slicer.vtkMRMLScene()
    logic = slicer.vtkSlicerSegmentationsModuleLogic()  # without it labelmaps have no converter
    logic.SetMRMLScene(scene)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    return scene, node


def voxels_in_slicer(slicer, node, segment_id, shape):
    """The segment as a (K, J, I) mask on the grid of the file."""
    from vtk.util.numpy_support import vtk_to_numpy

    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(segment_id, image)
    mask = np.zeros(shape, bool)
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if i1 >= i0:
        part = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
        mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = part > 0
    return mask, image


def test_slicer_reads_names_colours_terminology_voxels_and_pose(slicer, tmp_path, labels):
    import vtk

    write_labels(labels, tmp_path / "out.seg.nrrd")
    scene, node = read_in_slicer(slicer, tmp_path / "out.seg.nrrd")
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegmentID(n) for n in range(4)] == ["parotid_gland_right", "spleen", "liver", "my implant"]
    assert segmentation.GetSourceRepresentationName() == "Binary labelmap" and segmentation.GetNumberOfLayers() == 1
    for id, name in labels.names.items():
        segment = segmentation.GetSegment(name)
        mask, image = voxels_in_slicer(slicer, node, name, labels.ids.shape)
        np.testing.assert_array_equal(mask, labels.ids == id)
        if name in ORGANS:
            tag = vtk.reference("")
            segment.GetTag("TerminologyEntry", tag)
            assert str(tag) == ORGANS[name].terminology and segment.GetName() == ORGANS[name].title
            np.testing.assert_allclose(np.array(segment.GetColor()) * 255, ORGANS[name].color, atol=0.01)
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    ours = [[matrix.GetElement(row, column) for column in range(4)] for row in range(4)]
    np.testing.assert_allclose(ours, labels.geometry.ijk_to_ras, atol=1e-6)


def test_slicer_reads_a_segmentation_without_a_voxel(slicer, tmp_path, oblique):
    write_labels(LabelMap(np.zeros(oblique.shape, np.uint8), oblique, {12: "liver"}), tmp_path / "out.seg.nrrd")
    scene, node = read_in_slicer(slicer, tmp_path / "out.seg.nrrd")
    assert node.GetSegmentation().GetNthSegment(0).GetName() == "Liver"
    assert not voxels_in_slicer(slicer, node, "liver", oblique.shape)[0].any()


def test_what_slicer_writes_is_read(slicer, tmp_path, labels):
    write_labels(labels, tmp_path / "out.seg.nrrd")
    scene, node = read_in_slicer(slicer, tmp_path / "out.seg.nrrd")
    node.GetStorageNode() or node.SetAndObserveStorageNodeID(scene.GetFirstNodeByClass("vtkMRMLSegmentationStorageNode").GetID())
    storage = node.GetStorageNode()
    storage.SetFileName(str(tmp_path / "again.seg.nrrd"))
    assert storage.WriteData(node) == 1
    back = read_labels(tmp_path / "again.seg.nrrd")
    for name in labels.names.values():
        ours = {id for id, each in labels.names.items() if each == name}
        theirs = {id for id, each in back.names.items() if each == name}
        here = labels.geometry.to_ras(np.argwhere(np.isin(labels.ids, list(ours))))
        there = back.geometry.to_ras(np.argwhere(np.isin(back.ids, list(theirs))))
        np.testing.assert_allclose(there, here, atol=1e-6)


def test_overlapping_segments_are_flattened_with_the_later_on_top(tmp_path):
    layers = np.zeros((2, 6, 5, 4), np.uint8)  # layer, I, J, K
    layers[0, 1:4, 2, 2] = 1
    layers[1, 3:5, 2, 2] = 1
    header = {"kinds": ["list", "domain", "domain", "domain"], "space": "left-posterior-superior", "space origin": [0, 0, 0]}
    header["space directions"] = np.array([[np.nan] * 3, [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    for n, name in enumerate(("Liver", "scar")):
        fields = {"ID": f"Segment_{n}", "Name": name, "LabelValue": "1", "Layer": str(n), "Extent": "0 5 0 4 0 3", "Color": "1 0 0"}
        header |= {f"Segment{n}_{key}": value for key, value in fields.items()}
    nrrd.write(str(tmp_path / "a.seg.nrrd"), layers, header)
    labels = read_labels(tmp_path / "a.seg.nrrd")
    np.testing.assert_array_equal(labels.ids[2, 2], [0, 1, 1, 2, 2, 0])
    assert dict(labels.names) == {1: "liver", 2: "scar"}


def test_voxels_without_a_name_and_names_used_twice_stay_apart(tmp_path, oblique):
    ids = np.zeros(oblique.shape, np.uint8)
    ids[0, 0, :3] = 1, 2, 7
    write_labels(LabelMap(ids, oblique, {1: "lymph node", 2: "lymph node"}), tmp_path / "out.seg.nrrd")
    header = nrrd.read_header(str(tmp_path / "out.seg.nrrd"))
    assert [header[f"Segment{n}_ID"] for n in range(3)] == ["lymph node_1", "lymph node_2", "label_7"]
    assert len({header[f"Segment{n}_Color"] for n in range(3)}) == 3


@pytest.mark.parametrize("content", [b"hello", b"", b"NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 4\n\n"])
def test_a_damaged_segmentation_is_refused(tmp_path, content, capfd):
    (tmp_path / "a.seg.nrrd").write_bytes(content)
    with pytest.raises(BadInput, match="a.seg.nrrd: the file is damaged or not a segmentation"):
        read_labels(tmp_path / "a.seg.nrrd")
    assert capfd.readouterr() == ("", "")


def test_a_cut_segmentation_is_refused(tmp_path, labels):
    write_labels(labels, tmp_path / "a.seg.nrrd")
    content = (tmp_path / "a.seg.nrrd").read_bytes()
    (tmp_path / "a.seg.nrrd").write_bytes(content[:-15])
    with pytest.raises(BadInput, match="damaged"):
        read_labels(tmp_path / "a.seg.nrrd")
