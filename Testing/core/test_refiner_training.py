"""`diffseg train refiner`: proper scores, what stays fixed while what learns, and from a data set on disk to a model file."""
from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import load_model_file
from DiffSegCore.networks import OrganNetwork, Refiner, build
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.training.alternate import AlternatingNetwork
from DiffSegCore.training.beginning import see_as
from DiffSegCore.training.commands import head as head_command
from DiffSegCore.training.commands import refiner as command
from DiffSegCore.training.refiner_loss import Noised, divergence, merged, refining_loss, scores, without_unknown
from DiffSegCore.training.refiner_patches import RefinerBatch
from DiffSegCore.training.refiner_recipes import RECIPES, recipe
from DiffSegCore.training.refiner_score import CHOICE
from DiffSegCore.training.refining_network import RefiningNetwork
from DiffSegCore.writing import write_labels, write_volume

SMALL = {"widths": (8, 16, 24), "step_widths": (8, 16)}


def a_batch(labels: int = 3, size: int = 8, count: int = 2, recycled: bool = False, first: int = 0) -> RefinerBatch:
    """A block of each label, drawn on the image, and a prior that is unsure of everything; `labels` 1 is one object."""
    target = torch.zeros(count, size, size, size, dtype=torch.long)
    for label in range(1, max(labels, 2)):
        target[:, 3 * label - 2:3 * label, 1:6, 1:6] = label
    truth = nn.functional.one_hot(target, max(labels, 2)).movedim(-1, 1).float()[:, 1 if labels == 1 else 0:]
    prior = torch.full_like(truth, 1 / max(labels, 2))
    flags = torch.full((count,), False)
    return RefinerBatch(target[:, None].float() / 2, prior, truth, torch.ones(count, labels, dtype=torch.bool), torch.arange(count) + 5,
                        flags | recycled, flags, torch.arange(first, first + count))


def a_refiner(classes: int = 3, **more) -> RefiningNetwork:
    torch.manual_seed(0)
    return RefiningNetwork(Refiner(classes=classes, **SMALL, **more), RefinerCard().chain(classes))


def a_pair(**how) -> AlternatingNetwork:
    torch.manual_seed(0)
    network = build({"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16, 24]},
                     "refiner": {"classes": 3, "widths": [8, 16, 24], "step_widths": [8, 16], "feature_widths": [0, 16, 24]}})
    return AlternatingNetwork(network, RefinerCard().chain(3), **{"batch": 2, "mu": .1, "ramp": 4, **how})


@pytest.mark.parametrize("classes", (1, 3))
def test_the_divergence_is_that_of_the_chain_where_every_label_is_known(classes):
    chain, batch = RefinerCard().chain(classes), a_batch(classes)
    seen = Noised(chain.noisy(batch.truth, batch.prior, batch.times, torch.rand(2, 1, 8, 8, 8)), batch.prior, batch.times, batch.recycled)
    logits = torch.randn_like(batch.truth)
    expected = chain.kl(seen.mask, batch.truth, logits, batch.prior, batch.times, batch.times - 1).sum(1).flatten(1).mean(1)
    torch.testing.assert_close(divergence(chain, seen, logits, batch.truth, batch.known), expected, rtol=1e-4, atol=1e-6)


def test_scores_and_divergence_are_means_over_the_voxels_that_are_asked():
    chain, batch = RefinerCard().chain(3), a_batch(3)
    logits, where = torch.randn_like(batch.truth), torch.zeros(2, 8, 8, 8, dtype=torch.bool)
    where[:, :4] = True
    seen = Noised(chain.noisy(batch.truth, batch.prior, batch.times, torch.rand(2, 1, 8, 8, 8)), batch.prior, batch.times, batch.recycled)
    halves = [divergence(chain, seen, logits, batch.truth, batch.known, half) for half in (where, ~where)]
    torch.testing.assert_close(sum(halves) / 2, divergence(chain, seen, logits, batch.truth, batch.known))
    spoilt = torch.where(where[:, None], logits, 9 * logits.flip(1))
    asked, elsewhere = (divergence(chain, seen, each, batch.truth, batch.known, where) for each in (logits, spoilt))
    assert torch.equal(asked, elsewhere)
    assert torch.equal(scores(logits, batch.truth, batch.known, torch.ones_like(where)), scores(logits, batch.truth, batch.known))


