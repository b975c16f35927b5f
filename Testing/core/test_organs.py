from __future__ import annotations

import re

import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.organs import ORGANS, by_id, organ

HEAD_AND_NECK = ["Brainstem", "SpinalCord", "RightParotid", "LeftParotid", "Esophagus", "Larynx", "Mandible"]
# Not in the subset of codes that DICOM lists: the brainstem code is the one in common use, the others are as published segmentation tables have them.
ELSEWHERE = {"brainstem", "portal_vein_and_splenic_vein", "vertebrae_S1"}


def test_the_head_and_neck_organs_come_first_and_are_found_by_their_data_set_names():
    assert [organ(name).id for name in HEAD_AND_NECK] == [1, 2, 3, 4, 5, 6, 7]
    assert by_id(3).name == "parotid_gland_right"


@pytest.mark.parametrize("spelling", ["spinal_cord", "Spinal Cord", "SPINAL-CORD", "SpinalCord", " spinalcord "])
def test_case_spaces_and_underscores_do_not_matter(spelling):
    assert organ(spelling).name == "spinal_cord"


def test_a_misspelt_organ_is_answered_with_its_neighbours():
    with pytest.raises(BadInput, match="'livr'.*did you mean liver"):
        organ("livr")
    with pytest.raises(BadInput, match="'xyzzy'.*organs.csv"):
        organ("xyzzy")
    with pytest.raises(BadInput, match="id 999"):
        by_id(999)


def test_every_id_name_spelling_and_colour_means_one_organ():
    spellings = [re.sub(r"[\W_]", "", word).lower() for each in ORGANS.values() for word in {each.name, *each.aliases}]
    for column in ([each.id for each in ORGANS.values()], spellings, [each.color for each in ORGANS.values()]):
        assert len(column) == len(set(column))
    assert all(0 <= channel <= 255 for each in ORGANS.values() for channel in each.color)
    assert sorted(each.id for each in ORGANS.values()) == list(range(1, len(ORGANS) + 1))


def test_sides_are_said_twice_and_agree():
    for each in ORGANS.values():
        side = next((side for side in ("left", "right") if f"_{side}" in each.name), "")
        if each.name != "lung_middle_lobe_right":  # its code says right by itself
            assert each.laterality == side, each.name


def test_the_codes_are_in_dicoms_snomed_subset():
    from pydicom.sr._concepts_dict import concepts

    known = {code for codes in concepts["SCT"].values() for code in codes}
    unknown = {each.name for each in ORGANS.values() if each.snomed not in known}
    assert {name for name in unknown if not name.startswith("rib_")} == ELSEWHERE


def test_known_codes():
    codes = {name: ORGANS[name].snomed for name in ("brainstem", "spinal_cord", "parotid_gland_left", "esophagus", "larynx", "mandible")}
    assert codes == {
        "brainstem": "15926001",
        "spinal_cord": "2748008",
        "parotid_gland_left": "45289007",
        "esophagus": "32849002",
        "larynx": "4596009",
        "mandible": "91609006",
    }


def test_terminology_is_what_slicer_parses():
    category, kind, side = ORGANS["parotid_gland_right"].terminology.split("~")[1:4]
    assert (category, kind, side) == ("SCT^123037004^Anatomical Structure", "SCT^45289007^Parotid gland", "SCT^24028007^Right")
    assert "SCT^49755003^Morphologically Altered Structure" in ORGANS["tumour"].terminology
    assert all(each.terminology.count("~") == 6 for each in ORGANS.values())
