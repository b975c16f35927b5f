"""`diffseg train head`: from a data set on disk to a model file that segments."""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from abdomen_toys import NAMES, a_label_map, an_abdominal_mr

from DiffSegCore.cli import main
from DiffSegCore.data.abdomen import Body, abdomen
from DiffSegCore.data.cache import GridCase
from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import GuidedDenoiser, build
from DiffSegCore.organs import ORGANS
from DiffSegCore.reading import read_labels
from DiffSegCore.training.commands import head as command
from DiffSegCore.training.head import mirror_pairs, usual_ml
from DiffSegCore.training.loop import Budget
from DiffSegCore.training.made import made_cases
from DiffSegCore.training.recipes import RECIPES, recipe
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three coarse phantoms as an nnU-Net raw data set."""
    folder = tmp_path_factory.mktemp("Dataset001_Phantoms")
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir()
    for seed in (1, 2, 3):
        volume, labels = phantom(seed, spacing_mm=(8, 8, 8), shape=(24, 28, 28))
        write_volume(volume, folder / "imagesTr" / f"case{seed}_0000.nii.gz")
        write_labels(labels, folder / "labelsTr" / f"case{seed}.nii.gz")
        (folder / "labelsTr" / f"case{seed}.json").unlink()
    table = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **{name: i for i, name in labels.names.items()}},
             "numTraining": 3, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(table))
    return folder


def train(data: Path, out: Path, *more: str, progress=lambda fraction, stage: None) -> Path:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", "--steps", "4", *more]), progress)[0]


def test_a_data_set_becomes_a_model_that_names_the_data_sets_organs(data, tmp_path):
    model = load_model_file(train(data, tmp_path))
    assert set(model.organs) == {"brainstem", "spinal_cord", "parotid_gland_right", "parotid_gland_left", "esophagus", "larynx", "mandible"}
    assert model.network(torch.zeros(1, 1, 8, 8, 8)).shape == (1, 8, 8, 8, 8)
    assert model.card["training"]["steps"] == 4 and model.card["training"]["cases"] == [2, 1]


def test_a_stopped_training_resumes_to_the_same_weights(data, tmp_path):
    def stop(fraction: float, stage: str) -> None:
        if stage.startswith("step 3 "):
            raise Cancelled
    whole = load_model_file(train(data, tmp_path / "whole", "--steps", "4"))
    with pytest.raises(Cancelled):
        train(data, tmp_path / "parts", progress=stop)
    assert not (tmp_path / "parts" / "last.ckpt").exists()  # stopped before the first checkpoint: there is nothing half-written
    again = load_model_file(train(data, tmp_path / "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.network.state_dict().values(), again.network.state_dict().values()))


def test_bf16_changes_how_a_cpu_learns_not_what_is_kept(data, tmp_path):
    plain, quick = (load_model_file(train(data, tmp_path / name, "--precision", name)).network.state_dict() for name in ("fp32", "bf16"))
    assert {value.dtype for value in quick.values() if value.is_floating_point()} == {torch.float32}
    assert any(not torch.equal(plain[name], quick[name]) for name in plain)


def denoiser(file: Path, widths: tuple[int, ...] = (8, 16, 32)) -> GuidedDenoiser:
    """A model of pretraining for the recipe's grid, whose noise levels say something."""
    architecture = {"kind": "denoiser", "encoder": {"widths": list(widths)}, "guidance": "none"}
    torch.manual_seed(5)
    network = build(architecture)
    for block in (*network.encoder.encode, *network.encoder.decode):
        torch.nn.init.normal_(block.film.weight, std=.1)
    save_model(Model(network, architecture, recipe("quick").preprocessing, (), (16, 16, 16), {}), file)
    return network


def test_training_may_begin_with_a_pretrained_encoder_that_answers_as_it_did_for_clean_images(data, tmp_path):
    taught = denoiser(tmp_path / "denoiser.safetensors")
    model = load_model_file(train(data, tmp_path / "out", "--encoder", str(tmp_path / "denoiser.safetensors"), "--steps", "1"))
    image = torch.randn(1, 1, 16, 16, 16)
    wanted, found = taught.features(image)[0], model.network.encoder.features(image)[0]
    assert (found - wanted).abs().mean() < .2 * wanted.abs().mean()  # a step away
    assert model.card["training"]["encoder"]["sha256"] == load_model_file(tmp_path / "denoiser.safetensors").sha256


