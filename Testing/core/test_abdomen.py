"""Abdomens imagined from label maps or shown anew from MR: repeatable, varied, with tissues as bright as tissues are."""
from __future__ import annotations

import numpy as np
import pytest
from abdomen_toys import MR_NAMES, NAMES, a_label_map, an_abdominal_mr

from DiffSegCore.data.abdomen import Body, abdomen, recoloured, rephased, shapes, tissues
from DiffSegCore.data.abdomen.tissues import PHASES, Tissues, tissue_of
from DiffSegCore.errors import BadInput
from DiffSegCore.volume import LabelMap, Volume


@pytest.fixture(scope="module")
def body() -> Body:
    return Body.of(a_label_map(), NAMES)


@pytest.fixture(scope="module")
def scans(body):
    return [abdomen(seed, body) for seed in range(4)]


def test_a_seed_is_a_patient_and_another_is_another(body, scans):
    (volume, labels), (again, same) = scans[0], abdomen(0, body)
    np.testing.assert_array_equal(volume.array, again.array)
    np.testing.assert_array_equal(labels.ids, same.ids)
    assert volume.array.shape != scans[1][0].array.shape or (volume.array != scans[1][0].array).mean() > .5


def test_image_and_labels_share_their_grid_and_names(scans):
    for volume, labels in scans:
        assert volume.geometry.same_grid(labels.geometry) and volume.modality == "CT"
        assert labels.names == NAMES and set(np.unique(labels.ids)) - {0} <= set(NAMES)


def test_every_structure_has_the_hu_of_its_tissue(scans):
    usual = {"liver": (-10, 170), "spleen": (20, 190), "kidney_right": (10, 260), "gallbladder": (-20, 220), "aorta": (10, 600), "vertebrae_L1": (50, 700),
             "lung_lower_lobe_right": (-960, -600), "autochthon_left": (25, 85)}
    seen = set()
    for volume, labels in scans:
        for value, name in NAMES.items():
            if name in usual and (labels.ids == value).sum() > 200:
                low, high = usual[name]
                assert low < np.median(volume.array[labels.ids == value]) < high, name
                seen.add(name)
    assert {"liver", "aorta", "vertebrae_L1"} <= seen


def test_the_body_lies_in_air_and_what_has_no_label_is_fat_and_muscle(scans):
    for volume, labels in scans:
        assert np.median(volume.array[:, -1]) < -950 and np.median(volume.array[:, :, 0]) < -950
        rest = volume.array[(labels.ids == 0) & (volume.array > -300)]
        assert ((rest > -160) & (rest < -50)).mean() > .15 and ((rest > 20) & (rest < 100)).mean() > .1


def test_liver_is_on_the_right_and_the_spine_behind(body):
    kji = {name: np.argwhere(body.ids == value).mean(0) for value, name in NAMES.items() if (body.ids == value).any()}
    assert kji["liver"][2] > kji["spleen"][2] and kji["vertebrae_L1"][1] < kji["aorta"][1] < kji["gallbladder"][1]  # I to the right, J to the front


def test_organs_that_a_person_lacks_are_nowhere_and_fat_takes_their_place(body, monkeypatch):
    monkeypatch.setattr(shapes, "VIEWS", ((1., "all"),))
    monkeypatch.setattr(shapes, "MISSING", {"gallbladder": 1., "spleen": 0.})
    for seed in range(3):
        ids = shapes.drawn_shape(body, np.random.default_rng(seed)).ids
        assert not (ids == 4).any() and (ids == 2).any()


def test_raised_arms_are_not_in_the_picture(body):
    assert not (body.ids == 10).any()


def test_what_is_labelled_lies_inside_the_trunk(body):
    inside = np.repeat(np.repeat(np.repeat(body.depth, 4, 0), 4, 1), 4, 2)[tuple(map(slice, body.ids.shape))]
    padded = body.ids[:inside.shape[0], :inside.shape[1], :inside.shape[2]] > 0
    assert (inside[padded] > -12).mean() > .98 and inside[:, 0].max() < -40  # where an organ ends the hull is smoother than it


