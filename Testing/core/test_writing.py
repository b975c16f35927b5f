from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DiffSegCore import LabelMap, Volume, read_labels, read_volume, write_labels, write_volume
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry

SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha", ".seg.nrrd"]
# Writes noise labels to the path it is given while no file may grow beyond 20 kB, as on a disk that fills up.
FULL_DISK = """
import resource, sys
import numpy as np
from DiffSegCore import LabelMap, write_labels
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
ids = np.random.default_rng(0).integers(0, 200, (30, 40, 50)).astype(np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write_labels(LabelMap(ids, Geometry(ids.shape, np.eye(4)), {1: "liver"}), sys.argv[1])
except BadInput as error:
    print(error)
"""


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_come_back_with_their_voxels_grid_and_names(tmp_path, labels, suffix):
    write_labels(labels, tmp_path / f"out{suffix}")
    back = read_labels(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(back.ids, labels.ids)
    assert back.ids.dtype == np.uint8 and dict(back.names) == dict(labels.names)
    tolerance_mm = 1e-4 if "nii" in suffix else 1e-6  # NIfTI stores single precision: 3e-5 at 300 mm
    assert back.geometry.same_grid(labels.geometry, tolerance_mm)
    np.testing.assert_allclose(back.geometry.ijk_to_ras, labels.geometry.ijk_to_ras, rtol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_itk_sees_every_labelled_voxel_where_it_is(tmp_path, labels, suffix):
    write_labels(labels, tmp_path / f"out{suffix}")
    image = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
    point = labels.geometry.to_ras((3, 4, 5)) * [-1, -1, 1]
    assert image.TransformPhysicalPointToIndex(point.tolist()) == (5, 4, 3) and image[5, 4, 3] == 200


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_labels_keep_sixteen_bits(tmp_path, oblique, suffix):
    ids = np.arange(120, dtype=np.uint16).reshape(oblique.shape) * 500
    write_labels(LabelMap(ids, oblique), tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(read_labels(tmp_path / f"out{suffix}").ids, ids)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_found_is_written_too(tmp_path, oblique, suffix):
    write_labels(LabelMap(np.zeros(oblique.shape, np.uint8), oblique, {12: "liver"}), tmp_path / f"out{suffix}")
    back = read_labels(tmp_path / f"out{suffix}")
    assert not back.ids.any() and dict(back.names) == {12: "liver"}


def test_the_json_beside_names_the_labels(tmp_path, labels):
    write_labels(labels, tmp_path / "case.1.nii.gz")
    described = json.loads((tmp_path / "case.1.json").read_text())["labels"]
    assert list(described) == ["3", "8", "12", "200"]
    assert described["3"] == {
        "name": "parotid_gland_right",
        "title": "Right parotid gland",
        "category": "Anatomical Structure",
        "snomed": "45289007",
        "snomed_meaning": "Parotid gland",
        "laterality": "right",
        "color": [70, 163, 117],
    }
    assert described["200"] == {"name": "my implant"}


def test_a_segmentation_file_carries_its_names_and_needs_no_json(tmp_path, labels):
    write_labels(labels, tmp_path / "out.seg.nrrd")
    assert names(tmp_path) == ["out.seg.nrrd"]


def test_our_json_is_replaced_and_a_strangers_is_not(tmp_path, labels):
    write_labels(labels, tmp_path / "out.nrrd")
    write_labels(LabelMap(labels.ids, labels.geometry, {1: "brainstem"}), tmp_path / "out.nrrd")
    assert dict(read_labels(tmp_path / "out.nrrd").names) == {1: "brainstem"}
    for text in ('{"dose": 70}', "[1, 2]", "dear diary"):
        (tmp_path / "mine.json").write_text(text)
        with pytest.raises(BadInput, match="mine.json holds something else; choose another"):
            write_labels(labels, tmp_path / "mine.nii.gz")
        assert (tmp_path / "mine.json").read_text() == text and not (tmp_path / "mine.nii.gz").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_when_the_disk_fills_up_the_old_files_stay_and_nothing_half_written_does(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    write_labels(LabelMap(np.ones((2, 2, 2), np.uint8), Geometry((2, 2, 2), np.eye(4)), {1: "spleen"}), path)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    said = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120
    )
    assert said.stdout.startswith(f"Cannot write {path}: ") and said.stderr == ""
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.parametrize("write", [write_labels, write_volume])
@pytest.mark.parametrize("name", ["out.png", "out", "out.nhdr"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, labels, write, name):
    thing = labels if write is write_labels else Volume(labels.ids, labels.geometry)
    with pytest.raises(BadInput, match=r"is not one of \.nii, \.nii\.gz"):
        write(thing, tmp_path / name)
    assert names(tmp_path) == []


def test_a_missing_folder_is_refused(tmp_path, labels):
    with pytest.raises(BadInput, match="folder does not exist"):
        write_labels(labels, tmp_path / "nowhere" / "out.nii.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "f2", "f4", "f8", "i8"])
def test_volumes_come_back(tmp_path, awkward, suffix, dtype):
    array = np.arange(120).reshape(awkward.shape).astype(dtype)
    write_volume(Volume(array, awkward, "CT"), tmp_path / f"out{suffix}")
    back = read_volume(tmp_path / f"out{suffix}")
    np.testing.assert_array_equal(back.array, array)
    assert back.geometry.same_grid(awkward, 1e-4) and back.array.dtype.kind == array.dtype.kind


def test_a_volume_of_channels_or_of_huge_numbers_is_refused(tmp_path, oblique):
    with pytest.raises(BadInput, match="2 channels"):
        write_volume(Volume(np.zeros((2, 4, 5, 6)), oblique), tmp_path / "out.nrrd")
    with pytest.raises(BadInput, match="64 bits"):
        write_volume(Volume(np.full((4, 5, 6), 2**40), oblique), tmp_path / "out.nrrd")


def test_real_labels_round_trip(tmp_path, shared_data):
    labels = read_labels(shared_data / "ct_abdomen" / "ts_example" / "label_ts117.nii.gz")
    for suffix in SUFFIXES:
        write_labels(labels, tmp_path / f"out{suffix}")
        back = read_labels(tmp_path / f"out{suffix}")
        np.testing.assert_array_equal(back.ids, labels.ids)
        assert back.geometry.same_grid(labels.geometry, 1e-4)
