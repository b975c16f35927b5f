"""`diffseg evaluate-clicks`: clicks as the rule says, numbers as they are defined, and files that say what happened."""
from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from toys import toy_click_model

from DiffSegCore.cli import main
from DiffSegCore.click_evaluation.run import Task, Which, chosen_cases, evaluated, start_mask
from DiffSegCore.click_evaluation.summary import area, needed, summary
from DiffSegCore.click_evaluation.trials import Round, SessionClicker, Trial, tried, where_next
from DiffSegCore.click_refining import STEPS
from DiffSegCore.data.clicks import next_click
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Box, Geometry
from DiffSegCore.model import load_model_file
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume

GRID = Geometry((16, 24, 26), np.diag([3., 3., 5., 1.]))


class Painter:
    """Answers a click with a cube round it, and forgets the first click at the third."""

    def begin(self, volume: Volume, start: np.ndarray) -> None:
        self.mask, self.places = start.copy(), []

    def click(self, kji, inside: bool) -> None:
        self.places.append(kji)
        self.mask = self.mask.copy()
        self._paint(kji, inside)
        if len(self.places) == 3:
            self.mask[tuple(self.places[0])] = not inside

    def box(self, box: Box) -> None:
        self.mask[box.slices] = True

    def _paint(self, kji, inside: bool) -> None:
        self.mask[tuple(slice(max(0, at - 1), at + 2) for at in kji)] = inside


