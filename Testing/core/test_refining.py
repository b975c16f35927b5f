"""A prior refined over a whole volume, with refiners that are untrained, shaken, or know the truth."""
from __future__ import annotations

import math

import pytest
import torch

from DiffSegCore.errors import BadInput, Cancelled
from DiffSegCore.model import Model
from DiffSegCore.networks import Refiner, build
from DiffSegCore.preprocess import Preprocessing
from DiffSegCore.refiner_card import RefinerCard
from DiffSegCore.refining import refine_volume, refinements
from DiffSegCore.regions import doubtful, windows_over

SHAPE = (16, 24, 40)


def refiner(classes: int = 1, *, flat: bool = False, shaken: bool = True, channels: int = 1, **card) -> Model:
    """A tiny refiner; `shaken` weights make it answer by what it sees."""
    torch.manual_seed(4)
    architecture = {"kind": "refiner", "spatial_dims": 2 if flat else 3, "image_channels": channels, "classes": classes,
                    "widths": [8, 8, 16], "step_widths": [8, 8]}
    network = build(architecture).eval()
    if shaken:
        for weight in network.parameters():
            weight.data += .2 * torch.randn_like(weight)
    preprocessing = Preprocessing((2., 2., 2.), ((-1000., -1.), (1000., 1.)))
    organs = ("brainstem", "mandible")[:classes - 1]
    return Model(network, architecture, preprocessing, (), (1, 16, 16) if flat else (16, 16, 16),
                 {"refiner": RefinerCard(organs=organs, levels=10, **card).to_dict()})