def test_contrast_reaches_arteries_first_and_veins_later():
    drawn = {phase: [] for phase in PHASES}
    for seed in range(200):
        each = Tissues.draw(np.random.default_rng(seed))
        drawn[each.phase].append(each.hu)
    mean = {phase: {name: np.mean([hu[name] for hu in many]) for name in many[0]} for phase, many in drawn.items()}
    assert mean["arterial"]["aorta"] > 230 > mean["venous"]["aorta"] > mean["plain"]["aorta"] + 60
    assert mean["venous"]["portal_vein_and_splenic_vein"] > mean["arterial"]["portal_vein_and_splenic_vein"] > mean["plain"]["portal_vein_and_splenic_vein"]
    assert all(hu["marrow"] < hu["cortical"] and hu["fat"] < -70 for many in drawn.values() for hu in many)


@pytest.mark.parametrize("name, tissue", [("rib_left_7", "bone"), ("kidney_left", "cortex"), ("kidney_cyst_left", "cyst"), ("colon", "hollow"),
                                          ("iliac_vena_right", "vein"), ("gluteus_maximus_left", "muscle"), ("thyroid_gland", "soft"), ("pancreas", "pancreas")])
def test_structures_are_made_of_the_tissue_that_they_are_made_of(name, tissue):
    assert tissue_of(name) == tissue
    assert tissue in {*tissues._HU, "bone", "hollow", "bladder", "airway"}


def test_a_label_map_of_another_part_of_the_body_is_refused():
    with pytest.raises(BadInput, match="none of liver"):
        Body.of(a_label_map(without=(1, 2, 3)), NAMES)


def test_an_mr_is_shown_as_a_ct_on_its_own_grid_with_its_labels_as_they_were():
    mr, labels = an_abdominal_mr()
    ct, same = recoloured(3, mr, labels)
    assert ct.modality == "CT" and ct.array.dtype == np.int16 and ct.geometry.same_grid(mr.geometry) and same is labels
    np.testing.assert_array_equal(ct.array, recoloured(3, mr, labels)[0].array)
    assert (ct.array != recoloured(4, mr, labels)[0].array).mean() > .3


def test_labelled_organs_of_an_mr_get_hu_of_organs_and_its_surroundings_are_air():
    mr, labels = an_abdominal_mr()
    scans = [recoloured(seed, mr, labels)[0].array for seed in range(12)]
    for value, low, high in ((1, 0, 170), (3, 0, 260)):
        drawn = [float(np.median(scan[labels.ids == value])) for scan in scans]
        assert low < np.median(drawn) < high and np.ptp(drawn) > 25, MR_NAMES[value]
    assert all(np.median(scan[:, 0]) < -950 for scan in scans)


def test_an_mr_may_name_structures_that_no_one_hu_stands_for_and_has_one_channel():
    mr, labels = an_abdominal_mr()
    assert recoloured(0, mr, LabelMap(labels.ids, labels.geometry, {1: "stomach", 3: "vertebrae_L1"}))[0].array.min() < -900
    with pytest.raises(BadInput, match="2 channels"):
        recoloured(0, Volume(np.stack([mr.array] * 2), mr.geometry), labels)


def test_dark_places_of_an_mr_become_fat_and_less_dark_ones_muscle():
    mr, labels = an_abdominal_mr()
    scan = np.median([recoloured(seed, mr, labels)[0].array for seed in range(12)], axis=0)
    inner = (slice(None), slice(14, 22), slice(18, 30))
    rest, bright = labels.ids[inner] == 0, mr.array[inner]
    assert np.median(scan[inner][rest & (bright > 9) & (bright < 13)]) < -50 < 20 < np.median(scan[inner][rest & (bright > 39) & (bright < 43)]) < 110


def test_a_ct_in_another_phase_has_organs_of_other_hu_and_everything_else_as_it_was(scans):
    volume, labels = scans[0]
    others = [rephased(seed, volume, labels) for seed in range(8)]
    assert all(other.array.dtype == np.int16 and other.geometry.same_grid(volume.geometry) and other.modality == "CT" for other in others)
    np.testing.assert_array_equal(others[0].array, rephased(0, volume, labels).array)
    aorta = next(value for value, name in NAMES.items() if name == "aorta")
    assert np.ptp([np.median(other.array[labels.ids == aorta]) for other in others]) > 80
    plain = (labels.ids == 0) & (abs(volume.array) < 150)
    assert all(abs(np.median(other.array[plain].astype(float) - volume.array[plain])) < 15 for other in others)


def test_an_organ_keeps_its_texture_in_another_phase(scans):
    volume, labels = scans[0]
    liver = labels.ids == 1
    other = rephased(3, volume, labels).array
    assert np.corrcoef(other[liver], volume.array[liver])[0, 1] > .4
