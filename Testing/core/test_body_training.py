"""`diffseg train body`: from volumes on disk to a model of coordinates, and a picture of what it learnt."""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DiffSegCore.alignment import placed
from DiffSegCore.coordinates import CoordinateModel
from DiffSegCore.data.cache import grid_case
from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import load_model_file
from DiffSegCore.networks import build
from DiffSegCore.pictures_body import draw_body, save_body_picture
from DiffSegCore.training.body import BodyTraining, Cases, _views, scale_to_unit
from DiffSegCore.training.body_recipes import BODY_CT, QUICK, RECIPES, recipe
from DiffSegCore.training.body_views import Strengths
from DiffSegCore.training.commands import body as command
from DiffSegCore.writing import write_labels, write_volume

ORGANS = ("brainstem", "parotid_gland_right", "parotid_gland_left", "mandible")
COARSE = replace(QUICK, preprocessing=replace(QUICK.preprocessing, spacing_mm=(8., 8., 8.)))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three coarse phantoms as an nnU-Net raw data set, and one more beside it, unlabelled."""
    folder = tmp_path_factory.mktemp("data")
    for part in ("imagesTr", "labelsTr"):
        (folder / "set" / part).mkdir(parents=True)
    (folder / "more").mkdir()
    for seed in (1, 2, 3, 4):
        volume, labels = phantom(seed, spacing_mm=(8, 8, 8), shape=(24, 28, 28))
        write_volume(volume, folder / "set" / "imagesTr" / f"case{seed}_0000.nii.gz" if seed < 4 else folder / "more" / "ct.nii.gz")
        if seed < 4:
            write_labels(labels, folder / "set" / "labelsTr" / f"case{seed}.nii.gz")
            (folder / "set" / "labelsTr" / f"case{seed}.json").unlink()
    table = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **{name: i for i, name in labels.names.items()}}, "file_ending": ".nii.gz"}
    (folder / "set" / "dataset.json").write_text(json.dumps(table))
    return folder


def train(data: Path, out: Path, *more: str, folder: str = "set", steps: int | None = 4, progress=lambda fraction, stage: None) -> Path:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    line = ["--recipe", "quick", "--data", str(data / folder), "-o", str(out), "--device", "cpu", *(["--steps", str(steps)] if steps else []), *more]
    return command.run(parser.parse_args(line), progress)[0]


@pytest.fixture(scope="module")
def model_file(data, tmp_path_factory) -> Path:
    return train(data, tmp_path_factory.mktemp("out"), "--unlabelled", str(data / "more"))


def test_volumes_become_a_model_of_coordinates_with_its_measures(model_file):
    model = load_model_file(model_file)
    assert model.organs == () and model.card["training"]["cases"] == [2, 1] and model.card["training"]["unlabelled"] == 1
    assert {"rank_correlation", "error_mm", "centroid_spread"} <= set(model.card["validation"])
    assert CoordinateModel(model, "cpu").coordinates(torch.rand(1, 20, 24, 28)).shape == (3, 20, 24, 28)
    assert (model.network.gain != 1).all()


@pytest.mark.parametrize("after", [0, .2], ids=["sides", "coordinates"])
def test_a_stopped_training_resumes_to_the_same_weights(data, tmp_path, monkeypatch, after):
    def stop(fraction: float, stage: str) -> None:
        if fraction > after and stage.startswith("step 3 "):
            raise Cancelled
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, budget=replace(QUICK.budget, steps=4, validate_every=2)))
    whole = load_model_file(train(data, tmp_path / "whole", steps=None))
    with pytest.raises(Cancelled):
        train(data, tmp_path / "parts", steps=None, progress=stop)
    again = load_model_file(train(data, tmp_path / "parts", "--resume", steps=None))
    assert all(torch.equal(a, b) for a, b in zip(whole.network.state_dict().values(), again.network.state_dict().values()))


def test_labels_are_not_needed(data, tmp_path):
    (tmp_path / "plain").mkdir()
    for source in (data / "set" / "imagesTr").iterdir():
        case = tmp_path / "plain" / source.name.split("_")[0]
        case.mkdir()
        (case / "ct.nii.gz").write_bytes(source.read_bytes())
    model = load_model_file(train(tmp_path, tmp_path / "out", folder="plain", steps=2))
    assert model.card["validation"]["centroid_spread"] == {} and model.card["training"]["cases"] == [2, 1]


def test_bad_wishes_get_a_sentence(data, tmp_path):
    with pytest.raises(BadInput, match="no recipe 'legs'.*body-ct"):
        recipe("legs")
    with pytest.raises(BadInput, match="nowhere"):
        train(data, tmp_path, "--unlabelled", str(tmp_path / "nowhere"))


def test_a_corrupt_volume_is_named_or_skipped(data, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "ct.nii.gz").write_bytes(b"nothing")
    folders = ("--unlabelled", str(tmp_path / "bad"), str(data / "more"))
    with pytest.raises(BadInput, match="bad"):
        train(data, tmp_path / "out", *folders)
    model = load_model_file(train(data, tmp_path / "out", *folders, "--skip-corrupt", steps=1))
    assert model.card["training"]["unlabelled"] == 1


def some_cases(*seeds: int) -> Cases:
    made = [phantom(seed, spacing_mm=(8, 8, 8), shape=(32, 28, 28), noise_hu=5.) for seed in seeds]
    learn = [grid_case(f"p{n}", volume, labels, ORGANS, COARSE.preprocessing, labels.names) for n, (volume, labels) in enumerate(made)]
    return Cases(learn, learn, [], ORGANS)


def test_only_cases_with_enough_of_the_recipes_organs_are_laid_over_each_other():
    assert set(_views(replace(COARSE, anchors=("mandible", "parotid_gland_left", "parotid_gland_right")), some_cases(1, 2)).places) == {"p0", "p1"}
    assert _views(replace(COARSE, anchors=("mandible", "parotid_gland_left")), some_cases(1)).places == {}


def test_a_few_seconds_of_training_lay_the_body_out_in_order():
    cases, easy = some_cases(1, 2), Strengths(rotation=5, cropped=.2)
    views = _views(replace(COARSE, window=(32, 32, 32), pairs=256, strengths=easy), cases)
    torch.manual_seed(0)
    network = BodyTraining(build({"kind": "coordinates", "widths": [16, 24, 32]}), COARSE.weights)
    optimiser, losses = torch.optim.Adam(network.parameters(), 4e-3), []
    for step in range(60):
        loss = network(views.batch(2 * step, 2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-10:]) < .75 * np.mean(losses[:5])
    patients = [placed(case, ORGANS, network.body.eval(), COARSE.preprocessing, (32, 32, 32)) for case in cases.learn]
    assert all(each.rank_correlation > .9 and (each.units_a_mm > 0).all() for each in patients)
    scale_to_unit(network.body, patients)
    scaled = np.concatenate([placed(case, ORGANS, network.body, COARSE.preprocessing, (32, 32, 32)).u for case in cases.learn])
    assert .97 < ((scaled >= 0) & (scaled <= 1)).mean() < 1 and np.ptp(scaled, axis=0).min() > 1


def test_every_recipe_describes_itself_as_plain_values():
    for each in RECIPES.values():
        json.dumps([each.preprocessing.to_dict(), each.card])
        assert all(size % 4 == 0 for size in each.window)
    assert set(BODY_CT.anchors) <= set(BODY_CT.organs)


def test_a_picture_shows_every_patient_and_organ(model_file, tmp_path):
    pytest.importorskip("matplotlib")
    network = load_model_file(model_file).network
    patients = [placed(case, ORGANS, network, COARSE.preprocessing, (32, 32, 32)) for case in some_cases(1, 2).learn]
    figure = draw_body(patients, title="toys")
    along, front, bars, side = figure.axes
    assert len(along.lines) == 2 and len(bars.patches) == 2 * len(bars.get_yticks())
    save_body_picture(tmp_path / "body.png", patients)
    assert (tmp_path / "body.png").read_bytes().startswith(b"\x89PNG")


def test_bf16_is_refused_where_torch_computes_wrong_gradients(data, tmp_path):
    with pytest.raises(BadInput, match="two planes.*--precision fp32"):
        train(data, tmp_path, "--precision", "bf16", steps=1)


def test_bf16_rounds_no_millimetres(data, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "quick", replace(QUICK, window=(48, 48, 48)))  # not two planes at the coarsest level
    plain, quick = (load_model_file(train(data, tmp_path / name, "--precision", name, steps=2)).card["validation"]["error_mm"] for name in ("fp32", "bf16"))
    assert quick == pytest.approx(plain, rel=.05)
