"""The refiner: starts as the prior, never sees a voxel's own noisy value, and does its heavy work once."""
from __future__ import annotations

import pytest
import torch

from DiffSegCore.diffusion import BernoulliDiffusion, CategoricalDiffusion, VoxelFields, cosine_squared, levels
from DiffSegCore.model import Model, load_model_file, save_model
from DiffSegCore.networks import OrganNetwork, Refiner, build
from DiffSegCore.networks.attention import MutualAttention, place_code
from DiffSegCore.networks.binary import SignConvolution, packed, sign
from DiffSegCore.networks.blindspot import apart, together
from DiffSegCore.networks.refiner import evidence, prior_logits, spread_over
from DiffSegCore.preprocess import Preprocessing

SMALL = {"widths": (8, 16, 24), "step_widths": (8, 16)}
SIZES = {2: (16, 24), 3: (8, 16, 8)}
KEEP = torch.tensor([.3, .6])


def given(spatial_dims: int = 3, image_channels: int = 1, classes: int = 1, batch: int = 2) -> dict[str, torch.Tensor]:
    """Image, prior and noisy mask."""
    random, size = torch.Generator().manual_seed(1), SIZES[spatial_dims]
    prior = torch.rand(batch, classes, *size, generator=random)
    uniform = torch.rand(batch, 1, *size, generator=random)
    if classes > 1:
        prior = (3 * prior).softmax(1)
    diffusion = (CategoricalDiffusion if classes > 1 else BernoulliDiffusion)(cosine_squared(10))
    return {"image": torch.randn(batch, image_channels, *size, generator=random), "prior": prior, "noisy": diffusion.draw(prior, uniform)}


def a_refiner(stirred: bool = True, **options) -> Refiner:
    """Small; `stirred`: nothing begins at zero any more, so that what each part does shall be seen."""
    torch.manual_seed(0)
    refiner = Refiner(**{**SMALL, **options}).eval()
    if stirred:
        for parameter in refiner.parameters():
            torch.nn.init.normal_(parameter, std=.2)
    return refiner


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("image_channels", [1, 3, 4])
@pytest.mark.parametrize("classes", [1, 2, 5])
def test_any_image_and_any_number_of_classes_give_logits_of_the_masks_shape(spatial_dims, image_channels, classes):
    tensors = given(spatial_dims, image_channels, classes)
    logits = a_refiner(spatial_dims=spatial_dims, image_channels=image_channels, classes=classes)(**tensors, keep=KEEP)
    assert logits.shape == tensors["prior"].shape and logits.isfinite().all()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("classes", [1, 4])
def test_an_untrained_refiner_gives_the_prior_back(classes, binary):
    tensors = given(classes=classes)
    logits = a_refiner(stirred=False, classes=classes, binary=binary)(**tensors, keep=KEEP)
    assert torch.equal(logits, prior_logits(tensors["prior"]))
    if classes == 1:
        torch.testing.assert_close(logits.sigmoid(), tensors["prior"].clamp(.02, .98))


def test_a_prior_whose_chances_mean_what_they_say_can_be_believed_more():
    prior = torch.tensor([.0001, .01, .5, .995]).reshape(1, 1, 1, 4).expand(1, 1, 16, 16, 4).repeat(1, 1, 1, 1, 4)
    logits = a_refiner(stirred=False, floor=.001)(torch.zeros_like(prior), prior, torch.zeros_like(prior), KEEP[:1])
    torch.testing.assert_close(logits.sigmoid(), prior.clamp(min=.001))


def test_two_classes_start_as_one_object_does():
    """Identity 10 for the network: softmax over (background, object) is the sigmoid of one."""
    prior = torch.linspace(0, 1, 21).reshape(1, 1, 3, 7)
    both = prior_logits(torch.cat([1 - prior, prior], dim=1))
    torch.testing.assert_close(both[:, 1:] - both[:, :1], prior_logits(prior))


def test_with_an_untrained_refiner_the_chain_runs_the_same_both_ways():
    """Identity 5 for the network: r = p, so that reverse = forward."""
    diffusion, tensors = BernoulliDiffusion(cosine_squared(10)), given()
    tensors["prior"] = tensors["prior"].clamp(.02, .98)
    logits = a_refiner(stirred=False)(**tensors, keep=KEEP)
    reverse = diffusion.reverse(tensors["noisy"], logits, tensors["prior"], 7, 3)
    torch.testing.assert_close(reverse, diffusion.forward(tensors["noisy"], tensors["prior"], 7, 3))


