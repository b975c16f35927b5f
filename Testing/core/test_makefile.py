"""`make` has a way to repeat every measurement and every training, and says which there are."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from DiffSegCore.data.cases import read_dataset
from DiffSegCore.registry import name_of
from DiffSegCore.resources import resource
from DiffSegCore.training import body_recipes, click_recipes, recipes

ROOT = Path(__file__).resolve().parents[2]
TRAINED = re.search(r"^TRAINED := (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)[1].split()
KNOWN = {**recipes.RECIPES, **click_recipes.RECIPES, **body_recipes.RECIPES}


def make(*arguments: str) -> subprocess.CompletedProcess:
    if shutil.which("make") is None:
        pytest.skip("there is no make here")
    own = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "DATA", "RUNS", "OUT", "CASES")}
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, env=own)


def test_every_bundled_model_can_be_trained_again():
    bundled = {name_of(path) for path in resource("Models").glob("*.safetensors")}
    assert bundled <= set(TRAINED) and bundled <= set(KNOWN)


@pytest.mark.parametrize("name", [name for name in TRAINED if name in KNOWN])
def test_a_training_takes_its_recipe_and_leaves_a_file_that_can_ship(name):
    said = make("-n", f"train-{name}", "DATA=somewhere", "RUNS=elsewhere").stdout
    kind = "click" if name in click_recipes.RECIPES else "body" if name in body_recipes.RECIPES else "head"
    assert f"diffseg train {kind} --recipe {name} --data" in said and re.search('"somewhere"?/', said)
    assert f'-o "elsewhere/{name}"' in said and "--trained-here" in said and "--resume" not in said


def test_data_without_names_is_listed_with_them_first(shared_data, tmp_path, monkeypatch):
    from benchmarks import bundled, training_lists

    said = make("-n", "train-abdomen-ct", "RUNS=elsewhere").stdout
    steps = ("training_lists abdomen-ct", '--data "elsewhere/abdomen-ct/first/data" --label-maps', '--teacher "elsewhere/abdomen-ct/first/abdomen-ct.safetensors"',
             '--data "elsewhere/abdomen-ct/data" --label-maps', '--start "elsewhere/abdomen-ct/first/abdomen-ct.safetensors"')
    assert [said.index(step) for step in steps] == sorted(said.index(step) for step in steps)
    monkeypatch.setattr("sys.argv", ["", "abdomen-ct", "--data", str(shared_data), "-o", str(tmp_path)])
    assert bundled.ending(training_lists.main) == 0
    found = read_dataset(tmp_path)
    assert [case.name for case in found.cases["train"]] == ["ts_dicom_slab"] and found.labels[5] == "liver"


@pytest.mark.parametrize("model, checkpoint", [("head-neck-ct", "last.ckpt"), ("body-ct", "sides/last.ckpt")])
def test_a_training_that_was_stopped_goes_on(tmp_path, model, checkpoint):
    (tmp_path / model / checkpoint).parent.mkdir(parents=True)
    assert "--resume" not in make("-n", f"train-{model}", f"RUNS={tmp_path}").stdout
    (tmp_path / model / checkpoint).touch()
    assert "--resume" in make("-n", f"train-{model}", f"RUNS={tmp_path}").stdout


def test_a_name_without_a_training_is_told_the_others():
    said = make("train-nonsense")
    assert said.returncode == 2 and "no training of a model called nonsense" in said.stderr and all(f"train-{name}" in said.stderr for name in TRAINED)


def test_every_table_is_printed_anew_from_the_data():
    said = make("-n", "evaluate", "DATA=somewhere", "CASES=2", "OUT=kept").stdout
    for part in ("evaluate_models", "robustness", "click_curves"):
        assert f'Testing.benchmarks.{part} --data "somewhere" -o "kept" --cases 2' in said


def test_what_was_measured_goes_into_cards_catalogue_and_document():
    said = make("-n", "cards").stdout
    assert '--records "evaluation/' in said and "Testing.benchmarks.catalogue" in said and "docs/Models.md" in said


def test_an_image_of_a_window_becomes_hu_again_and_what_was_cut_off_below_becomes_air():
    import numpy as np

    from benchmarks.training_lists import Window, in_hu
    from DiffSegCore.geometry import Geometry
    from DiffSegCore.volume import Volume

    grey = Volume(np.array([[[0, 1, 102, 255]]], np.uint8), Geometry((1, 1, 4), np.eye(4)))
    assert in_hu(grey, Window("scan.nii.gz", -160., 240.)).array.ravel().tolist() == [-1000, -158, 0, 240]
