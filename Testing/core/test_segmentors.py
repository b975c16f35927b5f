"""A model may name body coordinates: then somebody looks at how the patient lies."""
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from toys import toy_ct, toy_model

from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.reading import read_volume
from DiffSegCore.segmentors import open_segmenter

WHERE = {"kind": "coordinates", "widths": [8, 8]}
MIRRORED = "Right and left look exchanged"


def everybody(network: torch.nn.Module, dense: torch.Tensor) -> torch.Tensor:
    """Sides that call everybody mirrored."""
    return torch.full((len(dense),), 9.)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A folder of models: "organs", which names the coordinates "where"."""
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path))
    model = load_model_file(toy_model(tmp_path / "organs.safetensors"))
    save_model(replace(model, card={**model.card, "coordinates_from": "where"}), tmp_path / "organs.safetensors")
    return tmp_path


def coordinates(home: Path, mm: float = 4.) -> None:
    save_model(Model(build(WHERE).eval(), WHERE, Preprocessing((mm, mm, mm), ((-1000., -1.), (1000., 1.)), "CT"), (), (32, 32, 32), {"name": "where"}), home / "where.safetensors")


def warnings(home: Path) -> str:
    return " ".join(open_segmenter("organs", "cpu").segment(read_volume(toy_ct(home / "ct.nii.gz"))).warnings)


def test_coordinates_that_a_model_names_are_asked_how_the_patient_lies(home, monkeypatch):
    coordinates(home)
    monkeypatch.setattr("DiffSegCore.coordinates.straight_fit", lambda ras, u: (np.eye(3), np.ones(3)))  # as a trained one would have it
    assert MIRRORED not in warnings(home)
    monkeypatch.setattr("DiffSegCore.networks.coordinates.Sides.forward", everybody)
    assert MIRRORED in warnings(home)


def test_without_them_nobody_is_asked(home):
    assert MIRRORED not in warnings(home)


def test_coordinates_of_another_grid_are_not_asked(home, monkeypatch, caplog):
    coordinates(home, 5.)
    monkeypatch.setattr("DiffSegCore.networks.coordinates.Sides.forward", everybody)
    assert MIRRORED not in warnings(home) and "another grid" in caplog.text
