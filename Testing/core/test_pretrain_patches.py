"""What a denoiser learns from: patches, their noise, and where in the body they lie; and what it loses by."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from DiffSegCore.data.cache import GridCase
from DiffSegCore.geometry import Geometry
from DiffSegCore.networks import build
from DiffSegCore.training.pretrain import denoising_loss, explained
from DiffSegCore.training.pretrain_patches import ImagePatches, NoisyPatches, Scan, chain

SIZE = (8, 8, 8)


def a_scan(shape: tuple[int, int, int] = (16, 20, 24), fill: float | None = None) -> Scan:
    """The image and u_x count the voxels along i: what a patch shows tells where its coordinates must be."""
    i = np.broadcast_to(np.arange(shape[2], dtype=np.float32), shape)
    body = np.zeros((3, *(n // 4 for n in shape)), np.float16)
    body[0] = np.arange(shape[2] // 4) * 4 + 1.5
    image = (i / 32 if fill is None else np.full(shape, fill)).astype(np.float16)
    return Scan(GridCase("ramp", image, np.zeros(shape, np.uint8), Geometry(shape, np.diag([4., 4., 4., 1.])), {}), body)


def patches(*scans: Scan, size: tuple[int, int, int] = SIZE, **options) -> ImagePatches:
    return ImagePatches(scans, [scan.image.size for scan in scans], size, **options)


def noisy(guidance: str = "both", seed: int = 0) -> NoisyPatches:
    return NoisyPatches(patches(a_scan()), guidance, .5, seed)


@pytest.mark.parametrize("turned", [0., 1.])
def test_coordinates_lie_where_the_image_was_cut(turned):
    inside = patches(a_scan(), turned=turned)
    for number in range(12):
        image, body = inside.patch(number)
        shown = torch.nn.functional.avg_pool3d(image, 4) * 32
        wholly = -torch.nn.functional.max_pool3d(-image, 4)[0] >= 0  # at the rim the image blends into air
        middle = wholly & (body[0] > 2) & (body[0] < 21)
        assert body.shape == (3, 2, 2, 2)
        torch.testing.assert_close(body[0][middle], shown[0][middle], atol=.6, rtol=0)  # voxels; a cell is four


def test_a_straight_patch_is_a_piece_of_the_volume():
    image, _ = patches(a_scan(), turned=0.).patch(3)
    assert torch.allclose(image * 32, (image * 32).round(), atol=1e-3)


def test_a_volume_smaller_than_a_patch_lies_in_its_middle_with_air_and_nothing_known_around():
    image, body = patches(a_scan((4, 4, 4), fill=.5), size=(12, 12, 12), turned=0.).patch(0)
    assert (image[0, 4:8, 4:8, 4:8] > .49).all() and image[0, 0, 0, 0] == -1
    assert body[:, 1, 1, 1].isfinite().all() and body[:, 0].isnan().all()


def test_large_volumes_are_seen_as_often_as_they_have_places():
    both = patches(a_scan((8, 8, 8), fill=0.), a_scan((8, 8, 24), fill=1.), turned=0.)
    assert 60 < sum(both.patch(number)[0].mean() > .5 for number in range(100)) < 90


def test_a_batch_is_a_function_of_its_numbers():
    whole, halves = noisy().batch(4, 4), [noisy().batch(4, 2), noisy().batch(6, 2)]
    for one, other in zip(whole, zip(*halves)):
        torch.testing.assert_close(one, torch.cat(other), rtol=0, atol=0, equal_nan=True)
    assert not torch.equal(whole.noisy, noisy(seed=1).batch(4, 4).noisy)


def test_noisy_patch_and_velocity_give_the_clean_patch_back():
    numbers, batch = noisy(), noisy().batch(0, 6)
    times = [int((numbers._log_snr[1:] - log_snr).abs().argmin()) + 1 for log_snr in batch.log_snr]
    clean = chain().clean(batch.noisy, batch.velocity, torch.tensor(times))
    expected = torch.stack([numbers.patches.patch(number)[0] for number in range(6)])
    torch.testing.assert_close(clean, expected, atol=1e-4, rtol=0)


def test_most_patches_have_the_noise_at_which_features_are_read():
    log_snr = noisy().batch(0, 200).log_snr
    assert .75 < ((log_snr >= 0) & (log_snr <= 8)).float().mean() < .9 and log_snr.min() < -5


@pytest.mark.parametrize("guidance, told", [("both", .5), ("input", .5), ("auxiliary", 0.), ("none", 0.)])
def test_a_patch_is_told_where_it_lies_or_asked_never_both(guidance, told):
    batch = noisy(guidance).batch(0, 100)
    knows, asked = (part.isfinite().all(1).flatten(1).any(1) for part in (batch.told, batch.asked))
    assert (knows ^ asked).all() and abs(knows.float().mean() - told) < .15


def a_network(guidance: str = "both") -> torch.nn.Module:
    torch.manual_seed(0)
    return build({"kind": "denoiser", "guidance": guidance, "encoder": {"widths": (8, 16, 24)}})


def test_the_loss_of_a_batch_is_the_mean_of_its_halves():
    """What one process learns from four patches, two processes learn from two each."""
    network, numbers = a_network(), noisy()
    whole, halves = (denoising_loss(network, numbers.batch(0, 4), .5), [denoising_loss(network, numbers.batch(n, 2), .5) for n in (0, 2)])
    torch.testing.assert_close(whole, sum(halves) / 2)


def test_the_loss_asks_for_coordinates_only_where_they_were_dropped():
    network, batch = a_network(), noisy().batch(0, 4)
    plain = denoising_loss(network, batch, 0.)
    assert denoising_loss(network, batch, 1.) > plain
    told = batch._replace(asked=torch.full_like(batch.asked, float("nan")))
    assert denoising_loss(network, told, 1.) == plain and plain.isfinite()


def test_a_perfect_denoiser_explains_everything_and_a_silent_one_nothing():
    numbers, fabric = noisy(), Fabric(accelerator="cpu", devices=1)
    knowing = {tuple(noisy.flatten()[:3].tolist()): v for noisy, v in zip(*numbers.batch(0, 32)[:2])}
    perfect = lambda noisy, *rest: (torch.stack([knowing[tuple(each.flatten()[:3].tolist())] for each in noisy]), None)  # noqa: E731
    assert explained(perfect, numbers, 8, fabric) == 1
    assert explained(lambda noisy, *rest: (torch.zeros_like(noisy), None), numbers, 8, fabric) == 0
