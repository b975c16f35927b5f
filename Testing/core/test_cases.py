"""Data sets are read as they lie on disk; what is wrong with one is a sentence that names the file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.data.cases import Case, read_dataset
from DiffSegCore.data.label_names import organ_name, read_label_names
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap
from DiffSegCore.writing import write_labels

SHARED = Path(__file__).parents[3] / "shared" / "data"


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def names(cases: tuple[Case, ...]) -> list[str]:
    return [case.name for case in cases]


@pytest.fixture
def nnunet(tmp_path: Path) -> Path:
    write(tmp_path / "dataset.json", {"channel_names": {"0": "CT"}, "file_ending": ".nii.gz",
                                      "labels": {"background": 0, "Liver": 1, "right kidney": 2}})
    touch(tmp_path, "imagesTr/pt_10_0000.nii.gz", "imagesTr/pt_2_0000.nii.gz", "imagesTs/pt_3_0000.nii.gz",
          "labelsTr/pt_10.nii.gz", "labelsTr/pt_2.nii.gz")
    return tmp_path


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for case in ("train/pt_10", "train/pt_2", "test/pt_3"):
        touch(tmp_path, f"{case}/ct.nii.gz", f"{case}/oar.nii.gz")
    write(tmp_path / "labels.txt", "oar: 1 Brainstem 2 SpinalCord\nptv: 1 PTV56 2 PTV63 (nested)\nct: HU = value - 1000 HU")
    return tmp_path


def test_nnunet_raw_gives_train_and_test_in_natural_order(nnunet):
    data = read_dataset(nnunet)
    assert names(data.cases["train"]) == ["pt_2", "pt_10"]
    assert data.cases["test"] == (Case("pt_3", nnunet / "imagesTs/pt_3_0000.nii.gz", None),)
    assert data.cases["train"][0].label == nnunet / "labelsTr/pt_2.nii.gz"
    assert data.labels == {1: "liver", 2: "kidney_right"}


def test_several_channels_are_a_tuple_of_images_in_order(tmp_path):
    write(tmp_path / "dataset.json", {"channel_names": {"0": "T1", "1": "T2"}, "file_ending": ".mha",
                                      "labels": {"background": 0, "tumor": 1}})
    touch(tmp_path, "imagesTr/a_0001.mha", "imagesTr/a_0000.mha", "labelsTr/a.mha")
    (case,) = read_dataset(tmp_path).cases["train"]
    assert case.image == (tmp_path / "imagesTr/a_0000.mha", tmp_path / "imagesTr/a_0001.mha")


def test_a_missing_channel_is_named(nnunet):
    write(nnunet / "dataset.json", {"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "liver": 1}})
    with pytest.raises(BadInput, match=r"Case pt_.* has channels \[0\], but dataset.json names 2"):
        read_dataset(nnunet)


def test_msd_lists_of_images_and_labels_are_read(tmp_path):
    touch(tmp_path, "imagesTr/liver_1.nii.gz", "imagesTr/._liver_1.nii.gz", "labelsTr/liver_1.nii.gz",
          "imagesTs/liver_2.nii.gz")
    write(tmp_path / "dataset.json", {
        "modality": {"0": "CT"}, "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [{"image": "./imagesTr/liver_1.nii.gz", "label": "./labelsTr/liver_1.nii.gz"}],
        "test": ["./imagesTs/liver_2.nii.gz"]})
    data = read_dataset(tmp_path)
    assert {split: names(cases) for split, cases in data.cases.items()} == {"train": ["liver_1"], "test": ["liver_2"]}
    assert data.labels == {1: "liver", 2: "cancer"}


def test_a_datalist_holds_one_fold_out_for_validation(tmp_path):
    entries = [{"image": f"p{i}/ct.nii.gz", "label": f"p{i}/seg.nii.gz", "fold": i % 2} for i in range(4)]
    touch(tmp_path, *(entry[key] for entry in entries for key in ("image", "label")))
    file = write(tmp_path / "datalist.json", {"training": entries, "labels": {"1": "spleen"}})
    data = read_dataset(file, fold=1)
    assert names(data.cases["train"]) == ["p0", "p2"]
    assert names(data.cases["validation"]) == ["p1", "p3"]
    assert read_dataset(tmp_path, fold=1) == data


def test_a_folder_per_case_takes_the_table_that_is_named_after_its_label_file(folders):
    data = read_dataset(folders)
    assert names(data.cases["train"]) == ["pt_2", "pt_10"]
    assert data.cases["test"] == (Case("pt_3", folders / "test/pt_3/ct.nii.gz", folders / "test/pt_3/oar.nii.gz"),)
    assert data.labels == {1: "brainstem", 2: "spinal_cord"}


def test_one_of_several_label_files_can_be_asked_for(folders):
    touch(folders, *(f"{case}/label_ptv.nii.gz" for case in ("train/pt_10", "train/pt_2", "test/pt_3")))
    with pytest.raises(BadInput, match="several label files"):
        read_dataset(folders)
    assert read_dataset(folders, label_file="oar").cases["test"][0].label == folders / "test/pt_3/oar.nii.gz"


def test_cases_without_splits_are_training_cases(tmp_path):
    touch(tmp_path, "a/image.nrrd", "a/mask_1.nrrd", "b/image.nrrd", "b/mask_1.nrrd", "notes/readme.txt")
    write(tmp_path / "labels.json", {"1": "heart"})
    assert names(read_dataset(tmp_path).cases["train"]) == ["a", "b"]


def label_file(path: Path, ids: list[int], names: dict[int, str]) -> None:
    array = np.array([[ids]], np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_labels(LabelMap(array, Geometry(array.shape, np.eye(4)), names), path)


def test_labels_without_a_table_are_named_by_their_ids(tmp_path):
    touch(tmp_path, "a/ct.nii.gz")
    label_file(tmp_path / "a/label.nii.gz", [0, 2, 7, 2], {})
    assert read_dataset(tmp_path).labels == {2: "label_2", 7: "label_7"}


def test_label_files_may_bring_their_names(tmp_path):
    touch(tmp_path, "a/ct.nii.gz", "b/ct.nii.gz")
    label_file(tmp_path / "a/label.nii.gz", [1, 2], {1: "liver", 2: "spleen"})
    label_file(tmp_path / "b/label.nii.gz", [2, 3], {2: "spleen", 3: "heart"})
    assert read_dataset(tmp_path).labels == {1: "liver", 2: "spleen", 3: "heart"}
    label_file(tmp_path / "b/label.nii.gz", [2, 3], {2: "heart", 3: "spleen"})
    with pytest.raises(BadInput, match="b/label.nii.gz calls label 2 'heart', and an earlier case calls it 'spleen'"):
        read_dataset(tmp_path)


def test_a_table_can_be_handed_in(folders):
    table = write(folders / "other.json", {"liver": 1, "Portal Thing": 2})
    assert read_dataset(folders, names=table).labels == {1: "liver", 2: "portal_thing"}


@pytest.mark.parametrize("gone, sentence", [
    ("labelsTr/pt_2.nii.gz", "1 of 2 train cases have no label file, the first is pt_2"),
    ("imagesTr/pt_2_0000.nii.gz", r"labelsTr/pt_2.nii.gz has no image pt_2_0000.nii.gz"),
])
def test_a_missing_file_of_an_nnunet_case_is_named(nnunet, gone, sentence):
    (nnunet / gone).unlink()
    with pytest.raises(BadInput, match=sentence):
        read_dataset(nnunet)


@pytest.mark.parametrize("gone, sentence", [
    ("train/pt_2/ct.nii.gz", "pt_2 holds oar.nii.gz but no image"),
    ("train/pt_2/oar.nii.gz", "1 of 2 train cases have no label file, the first is pt_2"),
])
def test_a_missing_file_of_a_case_folder_is_named(folders, gone, sentence):
    (folders / gone).unlink()
    with pytest.raises(BadInput, match=sentence):
        read_dataset(folders)


def test_a_listed_file_that_is_not_there_is_named(tmp_path):
    touch(tmp_path, "a.nii.gz")
    file = write(tmp_path / "list.json", {"training": [{"image": "a.nii.gz", "label": "b.nii.gz"}], "labels": {"1": "liver"}})
    with pytest.raises(BadInput, match="label file of case a is missing: .*b.nii.gz"):
        read_dataset(file)


@pytest.mark.parametrize("entry", [7, {}, {"image": ""}, {"image": []}, {"image": ["a.nii.gz", 1]}, {"image": "a.nii.gz", "label": 3}])
def test_a_listed_case_without_paths_is_shown(tmp_path, entry):
    touch(tmp_path, "a.nii.gz")
    with pytest.raises(BadInput, match="list.json lists a case without paths"):
        read_dataset(write(tmp_path / "list.json", {"training": [entry], "labels": {"1": "liver"}}))


def test_a_case_in_two_splits_is_refused(folders):
    touch(folders, "test/pt_2/ct.nii.gz", "test/pt_2/oar.nii.gz")
    with pytest.raises(BadInput, match="Two cases are named 'pt_2' .in .* and in"):
        read_dataset(folders)


def test_a_folder_without_cases_says_what_is_read(tmp_path):
    with pytest.raises(BadInput, match="No case was found in .*nnU-Net raw"):
        read_dataset(tmp_path)
    with pytest.raises(BadInput, match="does not exist"):
        read_dataset(tmp_path / "nowhere")


@pytest.mark.parametrize("text, table", [
    ("1 liver 2 right kidney 3 left kidney 4 spleen (T2, 20 subjects)",
     {1: "liver", 2: "kidney_right", 3: "kidney_left", 4: "spleen"}),
    ("# id name\n1: Liver\n2 = Spleen\n", {1: "liver", 2: "spleen"}),
    ("AMOS22: 1 spleen 15 prostate/uterus", {1: "spleen", 15: "prostate_uterus"}),
])
def test_text_tables_are_read_in_the_ways_people_write_them(tmp_path, text, table):
    assert read_label_names(write(tmp_path / "labels.txt", text)) == table


@pytest.mark.parametrize("content", [{"1": "liver"}, {"liver": 1}, {"labels": {"background": 0, "liver": [1]}},
                                     {"total": {"1": "liver"}}, {"names": {"1": "Liver"}},
                                     {"labels": {"1": {"name": "liver", "snomed": "10200004"}}}])
def test_json_tables_are_read_in_the_ways_tools_write_them(tmp_path, content):
    assert read_label_names(write(tmp_path / "labels.json", content)) == {1: "liver"}


@pytest.mark.parametrize("content, sentence", [
    ("{", "is not JSON"),
    ({"a": "liver"}, "'a' and 'liver' are not an id and a name"),
    ({"whole": [1, 2]}, r"'whole' is a region of labels \[1, 2\]"),
    ({"1": "liver", "2": "Liver"}, "gives two labels the name 'liver'"),
    ('{"1": "liver", "1": "spleen"}', "names label 1 twice"),
    ({"one": {"1": "liver"}, "two": {"1": "spleen"}}, r"several tables \(one, two\)"),
    ({"labels": {"liver": 1, "ignore": 2}}, "label 2 is 'ignore'"),
    ([1, 2], "holds no table of labels"),
    ({}, "names no label"),
])
def test_a_broken_table_is_refused_in_words(tmp_path, content, sentence):
    with pytest.raises(BadInput, match=sentence):
        read_label_names(write(tmp_path / "labels.json", content))


def test_names_outside_the_organ_table_become_snake_case():
    assert organ_name("SpinalCord") == "spinal_cord"
    assert organ_name("Left Parotid") == "parotid_gland_left"
    assert organ_name("PTV56 (high dose)") == "ptv56_high_dose"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"REAL DATA SKIPPED: {SHARED} is not there")
@pytest.mark.parametrize("folder, counts, first, labels", [
    ("ct_hn_openkbp", {"train": 110, "validation": 15, "test": 40}, "pt_1",
     {1: "brainstem", 2: "spinal_cord", 3: "parotid_gland_right", 4: "parotid_gland_left", 5: "esophagus", 6: "larynx",
      7: "mandible"}),
    ("ct_lesion_sts", {"train": 37}, "STS_001", {1: "label_1"}),
    ("mr_abdomen_chaos_t2", {"train": 16}, "01", {1: "liver", 2: "kidney_right", 3: "kidney_left", 4: "spleen"}),
])
def test_the_shared_data_is_read_as_it_lies(folder, counts, first, labels):
    data = read_dataset(SHARED / folder)
    assert {split: len(cases) for split, cases in data.cases.items()} == counts
    assert data.cases["train"][0].name == first
    assert data.labels == labels