def test_a_refiner_that_knows_its_spacing_learns_where_inference_refines():
    """A block that the prior is sure of, in an image where all else is background, far away: what the background says costs nothing."""
    torch.manual_seed(0)
    prior = torch.zeros(1, 3, 24, 24, 24)
    prior[:, 0] = 1
    prior[:, :2, 1:4, 1:4, 1:4] = torch.tensor([0., 1])[:, None, None, None]
    network = RefiningNetwork(Refiner(classes=3, **SMALL), RefinerCard().chain(3), spacing_mm=(4., 4., 4.))
    where = network.refinable(prior)
    assert where.shape == (1, 24, 24, 24) and where[0, :6, :6, :6].all() and not where[0, 8:].any()
    flat = RefiningNetwork(Refiner(spatial_dims=2, image_channels=3, **SMALL), RefinerCard().chain(1), spacing_mm=(1., 1., 1.))
    picture = torch.zeros(2, 1, 32, 32)
    picture[0, 0, :4] = 1
    asked = flat.refinable(picture)
    assert asked.shape == (2, 32, 32) and asked[0, :4].all() and not asked[0, 13:].any() and not asked[1].any()
    assert RefiningNetwork(Refiner(classes=3, **SMALL), RefinerCard().chain(3)).refinable(prior) is None