@pytest.mark.parametrize("spatial_dims, classes, binary", [(2, 1, False), (3, 1, False), (3, 4, False), (3, 1, True)])
def test_no_voxel_sees_its_own_noisy_value_and_nearly_all_see_it(spatial_dims, classes, binary):
    """Leave-one-out, exactly: not a bit differs where the value was, and at its lattice; all the others may know."""
    refiner, tensors = a_refiner(spatial_dims=spatial_dims, classes=classes, binary=binary), given(spatial_dims, classes=classes)
    context, place = refiner.context(tensors["image"], tensors["prior"]), (slice(None), *[5] * spatial_dims)
    other = tensors["noisy"].clone()
    other[0][place] = 1 - other[0][place] if classes == 1 else other[0][place].roll(1)
    told = (refiner.step(context, tensors["noisy"], KEEP) != refiner.step(context, other, KEEP)).any(1)
    assert not told[0][tuple(slice(1, None, 2) for _ in range(spatial_dims))].any()
    assert not told[1].any()
    assert told[0].float().mean() > (.6 if binary else 1 - .5 ** spatial_dims - .05)


def test_where_nothing_was_kept_the_noise_says_nothing():
    """Identity 4 for the network: at T the posterior does not depend on y_T."""
    refiner, tensors = a_refiner(), given()
    context, nothing_kept = refiner.context(tensors["image"], tensors["prior"]), torch.zeros(2)
    answers = [refiner.step(context, noisy, nothing_kept) for noisy in (tensors["noisy"], 1 - tensors["noisy"])]
    assert torch.equal(*answers)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_neighbours_are_read_as_likelihood_ratios(classes):
    diffusion = (CategoricalDiffusion if classes > 1 else BernoulliDiffusion)(cosine_squared(10))
    tensors = given(classes=classes)
    for t in (2, 5, 10):
        read = evidence(tensors["noisy"], tensors["prior"], diffusion.keep[[t, t]])
        torch.testing.assert_close(read, diffusion.evidence(tensors["noisy"], tensors["prior"], t), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("classes", [1, 3])
def test_the_evidence_is_finite_at_both_ends_and_for_certain_priors(classes):
    prior = torch.tensor([1., 0., 0.][:classes]).reshape(1, classes, 1, 1).requires_grad_()
    for keep in (0., 1e-8, .5, 1.):
        for noisy in (torch.zeros_like(prior), torch.ones_like(prior), prior):
            assert evidence(noisy.detach(), prior, torch.tensor([keep])).isfinite().all()


@pytest.mark.parametrize("options", [{}, {"classes": 3}, {"binary": True}])
def test_context_once_and_a_step_are_the_whole(options):
    refiner, tensors = a_refiner(**options), given(classes=options.get("classes", 1))
    context = refiner.context(tensors["image"], tensors["prior"])
    refiner.step(context, 1 - tensors["noisy"], KEEP)
    assert torch.equal(refiner.step(context, tensors["noisy"], KEEP), refiner(**tensors, keep=KEEP))


def test_a_context_serves_any_number_of_samples():
    refiner, tensors = a_refiner(), given()
    context, noisy = refiner.context(tensors["image"], tensors["prior"]), torch.stack([given(batch=2)["noisy"], tensors["noisy"].flip(2)], 1)
    shared = refiner.step(context.repeated(2), noisy.flatten(0, 1), KEEP.repeat_interleave(2))
    for n in range(2):
        torch.testing.assert_close(shared[n::2], refiner.step(context, noisy[:, n], KEEP))
    one = refiner.context(tensors["image"][:1], tensors["prior"][:1])
    torch.testing.assert_close(refiner.step(one, noisy[0], KEEP), refiner.step(one.repeated(2), noisy[0], KEEP))
    assert one.repeated(50).fine.untyped_storage().data_ptr() == one.fine.untyped_storage().data_ptr()


@pytest.mark.parametrize("classes", [1, 3])
def test_it_is_the_model_that_sampling_asks_for(classes):
    diffusion = (CategoricalDiffusion if classes > 1 else BernoulliDiffusion)(cosine_squared(10))
    refiner, tensors = a_refiner(classes=classes), given(classes=classes, batch=1)
    context, fields = refiner.context(tensors["image"], tensors["prior"]), VoxelFields.of(SIZES[3], seeds=(0, 1, 2))
    chances = diffusion.sample(lambda noisy, t: refiner.step(context, noisy, diffusion.keep[t.cpu()]), tensors["prior"].expand(3, -1, -1, -1, -1),
                               levels(10, 3), fields.uniform)
    assert chances.shape == (3, classes, *SIZES[3]) and chances.isfinite().all() and not torch.equal(chances[0], chances[1])


def test_features_prompts_and_coordinates_change_the_answer_and_may_be_missing():
    refiner, tensors = a_refiner(feature_widths=(8, 0, 16), prompt_channels=2, body=True), given()
    features = [torch.randn(2, 8, 8, 16, 8), None, torch.randn(2, 16, 2, 4, 2)]
    plain = refiner(**tensors, keep=KEEP)
    for told in ({"features": features}, {"features": features[:1]}, {"features": [None, *features[1:]]},
                 {"prompts": torch.ones(2, 2, *SIZES[3])}, {"body": torch.rand(2, 3, 2, 4, 2)}):
        assert not torch.equal(refiner(**tensors, keep=KEEP, **told), plain)
    for nothing in ({"features": [None] * 3}, {"prompts": torch.zeros(2, 2, *SIZES[3])}):
        assert torch.equal(refiner(**tensors, keep=KEEP, **nothing), plain)


def test_memory_format_does_not_change_the_answer():
    refiner, tensors = a_refiner(), given()
    plain = refiner(**tensors, keep=KEEP)
    torch.testing.assert_close(refiner.to(memory_format=torch.channels_last_3d)(**tensors, keep=KEEP), plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"binary": True}, {"body": True, "prompt_channels": 1}])
