"""`diffseg train probe`: runs that leave a record, go on after a stop, hold labels back honestly, and choose a noise level on validation."""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from DiffSegCore.data.cache import GridCase
from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, save_model
from DiffSegCore.networks import build
from DiffSegCore.training import probe as probing
from DiffSegCore.training.commands import probe as command
from DiffSegCore.training.probe import labelled_share, run_probe
from DiffSegCore.training.probe_bodies import BodyMaps
from DiffSegCore.training.probe_features import Scene
from DiffSegCore.training.probe_reading import Reading, open_source
from DiffSegCore.training.probe_recipes import PROBE_RECIPES, PROBE_TRIAL, probe_recipe
from DiffSegCore.training.probe_records import Wish, read_records
from DiffSegCore.writing import write_labels, write_volume

RIGHT, LEFT = 1, 2


def a_case(name: str = "case", shape: tuple[int, int, int] = (16, 16, 16), **places: int) -> GridCase:
    """Noise, with a cube of the right organ at low i and one of the left organ at high i; only those named are drawn."""
    image = np.random.default_rng(3).normal(0, .3, shape).astype(np.float16)
    channels = np.zeros(shape, np.uint8)
    for organ, (channel, start) in {"right": (RIGHT, 1), "left": (LEFT, 10)}.items():
        if organ in places:
            channels[4:8, 4:8, start:start + 4] = channel
    drawn = {c: np.argwhere(channels == c) for c in np.unique(channels[channels > 0]).tolist()}
    return GridCase(name, image, channels, Geometry(shape, np.diag([4., 4., 2.5, 1.])), drawn)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Coarse phantoms in folders, three to train on, one to validate with and one to test."""
    folder = tmp_path_factory.mktemp("phantoms")
    for seed, split in ((1, "train"), (2, "train"), (3, "train"), (4, "validation"), (5, "test")):
        place = folder / split / f"p{seed}"
        place.mkdir(parents=True)
        volume, labels = phantom(seed, spacing_mm=(8, 8, 8), shape=(16, 20, 20))
        write_volume(volume, place / "ct.nii.gz")
        write_labels(labels, place / "oar.nii.gz")
        (place / "oar.json").unlink()
    (folder / "labels.txt").write_text("\n".join(f"{value} {name}" for value, name in labels.names.items()))
    return folder


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory) -> Path:
    """An untrained denoiser that takes and gives coordinates."""
    torch.manual_seed(0)
    architecture = {"kind": "denoiser", "encoder": {"widths": [8, 16, 24]}, "guidance": "both"}
    path = tmp_path_factory.mktemp("models") / "diffusion-both.safetensors"
    save_model(Model(build(architecture).eval(), architecture, PROBE_TRIAL.preprocessing, (), (16, 16, 16), {"name": "pretrained"}), path)
    return path


def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def run(data: Path, out: Path, wish: Wish, recipe=PROBE_TRIAL, **options) -> dict:
    return json.loads(run_probe(recipe, wish, data, out, fabric(), **options).read_text())


@pytest.mark.parametrize("encoder, protocol", [("random", "linear"), ("random", "nonlinear"), ("scratch", "finetune")])
def test_a_probe_leaves_a_record_that_says_what_was_done_and_reached(data, tmp_path, encoder, protocol):
    record = run(data, tmp_path, Wish(encoder, protocol, .4, seed=2))
    assert record["settings"]["protocol"] == protocol and record["settings"]["recipe"]["name"] == "trial"
    assert len(record["train"]) == 1 and record["steps"] == 4 and record["seconds"] > 0
    assert set(record["test"]["by_case"]) == {"p5"} and 0 <= record["test"]["mean"] <= 1
    assert set(record["test"]["organs"]) <= set(PROBE_TRIAL.organs)
    assert "parotid_gland_right" in record["test"]["confused"]
    assert list((tmp_path / "runs").iterdir()) == []  # checkpoints have done their duty


def test_a_run_that_has_its_record_is_not_done_again(data, tmp_path, monkeypatch):
    wish = Wish("random", "linear", .4)
    run(data, tmp_path, wish)
    monkeypatch.setattr(probing, "train_probe", lambda *any: pytest.fail("trained again"))
    run(data, tmp_path, wish)
    with pytest.raises(BadInput, match="other settings"):
        run(data, tmp_path, wish, replace(PROBE_TRIAL, sweep_steps=3))


def test_a_stopped_run_goes_on_and_ends_as_an_uninterrupted_one(data, tmp_path):
    recipe = replace(PROBE_TRIAL, released=replace(PROBE_TRIAL.released, steps=4, validate_every=2))

    def stop(fraction: float, stage: str) -> None:
        if stage.startswith("step 5 of 6"):
            raise Cancelled

    wish = Wish("scratch", "finetune", .4)
    whole = run(data, tmp_path / "whole", wish, recipe)
    with pytest.raises(Cancelled):
        run(data, tmp_path / "parts", wish, recipe, progress=stop)
    assert not list((tmp_path / "parts" / "records").glob("*"))
    again = run(data, tmp_path / "parts", wish, recipe)
    assert again["test"] == whole["test"] and again["validation"] == whole["validation"]


def test_a_denoisers_noise_level_is_chosen_on_validation_once(data, denoiser, tmp_path):
    bodies = _Bodies()
    first = run(data, tmp_path, Wish(str(denoiser), "linear", .4), bodies=bodies)
    file, = (tmp_path / "features").glob("*.sweep.json")
    scores = json.loads(file.read_text())
    best = max(scores, key=lambda each: each["dice"])
    assert [each["log_snr"] for each in scores] == [None, 6.] and first["reading"]["log_snr"] == best["log_snr"]
    file.write_text(json.dumps([{**each, "dice": each["log_snr"] or 0} for each in scores]))
    second = run(data, tmp_path, Wish(str(denoiser), "nonlinear", .4), bodies=bodies)
    assert second["reading"] == {"log_snr": 6., "noise": "keyed"}
    tuned = run(data, tmp_path, Wish(str(denoiser), "finetune", .4), bodies=bodies)
    assert tuned["reading"] == {"log_snr": 6., "noise": "zero"} and tuned["steps"] == 4
    with pytest.raises(BadInput, match="--coordinates"):
        run(data, tmp_path, Wish(str(denoiser), "linear", .4, seed=1))


class _Bodies:
    """Coordinates that rise with the voxel's place."""

    key = "0123456789abcdef"

    def __call__(self, cases):
        return [np.indices([-(-n // 4) for n in case.image.shape]).astype(np.float16) / 40 for case in cases]


def test_coordinates_may_be_withheld_or_given_to_the_probe_alone(data, denoiser, tmp_path):
    kept = replace(PROBE_TRIAL, sweep=(Reading(),))
    untold = run(data, tmp_path, Wish(str(denoiser), "linear", .4, body="untold"), kept)
    beside = run(data, tmp_path, Wish("random", "linear", .4, body="beside"), kept, bodies=_Bodies())
    assert untold["settings"]["encoder"]["name"] == "diffusion-both-untold" and untold["settings"]["encoder"]["coordinates"] == ""
    assert beside["settings"]["encoder"]["name"] == "random+coordinates"
    assert {path.stem.split("-linear")[0] for path in (tmp_path / "records").iterdir()} == {"diffusion-both-untold", "random+coordinates"}


def test_a_probe_sees_the_code_of_coordinates_beside_the_features():
    source = open_source("random", (8, 16, 24), PROBE_TRIAL.preprocessing).with_body("beside", "abc")
    body = torch.rand(1, 3, 2, 2, 2)
    plain, beside = (each.reader(Reading())(torch.zeros(1, 1, 8, 8, 8), body) for each in (replace(source, body="told"), source))
    assert source.widths == (8, 16, 24 + 25) and [level.shape[1] for level in beside] == list(source.widths)
    assert torch.equal(beside[2][:, :24], plain[2]) and (beside[2][:, 24] == 1).all()


def test_features_that_are_not_kept_train_a_probe_as_well(data, tmp_path):
    record = run(data, tmp_path, Wish("random", "nonlinear", .4), replace(PROBE_TRIAL, cached=False))
    assert record["steps"] == 4 and not (tmp_path / "features").exists()


def test_the_command_probes_and_shortens(data, tmp_path):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = f"--recipe trial --data {data} -o {tmp_path} --device cpu --encoder random --protocol linear --labels 0.4 --seed 3 --steps 2".split()
    path, = command.run(parser.parse_args(words))
    record, = read_records(path.parent)
    assert record["steps"] == 2 and record["settings"]["seed"] == 3


def test_senseless_wishes_are_refused():
    for wish, word in (({"protocol": "quadratic"}, "quadratic"), ({"protocol": "linear", "labels": 0}, "share"), ({"protocol": "linear"}, "scratch")):
        with pytest.raises(BadInput, match=word):
            Wish("scratch", **wish)
    with pytest.raises(BadInput, match="random"):
        Wish("random", "finetune")
    with pytest.raises(BadInput, match="beside"):
        Wish("scratch", "finetune", body="beside")
    with pytest.raises(BadInput, match="'liver'.*trial"):
        probe_recipe("liver")


def test_every_recipe_fits_its_encoder():
    for each in PROBE_RECIPES.values():
        stride = 2 ** (len(each.widths) - 1)
        assert all(n % stride == 0 for n in (*each.window, *each.piece)) and all(p <= w for p, w in zip(each.piece, each.window))


def test_labelled_shares_differ_by_seed_and_hold_every_organ():
    scenes = [Scene(a_case(f"p{n}", right=1, **({"left": 1} if n == 3 else {}))) for n in range(10)]
    chosen = [[scene.case.name for scene in labelled_share(scenes, .2, seed)] for seed in range(4)]
    assert all(len(names) == 2 and "p3" in names for names in chosen) and len({tuple(names) for names in chosen}) > 1
    assert labelled_share(scenes, .2, 1) == labelled_share(scenes, .2, 1) and labelled_share(scenes, 1., 0) == scenes


def test_an_encoder_of_another_grid_is_refused(denoiser):
    other = replace(PROBE_TRIAL.preprocessing, spacing_mm=(1., 1., 1.))
    with pytest.raises(BadInput, match="another grid"):
        open_source(str(denoiser), (8, 16), other)


def test_coordinates_come_from_a_model_for_this_grid_and_are_kept(tmp_path):
    architecture = {"kind": "coordinates", "widths": [8, 16]}
    save_model(Model(build(architecture).eval(), architecture, PROBE_TRIAL.preprocessing, (), (16, 16, 16), {}), tmp_path / "body.safetensors")
    maps = BodyMaps.of(tmp_path / "body.safetensors", tmp_path / "cache", PROBE_TRIAL.preprocessing)
    first, = maps([a_case(shape=(18, 16, 16))])
    assert first.shape == (3, 5, 4, 4) and first.dtype == np.float16
    assert np.array_equal(maps([a_case(shape=(18, 16, 16))])[0], first) and len(list((tmp_path / "cache").iterdir())) == 1
    with pytest.raises(BadInput, match="another grid"):
        BodyMaps.of(tmp_path / "body.safetensors", tmp_path, replace(PROBE_TRIAL.preprocessing, spacing_mm=(1., 1., 1.)))


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "notes.json").write_text("[]")
    with pytest.raises(BadInput, match="notes.json"):
        read_records(tmp_path)