def test_an_encoder_of_another_form_is_refused_before_any_case_is_read(data, tmp_path):
    denoiser(tmp_path / "narrow.safetensors", (8, 8, 16))
    with pytest.raises(BadInput, match=r"widths \(8, 8, 16\); the recipe 'quick' trains"):
        train(data, tmp_path / "out", "--encoder", str(tmp_path / "narrow.safetensors"))
    assert not (tmp_path / "out").exists()


def test_the_log_can_be_looked_at_in_tensorboard(data, tmp_path):
    train(data, tmp_path)
    assert list((tmp_path / "logs").rglob("events.out.tfevents*"))


def test_bad_wishes_get_a_sentence(data, tmp_path):
    with pytest.raises(BadInput, match="no recipe 'kidneys'.*head-neck-ct"):
        recipe("kidneys")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="empty"):
        train(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(BadInput, match="resume"):
        train(data, tmp_path / "out", "--resume")


def test_cases_left_out_are_neither_learnt_from_nor_validated_with(data, tmp_path):
    model = load_model_file(train(data, tmp_path, "--leave-out", "case1"))
    assert model.card["training"]["cases"] == [1, 1] and model.card["training"]["left_out"] == ["case1"]
    assert not list((tmp_path / "cache").glob("case1*")) and list((tmp_path / "cache").glob("case2*"))
    with pytest.raises(BadInput, match="0 labelled cases"):
        train(data, tmp_path / "none", "--leave-out", "case*")


def test_a_network_for_mr_learns_and_segments_whatever_the_scale_of_the_numbers(tmp_path, monkeypatch):
    small = replace(recipe("abdomen-mr"), widths=(8, 16), window=(8, 16, 16), budget=Budget(steps=30, batch=2, learning_rate=5e-3, warmup=3, averaging=.8,
                                                                                           validate_every=30))
    monkeypatch.setitem(RECIPES, "abdomen-mr", small)
    for number, scale in ((1, 1.), (2, 2.5), (3, .7), (31, 1.)):
        folder = tmp_path / "data" / f"{number:02}"
        folder.mkdir(parents=True)
        volume, labels = an_mr(number, scale)
        write_volume(volume, folder / "mr.nii.gz")
        write_labels(labels, folder / "label.nii.gz")
        (folder / "label.json").unlink()
    (tmp_path / "data" / "labels.txt").write_text("1 liver 2 right kidney 3 left kidney 4 spleen")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--recipe", "abdomen-mr", "--data", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--device", "cpu", "--leave-out", "3?"]
    path = command.run(parser.parse_args(words))[0]
    assert load_model_file(path).preprocessing.body_percentile == 95
    found = []
    for name, scale in (("a", 1.), ("b", 4.)):
        write_volume(an_mr(31, scale)[0], tmp_path / f"{name}.nii.gz")
        image, labels = tmp_path / f"{name}.nii.gz", tmp_path / f"{name}-labels.nii.gz"
        assert main(["segment", str(image), "-o", str(labels), "--model", str(path), "--device", "cpu", "--quiet"]) == 0
        found.append(read_labels(labels).ids)
    truth = an_mr(31, 1.)[1].ids == 1
    liver = found[0] == ORGANS["liver"].id
    assert 2 * (liver & truth).sum() / (liver.sum() + truth.sum()) > .6
    assert (found[0] != found[1]).mean() < .01


def an_mr(number: int, scale: float) -> tuple[Volume, LabelMap]:
    """A grey body in air with a bright liver, in numbers of any scale."""
    random, ids = np.random.default_rng(number), np.zeros((12, 24, 24), np.uint8)
    ids[3:9, 8:16, 12 + number % 2:19], ids[4:8, 10:14, 6:9] = 1, 4
    array = np.where(ids == 1, 400., np.where(ids == 4, 700., 0.))
    array[2:10, 4:20, 4:21][array[2:10, 4:20, 4:21] == 0] = 200
    array = scale * (array + 10 * random.random(array.shape))
    geometry = Geometry(ids.shape, np.diag([-8., -8., 12., 1.]))
    return Volume(array.astype(np.float32), geometry), LabelMap(ids, geometry, {1: "liver", 4: "spleen"})


def test_phantoms_are_made_once_and_kept(tmp_path, monkeypatch):
    made = []

    def coarse(seed, spacing_mm):
        made.append(seed)
        return phantom(seed, spacing_mm=(8, 8, 8), shape=(24, 28, 28))

    monkeypatch.setattr("DiffSegCore.training.made.phantom", coarse)
    small = replace(recipe("head-neck-ct"), made=replace(recipe("head-neck-ct").made, count=2))
    (first, second), (again, _) = (made_cases(small, small.organs, tmp_path)[0] for _ in range(2))
    assert made == [1, 2] and first.name != second.name
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.channels, again.channels)


