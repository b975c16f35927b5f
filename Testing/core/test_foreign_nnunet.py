"""An nnU-Net folder segments by its name as its own predictor does, takes clicks, and runs nothing that hides in it."""

from __future__ import annotations

import json
import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_toys import ct, nnunet_folder
from scipy.spatial.transform import Rotation
from toys import toy_click_model

from DiffSegCore.cli import main
from DiffSegCore.engine import Engine
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.foreign.adding import add_foreign
from DiffSegCore.foreign.found import exclusive
from DiffSegCore.foreign.nnunet_folder import labels_of
from DiffSegCore.metrics import score
from DiffSegCore.plain_values import plain_grid
from DiffSegCore.reading import read_labels
from DiffSegCore.segmentors import open_segmenter
from DiffSegCore.volume import Volume
from DiffSegCore.writing import write_volume

predicting = pytest.importorskip("nnunetv2.inference.predict_from_raw_data", reason="nnU-Net is not installed: see `make bench`")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DIFFSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return nnunet_folder(tmp_path_factory.mktemp("nnunet") / "toy", folds=2, mirror=True)


def theirs(folder: Path, image: Path) -> np.ndarray:
    """Labels (K, J, I) of nnU-Net's own predictor with its defaults, read by its own reader."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    plans, dataset = (json.loads((folder / f"{name}.json").read_text()) for name in ("plans", "dataset"))
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    found = [torch.load(path, weights_only=False) for path in sorted(folder.glob("fold_*/checkpoint_final.pth"))]
    network = get_network_from_plans(configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
                                     configuration.network_arch_init_kwargs_req_import, 1, manager.get_label_manager(dataset).num_segmentation_heads,
                                     deep_supervision=False)
    predictor = predicting.nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(network, manager, configuration, [each["network_weights"] for each in found], dataset, "nnUNetTrainer",
                                    found[0]["inference_allowed_mirroring_axes"])
    reader = manager.image_reader_writer_class()
    array, properties = reader.read_images([str(image)])
    values = predictor.predict_single_npy_array(array, properties)
    reader.write_seg(values, str(image.with_name("theirs.nii.gz")), properties)
    return read_labels(image.with_name("theirs.nii.gz")).ids


OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (80, 12, -65), degrees=True).as_matrix() * (3, -3, 4)


@pytest.mark.parametrize("reader, order, matrix", [("SimpleITKIO", (0, 1, 2), None), ("NibabelIOWithReorient", (1, 0, 2), None),
                                                   ("NibabelIOWithReorient", (2, 0, 1), OBLIQUE), ("NibabelIO", (0, 1, 2), OBLIQUE)],
                         ids=["as stored", "turned and transposed", "oblique and turned", "oblique as stored"])
def test_its_labels_are_those_of_its_own_predictor(tmp_path, capsys, reader, order, matrix):
    folder = nnunet_folder(tmp_path / "toy", reader=reader, order=order)
    volume, truth = ct(99, matrix)
    write_volume(volume, tmp_path / "ct.nii.gz")
    assert main(["models", "add", "nnunet", str(folder), "--name", "toy"]) == 0
    assert main(["segment", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "out.nii.gz"), "--model", "toy", "--device", "cpu"]) == 0
    ours, own = read_labels(tmp_path / "out.nii.gz"), theirs(folder, tmp_path / "ct.nii.gz")
    ids = {name: id for id, name in ours.names.items()}
    assert (ours.ids == np.array([0, ids["liver"], ids["spleen"]])[own]).mean() >= .999
    assert score(own == 1, truth.ids == 1, (1, 1, 1)).dice > .7  # it has learnt something to agree on


def test_folds_and_mirrors_count_as_they_do_there(tmp_path, trained):
    volume, _ = ct(98)
    write_volume(volume, tmp_path / "ct.nii.gz")
    add_foreign("nnunet", trained, name="toy")
    prediction = open_segmenter("toy", "cpu").segment(volume)
    own = theirs(trained, tmp_path / "ct.nii.gz")
    assert (prediction.labels.ids == np.array([0, *prediction.labels.names])[own]).mean() >= .999


def test_its_chances_lie_where_its_labels_are(tmp_path):
    folder = nnunet_folder(tmp_path / "toy", reader="NibabelIOWithReorient", order=(1, 2, 0))
    volume, _ = ct(97, OBLIQUE)
    array = np.where(np.indices(volume.array.shape)[2] < 3, 0, volume.array).astype(np.int16)  # nnU-Net crops what is zero
    volume = Volume(array, volume.geometry, "CT")
    add_foreign("nnunet", folder)
    prediction = open_segmenter("toy", "cpu").segment(volume)
    kji = np.argwhere(prediction.labels.ids)[::7]
    at = np.rint(prediction.geometry.to_index(volume.geometry.to_ras(kji))).astype(int).clip(0, np.array(prediction.geometry.shape) - 1)
    channels = prediction.logits.argmax(0).numpy()[tuple(at.T)]
    ids = np.array([0, *prediction.labels.names])
    assert len(kji) > 50 and (ids[channels] == prediction.labels.ids[tuple(kji.T)]).mean() > .85


def test_it_takes_clicks(home, trained):
    add_foreign("nnunet", trained, name="toy")
    toy_click_model(home / "clicks.safetensors")
    volume, _ = ct(96)
    engine = Engine()
    engine.call("set_volume", {"geometry": plain_grid(volume.geometry), "modality": "CT"}, {"image": volume.array})
    found, arrays = engine.call("segment", {"model": "toy", "device": "cpu"}, {})
    assert {each["name"] for each in found["organs"]} == {"liver", "spleen"} and arrays["logits"].shape[0] == 3
    label = found["organs"][0]["id"]
    ras = volume.geometry.to_ras((3, 6, 5)).tolist()
    told, _ = engine.call("prompt", {"prompt": {"kind": "point", "label": label, "inside": True, "ras": ras}}, {})
    assert told["edit"]["added_ml"] > 0
    assert engine.call("current", {}, {})[1]["labels"][3, 6, 5] == label


def test_it_is_listed_described_verified_and_removed(home, trained, capsys):
    add_foreign("nnunet", trained, name="toy")
    assert main(["models", "list", "--json"]) == 0
    row = next(each for each in json.loads(capsys.readouterr().out) if each["name"] == "toy")
    assert row["kind"] == "nnunet" and row["organs"] == ["liver", "spleen"] and row["spacing_mm"] == [4.0, 3.5, 3.5] and row["modality"] == "CT"
    assert main(["models", "info", "toy"]) == 0 and main(["models", "verify", "toy"]) == 0
    assert main(["models", "remove", "toy"]) == 0
    assert not list(home.iterdir()) and (trained / "plans.json").is_file()  # the weights are not ours to delete


def test_files_changed_since_are_not_used(tmp_path):
    folder = nnunet_folder(tmp_path / "toy")
    add_foreign("nnunet", folder)
    (folder / "dataset.json").write_text((folder / "dataset.json").read_text() + " ")
    assert main(["models", "verify", "toy"]) == 1
    with pytest.raises(BadInput, match="dataset.json is another file than when"):
        open_segmenter("toy", "cpu")


class Evil:
    """Runs a command when a pickle of it is read."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_checkpoint_that_runs_code_is_refused_and_runs_nothing(tmp_path):
    folder, mark = nnunet_folder(tmp_path / "toy"), tmp_path / "mark"
    checkpoint = torch.load(folder / "fold_0/checkpoint_final.pth", weights_only=False)
    evil = Evil(f"touch {mark}")
    torch.save({**checkpoint, "logging": evil}, folder / "fold_0/checkpoint_final.pth")
    with pytest.raises(BadInput, match="would run code from it"):
        add_foreign("nnunet", folder)
    (folder / "fold_0/checkpoint_final.pth").write_bytes(pickle.dumps(evil))
    with pytest.raises(BadInput):
        add_foreign("nnunet", folder)
    assert not mark.exists()


