"""Pretexts: corruption loses what it says and no more, masks hide their share, two views agree on where a voxel is."""
from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

from DiffSegCore.data.cache import GridCase
from DiffSegCore.data.patches import Augmentation
from DiffSegCore.data.phantom import phantom
from DiffSegCore.errors import BadInput
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks import DiffusionEncoder
from DiffSegCore.training.commands import pretext as command
from DiffSegCore.training.pretexts import PRETEXTS, pretext
from DiffSegCore.training.pretexts.contrastive import Views, info_nce, read_at
from DiffSegCore.training.pretexts.masked import HiddenPatches, Masked, cube_mask
from DiffSegCore.training.pretexts.restorative import corrupt, curved, inpainted, outpainted, shuffled
from DiffSegCore.training.pretrain_patches import ImagePatches, Scan
from DiffSegCore.training.probe_reading import open_source
from DiffSegCore.training.probe_recipes import TRIAL
from DiffSegCore.writing import write_volume

SHAPE = (20, 22, 24)


def a_scan() -> Scan:
    """Values that tell the place: so that a voxel seen in two views can be recognised."""
    k, j, i = np.meshgrid(*(np.linspace(-.5, 1, n) for n in SHAPE), indexing="ij")
    image = (.5 * k + .3 * j + .2 * i).astype(np.float16)
    return Scan(GridCase("ramp", image, np.zeros(SHAPE, np.uint8), Geometry(SHAPE, np.diag([4., 4., 2.5, 1.])), {}), None)


def patches(size: tuple[int, int, int] = TRIAL.window) -> ImagePatches:
    return ImagePatches([a_scan()], [np.prod(SHAPE)], size)


def batches(name: str):
    return pretext(name).batches(patches(), TRIAL)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(5)


@pytest.fixture
def image(random) -> np.ndarray:
    return random.uniform(-1, 1, (12, 14, 16)).astype(np.float32)


@pytest.mark.parametrize("name", PRETEXTS)
def test_every_pretext_learns_its_task(name):
    torch.manual_seed(0)
    network, batch_of = pretext(name).network(DiffusionEncoder(widths=(8, 16))), batches(name)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(15):
        loss = network(*batch_of(0, 2))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < .9 * losses[0]


@pytest.mark.parametrize("name", PRETEXTS)
def test_a_batch_is_a_function_of_its_number_whoever_asks(name):
    batch_of = batches(name)
    whole, halves = batch_of(4, 4), [batch_of(4, 2), batch_of(6, 2)]
    assert all(torch.equal(part, torch.cat(pieces)) for part, pieces in zip(whole, zip(*halves)))
    assert not torch.equal(whole[0], batch_of(8, 4)[0])


@pytest.mark.parametrize("name", ["restorative", "masked"])
def test_pretexts_see_the_patches_that_diffusion_sees(name):
    images = torch.stack([patches().patch(number)[0] for number in (3, 4)])
    assert any(torch.equal(each, images) for each in batches(name)(3, 2))


def test_a_batch_of_pairs_counts_both_windows():
    pair = batches("contrastive")(0, 4)
    assert len(pair.first) == len(pair.second) == 2
    with pytest.raises(BadInput, match="each process needs an even number of patches, not 3"):
        batches("contrastive")(0, 3)


def test_an_unknown_pretext_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match="'jigsaw'.*restorative"):
        pretext("jigsaw")


def test_a_curve_keeps_the_order_of_intensities_or_turns_it_round(random):
    image = np.linspace(-1.2, 1.2, 50).reshape(1, 1, 50)
    for _ in range(20):
        steps = np.diff(curved(image, random)[0, 0])
        assert (steps >= 0).all() or (steps <= 0).all()


def test_shuffling_moves_voxels_but_not_far_and_loses_none(image, random):
    result = shuffled(image, random)
    assert not np.array_equal(result, image)
    np.testing.assert_array_equal(np.sort(result, axis=None), np.sort(image, axis=None))
    place = np.arange(image.size, dtype=float).reshape(image.shape)
    moved = np.stack(np.unravel_index(shuffled(place, random).astype(int), image.shape)) - np.indices(image.shape)
    assert 0 < np.abs(moved).max() <= 4


