"""`diffseg train head`: from a data set on disk to a model file that segments."""
from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch

from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import load_model_file
from DiffSegCore.training.commands import head as command
from DiffSegCore.training.head import mirror_pairs
from DiffSegCore.training.recipes import RECIPES, recipe
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


def test_right_and_left_organs_become_each_other_in_a_mirror():
    assert mirror_pairs(["brainstem", "parotid_gland_left", "parotid_gland_right"]) == [(3, 2)]


def test_every_recipe_describes_itself_as_plain_values():
    for each in RECIPES.values():
        json.dumps([each.preprocessing.to_dict(), each.card])
        assert all(size % 2 ** (len(each.widths) - 1) == 0 for size in each.window[each.window[0] == 1:])  # a plane has no depth