def test_every_weight_gets_a_gradient_and_so_does_the_prior(options):
    """The prior's is how a segmentor learns from its refiner (METHODS B2)."""
    refiner, tensors = a_refiner(**options).train(), given()
    told = {"body": torch.rand(2, 3, 2, 4, 2)} if "body" in options else {}
    told |= {"prompts": torch.randn(2, 1, *SIZES[3])} if "prompt_channels" in options else {}
    tensors["prior"].requires_grad_()
    refiner(**tensors, keep=KEEP, **told).square().mean().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in refiner.parameters())
    assert tensors["prior"].grad.abs().sum() > 0


def test_a_refiner_learns_what_only_the_neighbours_tell():
    """Image and prior say nothing; the truth is one label for all voxels, so that the noisy values of others give it away."""
    refiner, diffusion = a_refiner(stirred=False).train(), BernoulliDiffusion(cosine_squared(10))
    optimiser = torch.optim.Adam(refiner.parameters(), 1e-2)
    prior, random = torch.full((8, 1, 8, 8, 8), .5), torch.Generator().manual_seed(3)
    for _ in range(40):
        truth = torch.randint(0, 2, (8, 1, 1, 1, 1), generator=random).float().expand_as(prior)
        noisy = diffusion.noisy(truth, prior, 5, torch.rand(prior.shape, generator=random))
        logits = refiner(torch.zeros_like(prior), prior, noisy, diffusion.keep[[5] * 8])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < .2


@pytest.mark.parametrize("binary", [False, True])
def test_a_refiners_file_gives_the_same_refiner(tmp_path, binary):
    architecture = {"kind": "refiner", "classes": 3, "widths": [8, 16, 24], "step_widths": [8, 16], "binary": binary}
    refiner, tensors = a_refiner(classes=3, binary=binary), given(classes=3)
    preprocessing = Preprocessing((2., 3., 3.), ((-1000., -1.), (1000., 1.)))
    save_model(Model(refiner, architecture, preprocessing, (), (8, 8, 8), {"name": "toy"}), tmp_path / "toy.safetensors")
    again = load_model_file(tmp_path / "toy.safetensors").network
    assert torch.equal(again(**tensors, keep=KEEP), refiner(**tensors, keep=KEEP))


def test_an_organ_network_may_carry_a_refiner():
    described = {"kind": "organs", "organs": 2, "encoder": {"widths": (8, 16, 24)}}
    network = build({**described, "refiner": {"classes": 3, "feature_widths": (8, 16, 24), **SMALL}})
    assert isinstance(network, OrganNetwork) and isinstance(network.refiner, Refiner) and build(described).refiner is None
    image = given()["image"]
    pyramid = network.encoder.features(image)
    prior = network.head(pyramid).softmax(1)
    assert network.refiner(image, prior, torch.zeros_like(prior), torch.zeros(2), pyramid).shape == (2, 3, *SIZES[3])


