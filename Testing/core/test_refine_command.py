"""`diffseg refine` as people and scripts call it."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toys import toy_ct, toy_geometry, toy_model

from DiffSegCore import read_labels, read_volume, write_labels
from DiffSegCore.cli import main
from DiffSegCore.data.images2d import read_mask, write_picture
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.volume import LabelMap

SHAPE = (20, 24, 28)
ORGANS = ("brainstem", "mandible")


def toy_refiner(path: Path, classes: int, *, channels: int = 1, flat: bool = False, shaken: bool = True, mm: float = 4.) -> str:
    """One that answers by what it sees; or, not shaken, one that gives its prior back."""
    torch.manual_seed(1)
    architecture = {"kind": "refiner", "spatial_dims": 2 if flat else 3, "image_channels": channels, "classes": classes,
                    "widths": [8, 8, 16], "step_widths": [8, 8]}
    network = build(architecture)
    for weight in network.parameters() if shaken else ():
        weight.data += .5 * torch.randn_like(weight)
    mm = 1. if flat else mm
    preprocessing = Preprocessing((mm, mm, mm), ((0., -1.), (255., 1.)) if flat else ((-1000., -1.), (1000., 1.)), "picture" if flat else "CT")
    card = {"name": "toy", "refiner": RefinerCard(organs=ORGANS[:classes - 1], levels=10).to_dict()}
    save_model(Model(network, architecture, preprocessing, (), (1, 16, 16) if flat else (16, 16, 16), card), path)
    return str(path)


def labels(names: dict[int, str]) -> LabelMap:
    ids = np.zeros(SHAPE, np.uint8)
    for n, id in enumerate(names):
        ids[5:12, 5:12, 4 + 8 * n:9 + 8 * n] = id
    return LabelMap(ids, toy_geometry(), names)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """ct.nii.gz, prior.nii.gz (two known organs and a tumour), refiners of two organs and of one object."""
    folder = tmp_path_factory.mktemp("refine")
    toy_ct(folder / "ct.nii.gz")
    write_labels(labels({1: "brainstem", 7: "mandible", 99: "tumour"}), folder / "prior.nii.gz")
    toy_refiner(folder / "organs.safetensors", 3)
    toy_refiner(folder / "object.safetensors", 1)
    return folder


def line(folder: Path, out: Path, *more: str, model: str = "organs", quick: bool = True) -> list[str]:
    words = ["refine", str(folder / "ct.nii.gz"), "--prior", str(folder / "prior.nii.gz"), "-o", str(out), "--model", str(folder / f"{model}.safetensors"),
             "--device", "cpu", *more]
    return [*words, "--steps", "2", "--samples", "2"] if quick else words


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_refined_labels_lie_on_the_inputs_grid_with_a_table_and_two_maps(folder, tmp_path, capsys):
    assert main(line(folder, tmp_path / "better.nii.gz", "--uncertainty", str(tmp_path / "doubt.nii.gz"))) == 0
    found, before, out = read_labels(tmp_path / "better.nii.gz"), read_labels(folder / "prior.nii.gz"), capsys.readouterr().out
    assert found.geometry.same_grid(before.geometry) and dict(found.names) == dict(before.names)
    assert (found.ids != before.ids).any()
    np.testing.assert_array_equal(found.ids == 99, before.ids == 99)  # the refiner doesn't know it
    assert out.splitlines()[0].split()[:3] == ["label", "ml", "before"] and "mandible" in out and " to " in out
    assert names(tmp_path) == ["better.json", "better.nii.gz", "doubt-disagreement.nii.gz", "doubt.nii.gz"]
    entropy, disagreement = (read_volume(tmp_path / name).array for name in ("doubt.nii.gz", "doubt-disagreement.nii.gz"))
    assert entropy.max() > 0 and (disagreement <= entropy + 1e-4).all()


def test_a_refiner_that_knows_how_far_to_trust_its_volumes_says_so(folder, tmp_path, capsys):
    said = []
    for name, ranges in (("unsure", None), ("sure", {"rate": .9, "cases": 15, "factors": {"brainstem": 2., "mandible": 2.}})):
        model = load_model_file(folder / "organs.safetensors")
        model.card["refiner"] |= {"volume_ranges": ranges}
        save_model(model, tmp_path / f"{name}.safetensors")
        words = line(folder, tmp_path / "o.nii.gz")
        words[words.index("--model") + 1] = str(tmp_path / f"{name}.safetensors")
        assert main(words) == 0
        said.append(capsys.readouterr().out)
    assert "chances" in said[0] and "in 90 % of cases" in said[1] and "chances" not in said[1]
    words[words.index("--steps") + 1] = "3"
    assert main(words) == 0 and "chances" in capsys.readouterr().out, "it was measured with another number of steps"
    plain, widened = ([float(word) for word in next(line for line in out.splitlines() if line.startswith("mandible")).split()[-3::2]] for out in said)
    assert widened[1] > plain[1] > 0 and widened[0] <= plain[0], "each bound is moved outwards"


def test_one_label_alone_changes_nothing_else(folder, tmp_path):
    assert main(line(folder, tmp_path / "one.nii.gz", "--label", "7", "--quiet")) == 0
    found, before = read_labels(tmp_path / "one.nii.gz").ids, read_labels(folder / "prior.nii.gz").ids
    assert (found != before).any()
    for other in (1, 99):
        np.testing.assert_array_equal(found == other, before == other)


def test_a_refiner_of_one_object_takes_any_label(folder, tmp_path):
    assert main(line(folder, tmp_path / "object.nii.gz", "--label", "99", "--quiet", model="object")) == 0
    found, before = read_labels(tmp_path / "object.nii.gz").ids, read_labels(folder / "prior.nii.gz").ids
    assert (found != before).any() and set(np.unique(found)) <= {0, 1, 7, 99}
    np.testing.assert_array_equal(found == 1, before == 1)


@pytest.mark.parametrize("kind, classes", [("organs", 3), ("object", 1)])
def test_what_a_refiner_leaves_alone_stays_to_the_voxel_on_a_grid_finer_than_its_own(folder, tmp_path, kind, classes):
    before = read_labels(folder / "prior.nii.gz")
    speckled = before.ids.copy()
    speckled[6:11:2, 6:11:2, 5] = 0  # holes of one voxel, and a voxel of its own: nothing that a grid of 8 mm could carry
    speckled[15, 15, 15] = 7
    write_labels(LabelMap(speckled, before.geometry, before.names), tmp_path / "prior.nii.gz")
    toy_refiner(tmp_path / "model.safetensors", classes, shaken=False, mm=8.)
    words = line(folder, tmp_path / "out.nii.gz", "--quiet", "--steps", "1", quick=False)
    words[words.index("--prior") + 1], words[words.index("--model") + 1] = str(tmp_path / "prior.nii.gz"), str(tmp_path / "model.safetensors")
    assert main(words) == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "out.nii.gz").ids, speckled)


def test_the_same_seed_gives_the_same_file(folder, tmp_path):
    for name, seed in (("a", "3"), ("b", "3")):
        assert main(line(folder, tmp_path / f"{name}.nrrd", "--seed", seed, "--quiet")) == 0
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nrrd").ids, read_labels(tmp_path / "b.nrrd").ids)


def test_chances_of_another_tool_are_a_prior_too(folder, tmp_path):
    soft = np.full((3, *SHAPE), .05, np.float32)
    soft[0] = .9
    soft[:, 5:12, 5:12, 4:9] = np.array([.2, .7, .1], np.float32)[:, None, None, None]
    np.savez(tmp_path / "soft.npz", probabilities=soft)
    words = line(folder, tmp_path / "o.nii.gz", "--quiet")
    words[words.index("--prior") + 1] = str(tmp_path / "soft.npz")
    assert main(words) == 0
    assert set(read_labels(tmp_path / "o.nii.gz").names.values()) == set(ORGANS)


def test_a_picture_and_its_mask_are_refined_to_a_mask(tmp_path):
    rng = np.random.default_rng(0)
    write_picture(rng.integers(0, 255, (24, 40, 3), dtype=np.uint8), tmp_path / "a.png")
    mask = np.zeros((24, 40), np.uint8)
    mask[8:16, 10:30] = 255
    write_picture(mask, tmp_path / "m.png")
    model = toy_refiner(tmp_path / "flat.safetensors", 1, channels=3, flat=True)
    assert main(["refine", str(tmp_path / "a.png"), "--prior", str(tmp_path / "m.png"), "-o", str(tmp_path / "o.png"), "--model", model,
                 "--steps", "2", "--samples", "2", "--quiet"]) == 0
    assert read_mask(tmp_path / "o.png").ids.shape == (1, 24, 40)


@pytest.mark.parametrize("more, words", [
    (["--label", "42"], "There is no label 42"),
    (["--label", "99"], "does not know label 99"),
    (["--steps", "0"], "1 or more"),
    (["--steps", "50"], "1 to 10 steps"),
    (["--prior", "nowhere.nii.gz"], "nowhere.nii.gz"),
    (["--uncertainty", "doubt.png"], "doubt.png"),
    (["--model", "nobody"], "no model 'nobody'"),
], ids=["absent label", "unknown label", "no steps", "too many steps", "no prior", "map", "model"])
def test_bad_input_is_a_sentence_and_2_and_leaves_no_file(folder, tmp_path, capsys, more, words):
    assert main(line(folder, tmp_path / "o.nii.gz", *more, quick="--steps" not in more)) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and names(tmp_path) == []


def test_a_model_without_a_refiner_says_so(folder, tmp_path, capsys):
    toy_model(folder / "head.safetensors")
    assert main(line(folder, tmp_path / "o.nii.gz", model="head")) == 2
    assert "carries no refiner" in capsys.readouterr().err


def test_the_output_is_never_an_input(folder, capsys):
    before = (folder / "prior.nii.gz").read_bytes()
    assert main(line(folder, folder / "prior.nii.gz")) == 2
    assert "is the input itself" in capsys.readouterr().err and (folder / "prior.nii.gz").read_bytes() == before


def test_stopped_it_leaves_no_file_and_130(folder, tmp_path, capsys, monkeypatch):
    def stop(*args, **more):
        raise KeyboardInterrupt
    monkeypatch.setattr("DiffSegCore.refined_labels.refine_volume", stop)
    assert main(line(folder, tmp_path / "o.nii.gz")) == 130
    assert "Stopped" in capsys.readouterr().err and names(tmp_path) == []
