"""Named calls with plain values: what a window asks, and that the worker process answers exactly as this one does."""
from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, Iterator

import numpy as np
import pytest
from toys import toy_click_model, toy_geometry, toy_model

from DiffSegCore.engine import Engine
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.plain_values import plain_grid
from DiffSegCore.progress import Progress, silent
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.service import Failure, Service

SHAPE = (20, 24, 28)
GRID = {"geometry": plain_grid(toy_geometry(SHAPE)), "modality": "CT"}
NAMES = {"1": "brainstem", "2": "lump"}


def image() -> np.ndarray:
    array = np.full(SHAPE, -1000, np.int16)
    array[4:16, 5:19, 6:22] = 40
    return array


def drawn() -> np.ndarray:
    ids = np.zeros(SHAPE, np.uint8)
    ids[6:12, 8:14, 8:13], ids[6:12, 8:14, 15:20] = 1, 2
    return ids


def at(*kji: float) -> list[float]:
    return toy_geometry(SHAPE).to_ras(kji).tolist()


def point(*kji: float, label: int = 1, inside: bool = True) -> dict[str, Any]:
    return {"prompt": {"kind": "point", "label": label, "inside": inside, "ras": at(*kji)}}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    toy_model(folder / "toy.safetensors")
    toy_click_model(folder / "toy-clicks.safetensors")
    return folder


