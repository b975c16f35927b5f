"""Two label files in, a table out: organs match by name, by the table handed in, or by id."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DiffSegCore.errors import BadInput
from DiffSegCore.evaluation import as_json, evaluate, table
from DiffSegCore.geometry import Geometry
from DiffSegCore.volume import LabelMap
from DiffSegCore.writing import write_labels


def write(path: Path, *blocks: int, names: dict[int, str] | None = None, planes: int = 8) -> Path:
    """A label file in which block n (two slices of the volume) holds the n-th of the given ids."""
    ids = np.zeros((planes, 8, 8), np.uint8)
    for n, label in enumerate(blocks):
        ids[2 * n:2 * n + 2, 2:6, 2:6] = label
    write_labels(LabelMap(ids, Geometry(ids.shape, np.eye(4)), names or {}), path)
    return path


@pytest.fixture
def map_file(tmp_path: Path) -> Path:
    path = tmp_path / "map.txt"
    path.write_text("truth: 1 Liver 2 Spleen\nother: 1 Heart\n")
    return path


def test_files_without_names_are_compared_by_id(tmp_path):
    scores = evaluate(write(tmp_path / "found.nii.gz", 1, 3), write(tmp_path / "truth.nii.gz", 1, 2))
    assert [(s.organ, s.dice) for s in scores] == [("label_1", 1), ("label_2", 0), ("label_3", 0)]


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_names_match_where_ids_differ(tmp_path, suffix):
    found = write(tmp_path / f"found{suffix}", 4, 5, names={4: "liver", 5: "spleen"})
    truth = write(tmp_path / f"truth{suffix}", 2, 1, names={1: "Spleen", 2: "Liver"})
    assert {s.organ: s.dice for s in evaluate(found, truth)} == {"liver": 1, "spleen": 1}


def test_a_table_names_the_reference_and_a_prediction_without_names(tmp_path, map_file):
    scores = evaluate(write(tmp_path / "found.nii.gz", 1, 2), write(tmp_path / "truth.nii.gz", 1, 1), map_file)
    assert [(s.organ, s.prediction_ml < s.reference_ml) for s in scores] == [("liver", True), ("spleen", False)]


def test_a_reference_without_names_asks_for_the_table(tmp_path, map_file):
    found, truth = write(tmp_path / "found.nii.gz", 12, names={12: "liver"}), write(tmp_path / "truth.nii.gz", 1)
    with pytest.raises(BadInput, match="truth.nii.gz does not: .*--labels"):
        evaluate(found, truth)
    assert evaluate(found, truth, map_file)[0].dice == 1


def test_what_was_not_contoured_can_be_skipped(tmp_path, map_file):
    found, truth = write(tmp_path / "found.nii.gz", 1, 2), write(tmp_path / "truth.nii.gz", 1)
    assert [s.dice for s in evaluate(found, truth, map_file)] == [1, 0]
    assert [s.organ for s in evaluate(found, truth, map_file, skip_empty=True)] == ["liver"]


def test_different_grids_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"\(8, 8, 8\) voxels .* and \(9, 8, 8\) voxels"):
        evaluate(write(tmp_path / "found.nii.gz", 1), write(tmp_path / "truth.nii.gz", 1, planes=9))


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
