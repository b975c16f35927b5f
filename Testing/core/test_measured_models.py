"""Bundled models are measured on cases that they never saw, once each, and their cards tell what came out."""
from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import bundled, card_contents, card_markdown, click_curves, evaluate_models, evaluation_table, held_out, records, robustness, robustness_table, synthesised
from benchmarks.held_out import FOREIGN, HELD_OUT, HeldOut, Source, cases_of, spread, write_datalist
from toys import ORGANS, toy_click_model, toy_geometry, toy_model

from DiffSegCore.catalogue import entry_of
from DiffSegCore.click_evaluation.trials import Round, Trial
from DiffSegCore.data.cases import read_dataset
from DiffSegCore.errors import BadInput
from DiffSegCore.model import describe_model, load_model_file, save_model
from DiffSegCore.reading import read_volume
from DiffSegCore.resources import resource
from DiffSegCore.segmenter import Segmenter
from DiffSegCore.training.recipes import RECIPES
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

SOURCE = Source("set/case_*", "ct.nii.gz", "label.nii.gz", {1: "brainstem", 2: "mandible"})


@pytest.fixture
def data(tmp_path) -> Path:
    """Two CTs with a brainstem; nobody has a mandible."""
    ids = np.zeros((20, 24, 28), np.uint8)
    ids[8:12, 8:14, 8:14] = 1
    for number in (1, 2):
        folder = tmp_path / "data" / "set" / f"case_{number}"
        folder.mkdir(parents=True)
        write_labels(LabelMap(ids, toy_geometry()), folder / "label.nii.gz")
        write_volume(Volume(np.where(ids > 0, 80, 40 - 1040 * (np.indices(ids.shape)[0] < 3)).astype(np.int16), toy_geometry(), "CT"), folder / "ct.nii.gz")
    return tmp_path / "data"


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """A model of which the table of held-out cases knows."""
    monkeypatch.setitem(HELD_OUT, "toy", HeldOut("two made-up cases", "all", (SOURCE,), ("a strange one",)))
    monkeypatch.setitem(FOREIGN, "a strange one", "set/case_1/ct.nii.gz")
    return toy_model(tmp_path / "toy.safetensors")


def called(monkeypatch, module, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["", *map(str, arguments)])
    return bundled.ending(module.main)


# Which cases

def test_cases_come_with_the_names_of_their_labels(data):
    first, second = cases_of((SOURCE,), data)
    assert (first.name, second.name) == ("case_1", "case_2") and first.truth().names[1] == "brainstem"
    assert [case.name for case in cases_of((SOURCE,), data, 1)] == ["case_1"]


def test_data_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BadInput, match="no set/case_.* --data"):
        cases_of((SOURCE,), tmp_path)


def test_a_model_without_cases_is_told(tmp_path):
    with pytest.raises(BadInput, match="'nobody'.*HELD_OUT"):
        held_out.held_out("nobody")


def test_cases_are_spread_over_the_set():
    assert spread(tuple("abcdefg"), 3) == ("a", "d", "g") and spread(tuple("ab"), None) == ("a", "b")


def test_a_datalist_is_read_by_every_command(data, tmp_path):
    found = read_dataset(write_datalist(cases_of((SOURCE,), data), tmp_path / "list"))
    assert [case.name for case in found.cases["test"]] == ["case_1", "case_2"] and found.labels == {1: "brainstem", 2: "mandible"}


def test_every_row_of_the_table_names_volumes_that_are_known():
    for about in HELD_OUT.values():
        assert set(about.strange) <= set(FOREIGN)


def test_no_case_of_the_table_is_one_that_its_model_learnt_from(shared_data):
    for about in HELD_OUT.values():
        cases = cases_of(about.sources, shared_data)
        assert cases and all(case.image.is_file() and case.label.is_file() for case in cases)
    assert {case.name for case in cases_of(HELD_OUT["abdomen-mr"].sources, shared_data)} == {"31", "32", "33", "34"}
    assert len(cases_of(HELD_OUT["head-neck-ct"].sources, shared_data)) == 40
    assert len(cases_of(held_out.SARCOMAS, shared_data)) == 10