class Asked:
    """An engine, by the name of its calls."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        def ask(arrays: dict[str, np.ndarray] | None = None, progress: Progress = silent, **arguments: Any) -> tuple[dict, dict]:
            return self._call(name, arguments, arrays or {}, progress=progress)
        return ask


@pytest.fixture
def engine(models, monkeypatch) -> Asked:
    monkeypatch.setenv("DIFFSEG_MODELS", str(models))
    return Asked(Engine().call)


@pytest.fixture
def begun(engine) -> Asked:
    engine.click_model(model="toy-clicks", device="cpu")
    engine.set_volume({"image": image(), "labels": drawn()}, names=NAMES, **GRID)
    return engine


def test_it_says_what_it_is_and_which_models_there_are(engine):
    assert set(engine.hello()[0]) == {"version", "torch", "device", "python"}
    rows = {row["name"]: row for row in engine.models()[0]["models"]}
    assert rows["toy"]["organs"] == ["brainstem", "mandible"] and not rows["toy"]["clicks"] and rows["toy-clicks"]["clicks"]


def test_everything_it_says_is_plain(begun):
    for answer, arrays in (begun.hello(), begun.models(), begun.segment(model="toy", device="cpu"), begun.prompt(**point(3, 4, 5)), begun.prompts(),
                           begun.next_place(), begun.uncertainty(label=1, samples=2), begun.measure(), begun.current(), begun.undo()):
        assert json.loads(json.dumps(answer)) == answer and all(isinstance(array, np.ndarray) for array in arrays.values())


def test_the_line_under_the_input_tells_a_fitting_image_from_others(engine):
    assert engine.check({"image": image()}, model="toy", **GRID)[0] == {"level": "green", "text": "CT, 4 x 4 x 4 mm: suitable for A toy."}
    level, text = engine.check({"image": image()}, model="toy", **{**GRID, "modality": "MR"})[0].values()
    assert level == "red" and "choose another model" in text
    assert engine.check({"image": np.full(SHAPE, -1000, np.int16)}, model="toy", **GRID)[0]["level"] == "red"
    assert engine.check({"image": np.full(SHAPE, 40, np.int16)}, model="toy", **GRID)[0]["level"] == "amber"


def test_a_segmentation_names_its_organs_with_volume_range_and_confidence(begun):
    answer, arrays = begun.segment(model="toy", device="cpu")
    assert [(organ["id"], organ["title"]) for organ in answer["organs"]] == [(1, "Brainstem"), (7, "Mandible")]
    for organ in answer["organs"]:
        assert organ["low_ml"] <= organ["ml"] <= organ["high_ml"] and 0 <= organ["confidence"] <= 1
        assert organ["ml"] == pytest.approx((arrays["labels"] == organ["id"]).sum() * .064)
    np.testing.assert_array_equal(begun.current()[1]["labels"], arrays["labels"])


def test_ranges_that_hold_say_how_often_and_still_do_where_a_new_worker_gets_the_result(begun):
    answer, arrays = begun.segment(model="toy", device="cpu")
    assert [organ["range_rate"] for organ in answer["organs"]] == [.9, None]
    before = begun.measure()[0]["rows"]
    begun.labels({"labels": drawn()})
    begun.labels(arrays, **json.loads(json.dumps({key: answer[key] for key in ("names", "grid", "ranges")})))
    assert begun.measure()[0]["rows"] == before and before[0]["high_ml"] > before[0]["ml"]


def test_a_prompt_gives_the_box_it_changed_and_undo_the_box_it_changed_back(begun):
    answer, arrays = begun.prompt(**point(3, 4, 5))
    edit = answer["edit"]
    (k, j, i), stop = edit["box"]
    assert edit["number"] == 1 and edit["added_ml"] > 0 and arrays["labels"].shape == tuple(b - a for a, b in zip((k, j, i), stop))
    assert arrays["labels"][3 - k, 4 - j, 5 - i] == 1
    assert begun.prompts()[0]["prompts"][0]["ras"] == at(3, 4, 5)
    begun.undo()
    np.testing.assert_array_equal(begun.current()[1]["labels"], drawn())
    assert begun.undo()[0] == {"edit": None}


def test_locked_labels_and_the_region_hold(begun):
    begun.prompt(**point(9, 11, 14), locked=[2], region=[[0, 0, 0], [10, 24, 28]])
    now = begun.current()[1]["labels"]
    np.testing.assert_array_equal(now == 2, drawn() == 2)
    np.testing.assert_array_equal(now[10:], drawn()[10:])


def test_labels_changed_elsewhere_are_where_clicks_go_on(begun):
    begun.prompt(**point(3, 4, 5))
    changed = drawn() * 3
    begun.labels({"labels": changed}, names={"3": "left", "6": "right"})
    assert begun.prompts()[0] == {"prompts": []} and begun.undo()[0]["edit"] is None
    assert begun.prompt(**point(3, 4, 5, label=3))[0]["edit"]["number"] == 1
    names, ids = begun.current()[0]["names"], begun.current()[1]["labels"]
    assert names == {"3": "left", "6": "right"} and set(np.unique(ids)) == {0, 3, 6}


def test_a_label_can_be_made_from_nothing(begun):
    label = begun.add_label(name="liver")[0]["label"]
    begun.prompt(**point(12, 16, 20, label=label))
    assert begun.current()[1]["labels"][12, 16, 20] == label and begun.current()[0]["names"][str(label)] == "liver"


def test_prompts_replayed_give_the_same_labels(begun):
    for place in ((3, 4, 5), (12, 10, 10)):
        begun.prompt(**point(*place))
    prompts, now = begun.prompts()[0]["prompts"], begun.current()[1]["labels"]
    begun.set_volume({"image": image(), "labels": drawn()}, names=NAMES, **GRID)
    begun.replay(prompts=prompts)
    np.testing.assert_array_equal(begun.current()[1]["labels"], now)
    begun.remove(number=2)
    assert len(begun.prompts()[0]["prompts"]) == 1


def test_a_session_is_saved_and_restored(begun, tmp_path):
    begun.prompt(**point(3, 4, 5))
    begun.save(path=str(tmp_path / "now.session"))
    now = begun.current()[1]["labels"]
    begun.undo()
    assert len(begun.restore(path=str(tmp_path / "now.session"))[0]["prompts"]) == 1
    np.testing.assert_array_equal(begun.current()[1]["labels"], now)


def test_measures_are_of_the_labels_as_they_are(begun):
    first, second = begun.measure()[0]["rows"]
    assert first["ml"] == pytest.approx(6 * 6 * 5 * .064) and (first["mean"], first["sd"]) == (40, 0)
    assert first["diameter_mm"] == pytest.approx(4 * np.linalg.norm([5, 5, 4])) and second["name"] == "lump"


@pytest.mark.parametrize("name, arguments, arrays, words", [
    ("prompt", point(90, 4, 5), {}, "outside"),
    ("prompt", point(3, 4, 5, label=9), {}, "label 9"),
    ("prompt", point(float("nan"), 4, 5), {}, "finite"),
    ("prompt", {"prompt": {"kind": "wish"}}, {}, "wish"),
    ("prompt", {**point(3, 4, 5), "region": [1, 2]}, {}, "region"),
    ("prompt", {**point(3, 4, 5), "box": [[0] * 3, [1] * 3]}, {"labels": drawn()}, "does not fit the box"),
    ("prompt", {}, {}, "does not fit"),
    ("dance", {}, {}, "no call"),
    ("segment", {"model": "toy-clicks"}, {}, "names no organs"),
    ("segment", {"model": "nobody"}, {}, "no model"),
    ("click_model", {"model": "toy"}, {}, "does not answer clicks"),
    ("remove", {"number": 7}, {}, "no prompt 7"),
    ("labels", {}, {"labels": np.zeros((2, 2, 2))}, "whole numbers"),
    ("labels", {}, {"labels": np.zeros((2, 2, 2), np.uint8)}, "not on a grid"),
    ("set_volume", {"geometry": {}}, {"image": image()}, "geometry"),
    ("set_volume", GRID, {"image": image()[1:]}, "not on a grid"),
    ("set_volume", GRID, {"image": image(), "labels": drawn()[1:]}, "not on a grid"),
])
def test_what_is_asked_wrongly_is_refused_and_changes_nothing(begun, name, arguments, arrays, words):
    begun.prompt(**point(3, 4, 5))
    before = begun.current()[1]["labels"].copy()
    with pytest.raises(BadInput, match=words):
        getattr(begun, name)(arrays, **arguments)
    np.testing.assert_array_equal(begun.current()[1]["labels"], before)
    assert begun.undo()[0]["edit"]["number"] == 1


@pytest.mark.parametrize("name, arguments, arrays", [
    ("segment", {"model": "toy", "device": "cpu"}, {}), ("set_volume", GRID, {"image": image()}), ("prompt", point(12, 10, 10), {}),
])
def test_what_is_stopped_halfway_changes_nothing(begun, name, arguments, arrays):
    begun.prompt(**point(3, 4, 5))
    before, stopped = begun.current()[1]["labels"].copy(), 0
    for last in (1, 2, 4):
        told = iter(range(1, 1000))

        def stop(fraction: float, stage: str) -> None:
            if next(told) == last:
                raise Cancelled

        try:
            getattr(begun, name)(arrays, progress=stop, **arguments)
        except Cancelled:
            stopped += 1
            np.testing.assert_array_equal(begun.current()[1]["labels"], before)
            assert begun.undo()[0]["edit"]["number"] == 1 and begun.redo()[0]["edit"]
    assert stopped


def test_without_a_volume_or_a_model_it_says_so(engine, monkeypatch, tmp_path):
    with pytest.raises(BadInput, match="no volume"):
        engine.undo()
    monkeypatch.setattr("DiffSegCore.registry.model_rows", lambda: [])
    engine.set_volume({"image": image()}, **GRID)
    with pytest.raises(BadInput, match="no model that answers clicks"):
        engine.prompt(**point(3, 4, 5))


def test_a_model_for_clicks_of_another_version_fails_the_clicks_and_nothing_else(engine, monkeypatch, tmp_path):
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path))
    toy_model(tmp_path / "toy.safetensors")
    monkeypatch.setattr("toys.PROMPT_CHANNELS", PROMPT_CHANNELS - 1)
    toy_click_model(tmp_path / "click.safetensors")
    engine.set_volume({"image": image()}, **GRID)
    for _ in range(2):
        assert engine.segment(model="toy", device="cpu")[0]["organs"]
        with pytest.raises(BadInput, match="does not read clicks"):
            engine.prompt(**point(3, 4, 5))


def test_a_known_answer_is_taken_again_without_asking_the_model(begun, monkeypatch):
    answer, arrays = begun.prompt(**point(3, 4, 5))
    now = begun.current()[1]["labels"]
    begun.undo()
    monkeypatch.setattr("DiffSegCore.timeline.click", None)
    assert begun.prompt(arrays, box=answer["edit"]["box"], **point(3, 4, 5))[0] == answer
    np.testing.assert_array_equal(begun.current()[1]["labels"], now)
    assert begun.prompts()[0]["prompts"][0]["ras"] == at(3, 4, 5)


@pytest.fixture(scope="module")
def service(models) -> Iterator[Service]:
    with Service(env={**os.environ, "DIFFSEG_MODELS": str(models), "OMP_NUM_THREADS": "1"}) as one:
        yield one


def worked(asked: Asked) -> list[np.ndarray]:
    """Labels along a piece of work."""
    asked.click_model(model="toy-clicks", device="cpu")
    asked.set_volume({"image": image()}, **GRID)
    seen = [asked.segment(model="toy", device="cpu")[1]["labels"]]
    for place in ((3, 4, 5), (12, 10, 10)):
        asked.prompt(**point(*place))
        seen.append(asked.current()[1]["labels"])
    asked.undo()
    return [*seen, asked.current()[1]["labels"], asked.uncertainty(label=1, samples=2)[1]["entropy"]]


def test_the_worker_process_answers_voxel_for_voxel_as_this_one_does(engine, service):
    for here, there in zip(worked(engine), worked(Asked(service.call))):
        np.testing.assert_array_equal(here, there)


@pytest.mark.skipif(sys.platform != "linux", reason="kills by signal")
def test_a_session_in_a_killed_worker_comes_back_whole(service):
    asked = Asked(service.call)
    before, prompts = worked(asked)[-2:], asked.prompts()
    os.kill(service.pid, signal.SIGKILL)
    np.testing.assert_array_equal(asked.current()[1]["labels"], before[0])
    np.testing.assert_array_equal(asked.uncertainty(label=1, samples=2)[1]["entropy"], before[1])
    assert asked.prompts() == prompts
    asked.redo()
    assert len(asked.prompts()[0]["prompts"]) == 2


def test_a_refusal_comes_out_of_the_worker_as_the_same_sentence(service):
    with pytest.raises(Failure, match="no call 'dance'") as refused:
        service.call("dance")
    assert refused.value.kind == "BadInput"