def scene(classes: int = 1, shape: tuple[int, int, int] = SHAPE, channels: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of noise and a soft ball (or two) as its prior."""
    torch.manual_seed(0)
    image = .3 * torch.randn(channels, *shape)
    places = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    balls = [torch.sigmoid(6 - (places - torch.tensor([shape[0] / 2, shape[1] / 2, at]).view(3, 1, 1, 1)).norm(dim=0))
             for at in (10., 26.)]
    if classes == 1:
        return image, balls[0][None]
    organs = torch.stack(balls[:classes - 1]) * .9
    return image, torch.cat([1 - organs.sum(0, keepdim=True).clamp(max=1), organs])


def knowing(monkeypatch, truth: float) -> None:
    """The refiner becomes one that knows every voxel's leave-one-out chance."""
    monkeypatch.setattr(Refiner, "step", lambda self, context, noisy, keep: torch.full_like(noisy, math.log(truth / (1 - truth))))


@pytest.mark.parametrize("classes", [1, 3])
def test_an_untrained_refiner_gives_the_prior_back(classes):
    image, prior = scene(classes)
    found = refine_volume(refiner(classes, shaken=False), image, prior, steps=1, samples=1)
    held = prior[:, found.region].clamp(.02, .98) if classes == 1 else prior[:, found.region].clamp(.01, .98)
    torch.testing.assert_close(found.chances[:, found.region], held / held.sum(0) if classes > 1 else held, atol=1e-4, rtol=0)
    assert found.information.abs().max() < 1e-5 and found.labels.max() == max(1, classes - 1)


@pytest.mark.parametrize("classes", [1, 3])
def test_outside_the_region_the_prior_stays_to_the_bit(classes):
    image, prior = scene(classes)
    found = refine_volume(refiner(classes), image, prior, steps=2, samples=2)
    assert 0 < found.region.sum() < found.region.numel()
    assert torch.equal(found.chances[:, ~found.region], prior[:, ~found.region])
    assert not torch.allclose(found.chances[:, found.region], prior[:, found.region], atol=.01)
    torch.testing.assert_close(found.chances.sum(0) if classes > 1 else torch.ones(SHAPE), torch.ones(SHAPE))


@pytest.mark.parametrize("kernel", ["exact", "plug-in", "redraw"])
def test_a_seed_decides_everything(kernel):
    image, prior = scene()
    run = [refine_volume(refiner(), image, prior, steps=3, samples=2, seed=seed, kernel=kernel).chances for seed in (1, 1, 2)]
    assert torch.equal(run[0], run[1]) and not torch.equal(run[0], run[2])


def test_a_sample_is_the_same_however_many_there_are():
    image, prior = scene(3)
    one, three = (refine_volume(refiner(3), image, prior, steps=2, samples=n).voxels for n in (1, 3))
    assert torch.equal(one, three[:1])


def test_a_crop_gives_what_the_whole_gives():
    image, prior = scene(3, (16, 16, 40))
    region = torch.zeros(16, 16, 40, dtype=torch.bool)
    region[3:12, 4:12, 14:20] = True
    (window,) = windows_over(region, (16, 16, 16))
    part = (slice(None), *window.slices)
    whole = refine_volume(refiner(3), image, prior, steps=3, samples=2, region=region)
    crop = refine_volume(refiner(3), image[part], prior[part], steps=3, samples=2, region=region[part[1:]], origin=window.start)
    assert window.start[2] > 0 and torch.equal(whole.chances[part], crop.chances)
    moved = refine_volume(refiner(3), image[part], prior[part], steps=3, samples=2, region=region[part[1:]])
    assert not torch.equal(moved.chances, crop.chances)


@pytest.mark.parametrize("kernel, steps, ends_at", [("exact", 4, .7), ("exact", 10, .7), ("redraw", 4, .7), ("plug-in", 10, .57)])
def test_with_a_refiner_that_knows_it_ends_at_the_truth_and_the_published_kernel_short_of_it(monkeypatch, kernel, steps, ends_at):
    knowing(monkeypatch, .7)
    prior = torch.full((1, 16, 16, 16), .2)
    found = refine_volume(refiner(odds=1.), torch.zeros(1, 16, 16, 16), prior, steps=steps, samples=4, kernel=kernel)
    assert float(found.chances.mean()) == pytest.approx(ends_at, abs=.015)


def test_samples_that_disagree_show_it(monkeypatch):
    knowing(monkeypatch, .5)
    found = refine_volume(refiner(), torch.zeros(1, 16, 16, 16), torch.full((1, 16, 16, 16), .5), steps=10, samples=6)
    assert found.information.mean() > .02
    assert (found.information <= found.entropy + 1e-5).all() and found.entropy.max() <= math.log(2) + 1e-5
    assert found.voxels.min() < found.voxels.max()


def test_on_the_way_to_many_samples_there_is_what_fewer_make():
    image, prior = scene(3)
    one, three = refinements(refiner(3), image, prior, steps=2, samples=(1, 3))
    for count, found in ((1, one), (3, three)):
        alone = refine_volume(refiner(3), image, prior, steps=2, samples=count)
        assert torch.equal(found.chances, alone.chances) and torch.equal(found.information, alone.information) and len(found.voxels) == count


def test_two_steps_of_the_published_kernel_are_two_of_the_exact_one_for_the_noisiest_mask_says_nothing():
    image, prior = scene(3)
    exact, published = (refine_volume(refiner(3), image, prior, steps=2, samples=2, kernel=kernel) for kernel in ("exact", "plug-in"))
    assert torch.equal(exact.chances, published.chances)
    exact, published = (refine_volume(refiner(3), image, prior, steps=3, samples=2, kernel=kernel) for kernel in ("exact", "plug-in"))
    assert not torch.equal(exact.chances, published.chances)


def test_one_step_draws_once_for_all_its_samples_are_the_same():
    image, prior = scene(3)
    one, other = (refine_volume(refiner(3), image, prior, steps=1, samples=8, seed=seed) for seed in (0, 1))
    assert len(one.voxels) == 1 and torch.equal(one.chances, other.chances)
    two, other = (refine_volume(refiner(3), image, prior, steps=2, samples=8, seed=seed) for seed in (0, 1))
    assert len(two.voxels) == 8 and not torch.equal(two.chances, other.chances)


def test_the_control_looks_once_and_draws_nothing():
    image, prior = scene()
    one, other = (refine_volume(refiner(diffusion=False), image, prior, steps=4, samples=8, seed=seed) for seed in (0, 1))
    assert len(one.voxels) == 1 and torch.equal(one.chances, other.chances)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_refined_by_a_flat_refiner(channels):
    image, prior = scene(shape=(1, 24, 40), channels=channels)
    found = refine_volume(refiner(flat=True, channels=channels), image, prior, steps=2, samples=2)
    assert found.chances.shape == (1, 1, 24, 40) and found.chances.isfinite().all()


def test_an_image_smaller_than_a_window_is_no_special_case():
    image, prior = scene(3, (5, 24, 10))
    assert refine_volume(refiner(3), image, prior, steps=2, samples=1).chances.isfinite().all()


def test_a_prior_without_a_doubt_costs_nothing():
    found = refine_volume(refiner(), torch.zeros(1, *SHAPE), torch.zeros(1, *SHAPE))
    assert found.windows == 0 and not found.chances.any() and found.voxels.shape == (8, 1)


def test_little_memory_changes_nothing(monkeypatch):
    image, prior = scene()
    plenty = refine_volume(refiner(), image, prior, steps=2, samples=2).chances
    monkeypatch.setattr("DiffSegCore.refining.KEPT_BYTES", 0)
    assert torch.equal(refine_volume(refiner(), image, prior, steps=2, samples=2).chances, plenty)


def test_every_doubtful_voxel_lies_in_the_middle_of_a_window_and_far_ones_ask_for_none():
    region = torch.zeros(SHAPE, dtype=torch.bool)
    region[8, 12, 1] = region[15, 23, 2] = True
    windows = windows_over(region, (16, 16, 16))
    assert all(any(all(a <= n < b for a, n, b in zip(w.start, at, w.stop)) for w in windows) for at in region.nonzero().tolist())
    assert max(w.start[2] for w in windows) == 0
    assert set(windows) <= set(windows_over(torch.ones(SHAPE, dtype=torch.bool), (16, 16, 16)))


def test_doubt_reaches_a_stated_distance_in_mm_and_covers_unsure_voxels():
    prior = torch.zeros(1, 1, 1, 20)
    prior[..., 10:] = 1
    prior[..., 2] = .3
    near = doubtful(prior, (2., 2., 2.), reach_mm=4.)[0, 0].nonzero()[:, 0].tolist()
    assert near == [2, 7, 8, 9, 10, 11, 12]


def test_progress_rises_and_cancelling_unwinds():
    told = []
    image, prior = scene()
    refine_volume(refiner(), image, prior, steps=2, samples=2, progress=lambda fraction, stage: told.append(fraction))
    assert told == sorted(told) and told[0] == 0 and told[-1] == pytest.approx(1 - 1 / len(told))

    def stop(fraction, stage):
        raise Cancelled
    with pytest.raises(Cancelled):
        refine_volume(refiner(), image, prior, progress=stop)


@pytest.mark.parametrize("change, words", [
    (dict(steps=11), "1 to 10 steps"), (dict(samples=0), "1 sample or more"), (dict(kernel="magic"), "exact, plug-in"),
    (dict(prior=torch.full((1, *SHAPE), 2.)), "from 0 to 1"), (dict(prior=torch.zeros(2, *SHAPE)), "needs"),
    (dict(image=torch.zeros(3, *SHAPE)), "1 channels"), (dict(model=Model(torch.nn.Identity(), {}, Preprocessing(
        (1., 1., 1.), ((0., 0.), (1., 1.))), (), (16, 16, 16))), "carries no refiner"),
], ids=["steps", "samples", "kernel", "chances", "classes", "channels", "model"])
def test_what_cannot_be_refined_is_refused(change, words):
    image, prior = scene()
    given = {"model": refiner(), "image": image, "prior": prior, **change}
    with pytest.raises(BadInput, match=words):
        refine_volume(**given)