def block(*bounds: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    mask[tuple(slice(*each) for each in bounds)] = True
    return mask


def scan() -> Volume:
    return Volume((block((4, 10), (5, 15), (6, 18)) * 100).astype(np.int16), GRID, "CT")


def a_trial(*dice: float, organ: str = "liver", clicked: int | None = None, seconds: float = .5) -> Trial:
    rounds = tuple(Round(n, value, value, seconds if n else 0.) for n, value in enumerate(dice))
    return Trial("set", "case", organ, 5., rounds, len(dice) - 1 if clicked is None else clicked)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Two test cases and one to train on, two blocks each."""
    folder = tmp_path_factory.mktemp("blocks")
    for split, name in (("train", "a"), ("test", "b"), ("test", "c")):
        place = folder / split / name
        place.mkdir(parents=True)
        ids = (block((4, 10), (5, 15), (6, 18)) + 2 * block((4, 10), (17, 22), (6, 18))).astype(np.uint8)
        write_volume(Volume((ids * 100).astype(np.int16), GRID, "CT"), place / "ct.nii.gz")
        write_labels(LabelMap(ids, GRID, {1: "liver", 2: "spleen"}), place / "label.nii.gz")
    return folder


@pytest.fixture(scope="module")
def model_file(tmp_path_factory) -> Path:
    return toy_click_model(tmp_path_factory.mktemp("model") / "toy-clicks.safetensors")


def test_a_click_on_a_volume_is_the_rules(monkeypatch):
    random = np.random.default_rng(0)
    truth, mask = block((4, 10), (5, 15), (6, 18)), block((0, 7), (3, 12), (6, 26)) & (random.random(GRID.shape) < .9)
    assert where_next(mask, truth, GRID) == next_click(mask, truth, GRID.spacing)
    assert where_next(truth, truth, GRID) is None


def test_rounds_follow_the_mask_and_catch_what_is_not_obeyed():
    truth = block((4, 10), (5, 15), (6, 18))
    rounds, clicked = tried(Painter(), scan(), truth, np.zeros_like(truth), 3)
    assert clicked == 3 and [each.clicks for each in rounds] == [0, 1, 2, 3]
    assert rounds[0].dice == 0 < rounds[1].dice < rounds[2].dice
    assert [each.satisfied for each in rounds] == [1, 1, 1, pytest.approx(2 / 3)]


def test_a_perfect_mask_gets_no_click_and_a_box_comes_first():
    truth = block((4, 10), (5, 15), (6, 18))
    painter = Painter()
    rounds, clicked = tried(painter, scan(), truth, np.zeros_like(truth), 2, boxed=True)
    assert clicked == 0 and painter.places == [] and [each.dice for each in rounds] == [1, 1, 1]


def test_changes_far_from_the_click_are_told():
    class Careless(Painter):
        def click(self, kji, inside: bool) -> None:
            super().click(kji, inside)
            self.mask[15, 23, 25] = True

    truth = block((1, 4), (2, 6), (2, 6))
    one = tried(Careless(), scan(), truth, np.zeros_like(truth), 1)[0][1]
    assert one.far_ml == one.far_wrong_ml == pytest.approx(.045)


def test_areas_and_needed_clicks_are_as_defined():
    dice = np.array([[0, .5, 1.], [.9, .9, .9], [0, 0, 0]])
    np.testing.assert_allclose(area(dice), [.5, .9, 0])
    np.testing.assert_array_equal(needed(dice, .85), [2, 0, 2])


def test_a_summary_counts_clicks_that_were_given_and_did_harm():
    found = summary([a_trial(0, .6, .5, .9), a_trial(0, .9, 1., 1., organ="spleen", clicked=2, seconds=1.5)])
    overall = found["overall"]
    assert overall["objects"] == 2 and overall["harmful"] == pytest.approx(.2) and overall["dice"] == {"0": 0, "1": .75, "3": .95}
    assert found["organs"]["liver"]["harmful"] == pytest.approx(1 / 3, abs=1e-4) and overall["seconds_p50"] == .5 and overall["noc85"] == 2
    assert overall["reached90"] == 1


def test_a_session_is_clicked_and_obeys(data, model_file):
    made = []

    def make(prediction, organ):
        made.append(SessionClicker(load_model_file(model_file), steps=2, device="cpu", organ=organ))
        return made[-1]

    trials = evaluated(data, Which(cases=1), Task(clicks=2), make)
    assert [(trial.case, trial.organ) for trial in trials] == [("b", "liver"), ("b", "spleen")] and len(made) == 2
    assert all(each.satisfied == 1 for trial in trials for each in trial.rounds)
    assert trials[0].ml == pytest.approx(6 * 10 * 12 * .045)


def test_a_corrupted_start_is_the_same_for_everybody():
    truth = block((4, 10), (5, 15), (6, 18))
    one, again, other = (start_mask("corrupted", truth, scan(), "liver", key, None) for key in ("x", "x", "y"))
    np.testing.assert_array_equal(one, again)
    assert 0 < (one != truth).sum() and (one != other).any()


def test_cases_are_chosen_by_split_and_name(data):
    assert [case.name for case in chosen_cases(data, Which())[0]] == ["b", "c"]
    assert [case.name for case in chosen_cases(data, Which(split="train"))[0]] == ["a"]
    assert [case.name for case in chosen_cases(data, Which(leave_out=["b*"]))[0]] == ["c"]
    for which, words in ((Which(split="nowhere"), "no split 'nowhere'"), (Which(only=["z"]), "no labelled case")):
        with pytest.raises(BadInput, match=words):
            chosen_cases(data, which)
    with pytest.raises(BadInput, match="holds an object"):
        evaluated(data, Which(organs=["kidney_left"]), Task(), lambda prediction, organ: Painter())
    with pytest.raises(BadInput, match="--segmentor"):
        evaluated(data, Which(), Task("automatic"), lambda prediction, organ: Painter())


def test_the_command_writes_rows_a_summary_and_a_picture(data, model_file, tmp_path, capsys):
    code = main(["evaluate-clicks", "--data", str(data), "--model", str(model_file), "--from", "corrupted", "--clicks", "2", "--cases", "1",
                 "--organs", "liver", "--device", "cpu", "-o", str(tmp_path / "out")])
    assert code == 0 and "Dice@1" in (said := capsys.readouterr().out) and "Dice@2" in said  # the last click's, whatever its number
    with open(tmp_path / "out" / "clicks.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["clicks"] for row in rows] == ["0", "1", "2"] and rows[0]["organ"] == "liver" and float(rows[0]["dice"]) > .2
    told = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert told["settings"]["start"] == "corrupted" and told["settings"]["steps"] == STEPS and str(data) not in json.dumps(told) and told["overall"]["satisfied"] == 1
    assert (tmp_path / "out" / "clicks.png").stat().st_size > 5000


def test_bad_wishes_get_a_sentence(data, model_file, tmp_path, capsys):
    common = ["evaluate-clicks", "--data", str(data), "--model", str(model_file), "-o", str(tmp_path)]
    assert main([*common, "--clicks", "0"]) == 2 and "1 or more" in capsys.readouterr().err
    assert main([*common, "--only", "z"]) == 2 and "no labelled case" in capsys.readouterr().err


def test_a_rival_answers_the_same_clicks_in_the_same_session(data, model_file):
    from benchmarks.click_baselines import answered_by

    def bright(image: np.ndarray, seeds: np.ndarray) -> np.ndarray:
        assert set(np.unique(seeds)) <= {0, 1, 2} and (seeds == 2).any()
        return image > 0

    def dice() -> float:
        model = load_model_file(model_file)
        trial, = evaluated(data, Which(organs=["liver"], cases=1), Task(clicks=2), lambda prediction, organ: SessionClicker(model, device="cpu", organ=organ))
        return trial.rounds[-1].dice

    own = dice()
    with answered_by(bright):
        assert dice() > .85 > own
    assert dice() == own
