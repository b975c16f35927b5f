"""Networks trained alike but for one thing are held against each other object by object."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.click_baselines import EMPTY
from benchmarks.click_networks import AT, NETWORKS, curves_of, left_out, packed, sections
from benchmarks.records import fingerprint, write
from toys import toy_click_model

from DiffSegCore.errors import BadInput
from DiffSegCore.model import Model, load_model_file
from DiffSegCore.registry import load_click_model

TRAINING = {"diffusion": {"steps": 9}, "control": {"steps": 9}, "unseen": {"steps": 9, "unseen": ["kidney_left", "label_2"]}}


def found(**gains: float) -> dict:
    """Dice that rises by .1 a click, and by so much more for every network."""
    objects = {"sarcoma-ct/STS_030": ("tumour",), "abdomen-mr/31": ("kidney_left", "liver")}
    return {"training": TRAINING, "dice": {name: {case: {each: [round(.1 * n * (n > 0) + gain * (n > 0), 4) for n in range(11)] for each in structures}
                                                  for case, structures in objects.items()} for name, gain in gains.items()}}


def a_model(folder: Path) -> Model:
    model = load_model_file(toy_click_model(folder / "toy.safetensors"))
    return replace(model, card={**model.card, "training": {"steps": 1}})


def rows(text: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|") and "---" not in line]
    return {cells[0]: cells[1:] for cells in lines}


def test_two_networks_are_compared_over_the_same_objects():
    text = rows(sections(found(diffusion=.05, control=0., unseen=.02)))
    assert text["abdominal organs in T2 MR, CHAOS 30 and up"] == ["2", "0.150", "0.100", "0.350", "0.300", "0.550", "0.500", "1.050", "1.000", "+0.050", "2"]
    assert text["all"][0] == "3" and text["all"][-1] == "3"


def test_what_was_left_out_is_told_apart_from_what_was_seen():
    text = rows(sections(found(diffusion=0., control=0., unseen=.03)))
    assert left_out(TRAINING["unseen"]) == ["tumour", "kidney_left"]
    assert text["tumour, sarcoma-ct"][0] == text["kidney_left, abdomen-mr"][0] == "1"
    assert text["all that one never saw"][0] == "2" and text["all that both saw"][0] == "1"
    assert text["all that one never saw"][-2:] == ["-0.030", "0"]


def test_a_network_without_records_is_named(tmp_path):
    with pytest.raises(BadInput, match="no record of diffusion on sarcoma-ct"):
        packed([("diffusion", a_model(tmp_path))], tmp_path, 10)


def tried(folder: Path, name: str, model: Model, *cases: str) -> None:
    """Two clicks at a liver in every case of every set."""
    rounds = [{"clicks": n, "dice": n / 2, "nsd": 0.} for n in range(3)]
    for place in EMPTY:
        for case in cases:
            trial = {"data": "", "case": case, "organ": "liver", "ml": 1., "rounds": rounds, "clicked": 2}
            write(folder / "rivals" / name / "trials" / "2-clicks" / place / f"{case}.json", {"model": fingerprint(model), "trials": [trial]})


def test_dice_by_click_is_packed_of_the_records_of_the_model_that_is_asked_for(tmp_path):
    model = a_model(tmp_path)
    tried(tmp_path, "diffusion", model, "a")
    assert packed([("diffusion", model)], tmp_path, 2)["dice"]["diffusion"]["abdomen-mr/a"] == {"liver": [0., .5, 1.]}


def test_networks_that_met_different_cases_are_not_held_against_each_other(tmp_path):
    model = a_model(tmp_path)
    tried(tmp_path, "diffusion", model, "a", "b")
    tried(tmp_path, "control", model, "a")
    with pytest.raises(BadInput, match="control.*abdomen-mr/b"):
        packed([("diffusion", model), ("control", model)], tmp_path, 2)


def test_the_record_is_of_trainings_that_differ_in_one_thing():
    training = json.loads(NETWORKS.read_text(encoding="utf-8"))["training"]
    assert len({(each["steps"], each["batch"]) for each in training.values()}) == 1
    assert "unseen" not in training["diffusion"] and "unseen" not in training["control"]
    assert training["diffusion"]["data"] == training["control"]["data"] and "ct_lesion_sts" not in training["unseen"]["data"]


def test_what_the_page_says_in_words_the_record_says_in_numbers():
    record = json.loads(NETWORKS.read_text(encoding="utf-8"))
    whole, control, blind = (curves_of(record, name) for name in ("diffusion", "control", "unseen"))
    unseen = left_out(record["training"]["unseen"])
    gain = {place: np.mean([whole[key][AT] - control[key][AT] for key in whole if key[0].startswith(f"{place}/")]) for place in EMPTY}
    assert [place for place in EMPTY if gain[place] < 0] == ["abdomen-mr"]
    card = load_click_model().card
    longer = {place: card["click_curves"]["sets"][place]["overall"]["dice"][str(AT)]
              - np.mean([whole[key][AT] for key in whole if key[0].startswith(f"{place}/")]) for place in EMPTY}
    assert card["training"]["steps"] > 10 * record["training"]["diffusion"]["steps"]
    assert 0 < longer["sarcoma-ct"] == min(longer.values()) and max(longer.values()) == longer["head-neck-ct"]
    behind = {new: np.mean([whole[key][AT] - blind[key][AT] for key in whole if (key[1] in unseen) == new]) for new in (True, False)}
    assert behind[True] < .05 and abs(behind[True] - behind[False]) < .02
