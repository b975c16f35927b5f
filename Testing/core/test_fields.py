from __future__ import annotations

import statistics

import pytest
import torch

from DiffSegCore.diffusion import VoxelFields, voxel_index
from DiffSegCore.diffusion.fields import _key

WHOLE = (24, 30, 36)
KINDS = ("uniform", "normal")


def field(kind, shape=WHOLE, step=3, **options):
    return getattr(VoxelFields.of(shape, **options), kind)(step)


def standard(values):
    return (values - values.mean()) / values.std()


def correlation(one, other):
    return (standard(one) * standard(other)).mean().item()


@pytest.mark.parametrize("kind", KINDS)
def test_a_crop_has_the_values_of_the_whole(kind):
    """Identity 14: noise and uniform fields depend on the voxel index only (crop)."""
    crop = field(kind, (5, 7, 9), starts=[(4, 11, 2)])
    assert torch.equal(crop, field(kind)[:, :, 4:9, 11:18, 2:11])


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_hangs_over_the_edge_agrees_inside(kind):
    """Identity 14, for negative indices."""
    window = field(kind, (6, 6, 6), starts=[(-2, -3, -1)])
    assert torch.equal(window[:, :, 2:, 3:, 1:], field(kind)[:, :, :4, :3, :5])


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_has_the_values_of_its_elements_in_any_order(kind):
    """Identity 14: batch and order."""
    starts, seeds = [(0, 0, 0), (3, 1, 2), (9, 9, 9)], [5, 6, 5]
    batch = field(kind, (4, 5, 6), starts=starts, seeds=seeds, channels=2)
    assert batch.shape == (3, 2, 4, 5, 6)
    for i in (2, 0, 1):
        alone = field(kind, (4, 5, 6), starts=starts[i : i + 1], seeds=seeds[i : i + 1], channels=2)
        assert torch.equal(batch[i : i + 1], alone)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_channel_does_not_depend_on_how_many_there_are(kind):
    assert torch.equal(field(kind, (4, 4), channels=3)[:, :1], field(kind, (4, 4)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_the_values_of_the_cpu(kind):
    """Identity 14: device."""
    assert torch.equal(field(kind, device="cuda").cpu(), field(kind))


def test_the_hash_is_splitmix64_in_whole_numbers():
    """Identity 14: device; the same bits as Python's unbounded integers give, so no device's rounding enters."""
    uniform = VoxelFields.of((2, 3, 4), starts=[(5, -6, 7)], seeds=[11]).uniform(8, 1)
    for k, j, i in ((0, 0, 0), (1, 2, 3), (0, 2, 1)):
        index = ((5 + k) * 2**21 + (-6 + j)) * 2**21 + (7 + i)
        start = index * 0x9E3779B97F4A7C15 + _key(11, 8, 1, 0)
        # _key(p) scrambles p + Weyl constant: taking that constant off leaves the bare finaliser.
        high = _key(start - 0x9E3779B97F4A7C15) >> 41
        assert uniform[0, 0, k, j, i].item() == (high + 0.5) / 2**23


def test_voxels_of_a_large_volume_have_distinct_indices():
    corners = [voxel_index((k, j, i), (2, 2, 2)) for k in (-9, 0, 1999) for j in (-9, 0, 1999) for i in (-9, 0, 1999)]
    assert torch.stack(corners).unique().numel() == 27 * 8


def test_uniform_values_are_uniform_and_never_nought_or_one():
    values = field("uniform", (64, 64, 64)).flatten()
    counts = torch.histc(values, 256, 0, 1)
    chi = (counts - 1024).square().sum().item() / 1024
    assert 0 < values.min() and values.max() < 1
    assert values.mean().item() == pytest.approx(0.5, abs=4 * 0.29 / 512)
    assert values.var().item() == pytest.approx(1 / 12, rel=0.01)
    assert chi == pytest.approx(255, abs=4.5 * (2 * 255) ** 0.5)


def test_normal_values_are_normal():
    values = field("normal", (64, 64, 64)).flatten()
    assert values.mean().item() == pytest.approx(0, abs=4 / 512)
    assert values.var().item() == pytest.approx(1, rel=0.012)
    assert values.pow(3).mean().item() == pytest.approx(0, abs=0.03)
    assert values.pow(4).mean().item() == pytest.approx(3, rel=0.02)
    normal = statistics.NormalDist()
    for edge in (-3, -1.5, -0.3, 0.7, 2.2):
        assert (values < edge).float().mean().item() == pytest.approx(normal.cdf(edge), abs=0.004)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_and_far_voxels_know_nothing_of_each_other(kind):
    values = field(kind, (64, 64, 64))[0, 0]
    for axis in range(3):
        for distance in (1, 2, 8, 32):
            near = values.narrow(axis, 0, 64 - distance)
            assert abs(correlation(near, values.narrow(axis, distance, 64 - distance))) < 4.5 / near.numel() ** 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_steps_seeds_streams_and_channels_know_nothing_of_each_other(kind):
    shape = (48, 48, 48)
    draw = [getattr(VoxelFields.of(shape, seeds=[seed]), kind) for seed in (0, 1, 2**63)]
    fields = [draw[0](0), draw[0](1), draw[0](2), draw[0](1, 1), draw[1](0), draw[2](0)]
    fields.append(getattr(VoxelFields.of(shape, channels=2), kind)(0)[:, 1:])
    for i, one in enumerate(fields):
        for other in fields[:i]:
            assert abs(correlation(one, other)) < 4.5 / one.numel() ** 0.5
            assert abs(correlation((one - one.mean()).abs(), (other - other.mean()).abs())) < 4.5 / one.numel() ** 0.5


def test_a_shifted_crop_of_one_step_is_no_crop_of_another():
    one, other = field("uniform", step=0), field("uniform", step=1)
    assert not torch.isin(one, other).float().mean() > 0.01


def test_uniform_and_normal_at_one_step_know_nothing_of_each_other():
    shape = (48, 48, 48)
    assert abs(correlation(field("uniform", shape), field("normal", shape))) < 4.5 / 48**1.5


def test_a_box_without_a_start_along_every_axis_is_refused():
    with pytest.raises(ValueError, match="along every axis"):
        voxel_index((0, 0), (2, 2, 2))
    with pytest.raises(ValueError, match="2 for 3 seeds"):
        VoxelFields.of((2, 2), starts=[(0, 0), (1, 1)], seeds=[1, 2, 3])
