"""docs/Clicks.md is what the records in docs/clicking say, and the click model's rows are its card's."""
from __future__ import annotations

import json

from benchmarks.click_networks import NETWORKS
from benchmarks.click_rivals import NAMES, RIVALS, document, save_figure

from DiffSegCore.registry import load_click_model


def test_the_page_is_made_of_the_records():
    rivals, networks = (json.loads(path.read_text(encoding="utf-8")) for path in (RIVALS, NETWORKS))
    assert (RIVALS.parents[1] / "Clicks.md").read_text(encoding="utf-8") == document(rivals, networks)


def test_every_method_met_the_objects_that_the_card_tells_of():
    card = load_click_model().card["click_curves"]["sets"]
    for name, each in json.loads(RIVALS.read_text(encoding="utf-8")).items():
        assert each["methods"]["click"] == card[name]["overall"]
        assert {"one-look", "grow-cut", "random-walker"} <= each["methods"].keys() <= NAMES.keys()
        assert {one["objects"] for one in each["methods"].values()} == {card[name]["overall"]["objects"]}


def test_what_the_page_says_in_words_the_records_say_in_numbers():
    found = {name: each["methods"] for name, each in json.loads(RIVALS.read_text(encoding="utf-8")).items()}
    dice = {name: {method: one["dice"] for method, one in methods.items()} for name, methods in found.items()}
    assert len(dice) == 5
    ahead = {name: {n: each["click"][n] - each["one-look"][n] for n in ("5", "10")} for name, each in dice.items()}
    for name, each in dice.items():
        assert all(each["click"][n] > each[other][n] for other in ("grow-cut", "random-walker") for n in ("1", "3", "5", "10"))
        assert abs(ahead[name]["10"]) < .02 and (abs(ahead[name]["5"]) < .02 or name == "abdomen-ct-slabs")
    assert round(ahead["abdomen-ct-slabs"]["5"], 3) == .023
    assert {name for name, by in ahead.items() if by["10"] > 0} == {"abdomen-ct-slabs", "abdomen-ct-whole"}


def test_the_picture_has_a_panel_a_set(tmp_path):
    found = json.loads(RIVALS.read_text(encoding="utf-8"))
    save_figure(found, tmp_path / "all.png")
    save_figure(dict(list(found.items())[:1]), tmp_path / "one.png")
    widths = [int.from_bytes((tmp_path / f"{name}.png").read_bytes()[16:20], "big") for name in ("all", "one")]
    assert widths[0] == len(found) * widths[1]