def test_inpainting_loses_boxes_and_outpainting_all_but_boxes(image, random):
    inside, outside = (np.mean([(paint(image, random) == image).mean() for _ in range(10)]) for paint in (inpainted, outpainted))
    assert .7 < inside < 1 and .02 < outside < .6


def test_corruption_leaves_the_patch_itself_alone(image, random):
    before = image.copy()
    results = [corrupt(image, random) for _ in range(10)]
    np.testing.assert_array_equal(image, before)
    assert all(each.dtype == np.float32 and each.shape == image.shape and np.isfinite(each).all() for each in results)


def test_a_mask_hides_its_share_in_whole_cubes(random):
    mask = cube_mask((8, 8, 12), 4, .5, random)
    assert mask.mean() == .5
    cubes = mask.reshape(2, 4, 2, 4, 3, 4).mean(axis=(1, 3, 5))
    assert set(np.unique(cubes)) == {0, 1}
    assert cube_mask((5, 5, 5), 4, .5, random).shape == (5, 5, 5)


def test_hidden_voxels_do_not_reach_the_network_and_alone_are_scored():
    torch.manual_seed(0)
    network = Masked(DiffusionEncoder(widths=(8, 16)))
    image, mask = HiddenPatches(patches((8, 8, 8)), side=4).batch(0, 1)
    seen = []
    network.encoder.stem.register_forward_hook(lambda layer, inputs, output: seen.append(inputs[0]))
    loss = network(image, mask)
    network(torch.where(mask, 7., image), mask)
    assert torch.equal(*seen[:2])
    guess = network.encoder.velocity(network.encoder.features(seen[0])[0])
    torch.testing.assert_close((guess - image)[mask].square().mean(), loss)


def test_two_views_show_the_same_place_at_the_voxels_they_share():
    plain = patches((10, 10, 10))
    plain.augmentation = Augmentation(rotation=20, scale=.2, shear=.1, shift=0, contrast=0, noise=0, mirror=False)
    views = Views(plain)
    compared = 0
    for number in range(8):
        pair = views.pair(number)
        first, second = (image[0][tuple(at.T)] for image, at in ((pair.first, pair.at_first), (pair.second, pair.at_second)))
        clear = (first > -.4) & (second > -.4)
        compared += int(clear.sum())
        assert (first - second)[clear].abs().median() < .06  # half a voxel of the ramp, and the rim of some views is blurred
        assert pair.at_second.min() >= 0 and pair.at_second.max() < 10
    assert compared > 500


def test_the_partner_is_found_where_embeddings_agree_and_by_chance_where_they_do_not():
    vectors = torch.eye(64)
    assert info_nce(vectors, vectors) < .02
    generator = torch.Generator().manual_seed(0)
    strangers = [torch.randn(64, 2000, generator=generator) for _ in range(2)]
    assert info_nce(*strangers, temperature=1e3).item() == pytest.approx(np.log(127), rel=1e-3)


def test_a_voxels_vector_is_read_from_the_cell_of_every_level_that_holds_it():
    pyramid = [torch.arange(64.).reshape(1, 1, 4, 4, 4), 100 + torch.arange(8.).reshape(1, 1, 2, 2, 2)]
    assert read_at(pyramid, torch.tensor([[[3, 2, 1], [0, 0, 0]]])).tolist() == [[[57., 106.], [0., 100.]]]


def test_the_command_leaves_an_encoder_that_a_probe_can_open(tmp_path):
    (tmp_path / "data").mkdir()
    for seed in (1, 2):
        write_volume(phantom(seed, spacing_mm=(8, 8, 8), shape=(14, 18, 18))[0], tmp_path / "data" / f"p{seed}.nii.gz")
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = f"--recipe trial --pretext contrastive --data {tmp_path / 'data'} -o {tmp_path / 'out'} --device cpu".split()
    path, = command.run(parser.parse_args(words))
    source = open_source(str(path), TRIAL.widths, TRIAL.preprocessing)
    assert source.about["name"] == "contrastive" and source.widths == TRIAL.widths and not source.denoises
    assert source.about["training"]["steps"] == 4 and source.about["training"]["held_out_loss"] > 0