def test_a_network_for_abdomens_learns_from_label_maps_and_real_cases(tmp_path, monkeypatch):
    small = replace(recipe("abdomen-ct"), widths=(8, 16), window=(8, 16, 16), made=replace(recipe("abdomen-ct").made, count=2, check=1),
                    preprocessing=replace(recipe("abdomen-ct").preprocessing, spacing_mm=(10., 10., 10.)))
    monkeypatch.setitem(RECIPES, "abdomen-ct", small)
    body, real = a_label_map(), abdomen(7, Body.of(a_label_map(), NAMES))
    folder = tmp_path / "data" / "real"
    folder.mkdir(parents=True)
    write_volume(real[0], folder / "ct.nii.gz")
    for labels, path in ((real[1], folder / "label.nii.gz"), (body, tmp_path / "body.nii.gz")):
        write_labels(labels, path)
        path.with_name(path.name.replace(".nii.gz", ".json")).unlink()
    (tmp_path / "data" / "labels.json").write_text(json.dumps({str(value): name for value, name in NAMES.items()}))
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["--recipe", "abdomen-ct", "--data", str(tmp_path / "data"), "-o", str(tmp_path / "out"), "--device", "cpu", "--steps", "2"]
    with pytest.raises(BadInput, match="--label-maps"):
        command.run(parser.parse_args(words))
    model = load_model_file(command.run(parser.parse_args([*words, "--label-maps", str(tmp_path / "body.nii.gz")]))[0])
    assert len(model.organs) == 13 and model.card["training"]["cases"] == [1, 1]
    assert "volume_ranges" not in model.card, "no real case was checked with"
    assert "liver" in model.card["organ_ml"] and len(list((tmp_path / "out" / "cache").glob("abdomen-*.npz"))) == 3
    for n, (image, truth) in enumerate((an_abdominal_mr(),) * 2):
        (tmp_path / "mr" / f"{n}").mkdir(parents=True)
        write_volume(image, tmp_path / "mr" / f"{n}" / "mr.nii.gz")
        write_labels(truth, tmp_path / "mr" / f"{n}" / "label.nii.gz")
    words += ["--label-maps", str(tmp_path / "body.nii.gz"), "--mr", str(tmp_path / "mr"), "--leave-out", "1"]
    told = load_model_file(command.run(parser.parse_args(words))[0]).card["training"]
    assert told["made"] == [2, small.made.guises] and told["left_out"] == ["1"], "one MR is left out, the other seen in every guise"
    assert len(list((tmp_path / "out" / "cache").glob("rephased-*.npz"))) == small.made.rephased
    last = tmp_path / "out" / "abdomen-ct.safetensors"
    sha = load_model_file(last).sha256
    again = load_model_file(command.run(parser.parse_args([*words, "--start", str(last)]))[0])
    assert again.card["training"]["start"] == sha
    monkeypatch.setitem(RECIPES, "abdomen-ct", replace(small, widths=(8, 24)))
    with pytest.raises(BadInput, match="abdomen-ct.safetensors is no model of the recipe"):
        command.run(parser.parse_args([*words, "--start", str(last)]))


def test_what_an_organ_usually_measures_is_told_by_scans_that_show_all_of_it():
    """Where there are any: a cord is cut off in every scan of a neck."""
    geometry, cases = Geometry((4, 5, 5), np.diag([10., 10., 10., 1.])), []
    for top in (3, 4):
        channels = np.zeros(geometry.shape, np.uint8)
        channels[1:top, 1, :4], channels[:, 3, 3] = 1, 2
        cases.append(GridCase("case", channels.astype(np.float16), channels, geometry, {1: np.argwhere(channels == 1), 2: np.argwhere(channels == 2)}))
    assert usual_ml(cases, ["liver", "spinal_cord"]) == {"liver": [8, 8], "spinal_cord": [4, 4]}


def test_right_and_left_organs_become_each_other_in_a_mirror():
    assert mirror_pairs(["brainstem", "parotid_gland_left", "parotid_gland_right"]) == [(3, 2)]


def test_every_recipe_describes_itself_as_plain_values():
    for each in RECIPES.values():
        json.dumps([each.preprocessing.to_dict(), each.card])
        assert all(size % 2 ** (len(each.widths) - 1) == 0 for size in each.window[each.window[0] == 1:])  # a plane has no depth
