"""Images without labels: found in every layout, cached once, and a bad one among many is named or left out."""
from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.data.cases import read_images
from DiffSegCore.data.unlabelled import find_images, image_cases, kept_images
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume
from toys import toy_ct, toy_geometry

CT = Preprocessing((4., 4., 4.), ((-1000., -1.), (1000., 1.)))


def names(cases) -> list[str]:
    return [case.name for case in cases]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Three cases, one folder each; the last one's file is cut short."""
    for name in ("a_1", "a_2", "a_3"):
        (tmp_path / "data" / name).mkdir(parents=True)
        toy_ct(tmp_path / "data" / name / "ct.nii.gz")
    whole = (tmp_path / "data" / "a_3" / "ct.nii.gz").read_bytes()
    (tmp_path / "data" / "a_3" / "ct.nii.gz").write_bytes(whole[:len(whole) // 2])
    return tmp_path / "data"


def test_only_training_images_are_taken_and_their_labels_stay_unread(tmp_path):
    for split, name in (("train", "a"), ("validation", "b"), ("test", "c")):
        (tmp_path / split / name).mkdir(parents=True)
        toy_ct(tmp_path / split / name / "ct.nii.gz")
        (tmp_path / split / name / "label.nii.gz").write_bytes(b"no labels at all")
    assert names(find_images(tmp_path)) == ["a"]
    assert names(find_images(tmp_path, split="validation")) == ["b"]
    assert all(case.label is None for cases in read_images(tmp_path).values() for case in cases)


def test_loose_volumes_below_a_folder_are_found_and_label_files_are_not(tmp_path):
    (tmp_path / "site" / "patient").mkdir(parents=True)
    toy_ct(tmp_path / "site" / "patient" / "image.nii.gz")
    toy_ct(tmp_path / "site" / "scan7.nii.gz")
    write_labels(LabelMap(np.zeros((20, 24, 28), np.uint8), toy_geometry(), {}), tmp_path / "site" / "patient" / "label.nii.gz")
    assert names(find_images(tmp_path)) == ["patient", "scan7"]
    assert names(find_images(tmp_path / "site" / "scan7.nii.gz")) == ["scan7"]


def test_a_folder_of_dicom_slices_is_one_image(shared_data):
    assert names(find_images(shared_data / "tests_small" / "cthead_dicom")) == ["cthead_dicom"]


def test_cases_can_be_left_out_by_pattern(folder):
    assert names(find_images(folder, leave_out=["a_[23]"])) == ["a_1"]


def test_images_are_kept_on_the_model_grid_inside_the_body_with_empty_channels(folder, tmp_path):
    case, _ = image_cases([folder], CT, tmp_path / "cache", leave_out=["a_3"])
    assert case.geometry.spacing == (4, 4, 4) and case.image.shape == case.geometry.shape == case.channels.shape
    assert case.image.dtype == np.float16 and not case.channels.any() and not case.places
    assert abs(case.image[case.image.shape[0] // 2, 8, 8] - .04) < .01  # water of 40 HU


def test_the_second_time_nothing_is_computed(folder, tmp_path, monkeypatch):
    first = kept_images([folder], CT, tmp_path / "cache", leave_out=["a_3"])
    monkeypatch.setattr("DiffSegCore.data.unlabelled.read_volume", lambda path: pytest.fail("read again"))
    assert kept_images([folder], CT, tmp_path / "cache", leave_out=["a_3"]) == first


def test_a_cache_file_cut_short_is_made_again(folder, tmp_path):
    first = kept_images([folder], CT, tmp_path / "cache", leave_out=["a_[23]"])[0]
    image = np.array(first.image())
    first.file.write_bytes(first.file.read_bytes()[:200])
    np.testing.assert_array_equal(kept_images([folder], CT, tmp_path / "cache", leave_out=["a_[23]"])[0].image(), image)


def test_a_corrupt_volume_is_named_once_the_others_are_in_the_cache(folder, tmp_path):
    with pytest.raises(BadInput, match="1 of 3 volumes.*a_3.*--skip-corrupt"):
        kept_images([folder], CT, tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.image.npy"))) == 2


def test_a_corrupt_volume_can_be_left_out_but_not_the_last_one(folder, tmp_path):
    assert names(kept_images([folder], CT, tmp_path / "cache", skip_corrupt=True, workers=2)) == ["a_1", "a_2"]
    with pytest.raises(BadInput, match="a_3"):
        kept_images([folder], CT, tmp_path / "cache", skip_corrupt=True, leave_out=["a_1", "a_2"])


def test_an_image_that_is_no_ct_is_refused_with_the_reason(tmp_path):
    rescaled = Volume(np.full((12, 12, 12), 128, np.uint8), Geometry((12, 12, 12), np.eye(4)))
    write_volume(rescaled, tmp_path / "windowed.nii.gz")
    with pytest.raises(BadInput, match="windowed.*Hounsfield"):
        kept_images([tmp_path], CT, tmp_path / "cache")
    (tmp_path / "other").mkdir()
    write_volume(rescaled, tmp_path / "other" / "mr.nii.gz")
    with pytest.raises(BadInput, match="is MR, and CT is wanted"):
        kept_images([tmp_path / "other"], CT, tmp_path / "cache")


def test_an_empty_or_missing_folder_is_told(tmp_path):
    (tmp_path / "void").mkdir()
    with pytest.raises(BadInput, match="no image in .*void"):
        find_images(tmp_path / "void")
    with pytest.raises(BadInput, match="there is no .*nowhere"):
        find_images(tmp_path / "nowhere")


def test_a_listed_case_without_its_image_is_named(tmp_path):
    (tmp_path / "dataset.json").write_text(json.dumps({"training": [{"image": "gone.nii.gz"}]}))
    with pytest.raises(BadInput, match="gone"):
        find_images(tmp_path)
