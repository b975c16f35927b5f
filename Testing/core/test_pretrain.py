"""`diffseg train pretrain`: from unlabelled volumes to a denoiser, guided and not, resumed, checked and sampled."""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import coarse_phantoms

from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import build
from DiffSegCore.organs import ORGANS
from DiffSegCore.reading import read_volume
from DiffSegCore.training.commands import pretrain as command
from DiffSegCore.training.pretrain_data import Source, material
from DiffSegCore.training.pretrain_pictures import power_spectrum
from DiffSegCore.training.pretrain_recipes import PUBLIC, QUICK, RECIPES, recipe
from DiffSegCore.training.pretrain_sampling import Sampler, Wish, intensities

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return coarse_phantoms(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture(scope="module")
def coordinates(tmp_path_factory) -> Path:
    """An untrained model of body coordinates."""
    torch.manual_seed(0)
    described = {"kind": "coordinates", "widths": [8, 16]}
    path = tmp_path_factory.mktemp("coordinates") / "body.safetensors"
    save_model(Model(build(described).eval(), described, QUICK.preprocessing, (), (32, 32, 32), {"name": "body"}), path)
    return path


def run(data: Path, out: Path, *more: str, progress=lambda fraction, stage: None) -> list:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", "--steps", "4", *more]), progress)


def logged_losses(out: Path) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator(str(next(out.rglob("events.out.*")).parent))
    events.Reload()
    return [event.value for event in events.Scalars("loss")]


def test_unlabelled_volumes_become_a_denoiser_that_says_how_it_was_made(data, tmp_path):
    path, = run(data, tmp_path)
    model = load_model_file(path)
    assert path.name == "diffusion.safetensors" and model.card["training"]["volumes"] == [2, 1] and model.organs == ()
    assert model.network.features(torch.zeros(1, 1, 16, 16, 16))[0].shape == (1, 8, 16, 16, 16)


def test_a_stopped_pretraining_resumes_to_the_same_weights_whoever_makes_its_batches(data, tmp_path):
    def stop(fraction: float, stage: str) -> None:
        if stage.startswith("step 15 "):
            raise Cancelled
    whole, = run(data, tmp_path / "whole", "--steps", "20")
    with pytest.raises(Cancelled):
        run(data, tmp_path / "parts", "--steps", "20", "--workers", "0", progress=stop)
    again, = run(data, tmp_path / "parts", "--steps", "20", "--workers", "2", "--resume")
    one, other = (load_model_file(path).network.state_dict() for path in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_learn_what_one_does(data, coordinates, tmp_path):
    """Twenty steps with the same patches in all; gloo adds gradients up in another order, so not to the last bit."""
    weights, losses = [], []
    for devices in ("1", "2"):
        out = tmp_path / devices
        subprocess.run([sys.executable, "-m", "DiffSegCore", "train", "pretrain", "--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu",
                        "--guidance", "both", "--coordinates", str(coordinates), "--devices", devices],
                       cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True, timeout=600)
        state = torch.load(out / "last.ckpt", weights_only=True)["network"]
        weights.append({name.replace("module.", ""): value for name, value in state.items()})
        losses.append(logged_losses(out))
    assert len(losses[0]) == 20 and losses[1] == pytest.approx(losses[0], abs=1e-4)
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=0, atol=1e-4)


def test_a_guided_model_is_drawn_from_at_a_height_of_the_body(data, coordinates, tmp_path):
    path, = run(data, tmp_path, "--guidance", "both", "--coordinates", str(coordinates))
    model = load_model_file(path)
    assert model.card["coordinates"] == load_model_file(coordinates).sha256 and len(model.card["body"]["middle"]) == 3
    *files, picture = run(data, tmp_path, "--guidance", "both", "--sample", "1", "--at", "0.3", "--size", "24", "16", "20")
    assert [file.name for file in files] == ["anywhere-1.nii.gz", "at-0.3-1.nii.gz"] and picture.stat().st_size > 10_000
    volumes = [read_volume(file) for file in files]
    assert all(volume.array.shape == (24, 16, 20) and volume.array.min() >= -1000 for volume in volumes)
    assert volumes[0].geometry.spacing == pytest.approx((4, 4, 4)) and not np.array_equal(volumes[0].array, volumes[1].array)


def test_coordinates_are_computed_once(data, coordinates, tmp_path):
    found = [material(replace(QUICK, guidance="input"), Source([data], coordinates), tmp_path, torch.device("cpu")) for _ in range(2)]
    files = sorted(tmp_path.glob("*.body.npy"))
    assert len(files) == 3 and found[0].bodies == found[1].bodies
    kept = found[0].learn[0]
    assert np.load(found[0].bodies[kept.file]).shape == (3, *(-(-n // 4) for n in kept.geometry.shape))


def test_a_check_tells_what_a_training_would_take_and_leaves_only_the_cache(data, tmp_path):
    found = "\n".join(run(data, tmp_path, "--check"))
    assert "3 volumes: 2 to learn from, 1 to watch" in found and "hours" in found and "GB" in found and "million parameters" in found
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "logs"}


def test_wishes_that_cannot_be_met_get_a_sentence(data, tmp_path):
    with pytest.raises(BadInput, match="'both' needs body coordinates.*--guidance none"):
        run(data, tmp_path, "--guidance", "both")
    with pytest.raises(BadInput, match="--sample"):
        run(data, tmp_path, "--at", "0.5")
    with pytest.raises(BadInput, match="diffusion.safetensors does not exist"):
        run(data, tmp_path, "--sample", "1")
    with pytest.raises(BadInput, match="no recipe 'brains'.*btcv-comparable"):
        recipe("brains")


def test_a_model_without_guidance_cannot_be_asked_for_a_height(tmp_path):
    described = {"kind": "denoiser", "guidance": "none", "encoder": {"widths": [8, 16, 24]}}
    sampler = Sampler(Model(build(described), described, QUICK.preprocessing, (), (16, 16, 16), {"name": "diffusion"}))
    with pytest.raises(BadInput, match="--at"):
        sampler.draw(Wish(1, at=.5))


def test_coordinates_at_a_height_run_as_in_the_training_bodies():
    described = {"kind": "denoiser", "guidance": "input", "encoder": {"widths": [8, 16, 24]}}
    card = {"name": "diffusion-input", "body": {"per_mm": [.001, .002, .003], "middle": [.4, .5, .9]}}
    body = Sampler(Model(build(described), described, QUICK.preprocessing, (), (8, 8, 8), card)).body_at(.3, (5, 7, 9))
    assert body.shape == (1, 3, 5, 7, 9)
    torch.testing.assert_close(body[0, :, 2, 3, 4], torch.tensor([.4, .5, .3]))
    steps = body[0, 0, 0, 0, 1] - body[0, 0, 0, 0, 0], body[0, 1, 0, 1, 0] - body[0, 1, 0, 0, 0], body[0, 2, 1, 0, 0] - body[0, 2, 0, 0, 0]
    torch.testing.assert_close(torch.stack(steps), 4 * torch.tensor([.001, .002, .003]))


def test_intensities_are_the_inverse_of_model_values():
    hu = torch.linspace(-1000, 1000, 81)
    np.testing.assert_allclose(intensities(QUICK.preprocessing.values(hu), QUICK.preprocessing), hu.numpy(), atol=.05)


def test_a_spectrum_has_its_peak_where_the_waves_are():
    wave = torch.sin(2 * np.pi * torch.arange(32) / 8).expand(32, 32, 32)  # 8 voxels of 2 mm: 1/16 cycles/mm
    frequency, power = power_spectrum([wave], (2., 2., 2.))
    assert abs(frequency[power.argmax()] - 1 / 16) < .011


def test_every_recipe_fits_its_encoder_and_says_what_was_run():
    for each in RECIPES.values():
        assert all(size % 2 ** (len(each.widths) - 1) == 0 for size in each.window) and each.ran
    assert {f"{data}-{setting}" for data in PUBLIC for setting in ("comparable", "product")} <= RECIPES.keys()
    assert all(organ in ORGANS for organ in RECIPES["btcv-comparable"].protocol["organs"]) and len(RECIPES["btcv-comparable"].protocol["organs"]) == 13