def test_plans_may_not_name_just_any_python(tmp_path):
    folder = nnunet_folder(tmp_path / "toy")
    plans = json.loads((folder / "plans.json").read_text())
    plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]["nonlin"] = "os.system"
    (folder / "plans.json").write_text(json.dumps(plans))
    add_foreign("nnunet", folder)
    with pytest.raises(BadInput, match="'os.system'"):
        open_segmenter("toy", "cpu")


def test_stop_stops_and_leaves_no_thread_behind(trained):
    add_foreign("nnunet", trained, name="toy")
    segmenter, before = open_segmenter("toy", "cpu"), threading.active_count()

    def stop(fraction: float, stage: str) -> None:
        if fraction > .3:
            raise Cancelled

    with pytest.raises(Cancelled):
        segmenter.segment(ct(1)[0], progress=stop)
    assert threading.active_count() <= before
    assert segmenter.segment(ct(1)[0]).labels.ids.any()  # and it works as before


def test_without_the_package_the_way_to_it_is_told(trained, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "nnunetv2.inference.predict_from_raw_data", None)
    with pytest.raises(BadInput, match="needs nnunetv2.*pip install nnunetv2"):
        add_foreign("nnunet", trained)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(BadInput, match="there is no plans.json in it"):
        add_foreign("nnunet", tmp_path)


def test_regions_painted_over_one_another_become_chances_that_add_up():
    labels = labels_of({"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]})
    assert labels == (["whole rest", "core"], (1, 2), True)
    chances = exclusive(torch.tensor([0.0, 3.0]).reshape(2, 1, 1, 1)).exp().flatten()
    core = torch.sigmoid(torch.tensor(3.0))
    torch.testing.assert_close(chances, torch.stack([.5 * (1 - core), .5 * (1 - core), core]))


def test_a_model_with_regions_gives_its_own_labels(tmp_path):
    folder = nnunet_folder(tmp_path / "toy", regions=True)
    volume, _ = ct(95)
    write_volume(volume, tmp_path / "ct.nii.gz")
    add_foreign("nnunet", folder)
    prediction = open_segmenter("toy", "cpu").segment(volume)
    np.testing.assert_array_equal(prediction.labels.ids, np.array([0, *prediction.labels.names])[theirs(folder, tmp_path / "ct.nii.gz")])
    assert prediction.logits.shape[0] == 3
