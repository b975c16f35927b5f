"""Two label files in, a table out: organs match by name, by the table handed in, or by id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DiffSegCore import evaluation
from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import as_json, evaluate, table


def write(path: Path, *blocks: int, shape: tuple[int, int, int] = (8, 8, 8)) -> Path:
    """A label file in which block n (two slices of the volume) holds the n-th of the given ids."""
    ids = np.zeros(shape, np.uint8)
    for n, label in enumerate(blocks):
        ids[2 * n:2 * n + 2, 2:6, 2:6] = label
    sitk.WriteImage(sitk.GetImageFromArray(ids), str(path))
    return path


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "map.txt"
    path.write_text("truth: 1 Liver 2 Spleen\nother: 1 Heart\n")
    return path


def named(monkeypatch: pytest.MonkeyPatch, **names: dict[int, str]) -> None:
    """Let the files of these stems bring names, as .seg.nrrd files and files with a names JSON do."""
    read = evaluation.read_labels
    monkeypatch.setattr(evaluation, "read_labels", lambda path: evaluation.replace(
        read(path), names=names.get(Path(path).name.split(".")[0], {})))


def test_files_without_names_are_compared_by_id(tmp_path):
    scores = evaluate(write(tmp_path / "found.nii.gz", 1, 3), write(tmp_path / "truth.nii.gz", 1, 2))
    assert [(s.organ, s.dice) for s in scores] == [("label_1", 1), ("label_2", 0), ("label_3", 0)]


def test_names_match_where_ids_differ(tmp_path, monkeypatch):
    named(monkeypatch, found={4: "liver", 5: "spleen"}, truth={1: "Liver", 2: "Spleen"})
    scores = evaluate(write(tmp_path / "found.nii.gz", 4, 5), write(tmp_path / "truth.nii.gz", 1, 2))
    assert [(s.organ, s.dice) for s in scores] == [("liver", 1), ("spleen", 1)]


def test_a_table_names_the_reference_and_a_prediction_without_names(tmp_path, map_file):
    scores = evaluate(write(tmp_path / "found.nii.gz", 1, 2), write(tmp_path / "truth.nii.gz", 1, 1), map_file)
    assert [(s.organ, s.prediction_ml < s.reference_ml) for s in scores] == [("liver", True), ("spleen", False)]


def test_a_reference_without_names_asks_for_the_table(tmp_path, monkeypatch, map_file):
    named(monkeypatch, found={12: "liver"})
    found, truth = write(tmp_path / "found.nii.gz", 12), write(tmp_path / "truth.nii.gz", 1)
    with pytest.raises(BadInput, match="truth.nii.gz does not: .*--labels"):
        evaluate(found, truth)
    assert evaluate(found, truth, map_file)[0].dice == 1


def test_what_was_not_contoured_can_be_skipped(tmp_path, map_file):
    found, truth = write(tmp_path / "found.nii.gz", 1, 2), write(tmp_path / "truth.nii.gz", 1)
    assert [s.dice for s in evaluate(found, truth, map_file)] == [1, 0]
    assert [s.organ for s in evaluate(found, truth, map_file, skip_empty=True)] == ["liver"]


def test_different_grids_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"\(8, 8, 8\) voxels .* and \(8, 8, 9\) voxels"):
        evaluate(write(tmp_path / "found.nii.gz", 1), write(tmp_path / "truth.nii.gz", 1, shape=(8, 8, 9)))


def test_the_table_has_a_line_an_organ_and_the_mean(tmp_path, map_file):
    text = table(evaluate(write(tmp_path / "found.nii.gz", 1), write(tmp_path / "truth.nii.gz", 1, 2), map_file))
    header, liver, spleen, mean = text.splitlines()
    assert header.split() == "organ Dice NSD at mm HD95 mm predicted ml reference ml".split()
    assert liver.split() == "liver 1.000 1.000 2 0.0 0.0 0.0".split()
    assert spleen.split()[:3] == ["spleen", "0.000", "0.000"]
    assert mean.split()[:5] == ["mean", "of", "2", "0.500", "0.500"]


def test_the_json_holds_what_the_table_rounds(tmp_path):
    scores = evaluate(write(tmp_path / "found.nii.gz", 1), write(tmp_path / "truth.nii.gz", 1))
    (liver,) = json.loads(as_json(scores))
    assert liver == {"organ": "label_1", "dice": 1.0, "nsd": 1.0, "hd95_mm": 0.0, "prediction_ml": 0.032,
                     "reference_ml": 0.032, "tolerance_mm": 2.0}
