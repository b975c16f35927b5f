"""The same labels from the module's button as from a batch: real files, Slicer's own readers, the module's own logic and worker process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import pytest

from conftest import EXTENSION
from DiffSegCore.batch import Job, find_cases, run_batch
from DiffSegCore.model import describe_model
from Testing.by_button import load, segmented
from Testing.ten_cases import differing, labels, save_coarse_model, write_list


@pytest.fixture
def model(window, tmp_path):
    """In the folder of the user's own models, where the panel and the worker look."""
    return save_coarse_model(tmp_path / "models" / "coarse.safetensors")


@pytest.fixture
def panel(frame, model):
    from DiffSegLib.Widget import Widget

    panel = Widget(frame.layout(), str(EXTENSION / "Resources/UI/DiffSeg.ui"))
    panel.ui.modelSelector.setCurrentIndex(panel.ui.modelSelector.findData("coarse"))
    panel.ui.deviceSelector.setCurrentIndex(panel.ui.deviceSelector.findData("cpu"))
    yield panel
    panel.close()


@pytest.fixture
def batch(shared_data, model, tmp_path) -> tuple[list, Any]:
    """The good ones of ten cases and a left-handed one, and the folder with their labels."""
    job, told = Job(tmp_path / "out", model, describe_model(model)["sha256"], device="cpu"), {}
    chosen = write_list(shared_data, tmp_path)
    left_handed(chosen.read_text().splitlines()[0], tmp_path / "left_handed.nii.gz")
    chosen.write_text(chosen.read_text() + "\n" + str(tmp_path / "left_handed.nii.gz"))
    cases = find_cases(chosen)
    run_batch(cases, job, report=lambda record: told.update({record["case"]: record["state"]}))
    return [case for case in cases if told[case.name] == "done"], job.out


def left_handed(file: str, path: Path) -> None:
    """The same head with its slices stored from the other end, as Slicer's reader does not leave them."""
    image = nib.load(file)
    nib.save(image.slicer[:, :, ::-1], path)


def test_the_button_makes_of_every_good_case_what_the_batch_makes_of_it(panel, batch, spin):
    cases, out = batch
    assert len(cases) == 10 and sum(case.series is not None for case in cases) == 1
    for case in cases:
        found, expected = segmented(panel, load(case), spin), labels(out, case.name)
        assert found.names == expected.names and found.ids.any()
        assert differing(found, expected) == 0, case.name
        assert found.geometry.same_grid(expected.geometry) == (case.source.name != "left_handed.nii.gz"), case.name