def test_an_organ_network_reads_pictures_too():
    network = build({"kind": "organs", "organs": 1, "encoder": {"widths": (8, 16, 24), "in_channels": 3, "spatial_dims": 2}})
    assert network(torch.randn(2, 3, 16, 24)).shape == (2, 2, 16, 24)


def test_a_binary_refiner_has_weights_of_one_size_an_output_channel():
    convolutions = [module for module in a_refiner(binary=True).modules() if isinstance(module, SignConvolution)]
    assert len(convolutions) == 9  # 2 in each of the context's 4 blocks, 1 in the step's
    for each in convolutions:
        assert torch.equal(each.weight.abs(), each.scale.expand_as(each.weight))
        assert torch.equal(each.weight > 0, each.latent >= 0)


def test_a_sign_passes_gradients_where_it_could_still_turn():
    x = torch.tensor([-2., -.5, 0., .5, 2.], requires_grad=True)
    signs = sign(x)
    signs.sum().backward()
    assert signs.tolist() == [-1, -1, 1, 1, 1] and x.grad.tolist() == [0, 1, 1, 1, 0]


def test_thresholds_of_a_binary_refiner_move_with_the_noise_level():
    block = a_refiner(binary=True).walk.decode[0]
    x, level = torch.randn(2, 16, 4, 4, 4), torch.randn(2, 32)
    assert not torch.equal(block(x, level), block(x, -level))


def test_packed_signs_come_back_and_take_a_bit_each():
    refiner = a_refiner(binary=True)
    state = packed(refiner)
    name, convolution = next((name, each) for name, each in refiner.named_modules() if isinstance(each, SignConvolution))
    bits = (state[f"{name}.latent.bits"][:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
    assert torch.equal(bits.flatten()[:convolution.latent.numel()].bool(), convolution.latent.flatten() >= 0)
    assert state[f"{name}.latent.bits"].numel() == convolution.latent.numel() // 8 and f"{name}.latent" not in state


@pytest.mark.parametrize("shape", [(2, 3, 4, 6), (2, 3, 4, 6, 8)])
def test_lattices_are_every_other_voxel_and_come_sharedagain(shape):
    x = torch.randn(shape)
    lattices = apart(x)
    every_other = (slice(None), slice(None), *[slice(1, None, 2)] * (len(shape) - 2))
    assert torch.equal(lattices[:, -1], x[every_other]) and torch.equal(together(lattices), x)
    assert torch.equal(lattices[:, 1], x[(slice(None), slice(None), *[slice(0, None, 2)] * (len(shape) - 3), slice(1, None, 2))])


@pytest.mark.parametrize("axes", [2, 3])
def test_spreading_over_is_adding_what_was_made_twice_as_fine(axes):
    fine, coarse = torch.randn(2, 3, *[8, 4, 6][:axes]), torch.randn(2, 3, *[4, 2, 3][:axes])
    assert torch.equal(spread_over(fine, coarse), fine + torch.nn.functional.interpolate(coarse, scale_factor=2))


def test_tokens_ask_both_ways_and_places_differ():
    torch.manual_seed(0)
    attention, code = MutualAttention(16), place_code((4, 3, 5), 16)
    assert code.shape == (60, 16) and torch.pdist(code).min() > .01
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    diffusion, image = torch.randn(1, 6, 16), torch.randn(1, 6, 16)
    elsewhere = image.clone()
    elsewhere[0, 5] = torch.randn(16)
    assert not torch.equal(attention(diffusion, image)[0, 0], attention(diffusion, elsewhere)[0, 0])
    assert not torch.equal(attention(diffusion, image)[0, 0], attention(diffusion.roll(1, 1), image)[0, 0])


@pytest.mark.parametrize("wrong, complaint", [
    ({"widths": (8, 16)}, "more levels of context than 2"), ({"widths": (8, 12, 16)}, r"multiples of 8, not \[12\]"),
    ({"feature_widths": (8, 8, 8, 8)}, "level 3"), ({"classes": 0}, "0 classes"), ({"spatial_dims": 2, "body": True}, "only in 3D"),
    ({"spatial_dims": 4}, "2 or 3 axes, not 4")])
def test_a_refiner_that_cannot_be_is_refused(wrong, complaint):
    with pytest.raises(ValueError, match=complaint):
        Refiner(**{**SMALL, **wrong})


def test_windows_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"multiples of 4, not \(6, 8, 8\)"):
        a_refiner().context(torch.zeros(1, 1, 6, 8, 8), torch.zeros(1, 1, 6, 8, 8))
