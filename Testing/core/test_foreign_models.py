"""MONAI bundles and TorchScript networks segment by their name as they do by themselves, and only after somebody agreed that they run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_toys import Bright, bundle_folder, ct, script_file
from toys import toy_click_model, toy_model

from DiffSegCore.cli import main
from DiffSegCore.engine import Engine
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.foreign.adding import add_foreign
from DiffSegCore.foreign.checkpoint import read_checkpoint
from DiffSegCore.geometry import Box
from DiffSegCore.metrics import score
from DiffSegCore.plain_values import plain_grid
from DiffSegCore.preprocess import Preprocessing, native_labels, to_model_grid
from DiffSegCore.reading import read_labels
from DiffSegCore.registry import load_model, model_rows
from DiffSegCore.segmentors import open_segmenter
from DiffSegCore.writing import write_volume

TILTED = np.array([[-2.954, -.521, 0, 0], [.521, -2.954, 0, 0], [0, 0, 4, 0], [0, 0, 0, 1.0]])


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return bundle_folder(tmp_path_factory.mktemp("monai") / "toy")


def theirs(folder: Path, image: Path, out: Path) -> np.ndarray:
    """Labels (K, J, I) of the bundle's parts, put together and run by MONAI's own evaluator in this process, as it saves them."""
    from monai.bundle import ConfigParser
    from monai.data import DataLoader, Dataset, decollate_batch

    parser = ConfigParser()
    parser.read_config(folder / "configs/inference.json")
    parser["bundle_root"], parser["output_dir"] = str(folder), str(out)
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / "models/model.pt", weights_only=True))
    inferer, after = (parser.get_parsed_content(part) for part in ("inferer", "postprocessing"))
    data = Dataset([{"image": str(image)}], parser.get_parsed_content("preprocessing"))
    with torch.no_grad():
        for batch in DataLoader(data, batch_size=1):
            batch["pred"] = inferer(batch["image"], network.eval())
            for item in decollate_batch(batch):
                after(item)
    return read_labels(next(out.rglob("*.nii.gz"))).ids


@pytest.mark.parametrize("matrix", [None, TILTED], ids=["straight", "tilted"])
def test_a_bundles_labels_are_those_that_it_saves_itself(tmp_path, trained, matrix):
    volume, truth = ct(99, matrix)
    write_volume(volume, tmp_path / "ct.nii.gz")
    assert main(["models", "add", "monai", str(trained), "--name", "bundle", "--trust"]) == 0
    assert main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out.nii.gz"), "--model", "bundle", "--device", "cpu"]) == 0
    ours, own = read_labels(tmp_path / "out.nii.gz"), theirs(trained, tmp_path / "ct.nii.gz", tmp_path / "own")
    ids = {name: id for id, name in ours.names.items()}
    assert (ours.ids == np.array([0, ids["liver"], ids["spleen"]])[own]).mean() >= .999
    assert score(own == 1, truth.ids == 1, (1, 1, 1)).dice > .6  # it has learnt something to agree on


def test_a_bundles_chances_lie_where_its_labels_are(trained):
    volume, _ = ct(98, TILTED)
    add_foreign("monai", trained, trust=True)
    prediction = open_segmenter("toy", "cpu").segment(volume)
    again = np.array([0, *prediction.labels.names])[native_labels(prediction.logits, prediction.geometry, volume.geometry)]
    assert (again == prediction.labels.ids).mean() > .98


def test_a_bundle_without_a_way_back_is_brought_back(tmp_path):
    folder = bundle_folder(tmp_path / "toy")
    config = json.loads((folder / "configs/inference.json").read_text())
    del config["postprocessing"]
    (folder / "configs/inference.json").write_text(json.dumps(config))
    add_foreign("monai", folder, trust=True)
    volume, truth = ct(97)
    labels = open_segmenter("toy", "cpu").segment(volume).labels
    assert labels.geometry == volume.geometry
    assert score(labels.ids == next(iter(labels.names)), truth.ids == 1, (1, 1, 1)).dice > .6


def test_a_bundle_takes_clicks(home, trained):
    add_foreign("monai", trained, trust=True)
    toy_click_model(home / "clicks.safetensors")
    volume, _ = ct(96)
    engine = Engine()
    engine.call("set_volume", {"geometry": plain_grid(volume.geometry), "modality": "CT"}, {"image": volume.array})
    found, arrays = engine.call("segment", {"model": "toy", "device": "cpu"}, {})
    label = found["organs"][0]["id"]
    told, _ = engine.call("prompt", {"prompt": {"kind": "point", "label": label, "inside": True, "ras": volume.geometry.to_ras((3, 6, 5)).tolist()}}, {})
    assert arrays["logits"].shape[0] == 3 and told["edit"]["added_ml"] > 0


def test_only_the_box_is_kept(trained):
    add_foreign("monai", trained, trust=True)
    volume, _ = ct(95)
    segmenter, box = open_segmenter("toy", "cpu"), Box((0, 0, 0), (26, 34, 20))
    whole, part = segmenter.segment(volume), segmenter.segment(volume, box=box)
    np.testing.assert_array_equal(part.labels.ids[box.slices], whole.labels.ids[box.slices])
    assert whole.labels.ids[:, :, 20:].any() and not part.labels.ids[:, :, 20:].any()
    assert part.logits.argmax(0).sum() < whole.logits.argmax(0).sum()


def test_stop_stops_a_bundle(trained):
    add_foreign("monai", trained, trust=True)

    def stop(fraction: float, stage: str) -> None:
        if fraction > .3:
            raise Cancelled

    with pytest.raises(Cancelled):
        open_segmenter("toy", "cpu").segment(ct(1)[0], progress=stop)


@pytest.mark.parametrize("kind, made", [("monai", bundle_folder), ("torchscript", lambda path: script_file(path.with_suffix(".ts")))])
def test_what_is_a_program_asks_for_trust_first(tmp_path, capsys, home, kind, made):
    path = made(tmp_path / "theirs")
    assert main(["models", "add", kind, str(path)]) == 2
    assert "runs its code with your rights" in capsys.readouterr().err and not home.exists()
    assert main(["models", "add", kind, str(path), "--trust"]) == 0


def test_adding_a_bundle_runs_nothing_of_it(tmp_path):
    folder, mark = bundle_folder(tmp_path / "toy"), tmp_path / "mark"
    config = json.loads((folder / "configs/inference.json").read_text())
    config["imports"] = [f"$open({str(mark)!r}, 'w')"]
    (folder / "configs/inference.json").write_text(json.dumps(config))
    add_foreign("monai", folder, trust=True)
    assert not mark.exists()


def test_a_program_changed_since_is_not_run(tmp_path):
    path = script_file(tmp_path / "net.ts")
    add_foreign("torchscript", path, trust=True)
    torch.jit.script(torch.nn.Identity()).save(path)
    with pytest.raises(BadInput, match="net.ts is another file than when"):
        open_segmenter("net", "cpu")


def test_trust_cannot_be_forgotten(tmp_path):
    added = add_foreign("torchscript", script_file(tmp_path / "net.ts"), trust=True)
    added.write_text(added.read_text().replace('"trusted": true', '"trusted": false'))
    with pytest.raises(BadInput, match="nobody said that it is trusted"):
        open_segmenter("net", "cpu")


def test_a_network_with_a_description_is_a_model_like_ours(tmp_path):
    write_volume(ct(94)[0], tmp_path / "ct.nii.gz")
    script_file(tmp_path / "net.ts")
    assert main(["models", "add", "torchscript", str(tmp_path / "net.ts"), "--trust"]) == 0
    assert main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out.nii.gz"), "--model", "net", "--device", "cpu"]) == 0
    volume, truth = ct(94)
    image, grid = to_model_grid(volume, Preprocessing((4, 3, 3), ((-1000, -1), (1000, 1))))
    own = native_labels(Bright()(image[None])[0], grid, volume.geometry)
    found = read_labels(tmp_path / "out.nii.gz")
    ids = {name: id for id, name in found.names.items()}
    assert (found.ids == np.array([0, ids["liver"], ids["spleen"]])[own]).mean() >= .999
    assert score(own == 1, truth.ids == 1, (1, 1, 1)).dice > .8


@pytest.mark.parametrize("changes, reason", [({"labels": {"2": "Liver"}}, "labels count 1, 2, 3"), ({"window": [16, 16]}, "three sides"),
                                             ({"labels": {"1": "Liver"}}, "its description says"), ({"spacing_mm": None}, "spacing_mm")])
def test_a_description_that_does_not_fit_is_refused(tmp_path, changes: dict[str, Any], reason):
    path = script_file(tmp_path / "net.ts", **changes)
    with pytest.raises(BadInput, match=reason):
        add_foreign("torchscript", path, trust=True)
        open_segmenter("net", "cpu").segment(ct(0)[0])


def test_a_bundle_whose_channels_overlap_is_refused(tmp_path):
    folder = bundle_folder(tmp_path / "toy")
    metadata = json.loads((folder / "configs/metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = {"0": "tumor core", "1": "whole tumor"}
    (folder / "configs/metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(BadInput, match="first channel is the background"):
        add_foreign("monai", folder, trust=True)


def test_a_bundle_that_needs_more_says_what(tmp_path):
    folder = bundle_folder(tmp_path / "toy", _target_="nowhere_to_be_found.Net")
    add_foreign("monai", folder, trust=True)
    with pytest.raises(BadInput, match="cannot be put together.*nowhere_to_be_found"):
        open_segmenter("toy", "cpu")


def test_a_name_that_is_taken_is_refused_and_the_old_one_stays(tmp_path, home):
    home.mkdir()
    toy_model(home / "net.safetensors")
    with pytest.raises(BadInput, match="--name"):
        add_foreign("torchscript", script_file(tmp_path / "net.ts"), trust=True)
    assert load_model("net").organs == ("brainstem", "mandible")


def test_a_damaged_note_hides_no_other_model(home):
    home.mkdir()
    (home / "broken.foreign.json").write_text("{")
    toy_model(home / "good.safetensors")
    rows = {row["name"]: row for row in model_rows()}
    assert "is damaged" in rows["broken"]["error"] and rows["good"]["organs"] == ["brainstem", "mandible"]


def test_a_checkpoint_may_hold_numpys_scalars(tmp_path):
    torch.save({"weights": {"a": torch.ones(2)}, "best": np.float64(.5), "curve": [np.float32(1), np.array([1, 2])]}, tmp_path / "c.pth")
    assert read_checkpoint(tmp_path / "c.pth")["best"] == .5
