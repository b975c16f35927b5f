"""What is handed on: the same voxels in every format, codes and colours in DICOM SEG, closed surfaces, a manifest that can be checked."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from stored import write_series

from DiffSegCore import read_labels, read_volume, write_labels
from DiffSegCore.cli import main
from DiffSegCore.dicom import list_series
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.export import changed_files, export
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.organ_volumes import organ_volumes
from DiffSegCore.volume import LabelMap, Volume

NAMES = {3: "parotid_gland_right", 8: "spleen", 12: "liver", 200: "my implant"}


@pytest.fixture
def case(awkward) -> tuple[Volume, LabelMap]:
    """Ten slices, two known organs, one that is not in the table, one without a voxel."""
    geometry = Geometry((10, 14, 12), awkward.ijk_to_ras)
    ids = np.zeros(geometry.shape, np.uint8)
    ids[2:6, 2:8, 2:7], ids[6:9, 9:12, 8:11], ids[0, 0, 0] = 12, 3, 200
    return Volume(np.arange(ids.size, dtype=np.int16).reshape(ids.shape), geometry, "CT"), LabelMap(ids, geometry, NAMES)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_labels_come_with_volumes_and_a_manifest(case, tmp_path):
    volume, labels = case
    told = export(volume, labels, tmp_path / "out", ("seg.nrrd", "nii.gz"), {"model": {"name": "toy", "sha256": "ab"}, "prompts": [{"kind": "point"}]})
    assert told == tmp_path / "out/manifest.json"
    assert names(tmp_path) == [f"out/{name}" for name in ("manifest.json", "segmentation.json", "segmentation.nii.gz", "segmentation.seg.nrrd", "volumes.csv")]
    for name in ("segmentation.seg.nrrd", "segmentation.nii.gz"):
        np.testing.assert_array_equal(read_labels(tmp_path / "out" / name).ids, labels.ids)
    said = json.loads(told.read_text())
    assert said["model"]["sha256"] == "ab" and said["prompts"] and "DiffSeg" in said["software"]
    assert [each["name"] for each in said["files"]] == [name for name in names(tmp_path / "out") if name != "manifest.json"]
    assert {each["name"]: each["ml"] for each in said["organs"]}["spleen"] == 0


def test_a_changed_file_is_noticed(case, tmp_path):
    told = export(*case, tmp_path / "out", ("nii.gz",))
    assert changed_files(told) == ()
    (tmp_path / "out/volumes.csv").write_text("nothing")
    (tmp_path / "out/segmentation.json").unlink()
    assert changed_files(told) == ("segmentation.json", "volumes.csv")


def test_an_earlier_export_is_replaced_but_nothing_of_anybody_else(case, tmp_path):
    export(*case, tmp_path / "out", ("nii.gz",))
    export(*case, tmp_path / "out", ("mha",))
    assert names(tmp_path / "out") == ["manifest.json", "segmentation.json", "segmentation.mha", "volumes.csv"]
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(BadInput, match="other files.*notes.txt"):
        export(*case, tmp_path / "out", ("nii.gz",))
    assert "segmentation.mha" in names(tmp_path / "out")


def test_an_empty_folder_is_filled(case, tmp_path):
    (tmp_path / "out").mkdir()
    assert export(*case, tmp_path / "out").is_file()


def test_stopped_it_leaves_what_was_there(case, tmp_path):
    def stop(fraction, stage):
        if "nii.gz" in stage:
            raise Cancelled

    export(*case, tmp_path / "out", ("mha",))
    with pytest.raises(Cancelled):
        export(*case, tmp_path / "out", ("seg.nrrd", "nii.gz"), progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and "segmentation.mha" in names(tmp_path / "out")


@pytest.mark.parametrize(("formats", "more", "words"), [
    (("docx",), {}, "docx; formats are"),
    ((), {}, "nothing; formats are"),
    (("dicomseg",), {}, "name the folder of the DICOM series"),
    (("dicomseg",), {"series": "nowhere"}, "no such folder"),
])
def test_what_cannot_be_is_refused_before_anything_is_written(case, tmp_path, formats, more, words):
    if "dicomseg" in formats:
        pytest.importorskip("highdicom")
    with pytest.raises(BadInput, match=words):
        export(*case, tmp_path / "out", formats, **more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("format", "package"), [("stl", "vtkmodules.vtkFiltersCore"), ("dicomseg", "highdicom")])
def test_a_missing_package_is_named(case, tmp_path, monkeypatch, format, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadInput, match=r"diffseg\[export\]"):
        export(*case, tmp_path / "out", (format,), series=tmp_path)


def triangles(path: Path) -> np.ndarray:
    """(n, 3, 3) corners of a binary STL."""
    kind = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")])
    return np.frombuffer(path.read_bytes()[84:], kind)["corners"].astype(np.float64)


def test_a_surface_is_closed_faces_outwards_and_encloses_the_organ(awkward, tmp_path):
    pytest.importorskip("vtkmodules")
    geometry = Geometry((20, 60, 60), awkward.ijk_to_ras)
    kji = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), -1)
    centre = geometry.to_ras((10, 30, 30))
    ball = np.linalg.norm(geometry.to_ras(kji) - centre, axis=-1) < 14
    labels = LabelMap(np.where(ball, 12, 0).astype(np.uint8), geometry, {12: "liver", 8: "spleen"})
    export(None, labels, tmp_path / "out", ("stl",))
    assert names(tmp_path / "out/stl") == ["liver.stl"]
    path = tmp_path / "out/stl/liver.stl"
    assert b"SPACE=LPS" in path.read_bytes()[:80]
    corners = triangles(path)
    enclosed_ml = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6000  # the divergence theorem
    assert enclosed_ml == pytest.approx(next(each.ml for each in organ_volumes(labels) if each.ml), rel=0.03)
    np.testing.assert_allclose(corners.mean(axis=(0, 1)), centre * [-1, -1, 1], atol=0.5)
    edges = np.sort(corners.view("f8,f8,f8")[..., 0], axis=1)[:, [[0, 1], [1, 2], [0, 2]]].reshape(-1, 2)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()  # each edge in two triangles: no hole


def test_names_that_are_no_file_names_become_some(awkward, tmp_path):
    pytest.importorskip("vtkmodules")
    ids = np.zeros(awkward.shape, np.uint8)
    ids[0], ids[1], ids[2] = 1, 2, 3
    export(None, LabelMap(ids, awkward, {1: "../a b", 2: "../A:b", 3: "///"}), tmp_path / "out", ("stl",))
    assert names(tmp_path / "out/stl") == ["A_b_2.stl", "a_b_1.stl", "label_3.stl"]


@pytest.fixture
def stored(case, tmp_path) -> Path:
    pytest.importorskip("highdicom")
    return write_series(case[0], tmp_path / "series", slope=1.0)


def masks(path: Path, geometry: Geometry) -> dict[str, np.ndarray]:
    """Segment label -> (K, J, I) mask, placed by the frames' own positions."""
    seg = pydicom.dcmread(path)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    labels = {each.SegmentNumber: each.SegmentLabel for each in seg.SegmentSequence}
    found = {label: np.zeros(geometry.shape, bool) for label in labels.values()}
    shared = seg.SharedFunctionalGroupsSequence[0]  # where a single segment is named
    for frame, about in zip(frames, seg.PerFrameFunctionalGroupsSequence):
        number = (about if "SegmentIdentificationSequence" in about else shared).SegmentIdentificationSequence[0].ReferencedSegmentNumber
        lps = np.array(about.PlanePositionSequence[0].ImagePositionPatient, dtype=float)
        k = int(round(geometry.to_index(lps * [-1, -1, 1])[0]))
        found[labels[number]][k] |= frame.astype(bool)
    return found