@pytest.mark.parametrize("classes", (1, 2))
def test_entropy_and_divergence_recover_the_true_chance(classes):
    """Identity 18, on voxels whose label is 1 with chance .3 whatever the noisy mask around them shows; the prior says .6."""
    chain, count = RefinerCard(levels=10).chain(classes), 40000
    ones = (torch.rand(1, 1, count, 1, generator=torch.Generator().manual_seed(1)) < .3).float()
    truth, prior = (x if classes == 1 else torch.cat([1 - x, x], 1) for x in (ones, torch.full_like(ones, .6)))
    t, known = torch.tensor([4]), torch.ones(1, classes, dtype=torch.bool)
    seen = Noised(chain.noisy(truth, prior, t, torch.rand(1, 1, count, 1, generator=torch.Generator().manual_seed(2))), prior, t, torch.tensor([False]))
    logits = torch.zeros(1, classes, 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([logits], .1)
    for _ in range(120):
        optimiser.zero_grad()
        wide = logits.expand_as(truth)
        belief = wide + chain.evidence(seen.mask, prior, t)
        loss = -(torch.cat([1 - ones, ones], 1) * merged(belief, known)).sum(1).mean() + chain.last * divergence(chain, seen, wide, truth, known).mean()
        loss.backward()
        optimiser.step()
    assert float(chain.chances(logits.detach())[0, -1]) == pytest.approx(.3, abs=.01)


def test_a_recycled_mask_is_no_evidence():
    chain, batch = RefinerCard().chain(1), a_batch(1)
    logits = torch.randn_like(batch.truth)
    losses = [refining_loss(chain, Noised(mask, batch.prior, batch.times, torch.tensor([True, True])), logits, batch.truth, batch.known)
              for mask in (torch.zeros_like(batch.truth), torch.ones_like(batch.truth))]
    assert losses[0] == losses[1] == scores(logits, batch.truth, batch.known).mean()


def test_undrawn_organs_are_left_out():
    known = torch.tensor([[True, True, False]])
    prior = torch.tensor([.2, .3, .5]).reshape(1, 3, 1, 1, 1)
    torch.testing.assert_close(without_unknown(prior, known).flatten(), torch.tensor([.7, .3, 0]))
    logits, truth = torch.randn(1, 3, 1, 1, 1, requires_grad=True), torch.tensor([1., 0, 0]).reshape(1, 3, 1, 1, 1)
    share = scores(logits, truth, known)
    assert float(share.detach()) == pytest.approx(-float(torch.log(1 - logits.detach().softmax(1)[0, 1])), abs=1e-5)


@pytest.mark.parametrize("recycled", (False, True))
@pytest.mark.parametrize("extreme", (0., 1., 1e-8))
def test_nothing_is_nan_for_priors_at_the_edge(extreme, recycled):
    network, batch = a_refiner(1), a_batch(1, recycled=recycled)
    loss = network(batch._replace(prior=torch.full_like(batch.prior, extreme)))
    loss.backward()
    assert loss.isfinite() and all(each.grad.isfinite().all() for each in network.parameters() if each.grad is not None)


def test_a_loss_depends_on_its_patches_numbers_alone():
    network = a_refiner()
    one, again, other = (network(a_batch(first=first)).item() for first in (0, 0, 7))
    assert one == again != other


def test_one_phantom_can_be_learnt_by_heart():
    network, batch = a_refiner(), a_batch()
    before = network.refined(batch.image, batch.prior, [1, 2]).argmax(1)
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for step in range(60):
        optimiser.zero_grad()
        network(batch._replace(times=torch.tensor([20, 1 + step % 19]), seeds=batch.seeds + 2 * step)).backward()
        optimiser.step()
    after = network.eval().refined(batch.image, batch.prior, [3, 4]).argmax(1)
    truth = batch.truth.argmax(1)
    assert (before == truth).float().mean() < .9 < .97 < (after == truth).float().mean()


def test_sign_weights_learn_by_the_same_loss():
    network, batch = a_refiner(binary=True), a_batch()
    loss = network(batch)
    loss.backward()
    assert loss.isfinite() and any(each.grad is not None and each.grad.any() for each in network.parameters())


def test_the_control_is_asked_once_with_an_empty_mask():
    network, batch = a_refiner(), a_batch()
    control = RefiningNetwork(network.network, network.chain, diffusion=False)
    logits = network.network(batch.image, batch.prior, torch.zeros_like(batch.prior), torch.zeros(2))
    assert control(batch).item() == pytest.approx(scores(logits, batch.truth, batch.known).mean().item(), rel=1e-4)


def test_refiner_steps_leave_the_segmentor_alone_and_its_steps_the_refiner():
    """Identity 19: whose weights get gradients in which step."""
    pair, batch = a_pair(), a_batch()._replace(own=torch.tensor([True, False]))
    for step, learns in ((2, "refiner"), (3, "segmentor")):
        pair.zero_grad()
        pair(batch._replace(seeds=torch.tensor([2 * step, 2 * step + 1]))).backward()
        moved = {"refiner": any(each.grad is not None for each in pair.refiner.parameters()),
                 "segmentor": any(each.grad is not None for part in (pair.network.encoder, pair.network.head) for each in part.parameters())}
        assert moved == {"refiner": learns == "refiner", "segmentor": learns == "segmentor"}
    assert all(each.requires_grad for each in pair.refiner.parameters())


def test_no_gradient_reaches_the_prior_through_theta_lambda_or_sampling():
    """Identity 19: with leave-one-out logits that do not read the prior, nothing is left that could carry one."""
    chain, batch = RefinerCard().chain(3), a_batch()
    p = torch.randn(2, 3, 8, 8, 8, requires_grad=True)
    mask = chain.noisy(batch.truth, p.softmax(1), batch.times, torch.rand(2, 1, 8, 8, 8)).detach()
    logits = torch.randn_like(batch.truth, requires_grad=True)
    refining_loss(chain, Noised(mask, p.softmax(1), batch.times, batch.recycled), logits, batch.truth, batch.known).backward()
    assert p.grad is None or not p.grad.any()
    assert logits.grad.any()


def test_the_refiners_word_grows_in_the_segmentors_steps():
    pair, batch = a_pair(), a_batch()
    with torch.no_grad():
        alone, early, late = (pair.teaching(batch, step).item() for step in (0, 2, 40))
    assert late - alone == pytest.approx(2 * (early - alone), rel=1e-3) and late > alone


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three coarse phantoms as an nnU-Net raw data set."""
    folder = tmp_path_factory.mktemp("Dataset001_Phantoms")
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    for seed in (1, 2, 3):
        volume, labels = phantom(seed, spacing_mm=(8, 8, 8), shape=(24, 28, 28))
        write_volume(volume, folder / "imagesTr" / f"case{seed}_0000.nii.gz")
        write_labels(labels, folder / "labelsTr" / f"case{seed}.nii.gz")
        (folder / "labelsTr" / f"case{seed}.json").unlink()
    table = {"channel_names": {"0": "CT"}, "labels": {"background": 0, **{name: i for i, name in labels.names.items()}}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(table))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(kind, data: Path, out: Path, *more: str, progress=lambda fraction, stage: None) -> Path:
    parser = argparse.ArgumentParser()
    kind.add_arguments(parser)
    return kind.run(parser.parse_args(["--recipe", "quick", "--data", str(data), "-o", str(out), "--device", "cpu", "--steps", "4", *more]), progress)[0]


@pytest.fixture(scope="module")
def head(data, tmp_path_factory) -> Path:
    return run(head_command, data, tmp_path_factory.mktemp("head"))


def test_a_data_set_becomes_a_refiner_that_says_how_it_is_run(data, cache, tmp_path):
    model = load_model_file(run(command, data, tmp_path, "--cache", str(cache)))
    card = RefinerCard.of(model.card)
    assert isinstance(model.network, Refiner) and model.network.classes == 8 and len(card.organs) == 7
    assert card.diffusion and not card.helps  # nobody's real prior was bettered
    assert card.steps in CHOICE
    assert set(model.card["training"]["validation_dice"]) == {"prior", "refined"}


def test_a_stopped_training_resumes_to_the_same_weights(data, cache, tmp_path, monkeypatch):
    quick = RECIPES["quick"]
    monkeypatch.setitem(RECIPES, "quick", replace(quick, budget=replace(quick.budget, validate_every=2)))

    def stop(fraction: float, stage: str) -> None:
        if stage.startswith("step 4 "):
            raise Cancelled
    whole = load_model_file(run(command, data, tmp_path / "whole", "--cache", str(cache)))
    with pytest.raises(Cancelled):
        run(command, data, tmp_path / "parts", "--cache", str(cache), progress=stop)
    again = load_model_file(run(command, data, tmp_path / "parts", "--cache", str(cache), "--resume"))
    assert all(torch.equal(a, b) for a, b in zip(whole.network.state_dict().values(), again.network.state_dict().values()))


def test_a_head_carries_its_refiner_and_stays_as_it_was(data, cache, head, tmp_path):
    model, before = load_model_file(run(command, data, tmp_path, "--cache", str(cache), "--model", str(head))), load_model_file(head)
    assert isinstance(model.network, OrganNetwork) and model.network.refiner.feature_widths == (0, 16, 32)
    assert model.organs == before.organs and model.card["training"] == before.card["training"] and "refiner_training" in model.card
    own = model.network.state_dict()
    assert all(torch.equal(own[name], value) for name, value in before.network.state_dict().items())


def test_a_refiner_begins_with_what_its_segmentor_sees_and_the_prior_as_its_answer():
    torch.manual_seed(0)
    pair = build({"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16, 24]}, "refiner": {"classes": 3, **SMALL}})
    see_as(pair.refiner, pair)
    image, prior, noisy = torch.randn(1, 1, 8, 8, 8), torch.full((1, 3, 8, 8, 8), 1 / 3), torch.zeros(1, 3, 8, 8, 8)
    given = torch.cat([image, torch.randn_like(prior)], 1)
    for ours, theirs in zip(pair.refiner.encoder.features(given), pair.encoder.features(image)):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(pair.refiner(image, prior, noisy, torch.tensor([.5])).softmax(1), prior)


def test_a_refiner_of_other_widths_cannot_begin_as_its_segmentor():
    pair = build({"kind": "organs", "organs": 2, "encoder": {"widths": [8, 16, 16]}, "refiner": {"classes": 3, **SMALL}})
    with pytest.raises(BadInput, match=r"widths \(8, 16, 24\).*\(8, 16, 16\)"):
        see_as(pair.refiner, pair)


def test_a_recipe_may_let_the_refiner_begin_as_the_segmentor(data, cache, head, tmp_path, monkeypatch):
    quick = RECIPES["quick"]
    monkeypatch.setitem(RECIPES, "quick", replace(quick, as_segmentor=True, reads=(), widths=RECIPES["quick"].head.widths,
                                                  budget=replace(quick.budget, learning_rate=0.)))
    model = load_model_file(run(command, data, tmp_path, "--cache", str(cache), "--model", str(head)))
    torch.testing.assert_close(model.network.refiner.encoder.down[0].weight, load_model_file(head).network.encoder.down[0].weight)


def test_folds_make_priors_of_every_case_and_go_on_where_they_stopped(data, cache, tmp_path):
    stages: list[str] = []
    path = run(command, data, tmp_path, "--cache", str(cache), "--folds", "2", "--control", progress=lambda fraction, stage: stages.append(stage))
    files = sorted(tmp_path.rglob("*.prior.npy"))
    assert {file.name.split("-")[0] for file in files} == {"case1", "case2", "case3"}
    np.testing.assert_allclose(np.load(files[0]).astype(np.float32).sum(0), 1, atol=.01)
    card = RefinerCard.of(load_model_file(path).card)
    assert path.name == "quick-control.safetensors" and not card.diffusion
    before = len([stage for stage in stages if stage.startswith("step")])
    stages.clear()
    run(command, data, tmp_path, "--cache", str(cache), "--folds", "2", progress=lambda fraction, stage: stages.append(stage))
    assert before == 12 and len([stage for stage in stages if stage.startswith("step")]) == 4
    with pytest.raises(BadInput, match="steps differ"):
        run(command, data, tmp_path, "--cache", str(cache), "--folds", "2", "--fold-steps", "2")


def test_a_models_own_answers_are_priors_and_the_card_tells_how_much_better_they_are_where_it_learnt(data, cache, head, tmp_path):
    path = run(command, data, tmp_path, "--cache", str(cache), "--model", str(head), "--in-sample")
    assert {file.name.split("-")[0] for file in tmp_path.rglob("*.prior.npy")} == {"case1", "case2", "case3"}
    told = load_model_file(path).card["refiner_training"]
    assert told["priors"] == "in sample" and set(told["prior_dice"]) == {"learnt_from", "checked_with"}
    assert all(0 <= dice <= 1 for dice in told["prior_dice"].values())
    with pytest.raises(BadInput, match="--in-sample takes the priors from --model"):
        run(command, data, tmp_path, "--in-sample")


def test_segmentor_and_refiner_learn_in_turns(data, cache, head, tmp_path):
    model, before = load_model_file(run(command, data, tmp_path, "--cache", str(cache), "--model", str(head), "--alternate")), load_model_file(head)
    own = model.network.state_dict()
    assert any(not torch.equal(own[name], value) for name, value in before.network.state_dict().items())
    assert model.card["refiner_training"]["alternate"]


def test_another_tools_labels_are_priors(data, cache, tmp_path):
    path = run(command, data, tmp_path, "--cache", str(cache), "--priors", str(data / "labelsTr"))
    assert load_model_file(path).card["training"]["validation_dice"]["prior"] > .95  # its labels are the truth's


def test_bad_wishes_get_a_sentence(data, head, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, more in (("holds none", ["--priors", str(tmp_path / "empty")]), ("does not exist", ["--priors", str(tmp_path / "nowhere")]),
                        ("choose one", ["--priors", str(tmp_path), "--folds", "3"]), ("from 2", ["--folds", "1"]), ("2 to 2 folds", ["--folds", "9"]),
                        ("leave --priors", ["--alternate", "--folds", "2"]), ("add --folds", ["--fold-steps", "3"]),
                        ("channel", ["--channels", "4"]), ("resume", ["--resume"])):
        with pytest.raises(BadInput, match=words):
            run(command, data, tmp_path / "out", *more)
    with pytest.raises(BadInput, match="no recipe 'kidneys'.*head-neck-refiner"):
        recipe("kidneys")


def test_every_recipe_describes_itself_as_plain_values_and_fits_its_windows():
    for each in RECIPES.values():
        json.dumps([each.preprocessing.to_dict(), each.card])
        assert all(size % 2 ** (len(each.widths) - 1) == 0 for size in (each.window[1:] if each.flat else each.window))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Four coloured pictures of a bright disc, with masks."""
    from DiffSegCore.data.images2d import write_picture
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(4):
        disc = np.hypot(*np.ogrid[-16 - number:24 - number, -20:20]) < 9
        write_picture((np.stack([disc, disc * .5, ~disc * .3], -1) * 255).astype(np.uint8), folder / "images" / f"{number}.png")
        write_picture((disc * 255).astype(np.uint8), folder / "masks" / f"{number}.png")
    return folder


@pytest.mark.parametrize("more", ([], ["--alternate"]), ids=("alone", "in turns"))
def test_pictures_with_masks_train_a_flat_refiner_of_one_object(pictures, tmp_path, monkeypatch, more):
    vessels = RECIPES["vessels-2d"]
    monkeypatch.setitem(RECIPES, "quick", replace(vessels, window=(1, 16, 16), watched=2, widths=(8, 16, 24), step_widths=(8, 16), reads=(1,),
                                                  budget=replace(vessels.budget, batch=2, warmup=1)))
    model = load_model_file(run(command, pictures, tmp_path, *more))
    refiner = model.network.refiner if more else model.network
    assert refiner.classes == 1 and model.window == (1, 16, 16) and RefinerCard.of(model.card).odds == 1
    assert refiner(torch.zeros(1, 3, 16, 16), torch.full((1, 1, 16, 16), .5), torch.zeros(1, 1, 16, 16), torch.zeros(1),
                   [None, torch.zeros(1, 24, 8, 8), None] if more else []).shape == (1, 1, 16, 16)


def test_one_object_of_any_kind_is_refined_against_all_else(data, cache, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "quick", replace(RECIPES["quick"], one=True))
    model = load_model_file(run(command, data, tmp_path, "--cache", str(cache), "--priors", str(data / "labelsTr")))
    assert model.network.classes == 1 and RefinerCard.of(model.card).organs == ()
    assert model.card["training"]["validation_dice"]["prior"] > .95