@pytest.mark.parametrize("name", [name for name in HELD_OUT if name in RECIPES])
def test_every_organ_of_a_recipe_is_named_by_some_reference(name, shared_data):
    named = {organ for case in cases_of(HELD_OUT[name].sources, shared_data) for organ in case.names.values()}
    assert set(RECIPES[name].organs) <= named


def test_made_images_are_files_that_are_made_once_and_say_whether_their_labels_are_complete(shared_data, tmp_path, monkeypatch):
    cases = synthesised.made(shared_data, tmp_path, 1)
    assert [(case.name, case.complete) for case in cases] == [("imagined-0", True), ("recoloured-0", False)]
    assert "liver" in cases[0].names.values() and set(cases[1].names.values()) == {"liver", "kidney_right", "kidney_left", "spleen"}
    assert all(case.truth().geometry.same_grid(read_volume(case.image).geometry) for case in cases)
    for maker in ("abdomen", "recoloured"):
        monkeypatch.setattr(synthesised, maker, lambda *_: pytest.fail("was made again"))
    assert synthesised.made(shared_data, tmp_path, 1) == cases


def test_an_organ_that_no_test_case_shows_has_to_be_measured_in_made_images():
    described = describe_model(resource("Models", "abdomen-ct.safetensors"))
    card = described["card"]
    assert "esophagus" not in {row["organ"] for row in card["measured"]["dice"]} and card_contents.missing(described) == []
    assert "On images that were made up" in card_markdown.card_text("abdomen-ct", described)
    assert "dice with spread and worst case of esophagus" in card_contents.missing({**described, "card": {**card, "synthesised": {}}})


# Records

def test_a_record_is_made_once_for_a_model_and_anew_for_another(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"value": len(made)}

    assert [records.kept(tmp_path / "a.json", model, make)["value"] for model in ("one", "one", "other")] == [1, 1, 2]
    assert list(records.records_in(tmp_path, "one")) == [] and list(records.records_in(tmp_path, "other")) == ["a"]


def test_a_new_card_is_no_other_model_and_other_weights_are(tmp_path):
    model = load_model_file(toy_model(tmp_path / "m.safetensors"))
    mark = records.fingerprint(model)
    assert records.fingerprint(replace(model, card={**model.card, "measured": {}})) == mark
    assert records.fingerprint(replace(model, card={**model.card, "smallest_piece": 1})) != mark
    next(model.network.parameters()).data += 1
    assert records.fingerprint(model) != mark


# One evaluation for every organ model