def test_a_dicom_seg_holds_the_same_voxels_where_they_were(case, stored, tmp_path):
    _, labels = case
    export(None, labels, tmp_path / "out", ("dicomseg",), series=stored)
    found = masks(tmp_path / "out/segmentation.dcm", labels.geometry)
    assert set(found) == {"Right parotid gland", "Liver", "my implant"}
    for title, id in (("Right parotid gland", 3), ("Liver", 12), ("my implant", 200)):
        np.testing.assert_array_equal(found[title], labels.ids == id)


def test_a_dicom_seg_says_what_the_organ_table_says_and_refers_to_its_images(case, stored, tmp_path):
    export(None, case[1], tmp_path / "out", ("dicomseg",), {"prompts": [1]}, series=stored)
    seg, (series,) = pydicom.dcmread(tmp_path / "out/segmentation.dcm"), list_series(stored)
    parotid = next(each for each in seg.SegmentSequence if each.SegmentLabel == "Right parotid gland")
    code = parotid.SegmentedPropertyTypeCodeSequence[0]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("45289007", "SCT")
    assert parotid.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Right"
    assert len(parotid.RecommendedDisplayCIELabValue) == 3 and parotid.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    assert seg.StudyInstanceUID == pydicom.dcmread(series.files[0]).StudyInstanceUID and seg.PatientID == "phantom"


