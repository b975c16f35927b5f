"""`diffseg train click`: situations that are functions of their number, prompts that hold, and from data on disk to a model for sessions."""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from DiffSegCore.crops import SPACINGS_MM
from DiffSegCore.data.click_cases import kept_cases, kept_label_maps, labelled_cases, without
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.geometry import Geometry
from DiffSegCore.model import Model, load_model_file
from DiffSegCore.networks import Refiner
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.prompt_maps import PROMPT_CHANNELS
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.training.click import ClickSources, patches_to_learn
from DiffSegCore.training.click_naming import Named, Naming
from DiffSegCore.training.click_network import ClickNetwork
from DiffSegCore.training.click_patches import ClickBatches, ClickPatches
from DiffSegCore.training.click_recipes import RECIPES, recipe
from DiffSegCore.training.commands import click as command
from DiffSegCore.training.recipes import CT_KNOTS
from DiffSegCore.volume import LabelMap, Volume
from DiffSegCore.writing import write_labels, write_volume
from toys import toy_click_model

SIZE = (16, 16, 16)
CT = Preprocessing((2., 2., 2.), CT_KNOTS)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Four small CTs with two blocks of their own brightness, one folder each."""
    folder = tmp_path_factory.mktemp("data") / "blocks"
    grid = Geometry((14, 24, 26), np.diag([3., 3., 5., 1.]))
    for number in range(4):
        ids = np.zeros(grid.shape, np.uint8)
        ids[3:9, 4 + number:12, 5:14], ids[4:11, 14:20, 15:22] = 1, 2
        hu = np.array([0, 150, -80])[ids] + np.random.default_rng(number).normal(0, 10, grid.shape)
        (folder / f"case{number}").mkdir(parents=True)
        write_volume(Volume(hu.astype(np.int16), grid, "CT"), folder / f"case{number}" / "ct.nii.gz")
        write_labels(LabelMap(ids, grid, {1: "liver", 2: "spleen"}), folder / f"case{number}" / "label.nii.gz")
    return folder


@pytest.fixture(scope="module")
def cases(data, tmp_path_factory) -> list:
    return kept_cases(labelled_cases(data)[0], "blocks", tmp_path_factory.mktemp("cache"))


def a_network(**how) -> ClickNetwork:
    torch.manual_seed(0)
    return ClickNetwork(Refiner(image_channels=2, prompt_channels=PROMPT_CHANNELS, widths=(8, 16, 24), step_widths=(8, 16)), RefinerCard().chain(1), **how)


def batches(cases, **how) -> ClickBatches:
    return ClickBatches(ClickPatches(cases, SIZE, CT), RefinerCard().chain(1).keep, **how)


def run(data: Path, out: Path, *more: str, progress=lambda fraction, stage: None):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", *more]), progress)


def test_a_situation_depends_on_its_number_alone(cases):
    one, again = (ClickPatches(cases, SIZE, CT).situation(5) for _ in range(2))
    torch.testing.assert_close(one.image, again.image)
    np.testing.assert_array_equal(one.truth, again.truth)
    assert one.truth.any() and len(one.marks) == len(again.marks)


def test_prompts_hold_in_prior_and_truth_and_objects_show(cases):
    patches, prompted = ClickPatches(cases, SIZE, CT), 0
    for number in range(30):
        situation = patches.situation(number)
        seen = situation.rendered()
        certain = (seen.prior == 0) | (seen.prior == 1)
        assert situation.image.shape == (2, *SIZE) and situation.image.abs().max() <= 1 and situation.truth.sum() >= 8
        torch.testing.assert_close(seen.prior[certain], seen.truth[certain])
        prompted += bool(situation.marks) and bool(certain.any())
        assert seen.prompts.shape == (PROMPT_CHANNELS, *SIZE) and 0 <= seen.near.min() and seen.near.max() <= 1
        assert situation.marks or situation.mask.any()
    assert prompted > 20


def test_an_object_in_a_crop_lies_where_it_lies_in_the_volume(cases):
    case = cases[0]
    grid = Geometry((8, 8, 8), np.array([[3., 0, 0, 15], [0, 3, 0, 15], [0, 0, 5, 15], [0, 0, 0, 1]]))  # voxel (3, 5, 5)
    np.testing.assert_array_equal(case.object(1, grid), case.labels[3:11, 5:13, 5:13] == 1)
    np.testing.assert_array_equal(case.labels_on(grid), case.labels[3:11, 5:13, 5:13])


def test_fine_scans_are_kept_at_a_millimetre(tmp_path):
    ids = np.zeros((10, 40, 44), np.uint8)
    ids[2:8, 10:30, 10:30] = 1
    write_labels(LabelMap(ids, Geometry(ids.shape, np.diag([.5, .5, 2., 1.])), {1: "liver"}), tmp_path / "fine.nii.gz")
    case, = kept_label_maps([tmp_path / "fine.nii.gz"], tmp_path / "cache")
    assert case.image is None and case.labels.shape == (10, 20, 22) and case.geometry.spacing == pytest.approx((2, 1, 1))
    assert case.boxes[1].start == (2, 5, 5) and case.boxes[1].stop == (8, 15, 15)


def test_small_crops_come_first(cases):
    patches = ClickPatches(cases, SIZE, CT, small=((8, 8, 8), 3))
    assert [patches.situation(number).truth.shape for number in range(5)] == 3 * [(8, 8, 8)] + 2 * [SIZE]


def test_a_recipe_says_for_how_long_crops_are_small(data, tmp_path):
    """Until the learning rate restarts, after .75 of 8 steps of 2."""
    drawn = patches_to_learn(recipe("quick"), ClickSources([data]), tmp_path, Fabric(accelerator="cpu", devices=1))
    assert drawn.small == ((8, 8, 8), 12) and drawn.size == SIZE


def test_a_crop_tells_which_structures_it_shows_and_which_the_case_has(cases):
    case = replace(cases[0], boxes={2: cases[0].boxes[2]})
    grid = Geometry((8, 8, 8), np.array([[3., 0, 0, 30], [0, 3, 0, 30], [0, 0, 5, 20], [0, 0, 0, 1]]))  # voxel (4, 10, 10)
    named, labels = Named.of(case, grid, {"blocks": [1, 2]}), case.labels[5:12:2, 11:18:2, 11:18:2]
    assert (labels == 1).any() and (labels == 2).any()
    np.testing.assert_array_equal(named.ids, np.where(labels == 2, 2, 0))
    assert named.ids.shape == (4, 4, 4) and named.known.tolist() == [True, False, True]


def test_naming_teaches_all_levels_but_the_finest_and_asks_only_the_head_of_the_data_set():
    naming = Naming({"chest": [1, 4], "blocks": [1, 2, 7]}, (8, 16, 24))
    pyramid = [torch.randn(1, width, *[8 // 2 ** n] * 3, requires_grad=True) for n, width in enumerate((8, 16, 24))]
    ids = torch.zeros(4, 4, 4, dtype=torch.long)
    ids[1:3] = 3
    loss = naming(pyramid, [Named("blocks", ids, torch.tensor([True, True, False, True]))])
    loss.backward()
    assert pyramid[0].grad is None and all(level.grad.any() for level in pyramid[1:])
    assert all(each.grad is None for each in naming.heads[0].parameters()) and any(each.grad.any() for each in naming.heads[1].parameters())


def test_naming_is_learnt_and_left_behind(cases, data, tmp_path):
    made = batches(cases, own=0.)
    network, batch = a_network(naming=Naming(made.patches.structures, (8, 16, 24))), made.batch(0, 2)
    named, optimiser, losses = [each.named for each in batch.situations.each], torch.optim.Adam(network.parameters(), 1e-2), []
    for _ in range(25):
        optimiser.zero_grad()
        network(batch).backward()
        optimiser.step()
        with torch.no_grad():
            losses.append(network.naming(network.refiner.pyramid(batch.image, batch.prior, (), batch.prompts), named).item())
    assert losses[-1] < .5 * losses[0]
    path, = run(data, tmp_path)
    assert not [name for name in load_model_file(path).network.state_dict() if "naming" in name]


@pytest.mark.parametrize("own", (0., 1.))
@pytest.mark.parametrize("how", ({}, {"diffusion": False}), ids=("diffusion", "control"))
def test_the_loss_is_finite_and_reaches_every_weight_that_is_used(cases, own, how):
    network, batch = a_network(**how), batches(cases, own=own).batch(0, 2)
    loss = network(batch)
    loss.backward()
    assert loss.isfinite() and all(each.grad.isfinite().all() for each in network.parameters() if each.grad is not None)
    assert any(each.grad is not None and each.grad.any() for each in network.parameters())


def test_every_round_adds_one_prompt_where_the_last_answer_was_wrong(cases):
    network, batch = a_network(), batches(cases, own=1.).batch(0, 4)
    assert batch.rounds.tolist() == [5, 5, 5, 5] and not batches(cases, own=0.).batch(0, 4).rounds.any()
    batch = batch._replace(rounds=torch.tensor([2, 0, 1, 0]))
    after = network._prompted_again(batch)
    assert [len(b.marks) - len(a.marks) for a, b in zip(batch.situations.each, after.situations.each)] == [2, 0, 1, 0]
    assert [not torch.equal(a, b) for a, b in zip(batch.prompts, after.prompts)] == [True, False, True, False]


def test_half_of_the_answers_get_another_round_each_time(cases):
    rounds = batches(cases, own=.5).batch(0, 64).rounds
    shares = [(rounds > done).float().mean().item() for done in range(6)]
    assert shares[5] == 0 and np.allclose(shares[:4], (.5, .25, .125, .0625), atol=.15) and shares[1] > 0


def test_crops_of_one_step_go_through_as_many_rounds_whoever_takes_them(cases):
    drawn = batches(cases, own=.5, together=2)
    pairs = drawn.batch(0, 32).rounds.reshape(-1, 2)
    assert torch.equal(pairs[:, 0], pairs[:, 1]) and len(pairs.unique()) > 2
    assert [drawn.batch(number, 1).rounds.item() for number in range(8)] == pairs.flatten()[:8].tolist()


def test_answers_keep_what_prompts_fix(cases):
    network, batch = a_network().eval(), batches(cases).batch(0, 4)
    certain = (batch.prior == 0) | (batch.prior == 1)
    for steps in (1, 3):
        found = network.answers(batch.image, batch.prior, batch.prompts, [1, 2, 3, 4], steps=steps)
        assert certain.any() and torch.equal(found[certain], batch.prior[certain])


def test_one_situation_can_be_learnt_by_heart(cases):
    network, made = a_network(), batches(cases, own=0., recycled=.5)
    batch = made.batch(0, 2)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(30):
        optimiser.zero_grad()
        times = torch.tensor([20, 1 + 7 * step % 19]).roll(step)
        network(batch._replace(times=times, recycled=torch.tensor([step % 4 < 2] * 2), seeds=batch.seeds + 2 * step)).backward()
        optimiser.step()
    before, after = (network.answers(batch.image, batch.prior, batch.prompts, [3, 4], steps=steps) >= .5 for steps in (1, 2))
    for found in (before, after):
        assert ((found == (batch.truth >= .5)).float().mean((1, 2, 3, 4)) > .93).all()


def test_from_data_on_disk_to_a_model_for_sessions(data, tmp_path):
    path, = run(data, tmp_path, "--leave-out", "case3")
    model = load_model_file(path)
    assert model.window == SIZE and model.architecture["steady"] and model.organs == () and model.card["click"]["spacings_mm"] == list(SPACINGS_MM)
    assert RefinerCard.of(model.card).diffusion and model.network.prompt_channels == PROMPT_CHANNELS
    assert set(model.card["training"]["validation_dice"]) == {"1 clicks", "3 clicks", "5 clicks"} and model.card["training"]["left_out"] == ["case3"]
    assert not list((tmp_path / "cache").glob("case3*"))


def test_the_last_weights_are_had_for_the_asking(data, tmp_path):
    path, = run(data, tmp_path, "--last")
    averaged = torch.load(tmp_path / "last.ckpt", weights_only=True)["averaged"]
    model = load_model_file(path)
    assert all(torch.equal(value, averaged[f"module.network.{name}"]) for name, value in model.network.state_dict().items())
    assert model.card["training"]["weights"] == "averaged, of the last step"


def test_structures_can_stay_unseen(data, tmp_path):
    """Nothing is drawn of them, and the card says so."""
    learn, _, names = labelled_cases(data)
    left = without(kept_cases(learn, "blocks", tmp_path / "cache"), ["spleen"], names)
    assert names == {1: "liver", 2: "spleen"} and len(left) == len(learn) and all(list(case.boxes) == [1] for case in left)
    assert without(left, ["liver"], names) == [] and without(left, ["label_1"], {}) == []
    drawn = patches_to_learn(recipe("quick"), ClickSources([data], unseen=["spleen"], cache=tmp_path / "cache"), tmp_path, Fabric(accelerator="cpu", devices=1))
    assert {label for cases in drawn.groups.values() for case in cases for label in case.boxes} == {1}
    path, = run(data, tmp_path / "out", "--unseen", "spleen", "--cache", str(tmp_path / "cache"))
    assert load_model_file(path).card["training"]["unseen"] == ["spleen"]


def test_a_structure_that_the_data_does_not_have_is_named(data, tmp_path):
    with pytest.raises(BadInput, match="no structure called pancreas.*liver, spleen"):
        run(data, tmp_path, "--unseen", "pancreas", "liver")


def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(data, tmp_path):
    def stop(fraction: float, stage: str) -> None:
        if stage.startswith("step 6"):
            raise Cancelled

    whole, = run(data, tmp_path / "whole", "--cache", str(tmp_path / "cache"))
    with pytest.raises(Cancelled):
        run(data, tmp_path / "parts", "--cache", str(tmp_path / "cache"), progress=stop)
    parts, = run(data, tmp_path / "parts", "--cache", str(tmp_path / "cache"), "--resume", "--workers", "1")
    one, other = (load_model_file(path).network.state_dict() for path in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_training_may_begin_with_the_weights_of_another(data, tmp_path):
    def stem(folder: str, *more: str) -> torch.Tensor:
        path, = run(data, tmp_path / folder, "--cache", str(tmp_path / "cache"), *more)
        return load_model_file(path).network.encoder.stem.weight

    learnt, anew = stem("first", "--last"), stem("anew", "--steps", "1")
    first = tmp_path / "first" / "quick.safetensors"
    further = stem("further", "--steps", "1", "--start", str(first))
    assert (further - learnt).abs().max() < .2 * (anew - learnt).abs().max()
    assert load_model_file(tmp_path / "further" / "quick.safetensors").card["training"]["started_with"] == load_model_file(first).sha256


def test_a_training_may_keep_a_share_of_the_weights_that_it_began_with(data, tmp_path):
    def trained(folder: str, *more: str) -> Model:
        path, = run(data, tmp_path / folder, "--cache", str(tmp_path / "cache"), "--last", *more)
        return load_model_file(path)

    first = trained("first")
    start = "--start", str(tmp_path / "first" / "quick.safetensors")
    further, kept = trained("further", *start), trained("kept", *start, "--keep", ".25")
    old, new, found = (each.network.encoder.stem.weight for each in (first, further, kept))
    assert not torch.allclose(old, new) and torch.allclose(found, .25 * old + .75 * new, atol=1e-6)
    assert kept.card["training"]["kept"] == .25 and "kept" not in further.card["training"]


@pytest.mark.parametrize("keep, start", [("1", True), ("-.5", True), ("nan", True), (".5", False)])
def test_a_share_to_keep_of_nothing_or_of_all_is_refused(data, tmp_path, keep, start):
    more = ("--start", str(toy_click_model(tmp_path / "other.safetensors"))) if start else ()
    with pytest.raises(BadInput, match="--keep is the share"):
        run(data, tmp_path / "out", f"--keep={keep}", *more)


def test_weights_of_another_form_are_refused_before_anything_is_written(data, tmp_path):
    other = toy_click_model(tmp_path / "other.safetensors")
    with pytest.raises(BadInput, match="other.safetensors holds a network of another form"):
        run(data, tmp_path / "out", "--start", str(other))
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").glob("*.safetensors"))


def test_the_control_looks_without_noise(data, tmp_path):
    path, = run(data, tmp_path, "--control")
    assert path.name == "quick-control.safetensors" and not RefinerCard.of(load_model_file(path).card).diffusion


def test_a_check_tells_what_there_is_and_trains_nothing(data, tmp_path):
    said = run(data, tmp_path, "--check")
    assert "4 of blocks" in said[0] and "hours" in said[2] and not list(tmp_path.glob("*.safetensors"))


def test_what_cannot_be_trained_on_is_refused_by_name(data, tmp_path):
    with pytest.raises(BadInput, match="no labelled training case left"):
        run(data, tmp_path, "--leave-out", "case*")
    with pytest.raises(BadInput, match="no recipe 'kidneys'.*click"):
        recipe("kidneys")
    with pytest.raises(BadInput, match="--workers"):
        run(data, tmp_path, "--workers", "-1")


def test_every_recipe_is_plain_values_and_fits_its_window():
    for each in RECIPES.values():
        json.dumps([each.preprocessing.to_dict(), each.card])
        assert all(size % 2 ** (len(each.widths) - 1) == 0 for size in (*each.window, *each.small))
        assert replace(each).name in RECIPES