def test_a_model_is_evaluated_and_a_second_run_computes_nothing(data, toy, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert called(monkeypatch, evaluate_models, "--model", toy, "--data", data, "-o", out) == 0
    printed = capsys.readouterr().out
    assert "2 cases of two made-up cases (all)" in printed and "| brainstem" in printed and "NSD is at 2 mm" in printed and "ECE" in printed
    found = json.loads((out / "toy" / "evaluation.json").read_text())
    assert all((out / "toy" / "pictures" / f"{found['worst_case']}-{what}.png").stat().st_size > 10_000 for what in ("found", "reference"))
    assert found["cases"] == 2 and [row["organ"] for row in found["dice"]] == ["brainstem"] and found["worst_case"] in ("case_1", "case_2")
    monkeypatch.setattr(Segmenter, "segment", lambda *_: pytest.fail("was computed again"))
    assert called(monkeypatch, evaluate_models, "--model", toy, "--data", data, "-o", out) == 0
    assert capsys.readouterr().out == printed


def test_what_is_found_of_an_absent_organ_is_counted_where_the_reference_is_complete(data):
    case = cases_of((SOURCE,), data)[0]
    truth = case.truth()
    found = LabelMap(np.where(truth.ids > 0, 7, 0).astype(np.uint8), truth.geometry, {1: "brainstem", 7: "mandible"})
    assert evaluate_models.false_ml(found, truth) == {"mandible": pytest.approx(4 * 6 * 6 * .064)}


def test_an_older_cards_numbers_are_printed_without_what_they_lack():
    row = {"organ": "liver", "n": 3, "mean": .9, "sd": .01, "median": .9, "worst": .8}
    text = evaluation_table.markdown({"data": "a set", "split": "test", "cases": 3, "mean_over_organs": {"dice": .9}, "dice": [row]})
    assert "3 cases of a set (test)" in text and "0.900 ± 0.010" in text and "nan" not in text and "Calibration" not in text


# Robustness

def test_a_disturbed_case_is_judged_by_its_disturbed_reference(data, toy, tmp_path, monkeypatch, capsys):
    assert called(monkeypatch, robustness, "--model", toy, "--data", data, "--cases", 1, "-o", tmp_path / "out") == 0
    found = json.loads((tmp_path / "out" / "toy" / "robustness.json").read_text())
    assert found["cases"] == 1 and all(each["crashed"] == 0 for each in found["disturbed"].values())
    assert found["disturbed"]["as it is"]["change"] == 0 and len(found["disturbed"]) == 9
    assert "another kind of volume" in capsys.readouterr().out


def test_a_crash_is_a_record_and_not_the_end(capsys):
    def fails():
        raise MemoryError("too large")

    assert robustness.surviving(fails, "a case") == {"error": "MemoryError: too large"}


def test_changes_are_of_cases_and_organs_that_both_have():
    plain = {"a": {"dice": {"liver": .9, "spleen": .8}, "warnings": []}, "b": {"dice": {"liver": .7}, "warnings": []}}
    cut = {"a": {"dice": {"liver": .8}, "warnings": ["It is 5 mm high."]}, "b": {"error": "ValueError: no"}}
    found = robustness_table.summary({"as-is": plain, "half": cut}, {"as-is": "as it is", "half": "half"}, {"a chest": {"warnings": [], "ml": 3.}})
    half = found["disturbed"]["half"]
    assert half["organs"] == {"liver": pytest.approx(-.1)} and half["crashed"] == 1 and half["warnings"] == {"It is N mm high.": 1}
    text = robustness_table.markdown(found)
    assert "1 of 2" in text and "-0.100" in text and "NO" in text and "1 x It is N mm high." in text


# Click curves

def test_click_curves_are_read_back_from_records():
    rounds = (Round(0, 0., 0.), Round(1, .6, .5, .2), Round(2, .9, .8, .2))
    trial = Trial("set", "a", "liver", 10., rounds, 2)
    as_json = json.loads(json.dumps({"trials": [{**trial.__dict__, "rounds": [each.__dict__ for each in rounds]}]}))
    assert click_curves.trials_of({"a": as_json}) == [trial]
    text = click_curves.markdown(click_curves.summaries({"abdomen-mr": [trial]}, 2))
    assert "CHAOS 30 and up (1 cases)" in text and "0.600" in text


def test_the_click_model_is_measured_on_every_set(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(click_curves, "CURVES", {"toys": click_curves.Curve("toys", (SOURCE,))})
    model = toy_click_model(tmp_path / "toy-clicks.safetensors")
    assert called(monkeypatch, click_curves, "--model", model, "--data", data, "--cases", 1, "--clicks", 1, "--only", "toys", "-o", tmp_path / "out") == 0
    assert "toys (1 cases)" in capsys.readouterr().out and (tmp_path / "out" / "toy-clicks" / "clicks.png").is_file()


# Cards

@pytest.mark.parametrize("bits", [16, 8])
def test_a_card_is_filled_from_records_and_refuses_those_of_other_weights(data, toy, tmp_path, monkeypatch, capsys, bits):
    from benchmarks import card

    half, out = tmp_path / "toy-shipped" / "toy.safetensors", tmp_path / "out"
    half.parent.mkdir()
    assert called(monkeypatch, card, toy, "--trained-here", "--bits", str(bits), "-o", half) == 0
    assert called(monkeypatch, evaluate_models, "--model", half, "--data", data, "-o", out) == 0
    assert called(monkeypatch, card, half, "--records", out / "toy", "-o", half) == 0
    assert card.bits_of(half) == bits, "a new card stores weights as the old one did"
    told = describe_model(half)["card"]
    assert told["measured"]["title"] == "two made-up cases" and told["dice"]["brainstem"] == told["measured"]["dice"][0]["mean"]
    assert "cores" in told["training"]["machine"]
    model = load_model_file(half)
    next(model.network.parameters()).data += 1
    save_model(model, half)
    capsys.readouterr()
    assert called(monkeypatch, card, half, "--records", out / "toy", "-o", half) == 2 and "run `make evaluate` again" in capsys.readouterr().err


def test_click_curves_that_were_not_measured_anew_stay_if_asked(tmp_path):
    from benchmarks import card

    model = load_model_file(toy_click_model(tmp_path / "c.safetensors"))
    model.card["click_curves"] = {"clicks": 10, "sets": {"old": {"title": "measured before"}, "again": {"title": "before"}}}
    records.write(tmp_path / "clicks.json", {"model": records.fingerprint(model), "clicks": 10, "sets": {"again": {"title": "now"}}})
    assert set(card.recorded(tmp_path, model)["click_curves"]["sets"]) == {"again"}
    kept = card.recorded(tmp_path, model, keep_sets=True)["click_curves"]["sets"]
    assert {name: each["title"] for name, each in kept.items()} == {"old": "measured before", "again": "now"}


def test_the_catalogue_takes_seconds_from_the_card_or_keeps_its_own(toy):
    from benchmarks.catalogue import timed

    model, before = load_model_file(toy), entry_of(toy, seconds=9., measured_on="a machine")
    assert timed(toy, before) == {"seconds": 9., "measured_on": "a machine"} and timed(toy, None) == {}
    save_model(replace(model, card={**model.card, "measured": {"seconds_median": 4., "measured_on": "another"}}), toy)
    assert timed(toy, before) == {"seconds": 4., "measured_on": "another"}


def test_gaps_of_a_card_are_named(toy):
    gaps = card_contents.missing(describe_model(toy))
    assert {"what it is for", "the hardware of the training", "calibration", "robustness", "seconds a case"} <= set(gaps)
    assert f"dice with spread and worst case of {', '.join(ORGANS)}" in gaps


def test_a_click_models_card_needs_curves(tmp_path):
    assert "click curves" in card_contents.missing(describe_model(toy_click_model(tmp_path / "c.safetensors")))


def test_the_document_says_what_the_bundled_cards_say(capsys):
    card_markdown.main()
    text = capsys.readouterr().out
    assert "## head-neck-ct" in text and "## click" in text and "| spinal_cord" in text and "not told" not in text
    document = Path(__file__).resolve().parents[2] / "docs" / "Models.md"
    assert document.read_text(encoding="utf-8") == text, "the cards have changed since: run `make cards`"


def test_a_card_tells_how_coordinates_lay_patients_over_each_other_and_what_they_notice():
    described = describe_model(bundled.resource("Models") / "body-ct.safetensors")
    text, found = card_markdown.card_text("body-ct", described), described["card"]["coordinates"]
    assert f"{found['cases']} cases of ct_hn_openkbp (test)" in text and "| mirrored " in text and f"{found['rank_correlation']['least']:.4f}" in text
    assert card_contents.missing(described) == []
    assert card_contents.missing({**described, "card": {**described["card"], "coordinates": {}}}) == ["how well coordinates lay patients over each other, and what they notice"]