def test_labels_on_a_piece_of_the_grid_find_their_place(case, stored, tmp_path):
    _, labels = case
    box = Box((1, 1, 1), (10, 13, 12))
    piece = LabelMap(np.ascontiguousarray(labels.ids[box.slices]), labels.geometry.crop(box), labels.names)
    export(None, piece, tmp_path / "out", ("dicomseg",), series=stored)
    np.testing.assert_array_equal(masks(tmp_path / "out/segmentation.dcm", labels.geometry)["Liver"], labels.ids == 12)


def test_of_several_series_the_one_that_was_segmented_is_referred_to(case, stored, tmp_path):
    volume, labels = case
    finer = Geometry((20, 14, 12), labels.geometry.ijk_to_ras)
    write_series(Volume(np.zeros(finer.shape, np.int16), finer, "CT"), stored / "larger", slope=1.0)
    wanted = list_series(stored)[1].uid
    export(None, LabelMap(labels.ids, read_volume(stored, series=wanted).geometry), tmp_path / "out", ("dicomseg",), series=stored)
    assert pydicom.dcmread(tmp_path / "out/segmentation.dcm").ReferencedSeriesSequence[0].SeriesInstanceUID == wanted


def test_a_dicom_seg_of_nothing_is_refused(case, stored, tmp_path):
    nothing = LabelMap(np.zeros_like(case[1].ids), case[1].geometry, NAMES)
    with pytest.raises(BadInput, match="without segments"):
        export(None, nothing, tmp_path / "out", ("dicomseg",), series=stored)
    assert not (tmp_path / "out").exists()


def test_a_stripped_series_gets_a_dicom_seg(case, stored, tmp_path):
    for path in stored.iterdir():
        one = pydicom.dcmread(path)
        for keyword in ("PatientID", "PatientName", "FrameOfReferenceUID"):
            if keyword in one:
                delattr(one, keyword)
        one.save_as(path)
    assert export(None, case[1], tmp_path / "out", ("dicomseg",), series=stored).is_file()


def test_the_command_exports_what_another_tool_drew(case, stored, tmp_path, capsys):
    write_labels(case[1], tmp_path / "drawn.mha")
    line = ["export", str(tmp_path / "drawn.mha"), "-o", str(tmp_path / "out"), "--format", "seg.nrrd", "--format", "dicomseg"]
    assert main([*line, "--image", str(stored), "--model", "head-neck-ct"]) == 0
    told = Path(capsys.readouterr().out.strip())
    assert json.loads(told.read_text())["models"][0]["name"] == "head-neck-ct" and changed_files(told) == ()
    assert main(line) == 2 and main([*line, "--image", str(tmp_path / "drawn.mha")]) == 2


def test_the_real_head_series_gets_a_dicom_seg(shared_data, tmp_path):
    pytest.importorskip("highdicom")
    folder = shared_data / "tests_small/cthead_dicom"
    volume = read_volume(folder)
    labels = LabelMap((volume.array > 1200).astype(np.uint8) * 7, volume.geometry, {7: "mandible"})
    export(volume, labels, tmp_path / "out", ("dicomseg", "stl"), series=folder)
    np.testing.assert_array_equal(masks(tmp_path / "out/segmentation.dcm", volume.geometry)["Mandible"], labels.ids == 7)
