"""The demo leaves what it promises, whatever the model."""

from __future__ import annotations

import csv

import pytest
from toys import ORGANS, toy_model

pytest.importorskip("matplotlib")

from DiffSegCore import read_labels, read_volume
from DiffSegCore.demo import run_demo
from DiffSegCore.resources import resource


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    return run_demo(folder / "new" / "out", model=toy_model(folder / "toy.safetensors"))


def test_labels_lie_on_the_samples_grid_in_both_files(demo):
    sample = read_volume(resource("Sample", "sample_ct.nii.gz")).geometry
    for what in ("labels for 3D Slicer", "labels"):
        labels = read_labels(demo.files[what])
        assert labels.geometry.same_grid(sample) and set(labels.names.values()) == set(ORGANS)


def test_the_table_has_a_row_an_organ(demo):
    with open(demo.files["volumes"], newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(ORGANS)


def test_the_picture_is_there_and_every_organ_is_scored(demo):
    assert demo.files["picture"].read_bytes().startswith(b"\x89PNG")
    assert [score.organ for score in demo.scores] == list(ORGANS)
    assert demo.mean_dice == pytest.approx(sum(score.dice for score in demo.scores) / 2)
    assert all(score.reference_ml > 0 for score in demo.scores)
